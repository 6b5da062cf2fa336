/** How a connection goes on: its state after each packet, how long it may be idle in it, whether it counts as active. */
import type { Pool } from '../core/pool.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import type { Connections } from './connections.js';
import type { DestinationCounts } from './destination.js';
import { Faults } from './faults.js';
import type { Parsed } from './packet.js';
import { assure } from './persistence.js';
import {
  FLAG_ACTIVE,
  FLAG_NO_REPLY_YET,
  rowOf,
  STATE,
  STATE_MASK,
  serviceOf,
  TICKS_PER_SECOND,
  TIMEOUT,
  UNANSWERED,
} from './record.js';
import type { Services } from './service.js';
import {
  chunkType,
  type Direction,
  INPUT,
  INPUT_ONLY,
  isActive,
  isOpen,
  nextSctp,
  nextTcp,
  OUTPUT,
  SCTP_STATE,
  TCP_STATE,
  type Timeouts,
  UDP_STATE,
} from './states.js';

export class Progress {
  /** the tables of an attack are in force (secure_tcp) */
  secureTcp = false;

  readonly #pool: Pool;
  readonly #connections: Connections;
  readonly #services: Services;
  readonly #counts: DestinationCounts;
  readonly #timeouts: Timeouts;
  readonly #faults: Faults;

  /** @param timeouts the virtual server's own, for connections whose service is gone */
  constructor(
    pool: Pool,
    connections: Connections,
    services: Services,
    counts: DestinationCounts,
    timeouts: Timeouts,
  ) {
    this.#pool = pool;
    this.#connections = connections;
    this.#services = services;
    this.#counts = counts;
    this.#timeouts = timeouts;
    this.#faults = new Faults(connections, counts);
  }

  /** The state after the packet; two engines may be at it at once, so a change is made only to what was read. */
  advance(at: number, parsed: Parsed, reply: boolean): void {
    const { records } = this.#connections;
    for (;;) {
      const before = records[at + STATE]!;
      const state = before & STATE_MASK;
      // Who doesn't masquerade sees one side only (set_tcp_state, IP_VS_CONN_F_NOOUTPUT).
      const oneSided = (before & UNANSWERED) === FLAG_NO_REPLY_YET;
      const next = this.#next(state, parsed, reply ? OUTPUT : oneSided ? INPUT_ONLY : INPUT);
      const active = isActive(parsed.protocol, next);
      let after = (before & ~(STATE_MASK | FLAG_ACTIVE)) | next | (active ? FLAG_ACTIVE : 0);
      if (reply) after &= ~FLAG_NO_REPLY_YET;
      if (after === before) return;
      if (Atomics.compareExchange(records, at + STATE, before, after) !== before) continue;
      if (next !== state) {
        if (reply) this.#faults.replied(at, parsed, state);
        const service = this.#services.at(serviceOf(records, at));
        records[at + TIMEOUT] = ticksOf(service?.timeouts ?? this.#timeouts, parsed.protocol, next);
      }
      if (next !== state ? isOpen(parsed.protocol, next) : reply && parsed.protocol === udp.PROTOCOL) {
        assure(this.#connections, at);
      }
      if (((before ^ after) & FLAG_ACTIVE) !== 0) this.#count(rowOf(records, at), active ? 1 : -1);
      return;
    }
  }

  #next(state: number, parsed: Parsed, direction: Direction): number {
    if (parsed.protocol === tcp.PROTOCOL) return nextTcp(direction, state, parsed.flags, this.secureTcp);
    if (parsed.protocol === udp.PROTOCOL) return UDP_STATE;
    const chunk = chunkType(this.#pool, parsed);
    return chunk < 0 ? state : nextSctp(direction, state, chunk);
  }

  /** An inactive connection became active (1), or the other way round (-1). */
  #count(row: number, active: 1 | -1): void {
    this.#counts.addActive(row, active);
    this.#counts.addInactive(row, -active);
  }
}

/** Ticks that an open connection lasts after its last packet. */
export function idleTicks(timeouts: Timeouts, protocol: number): number {
  const open = protocol === tcp.PROTOCOL ? TCP_STATE.established : SCTP_STATE.established;
  return ticksOf(timeouts, protocol, open);
}

/** Ticks that a connection lasts in the state. */
export function ticksOf(timeouts: Timeouts, protocol: number, state: number): number {
  return Math.ceil((timeouts.milliseconds(protocol, state) * TICKS_PER_SECOND) / 1000);
}
