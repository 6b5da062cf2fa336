/**
 * Goes over the table of connections, a slice at a time, and says which are to be told to other directors now. What was
 * told last of each record is kept in columns of its own: nothing of it is the engines'.
 *
 * Beyond the kernel's default, an entry that lives on is told again after half its timeout, as sync_refresh_period would
 * have it: the other director's would run out otherwise while few packets pass.
 */
import type { Connections } from '../connections.js';
import type { Extras } from '../extras.js';
import {
  CLIENT,
  CLIENT_PORTS,
  DESTINATION,
  FLAG_SYNCED,
  KIND,
  KIND_TEMPLATE,
  PACKETS,
  protocolOf,
  STATE,
  STATE_MASK,
  serviceOf,
  TEMPLATE,
  TIMEOUT,
} from '../record.js';
import type { SyncConnection } from '../sync-message.js';
import { isNeeded, isTold, THRESHOLD } from './decision.js';
import { describe, isSpeakable } from './describe.js';

/** Records that one slice looks at: 65,536 take 2 ms. */
const SLICE = 65_536;

export class SyncScan {
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #fwmarkOf: (service: number) => number;
  /** which connection the record was when it was looked at last, 0: none; the other columns are of that one */
  readonly #identity: Int32Array;
  readonly #packets: Int32Array;
  readonly #toldState: Uint8Array;
  /** tick when it was told last; 0: never */
  readonly #toldAt: Int32Array;
  #next = 0;

  /** @param fwmarkOf the service with the index; 0: it has no mark */
  constructor(connections: Connections, extras: Extras, fwmarkOf: (service: number) => number) {
    this.#connections = connections;
    this.#extras = extras;
    this.#fwmarkOf = fwmarkOf;
    const { capacity } = connections;
    this.#identity = new Int32Array(capacity);
    this.#packets = new Int32Array(capacity);
    this.#toldState = new Uint8Array(capacity);
    this.#toldAt = new Int32Array(capacity);
  }

  /** All of it is to be told anew, from the first record on. */
  restart(): void {
    this.#identity.fill(0);
    this.#next = 0;
  }

  /**
   * Looks at a slice, and tells at most `room` connections. True when it has come to the end of the table; the next call
   * begins anew.
   */
  slice(now: number, room: number, tell: (connection: SyncConnection) => void): boolean {
    const connections = this.#connections;
    const { expires, highWater } = connections;
    const end = Math.min(highWater, this.#next + SLICE);
    let left = room;
    let connection = this.#next;
    for (; connection < end && left > 0; connection++) {
      if (expires[connection] === 0) {
        this.#identity[connection] = 0;
        continue;
      }
      if (!this.#isDue(connection, now)) continue;
      const told = connections.locked(() => this.#describe(connection, now));
      if (told === undefined) continue;
      tell(told);
      left--;
    }
    this.#next = connection;
    if (connection < highWater) return false;
    this.#next = 0;
    return true;
  }

  #isDue(connection: number, now: number): boolean {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const kind = records[at + KIND]!;
    if (kind === 0) return false;
    const packets = records[at + PACKETS]!;
    const word = records[at + STATE]!;
    const state = word & STATE_MASK;
    const protocol = protocolOf(kind);
    const identity = identityOf(records, at);
    const synced = (word & FLAG_SYNCED) !== 0;
    if (this.#identity[connection] !== identity) {
      // What another director told is told on once it is used here.
      if (synced && !isUsed(records, at)) return false;
      this.#identity[connection] = identity;
      this.#packets[connection] = 0;
      this.#toldState[connection] = 0;
      this.#toldAt[connection] = 0;
    }
    const seen = this.#packets[connection]!;
    this.#packets[connection] = packets;
    const toldAt = this.#toldAt[connection]!;
    const toldState = this.#toldState[connection]!;
    if ((kind & KIND_TEMPLATE) !== 0) {
      if (synced && !isUsed(records, at)) return false;
      return toldAt === 0 || state !== toldState || this.#isStale(connection, at, toldAt, now);
    }
    if (synced && packets === seen) return false;
    if (isNeeded(protocol, state, toldState, packets, seen)) return true;
    return toldAt !== 0 && isTold(protocol, state) && this.#isStale(connection, at, toldAt, now);
  }

  /** It was told half its timeout ago, and a packet has come since then. */
  #isStale(connection: number, at: number, toldAt: number, now: number): boolean {
    const timeout = this.#connections.records[at + TIMEOUT]!;
    const touched = (this.#connections.expires[connection]! - timeout) | 0;
    return ((now - toldAt) | 0) * 2 >= timeout && ((touched - toldAt) | 0) > 0;
  }

  /** Under the lock: it may have ended in between, and another have taken its record. */
  #describe(connection: number, now: number): SyncConnection | undefined {
    const { records, expires } = this.#connections;
    const at = this.#connections.at(connection);
    if (expires[connection] === 0 || identityOf(records, at) !== this.#identity[connection]) return undefined;
    this.#toldAt[connection] = now || 1;
    this.#toldState[connection] = records[at + STATE]! & STATE_MASK;
    if (!isSpeakable(this.#connections, this.#extras, at)) return undefined;
    return describe(this.#connections, this.#extras, at, this.#fwmarkOf(serviceOf(records, at)));
  }
}

/** Whether packets have come here of what another director told of; of a template: whether connections belong to it. */
function isUsed(records: Int32Array, at: number): boolean {
  if ((records[at + KIND]! & KIND_TEMPLATE) !== 0) return records[at + TEMPLATE] !== 0;
  return records[at + PACKETS]! > THRESHOLD;
}

/** Tells connections apart that have a record after one another. Never 0. */
function identityOf(records: Int32Array, at: number): number {
  let h = records[at + CLIENT_PORTS]!;
  for (let i = 0; i < 4; i++) {
    h = Math.imul(h ^ records[at + CLIENT + i]!, 0x9e3779b1);
    h = Math.imul((h ^ (h >>> 15)) + records[at + DESTINATION + i]!, 0x85ebca6b);
  }
  return h ^ (records[at + KIND]! & ~0xff) || 1;
}
