/**
 * Whether a packet of the client ends the connection that it was found to belong to (ip_vs_in): it begins another on the same
 * ports, or the destination is gone.
 *
 * A destination of weight 0 isn't gone: its connections go on. Nor do those of a removed one end by themselves: unlike
 * IPVS, which drops their packets, this director lets them finish unless it is told otherwise.
 */
import type { Pool } from '../core/pool.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import type { Connections } from './connections.js';
import type { Destination } from './destination.js';
import type { Parsed } from './packet.js';
import { FLAG_NO_REPLY_YET, rowOf, STATE, STATE_MASK, serviceOf, TEMPLATE } from './record.js';
import type { Services } from './service.js';
import type { Settings } from './settings.js';
import { chunkType, SCTP_STATE, TCP_STATE } from './states.js';

/** What becomes of the connection. */
export const GOES_ON = 0;
/** it ends, and the packet is as one of no connection */
export const ANEW = 1;
/** it ends, and both ends are told */
export const RESET = 2;

export type Renewed = typeof GOES_ON | typeof ANEW | typeof RESET;

export class Renewal {
  settings: Settings;
  readonly #pool: Pool;
  readonly #connections: Connections;
  readonly #services: Services;

  constructor(pool: Pool, connections: Connections, services: Services, settings: Settings) {
    this.#pool = pool;
    this.#connections = connections;
    this.#services = services;
    this.settings = settings;
  }

  /** @param at of the connection's record; the packet is the client's */
  judge(at: number, parsed: Parsed): Renewed {
    const destination = this.#services.destinationAt(rowOf(this.#connections.records, at));
    const begins = this.#begins(parsed);
    if (destination?.removed === true && this.#isForsaken(at)) {
      return parsed.protocol === tcp.PROTOCOL && !begins ? RESET : ANEW;
    }
    return begins && this.#isOver(at, parsed.protocol, destination) ? ANEW : GOES_ON;
  }

  /** Whether it is the first packet of a connection (is_new_conn). */
  #begins(parsed: Parsed): boolean {
    if (parsed.protocol === tcp.PROTOCOL) return (parsed.flags & tcp.SYN) !== 0;
    return parsed.protocol === sctp.PROTOCOL && chunkType(this.#pool, parsed) === sctp.INIT;
  }

  #isForsaken(at: number): boolean {
    if (this.settings.expireNodestConn) return true;
    const service = this.#services.at(serviceOf(this.#connections.records, at));
    return service?.spec.rescheduleRemoved === true;
  }

  /** Whether another may begin in its place (is_new_conn_expected). */
  #isOver(at: number, protocol: number, destination: Destination | undefined): boolean {
    const { connReuseMode, expireNodestConn } = this.settings;
    if (connReuseMode === 0) return false;
    if (expireNodestConn && destination?.spec.weight === 0) return true;
    const { records } = this.#connections;
    if (records[at + TEMPLATE] !== 0) return false;
    const flags = records[at + STATE]!;
    const state = flags & STATE_MASK;
    if (protocol === sctp.PROTOCOL) return state === SCTP_STATE.closed;
    if (state === TCP_STATE.timeWait || state === TCP_STATE.close) return true;
    const unanswered = (flags & FLAG_NO_REPLY_YET) !== 0;
    return (connReuseMode & 2) !== 0 && state === TCP_STATE.finWait && unanswered;
  }
}
