/**
 * The director: for each packet, the connection that it belongs to, or a new one to the destination that the
 * service's scheduler picks; then the packet is rewritten (masquerading, ip_vs_nat_xmit) and goes on. Any engine's
 * director may see either direction: what it knows of a connection is in the shared table.
 */
import type { Path } from '../core/path.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import {
  CLIENT_PORTS,
  type Connections,
  DESTINATION,
  FLAG_ACTIVE,
  FLAG_NO_REPLY_YET,
  FLAG_REPLIES,
  KIND,
  KIND_DESTINATION_IPV6,
  NO_CONNECTION,
  PACKETS,
  ROW,
  SERVICE,
  STATE,
  TICKS_PER_SECOND,
  TIMEOUT,
  type Tuple,
  VIRTUAL,
} from './connections.js';
import type { Destination, DestinationCounts } from './destination.js';
import { TO_CLIENT, TO_SERVER, translateError } from './icmp.js';
import { rewriteDestination4, rewriteDestination6, rewriteSource4, rewriteSource6 } from './nat.js';
import { type Ends, noEnds, type Parsed, turn, WHOLE } from './packet.js';
import type { Flow } from './schedulers/scheduler.js';
import type { Service, Services } from './service.js';
import { chunkType, INPUT, isActive, nextSctp, nextTcp, OUTPUT, type Timeouts, UDP_STATE } from './states.js';

/** What became of a packet. */
export const PASS = 0; // it belongs to no service: as if there were no director
export const SEND = 1; // rewritten, to be routed anew
export const DROPPED = 2; // ended, and counted
export const NO_DESTINATION = 3; // nobody serves it: its sender shall be told
export const TABLE_FULL = 4; // no room for another connection

export type Verdict = typeof PASS | typeof SEND | typeof DROPPED | typeof NO_DESTINATION | typeof TABLE_FULL;

export interface DirectorParts {
  path: Path;
  services: Services;
  connections: Connections;
  counts: DestinationCounts;
  /** the virtual server's own, for connections whose service is gone */
  timeouts: Timeouts;
}

const STATE_MASK = 0xff;

export class Director {
  /** TCP connections may begin with any packet (net.ipv4.vs.sloppy_tcp) */
  sloppyTcp = false;
  /** the tables of an attack are in force (secure_tcp) */
  secureTcp = false;
  /** milliseconds on the engine's clock; the engine sets it once a turn */
  nowMs = 0;

  readonly #path: Path;
  readonly #services: Services;
  readonly #connections: Connections;
  readonly #counts: DestinationCounts;
  readonly #timeouts: Timeouts;
  /** the packet in hand, as the table and the schedulers see it */
  readonly #flow: Tuple & Flow;
  readonly #turned = noEnds();

  constructor({ path, services, connections, counts, timeouts }: DirectorParts) {
    this.#path = path;
    this.#services = services;
    this.#connections = connections;
    this.#counts = counts;
    this.#timeouts = timeouts;
    this.#flow = {
      ...{ family: 4, protocol: 0, ports: 0, sourcePort: 0, targetPort: 0 },
      ...{ source0: 0, source1: 0, source2: 0, source3: 0 },
      ...{ target0: 0, target1: 0, target2: 0, target3: 0 },
    };
  }

  get #nowTicks(): number {
    return Math.floor((this.nowMs * TICKS_PER_SECOND) / 1000) | 0;
  }

  /** @param parsed what was read from the packet (packet.ts) */
  balance(packet: number, parsed: Parsed): Verdict {
    const { protocol } = parsed;
    if (protocol !== tcp.PROTOCOL && protocol !== udp.PROTOCOL && protocol !== sctp.PROTOCOL) return PASS;
    if (parsed.fragment !== WHOLE) return PASS;
    this.#read(protocol, parsed);
    const found = this.#connections.find(this.#flow);
    if (found !== NO_CONNECTION) return this.#carry(packet, parsed, found);

    const service = this.#services.find(parsed);
    if (service === undefined || !this.#mayBegin(parsed)) return PASS;
    const destination = service.scheduler.pick(this.#flow, this.nowMs);
    if (destination === undefined) return NO_DESTINATION;
    const connection = this.#begin(service, destination);
    return connection === NO_CONNECTION ? TABLE_FULL : this.#carry(packet, parsed, connection);
  }

  /**
   * An ICMP error about a packet of a connection goes on to whom that packet came from, and speaks of it as that
   * end knows it (ip_vs_nat_icmp). The state of the connection stays.
   * @param quoted what was read of the packet that it is about
   */
  translate(packet: number, outer: Parsed, quoted: Parsed): Verdict {
    turn(quoted, this.#turned);
    this.#read(quoted.protocol, this.#turned);
    const found = this.#connections.find(this.#flow);
    if (found === NO_CONNECTION) return PASS;
    const { records } = this.#connections;
    const at = this.#connections.at(found >> 1);
    const { pool } = this.#path;
    if ((found & 1) !== 0) {
      const port = records[at + CLIENT_PORTS]! & 0xffff;
      translateError(pool, packet, outer, quoted, TO_CLIENT, ...words(records, at + VIRTUAL), port);
    } else {
      const port = records[at + KIND]! >>> 16;
      translateError(pool, packet, outer, quoted, TO_SERVER, ...words(records, at + DESTINATION), port);
    }
    return SEND;
  }

  /** Ends the connections that have run out; the engine calls it once a second, on one engine. */
  expire(): number {
    const connections = this.#connections;
    const now = this.#nowTicks;
    let ended = 0;
    for (let at = connections.nextExpired(0, now); at >= 0; at = connections.nextExpired(at + 1, now)) {
      connections.locked(() => {
        // A packet may have come in between.
        if (connections.nextExpired(at, now) !== at) return;
        this.#end(at);
        ended++;
      });
    }
    return ended;
  }

  #read(protocol: number, ends: Ends): void {
    const flow = this.#flow;
    flow.source0 = ends.source0;
    flow.source1 = ends.source1;
    flow.source2 = ends.source2;
    flow.source3 = ends.source3;
    flow.target0 = ends.destination0;
    flow.target1 = ends.destination1;
    flow.target2 = ends.destination2;
    flow.target3 = ends.destination3;
    flow.sourcePort = ends.sourcePort;
    flow.targetPort = ends.destinationPort;
    flow.ports = (ends.sourcePort << 16) | ends.destinationPort;
    flow.protocol = protocol;
    flow.family = ends.family;
  }

  /** Whether a connection may begin with the packet: TCP with a SYN alone (tcp_conn_schedule), SCTP with an INIT. */
  #mayBegin(parsed: Parsed): boolean {
    if (parsed.protocol === tcp.PROTOCOL) {
      const { flags } = parsed;
      return (flags & tcp.RST) === 0 && (this.sloppyTcp || (flags & (tcp.SYN | tcp.ACK)) === tcp.SYN);
    }
    return parsed.protocol !== sctp.PROTOCOL || chunkType(this.#path.pool, parsed) === sctp.INIT;
  }

  /** A connection of the packet just read; another engine may have made it in between. As `Connections.find`. */
  #begin(service: Service, destination: Destination): number {
    const connections = this.#connections;
    const tuple = this.#flow;
    return connections.locked(() => {
      const known = connections.find(tuple);
      if (known !== NO_CONNECTION) return known;
      const { spec } = destination;
      const connection = connections.take(tuple, spec.family === 6 ? KIND_DESTINATION_IPV6 : 0);
      if (connection === NO_CONNECTION) return NO_CONNECTION;
      const { records } = connections;
      const at = connections.at(connection);
      for (let i = 0; i < 4; i++) records[at + DESTINATION + i] = spec.address[i]!;
      const port = spec.port === 0 ? tuple.ports & 0xffff : spec.port;
      records[at + KIND]! |= port << 16;
      records[at + STATE] = FLAG_REPLIES | FLAG_NO_REPLY_YET;
      records[at + SERVICE] = service.spec.index;
      records[at + ROW] = spec.row;
      records[at + TIMEOUT] = this.#ticks(service.timeouts, tuple.protocol, 0);
      this.#counts.addInactive(spec.row, 1);
      destination.weigh();
      connections.publish(connection, tuple, this.#nowTicks + records[at + TIMEOUT]!);
      return connection * 2;
    });
  }

  /** A packet of a connection: state, time, addresses. */
  #carry(packet: number, parsed: Parsed, reference: number): Verdict {
    const { pool } = this.#path;
    const { records } = this.#connections;
    const connection = reference >> 1;
    const at = this.#connections.at(connection);
    const reply = (reference & 1) !== 0;
    this.#advance(at, parsed, reply);
    this.#connections.touch(connection, this.#nowTicks);
    if (!reply) records[at + PACKETS]!++;
    const port = reply ? records[at + CLIENT_PORTS]! & 0xffff : records[at + KIND]! >>> 16;
    const end = at + (reply ? VIRTUAL : DESTINATION);
    const a = records[end]!;
    let reason: number;
    if (parsed.family === 4) {
      const rewrite = reply ? rewriteSource4 : rewriteDestination4;
      reason = rewrite(pool, packet, parsed, a, port);
    } else {
      const rewrite = reply ? rewriteSource6 : rewriteDestination6;
      const [b, c, d] = [records[end + 1]!, records[end + 2]!, records[end + 3]!];
      reason = rewrite(pool, packet, parsed, a, b, c, d, port);
    }
    if (reason === 0) return SEND;
    this.#path.drop(packet, reason);
    return DROPPED;
  }

  /** The state after the packet; two engines may be at it at once, so a change is made only to what was read. */
  #advance(at: number, parsed: Parsed, reply: boolean): void {
    const { records } = this.#connections;
    for (;;) {
      const before = records[at + STATE]!;
      const state = before & STATE_MASK;
      const next = this.#next(state, parsed, reply);
      const active = isActive(parsed.protocol, next);
      let after = (before & ~(STATE_MASK | FLAG_ACTIVE)) | next | (active ? FLAG_ACTIVE : 0);
      if (reply) after &= ~FLAG_NO_REPLY_YET;
      if (after === before) return;
      if (Atomics.compareExchange(records, at + STATE, before, after) !== before) continue;
      if (next !== state) {
        const service = this.#services.at(records[at + SERVICE]!);
        const timeouts = service?.timeouts ?? this.#timeouts;
        records[at + TIMEOUT] = this.#ticks(timeouts, parsed.protocol, next);
      }
      if (((before ^ after) & FLAG_ACTIVE) !== 0) this.#count(records[at + ROW]!, active ? 1 : -1);
      return;
    }
  }

  #next(state: number, parsed: Parsed, reply: boolean): number {
    const direction = reply ? OUTPUT : INPUT;
    if (parsed.protocol === tcp.PROTOCOL) return nextTcp(direction, state, parsed.flags, this.secureTcp);
    if (parsed.protocol === udp.PROTOCOL) return UDP_STATE;
    const chunk = chunkType(this.#path.pool, parsed);
    return chunk < 0 ? state : nextSctp(direction, state, chunk);
  }

  /** An inactive connection became active (1), or the other way round (-1). */
  #count(row: number, active: 1 | -1): void {
    this.#counts.addActive(row, active);
    this.#counts.addInactive(row, -active);
  }

  #ticks(timeouts: Timeouts, protocol: number, state: number): number {
    return Math.ceil((timeouts.milliseconds(protocol, state) * TICKS_PER_SECOND) / 1000);
  }

  /** Under the lock. */
  #end(connection: number): void {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const row = records[at + ROW]!;
    if ((records[at + STATE]! & FLAG_ACTIVE) !== 0) this.#counts.addActive(row, -1);
    else this.#counts.addInactive(row, -1);
    this.#services.destinationAt(row)?.weigh();
    this.#connections.remove(connection);
  }
}

function words(records: Int32Array, at: number): [number, number, number, number] {
  return [records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!];
}
