/**
 * Persistence: a client stays at the destination that it was given first (ip_vs_sched_persist). A template in the table
 * of connections says so; connections are made by it, and it lives on while one of them does.
 *
 *     of a service            protocol, client & mask, port 0, virtual address, virtual port
 *     of port 0, and of FTP   the same with virtual port 0: all ports of the address go together
 *     of a mark               protocol 0, client & mask, port 0, the mark, port 0
 *     of the engine "sip"     as above, and the Call-ID of the message
 *
 * Everything here is called under the lock of the connections, so two engines never make two templates of one client.
 */

import { type Connections, NO_CONNECTION } from './connections.js';
import type { Destination, DestinationCounts } from './destination.js';
import { ENGINE_DATA, ENGINE_LENGTH, type Extras, NO_EXTRA } from './extras.js';
import { noFlow, type PacketFlow } from './flow.js';
import type { Memory, Parsed } from './packet.js';
import { type CallId, findCallId, hashCallId, isCallId } from './persistence-sip.js';
import {
  CLIENT_PORTS,
  EXTRA,
  KIND,
  KIND_TEMPLATE,
  kindOf,
  OWNER,
  ownerOf,
  rowOf,
  STATE,
  setDestination,
  TEMPLATE,
  TICKS_PER_SECOND,
  TIMEOUT,
  ticksAt,
} from './record.js';
import { FTP_PORT, type Service, type Services } from './service.js';
import { TEMPLATE_OF } from './tuple.js';
import { BARRED, NO_DESTINATION, PASS, TABLE_FULL, type Verdict } from './verdict.js';

/** State of a template by which a connection came to be established (IP_VS_CTPL_S_ASSURED). */
export const ASSURED = 1;
/** How much longer a template lives that runs out while connections belong to it (ip_vs_conn_expire). */
const HELD_TICKS = 60 * TICKS_PER_SECOND;
/** A port that no client sends to: of templates that aren't used any more (ip_vs_check_template). */
const NEVER = 0xffff;
/** Call-IDs of one client that may have the same hash; of each the data is compared. */
const ALIKE = 4;

export class Persistence {
  /** a client leaves a destination of weight 0 (net.ipv4.vs.expire_quiescent_template) */
  expireQuiescent = false;
  /** what becomes of the packet if there is no template, or no room for its connection */
  verdict: Verdict = PASS;

  readonly #memory: Memory;
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #services: Services;
  readonly #counts: DestinationCounts;
  readonly #key = noFlow();
  readonly #callId = { from: 0, length: 0 };

  constructor(
    memory: Memory,
    connections: Connections,
    extras: Extras,
    services: Services,
    counts: DestinationCounts,
  ) {
    this.#memory = memory;
    this.#connections = connections;
    this.#extras = extras;
    this.#services = services;
    this.#counts = counts;
  }

  /**
   * Under the lock. The template by which the packet's connection is made; when its client has none, the service's
   * scheduler picks the destination of a new one. NO_CONNECTION: `verdict` says why there can't be one.
   *
   * @param parsed the packet, which the engine reads
   * @param flow the connection that is to be, from client to service
   * @param at the only destination that will do; undefined: any
   */
  templateOf(
    service: Service,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
    at?: Destination | undefined,
  ): number {
    const sip = service.spec.persistence!.engine === 'sip';
    this.#setKey(service, flow);
    this.verdict = TABLE_FULL;
    // Without a Call-ID the packet is dropped (ip_vs_conn_fill_param_persist).
    if (sip && !findCallId(this.#memory, parsed, this.#callId)) return this.#none(BARRED);
    const known = sip ? this.#findCall() : findOf(this.#connections, this.#key);
    if (known !== NO_CONNECTION) {
      if (this.#usable(known, at)) return known;
      this.#retire(known);
    }
    const destination = at ?? service.scheduler.pick(flow, nowMs);
    if (destination === undefined) return this.#none(NO_DESTINATION);
    return this.#make(service, flow, destination, sip, nowMs);
  }

  /** Under the lock: the connection belongs to the template, whose time begins anew. */
  join(connection: number, template: number, nowTicks: number): void {
    const { records } = this.#connections;
    records[this.#connections.at(connection) + TEMPLATE] = template + 1;
    records[this.#connections.at(template) + TEMPLATE]!++;
    this.#connections.touch(template, nowTicks);
  }

  /** The destination of what `templateOf` gave. */
  destinationOf(template: number): Destination | undefined {
    if (template === NO_CONNECTION) return undefined;
    return this.#services.destinationAt(rowOf(this.#connections.records, this.#connections.at(template)));
  }

  #none(verdict: Verdict): typeof NO_CONNECTION {
    this.verdict = verdict;
    return NO_CONNECTION;
  }

  #setKey({ spec }: Service, flow: PacketFlow): void {
    const key = this.#key;
    const { mask } = spec.persistence!;
    const own = flow.targetPort === spec.port;
    const marked = !own && spec.mark !== undefined;
    key.family = flow.family;
    key.network = flow.network;
    key.protocol = TEMPLATE_OF | (marked ? 0 : flow.protocol);
    key.ports = own && spec.port !== FTP_PORT ? flow.targetPort : 0;
    key.engine = 0;
    key.source0 = flow.source0 & maskWord(mask, 0);
    key.source1 = flow.source1 & maskWord(mask, 32);
    key.source2 = flow.source2 & maskWord(mask, 64);
    key.source3 = flow.source3 & maskWord(mask, 96);
    key.target0 = marked ? spec.mark! | 0 : flow.target0;
    key.target1 = marked ? 0 : flow.target1;
    key.target2 = marked ? 0 : flow.target2;
    key.target3 = marked ? 0 : flow.target3;
  }

  #findCall(): number {
    return findCall(this.#connections, this.#extras, this.#key, this.#memory.bytes, this.#callId);
  }

  /** ip_vs_check_template: its destination is there, not drained where that ends templates, and the one that is asked for. */
  #usable(template: number, at: Destination | undefined): boolean {
    const row = rowOf(this.#connections.records, this.#connections.at(template));
    const destination = this.#services.destinationAt(row);
    if (destination === undefined || destination.removed) return false;
    if (this.expireQuiescent && destination.spec.weight === 0) return false;
    return at === undefined || at === destination;
  }

  /** Nobody finds it any more; it ends with its time, and the connections that belong to it. */
  #retire(template: number): void {
    const { records } = this.#connections;
    const at = this.#connections.at(template);
    this.#connections.hide(template);
    records[at + CLIENT_PORTS] = NEVER;
    records[at + KIND] = (records[at + KIND]! & 0xffff) | (NEVER << 16);
  }

  #make(
    { spec }: Service,
    flow: PacketFlow,
    { spec: destination }: Destination,
    sip: boolean,
    nowMs: number,
  ): number {
    const connections = this.#connections;
    const extra = sip && this.#key.engine !== 0 ? this.#keep() : NO_EXTRA;
    if (sip && extra === NO_EXTRA) return NO_CONNECTION;
    const template = connections.take(this.#key, kindOf(destination));
    if (template === NO_CONNECTION) {
      if (extra !== NO_EXTRA) this.#extras.free(extra);
      return NO_CONNECTION;
    }
    const { records } = connections;
    const at = connections.at(template);
    const own = flow.targetPort === spec.port && spec.port !== FTP_PORT;
    setDestination(records, at, destination.address, own ? destination.port : 0);
    records[at + STATE] = 0;
    records[at + OWNER] = ownerOf(spec.index, destination.row);
    records[at + TIMEOUT] = spec.persistence!.timeoutSeconds * TICKS_PER_SECOND;
    records[at + EXTRA] = extra + 1;
    this.#counts.addPersistent(destination.row, 1);
    const now = ticksAt(nowMs);
    connections.publish(template, this.#key, (now + records[at + TIMEOUT]!) | 0);
    return template;
  }

  /** The Call-ID in a row of its own. */
  #keep(): number {
    const extra = this.#extras.take();
    if (extra === NO_EXTRA) return NO_EXTRA;
    const { bytes } = this.#memory;
    const { from, length } = this.#callId;
    const at = this.#extras.at(extra);
    this.#extras.words[at + ENGINE_LENGTH] = length;
    for (let i = 0; i < length; i++) this.#extras.bytes[4 * at + ENGINE_DATA + i] = bytes[from + i]!;
    return extra;
  }
}

/** The connection or template whose client has the key; NO_CONNECTION: there is none, or it is that of another's replies. */
export function findOf(connections: Connections, key: PacketFlow): number {
  const reference = connections.find(key);
  return reference === NO_CONNECTION || (reference & 1) !== 0 ? NO_CONNECTION : reference >> 1;
}

/**
 * The template of the Call-ID in `bytes`. Sets the key's hash, where there is none to that under which it may be made; to 0
 * where there are too many alike.
 */
export function findCall(
  connections: Connections,
  extras: Extras,
  key: PacketFlow,
  bytes: Uint8Array,
  callId: CallId,
): number {
  for (let seed = 0; seed < ALIKE; seed++) {
    key.engine = hashCallId(bytes, callId, seed) || 1;
    const template = findOf(connections, key);
    if (template === NO_CONNECTION) return NO_CONNECTION;
    const extra = extras.at(connections.records[connections.at(template) + EXTRA]! - 1);
    const length = extras.words[extra + ENGINE_LENGTH]!;
    if (isCallId(bytes, callId, extras.bytes, 4 * extra + ENGINE_DATA, length)) return template;
  }
  key.engine = 0;
  return NO_CONNECTION;
}

/** The bits of a word that begins `from` bits into the address which a prefix of `bits` covers. */
function maskWord(bits: number, from: number): number {
  const here = bits - from;
  return here <= 0 ? 0 : here >= 32 ? -1 : -1 << (32 - here);
}

/** A connection of it came to be: it isn't that of an attacker (ip_vs_control_assure_ct). @param at of the connection */
export function assure(connections: Connections, at: number): void {
  const { records } = connections;
  const template = records[at + TEMPLATE]!;
  if (template === 0) return;
  const state = connections.at(template - 1) + STATE;
  if ((records[state]! & ASSURED) === 0) Atomics.or(records, state, ASSURED);
}

/** Under the lock, of one that has run out: true when it lives on for the connections that belong to it. */
export function held(connections: Connections, connection: number, nowTicks: number): boolean {
  const { records } = connections;
  const at = connections.at(connection);
  if ((records[at + KIND]! & KIND_TEMPLATE) === 0 || records[at + TEMPLATE] === 0) return false;
  records[at + TIMEOUT] = HELD_TICKS;
  connections.touch(connection, nowTicks);
  return true;
}

/**
 * Under the lock, of a connection that has ended: its template has one less. Returns the template if it is to end too,
 * -1 otherwise: a connection that was ended before its time, its timeout 0, takes along a template that it alone had
 * and that was never assured.
 */
export function leave(connections: Connections, template: number, early: boolean): number {
  const { records } = connections;
  const at = connections.at(template);
  if (records[at + TEMPLATE]! > 0) records[at + TEMPLATE]!--;
  return early && records[at + TEMPLATE] === 0 && (records[at + STATE]! & ASSURED) === 0 ? template : -1;
}
