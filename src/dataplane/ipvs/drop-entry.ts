/**
 * Ends connections before their time when the table is nearly full (ip_vs_random_dropentry): each second a 32nd of it is
 * looked at, drawn at random. What is half-open goes; what is open, or has no states, goes when it has been idle for a minute and
 * its client has sent few packets: of those that sent `n` each nth, up to eight.
 */
import type { Random } from '../core/random.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import type { Connections } from './connections.js';
import type { Ending } from './ending.js';
import {
  KIND,
  KIND_TEMPLATE,
  PACKETS,
  protocolOf,
  STATE,
  STATE_MASK,
  TICKS_PER_SECOND,
  TIMEOUT,
} from './record.js';
import { SCTP_STATE, TCP_STATE } from './states.js';

const SHARE = 32;
const IDLE_TICKS = 60 * TICKS_PER_SECOND;
const PACKETS_MAX = 8;

export class DropEntry {
  readonly #connections: Connections;
  readonly #ending: Ending;
  readonly #random: Random;
  /** by packets: how many more such connections stay until one goes */
  readonly #counters = new Int32Array(PACKETS_MAX + 1);

  constructor(connections: Connections, ending: Ending, random: Random) {
    this.#connections = connections;
    this.#ending = ending;
    this.#random = random;
  }

  /** Returns how many it has ended. */
  sweep(now: number): number {
    const connections = this.#connections;
    const { highWater, expires } = connections;
    let ended = 0;
    for (let looks = Math.ceil(highWater / SHARE); looks > 0; looks--) {
      const connection = this.#random.below(highWater);
      if (expires[connection] === 0) continue;
      ended += connections.locked(() => {
        // Another engine may have ended it in between.
        if (expires[connection] === 0 || !this.#goes(connection, now)) return 0;
        // At once, and a template that nobody was let in by goes along (ip_vs_conn_del).
        connections.records[connections.at(connection) + TIMEOUT] = 0;
        this.#ending.end(connection);
        return 1;
      });
    }
    return ended;
  }

  #goes(connection: number, now: number): boolean {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const kind = records[at + KIND]!;
    if ((kind & KIND_TEMPLATE) !== 0) return false;
    const state = records[at + STATE]! & STATE_MASK;
    switch (protocolOf(kind)) {
      case tcp.PROTOCOL:
        if (state === TCP_STATE.synReceived || state === TCP_STATE.synAck) return true;
        return state === TCP_STATE.established && this.#isIdle(connection, now);
      case sctp.PROTOCOL:
        if (state === SCTP_STATE.init1 || state === SCTP_STATE.init) return true;
        return state === SCTP_STATE.established && this.#isIdle(connection, now);
      default:
        return this.#isIdle(connection, now);
    }
  }

  /** And its turn has come (todrop_entry). */
  #isIdle(connection: number, now: number): boolean {
    const { records, expires } = this.#connections;
    const at = this.#connections.at(connection);
    const idle = (now - ((expires[connection]! - records[at + TIMEOUT]!) | 0)) | 0;
    const packets = records[at + PACKETS]!;
    if (idle < IDLE_TICKS || packets < 1 || packets > PACKETS_MAX) return false;
    if (--this.#counters[packets]! > 0) return false;
    this.#counters[packets] = packets;
    return true;
  }
}
