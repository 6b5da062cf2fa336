/**
 * Enters what another director told into the table of connections (ip_vs_proc_conn): a new one, or the one that is
 * there already becomes as it was told. From then on packets find it as if it had begun here, and it ends as others do.
 */
import { type Connections, NO_CONNECTION } from '../connections.js';
import { type DestinationCounts, FORWARD } from '../destination.js';
import { Ending } from '../ending.js';
import {
  ENGINE_DATA,
  ENGINE_LENGTH,
  type Extras,
  NO_EXTRA,
  SHIFT_TO_CLIENT,
  SHIFT_TO_SERVER,
} from '../extras.js';
import { noFlow } from '../flow.js';
import { findCall, findOf } from '../persistence.js';
import {
  DESTINATION,
  EXTRA,
  FLAG_ACTIVE,
  FLAG_NO_REPLY_YET,
  FLAG_REPLIES,
  FLAG_SYNCED,
  forwardOf,
  KIND,
  KIND_DESTINATION_IPV6,
  KIND_TEMPLATE,
  OWNER,
  ownerOf,
  PACKETS,
  rowOf,
  STATE,
  STATE_MASK,
  serviceOf,
  setDestination,
  TICKS_PER_SECOND,
  TIMEOUT,
} from '../record.js';
import type { Services } from '../service.js';
import { isActive, Timeouts } from '../states.js';
import { FLAG, type SyncConnection, type SyncSequence } from '../sync-message.js';
import { TEMPLATE_OF } from '../tuple.js';
import { type Binding, Bindings, UNBOUND, wayOf } from './binding.js';
import { THRESHOLD } from './decision.js';
import { type EntryRefusal, refusalOf } from './refusal.js';

/** Of what has no timeout by its state, a template (IP_VS_SYNC_CONN_TIMEOUT). */
const TIMEOUT_SECONDS = 180;
/** Ticks are compared by their signed difference. */
const SECONDS_MAX = 2 ** 30 / TICKS_PER_SECOND;

export class SyncEntry {
  /** by what messages are bound; whoever changes services sets it */
  bindings: Bindings;
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #counts: DestinationCounts;
  readonly #ending: Ending;
  readonly #timeouts = new Timeouts();
  readonly #flow = noFlow();
  /** order of the message by which each record is as it is; made when the first one has an order */
  #order: Float64Array | undefined;

  /** @param services of an engine's kind, without any: what ends is weighed by the engines when they look next */
  constructor(connections: Connections, extras: Extras, services: Services, counts: DestinationCounts) {
    this.#connections = connections;
    this.#extras = extras;
    this.#counts = counts;
    this.#ending = new Ending(connections, extras, services, counts);
    this.bindings = new Bindings([], counts);
  }

  /** @param order of messages, that an older one which comes later changes nothing; 0: as they come */
  take(told: SyncConnection, now: number, order = 0): EntryRefusal | undefined {
    const refusal = refusalOf(told);
    if (refusal !== undefined) return refusal;
    return this.#connections.locked(() => this.#take(told, now, order));
  }

  /** Connections that have no destination here. */
  get unbound(): number {
    const counts = this.#counts;
    return counts.active(UNBOUND) + counts.inactive(UNBOUND) + counts.persistent(UNBOUND);
  }

  /** Binds those of the records that have no destination, if there is one by now. */
  bind(from: number, end: number, describe: (at: number) => SyncConnection): void {
    const connections = this.#connections;
    for (let connection = from; connection < Math.min(end, connections.highWater); connection++) {
      if (connections.expires[connection] === 0) continue;
      const at = connections.at(connection);
      if (rowOf(connections.records, at) !== UNBOUND) continue;
      connections.locked(() => {
        if (connections.expires[connection] === 0 || rowOf(connections.records, at) !== UNBOUND) return;
        this.#bind(at, this.bindings.find(describe(at)));
      });
    }
  }

  #take(told: SyncConnection, now: number, order: number): EntryRefusal | undefined {
    const { records } = this.#connections;
    let connection = this.#find(told);
    if (connection !== NO_CONNECTION && order !== 0 && order < (this.#order?.[connection] ?? 0))
      return 'stale';
    const template = (told.flags & FLAG.template) !== 0;
    if (connection !== NO_CONNECTION && !template && !this.#goesTo(connection, told)) {
      // Of one that was replaced already this is only its end.
      if ((told.flags & FLAG.inactive) !== 0) return 'already-replaced';
      const row = rowOf(records, this.#connections.at(connection));
      this.#ending.end(connection);
      this.bindings.at(row)?.weigh();
      connection = NO_CONNECTION;
    }
    if (connection === NO_CONNECTION) return this.#enter(told, now, order);
    const at = this.#connections.at(connection);
    if (rowOf(records, at) === UNBOUND) this.#bind(at, this.bindings.find(told));
    this.#change(at, told);
    this.#connections.touch(connection, now);
    this.#note(connection, order);
    return undefined;
  }

  /** Leaves the key of the entry in the flow. */
  #find(told: SyncConnection): number {
    const flow = this.#flow;
    const template = (told.flags & FLAG.template) !== 0;
    [flow.source0, flow.source1, flow.source2, flow.source3] = told.client;
    [flow.target0, flow.target1, flow.target2, flow.target3] = told.virtual;
    flow.ports = (told.clientPort << 16) | told.virtualPort;
    flow.protocol = told.protocol | (template ? TEMPLATE_OF : 0);
    flow.network = 0;
    flow.family = told.family;
    flow.engine = 0;
    const data = told.engineData;
    if (!template || data === undefined) return findOf(this.#connections, flow);
    return findCall(this.#connections, this.#extras, flow, data, { from: 0, length: data.length });
  }

  #goesTo(connection: number, told: SyncConnection): boolean {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    if (records[at + KIND]! >>> 16 !== told.destinationPort) return false;
    return told.destination.every((word, i) => records[at + DESTINATION + i] === word);
  }

  #enter(told: SyncConnection, now: number, order: number): EntryRefusal | undefined {
    const connections = this.#connections;
    const needed = needsExtra(told);
    // Nor is there room for one more Call-ID with the same hash.
    const full = needed && (told.flags & FLAG.template) !== 0 && this.#flow.engine === 0;
    const extra = needed && !full ? this.#extras.take() : NO_EXTRA;
    if (needed && extra === NO_EXTRA) return 'table-full';
    const binding = this.bindings.find(told);
    const family = told.family === 6 ? KIND_DESTINATION_IPV6 : 0;
    const connection = connections.take(this.#flow, family | wayOf(binding, told.flags));
    if (connection === NO_CONNECTION) {
      if (extra !== NO_EXTRA) this.#extras.free(extra);
      return 'table-full';
    }
    const { records } = connections;
    const at = connections.at(connection);
    setDestination(records, at, told.destination, told.destinationPort);
    records[at + EXTRA] = extra + 1;
    records[at + OWNER] = ownerOf(UNBOUND, UNBOUND);
    const template = (told.flags & FLAG.template) !== 0;
    const masqueraded = forwardOf(records, at) === FORWARD.nat;
    if (template) {
      records[at + STATE] = FLAG_SYNCED;
      this.#counts.addPersistent(UNBOUND, 1);
    } else {
      // Who doesn't masquerade sees one side only, whatever the other director saw (ip_vs_bind_dest).
      const unanswered = !masqueraded || (told.flags & FLAG.noOutput) !== 0;
      records[at + STATE] =
        FLAG_SYNCED | (masqueraded ? FLAG_REPLIES : 0) | (unanswered ? FLAG_NO_REPLY_YET : 0);
      this.#counts.addInactive(UNBOUND, 1);
    }
    this.#bind(at, binding);
    this.#change(at, told);
    connections.publish(connection, this.#flow, (now + records[at + TIMEOUT]!) | 0);
    this.#note(connection, order);
    return undefined;
  }

  /** State, timeout, and what helpers keep, as they were told. */
  #change(at: number, told: SyncConnection): void {
    const { records } = this.#connections;
    const template = (told.flags & FLAG.template) !== 0;
    const active = !template && isActive(told.protocol, told.state);
    for (;;) {
      const before = records[at + STATE]!;
      const after = (before & ~(STATE_MASK | FLAG_ACTIVE)) | told.state | (active ? FLAG_ACTIVE : 0);
      if (Atomics.compareExchange(records, at + STATE, before, after) !== before) continue;
      if (((before ^ after) & FLAG_ACTIVE) !== 0) this.#count(rowOf(records, at), active ? 1 : -1);
      if ((before & FLAG_SYNCED) !== 0) records[at + PACKETS] = THRESHOLD;
      break;
    }
    records[at + TIMEOUT] = this.#ticks(told, serviceOf(records, at));
    const extra = records[at + EXTRA]!;
    if (extra === 0) return;
    const row = this.#extras.at(extra - 1);
    const { words, bytes } = this.#extras;
    if (template) {
      words[row + ENGINE_LENGTH] = told.engineData!.length;
      bytes.set(told.engineData!, 4 * row + ENGINE_DATA);
    } else {
      writeShift(words, row + SHIFT_TO_SERVER, told.inSequence, (told.flags & FLAG.inSequence) !== 0);
      writeShift(words, row + SHIFT_TO_CLIENT, told.outSequence, (told.flags & FLAG.outSequence) !== 0);
    }
  }

  /** Its engines count a packet at the old destination that is on its way just now; the next one finds the new. */
  #bind(at: number, binding: Binding | undefined): void {
    if (binding === undefined) return;
    const { records } = this.#connections;
    const { row } = binding.destination;
    const counts = this.#counts;
    const active = (records[at + STATE]! & FLAG_ACTIVE) !== 0;
    records[at + OWNER] = ownerOf(binding.service.index, row);
    for (const [to, change] of [
      [UNBOUND, -1],
      [row, 1],
    ] as const) {
      if ((records[at + KIND]! & KIND_TEMPLATE) !== 0) counts.addPersistent(to, change);
      else if (active) counts.addActive(to, change);
      else counts.addInactive(to, change);
    }
    binding.destination.weigh();
  }

  #count(row: number, change: 1 | -1): void {
    this.#counts.addActive(row, change);
    this.#counts.addInactive(row, -change);
    this.bindings.at(row)?.weigh();
  }

  #note(connection: number, order: number): void {
    if (order !== 0) this.#order ??= new Float64Array(this.#connections.capacity);
    if (this.#order !== undefined) this.#order[connection] = order;
  }

  #ticks({ timeout, protocol, state, flags }: SyncConnection, index: number): number {
    let seconds = timeout;
    if (seconds === 0 && (flags & FLAG.template) !== 0) seconds = TIMEOUT_SECONDS;
    else if (seconds === 0) {
      const own = index === UNBOUND ? undefined : this.bindings.timeouts(index);
      const timeouts = this.#timeouts;
      timeouts.take(FRESH);
      if (own !== undefined) timeouts.setOwn(own.tcp, own.tcpFin, own.udp);
      seconds = timeouts.milliseconds(protocol, state) / 1000;
    }
    return Math.min(seconds, SECONDS_MAX) * TICKS_PER_SECOND;
  }
}

const FRESH = new Timeouts();

function needsExtra({ flags, engineData }: SyncConnection): boolean {
  if ((flags & FLAG.template) !== 0) return engineData !== undefined && engineData.length > 0;
  return (flags & (FLAG.inSequence | FLAG.outSequence)) !== 0;
}

function writeShift(words: Int32Array, at: number, shift: SyncSequence | undefined, used: boolean): void {
  words[at] = shift?.initial ?? 0;
  words[at + 1] = shift?.delta ?? 0;
  words[at + 2] = shift?.previous ?? 0;
  words[at + 3] = used && shift !== undefined ? 1 : 0;
}
