/** How a connection begins: whether the packet may begin one, and at which destination (ip_vs_schedule). */
import type { Pool } from '../core/pool.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import {
  type Connections,
  DESTINATION,
  FLAG_NO_REPLY_YET,
  FLAG_REPLIES,
  KIND,
  KIND_DESTINATION_IPV6,
  NO_CONNECTION,
  OWNER,
  ownerOf,
  STATE,
  TICKS_PER_SECOND,
  TIMEOUT,
} from './connections.js';
import { type Gate, OPEN } from './defence/gate.js';
import type { Destination, DestinationCounts } from './destination.js';
import type { PacketFlow } from './flow.js';
import type { Parsed } from './packet.js';
import { ticksOf } from './progress.js';
import type { Service, Services } from './service.js';
import { chunkType } from './states.js';
import { BARRED, NO_DESTINATION, PASS, TABLE_FULL, type Verdict } from './verdict.js';

export class Scheduling {
  /** TCP connections may begin with any packet (net.ipv4.vs.sloppy_tcp) */
  sloppyTcp = false;
  /** what becomes of the packet for which `begin` made no connection */
  verdict: Verdict = PASS;
  /** BARRED: the reason to drop it */
  reason = 0;

  readonly #pool: Pool;
  readonly #services: Services;
  readonly #connections: Connections;
  readonly #counts: DestinationCounts;
  readonly #gate: Gate;

  constructor(
    pool: Pool,
    services: Services,
    connections: Connections,
    counts: DestinationCounts,
    gate: Gate,
  ) {
    this.#pool = pool;
    this.#services = services;
    this.#connections = connections;
    this.#counts = counts;
    this.#gate = gate;
  }

  /** A connection for the packet, as `Connections.find` gives it; NO_CONNECTION: `verdict` says why. */
  begin(parsed: Parsed, flow: PacketFlow, nowMs: number): number {
    const service = this.#services.find(parsed, flow.network);
    if (service === undefined || !this.#mayBegin(parsed)) return this.#none(PASS);
    if (service.spec.defence !== undefined) {
      this.reason = this.#gate.bars(service, flow, nowMs);
      if (this.reason !== OPEN) return this.#none(BARRED);
    }
    const destination = service.scheduler.pick(flow, nowMs);
    if (destination === undefined) return this.#none(NO_DESTINATION);
    const connection = this.#enter(service, destination, flow, nowMs);
    return connection === NO_CONNECTION ? this.#none(TABLE_FULL) : connection;
  }

  #none(verdict: Verdict): typeof NO_CONNECTION {
    this.verdict = verdict;
    return NO_CONNECTION;
  }

  /** Whether a connection may begin with the packet: TCP with a SYN alone (tcp_conn_schedule), SCTP with an INIT. */
  #mayBegin(parsed: Parsed): boolean {
    if (parsed.protocol === tcp.PROTOCOL) {
      const { flags } = parsed;
      return (flags & tcp.RST) === 0 && (this.sloppyTcp || (flags & (tcp.SYN | tcp.ACK)) === tcp.SYN);
    }
    return parsed.protocol !== sctp.PROTOCOL || chunkType(this.#pool, parsed) === sctp.INIT;
  }

  /** Another engine may have made it in between. */
  #enter(service: Service, destination: Destination, flow: PacketFlow, nowMs: number): number {
    const connections = this.#connections;
    return connections.locked(() => {
      const known = connections.find(flow);
      if (known !== NO_CONNECTION) return known;
      const { spec } = destination;
      const connection = connections.take(flow, spec.family === 6 ? KIND_DESTINATION_IPV6 : 0);
      if (connection === NO_CONNECTION) return NO_CONNECTION;
      const { records } = connections;
      const at = connections.at(connection);
      for (let i = 0; i < 4; i++) records[at + DESTINATION + i] = spec.address[i]!;
      const port = spec.port === 0 ? flow.targetPort : spec.port;
      records[at + KIND]! |= port << 16;
      records[at + STATE] = FLAG_REPLIES | FLAG_NO_REPLY_YET;
      records[at + OWNER] = ownerOf(service.spec.index, spec.row);
      records[at + TIMEOUT] = ticksOf(service.timeouts, flow.protocol, 0);
      this.#counts.addInactive(spec.row, 1);
      destination.weigh();
      const now = Math.floor((nowMs * TICKS_PER_SECOND) / 1000) | 0;
      connections.publish(connection, flow, now + records[at + TIMEOUT]!);
      return connection * 2;
    });
  }
}
