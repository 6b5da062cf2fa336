/**
 * How a connection begins: whether the packet may begin one, and at which destination (ip_vs_schedule). Where none is
 * kept, or there is no room for it, how the packet goes on without (stateless.ts).
 */
import { drop } from '../core/drops.js';
import type { Pool } from '../core/pool.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { CallsOut } from './calls-out.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import { type Gate, OPEN } from './defence/gate.js';
import type { Destination, DestinationCounts } from './destination.js';
import type { Extras } from './extras.js';
import type { PacketFlow } from './flow.js';
import { type Parsed, WHOLE } from './packet.js';
import { Persistence } from './persistence.js';
import type { Pressure } from './pressure.js';
import { ticksOf } from './progress.js';
import {
  FLAG_NO_REPLY_YET,
  FLAG_REPLIES,
  FLAG_RESET_ON_EXPIRY,
  kindOf,
  OWNER,
  ownerOf,
  STATE,
  setDestination,
  TIMEOUT,
  ticksAt,
} from './record.js';
import { FTP_PORT, type Service, type Services } from './service.js';
import type { Stateless } from './stateless.js';
import { chunkType } from './states.js';
import type { Traffic } from './traffic.js';
import { BARRED, NO_DESTINATION, PASS, PROXY, TABLE_FULL, type Verdict } from './verdict.js';

/** What else is done to a connection before anybody finds it. */
export interface Preparation {
  /** under the lock */
  prepare(connection: number): void;
}

export interface SchedulingParts {
  pool: Pool;
  services: Services;
  connections: Connections;
  counts: DestinationCounts;
  gate: Gate;
  pressure: Pressure;
  stateless: Stateless;
  extras: Extras;
  traffic: Traffic;
}

export class Scheduling {
  /** TCP connections may begin with any packet (net.ipv4.vs.sloppy_tcp) */
  sloppyTcp = false;
  /** what becomes of the packet for which `begin` made no connection */
  verdict: Verdict = PASS;
  /** BARRED: the reason to drop it */
  reason = 0;
  /** PROXY: the service that it is for */
  service: Service | undefined;

  readonly #pool: Pool;
  readonly #services: Services;
  readonly #connections: Connections;
  readonly #counts: DestinationCounts;
  readonly #gate: Gate;
  readonly persistence: Persistence;
  readonly #pressure: Pressure;
  readonly #traffic: Traffic;
  readonly #stateless: Stateless;
  readonly #callsOut: CallsOut;

  constructor(parts: SchedulingParts) {
    const { pool, services, connections, counts, gate, pressure, stateless, extras, traffic } = parts;
    this.persistence = new Persistence(pool, connections, extras, services, counts);
    this.#callsOut = new CallsOut(services);
    this.#pool = pool;
    this.#services = services;
    this.#connections = connections;
    this.#counts = counts;
    this.#gate = gate;
    this.#pressure = pressure;
    this.#traffic = traffic;
    this.#stateless = stateless;
  }

  /** A connection for the packet, as `Connections.find` gives it; NO_CONNECTION: `verdict` says why. */
  begin(parsed: Parsed, flow: PacketFlow, nowMs: number): number {
    const service = this.#services.find(parsed, flow.network);
    const now = ticksAt(nowMs);
    if (service === undefined) return this.#beginOut(parsed, flow, nowMs, now);
    const proxied = service.spec.defence?.synProxy === true && parsed.protocol === tcp.PROTOCOL;
    const flooded = !proxied && this.#stateless.isBypassed(service, now);
    if (!proxied && !this.#mayBegin(parsed)) {
      return flooded ? this.#without(service, parsed, flow, now) : this.#none(PASS);
    }
    if (isFtpData(service, flow) && service.spec.persistence === undefined) return this.#none(PASS);
    if (service.spec.defence !== undefined) {
      // The SYN proxy counts the sources that it has proof of.
      this.reason = proxied ? this.#gate.barsSource(service, flow) : this.#gate.bars(service, flow, nowMs);
      if (this.reason !== OPEN) return this.#none(BARRED);
    }
    this.service = service;
    return proxied ? this.#none(PROXY) : this.#schedule(service, parsed, flow, nowMs, flooded, undefined);
  }

  /** The same for a packet that may begin one, which can't go without. */
  schedule(
    service: Service,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
    preparation: Preparation,
  ): number {
    return this.#schedule(service, parsed, flow, nowMs, false, preparation);
  }

  #schedule(
    service: Service,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
    flooded: boolean,
    preparation: Preparation | undefined,
  ): number {
    if (this.#pressure.dropsPacket()) {
      this.reason = drop['connections-scarce'];
      return this.#none(BARRED);
    }
    const persistent = service.spec.persistence !== undefined;
    const destination = persistent ? undefined : this.#pick(service, flow, nowMs, flooded);
    if (destination === undefined && !persistent) return this.#none(NO_DESTINATION);
    const connection = goesAlone(service, parsed)
      ? this.#once(service, destination, parsed, flow, nowMs)
      : this.#enter(service, destination, parsed, flow, nowMs, preparation);
    if (connection !== NO_CONNECTION) return connection;
    const verdict = persistent ? this.persistence.verdict : TABLE_FULL;
    if (verdict === TABLE_FULL && preparation === undefined) {
      return this.#without(service, parsed, flow, ticksAt(nowMs));
    }
    if (verdict === BARRED) this.reason = drop['no-call-id'];
    // It may be for somebody else at the address (ip_vs_leave).
    return this.#none(verdict === NO_DESTINATION && isFtpData(service, flow) ? PASS : verdict);
  }

  /** While flows are under way without a connection, a new connection goes where its flow would have gone. */
  #pick(service: Service, flow: PacketFlow, nowMs: number, flooded: boolean): Destination | undefined {
    const hashed = flooded ? this.#stateless.hashed(service, flow) : undefined;
    return hashed === undefined || hashed.overloaded ? service.scheduler.pick(flow, nowMs) : hashed;
  }

  /** The packet goes without a connection. Later fragments would not find the way, so a fragment doesn't. */
  #without(service: Service, parsed: Parsed, flow: PacketFlow, now: number): number {
    if (parsed.fragment !== WHOLE) return this.#none(TABLE_FULL);
    return this.#or(this.#stateless.bypass(service, flow, now), TABLE_FULL);
  }

  #or(reference: number, verdict: Verdict): number {
    return reference === NO_CONNECTION ? this.#none(verdict) : reference;
  }

  /** The datagram alone goes to the destination, undefined: to where its client's template says. */
  #once(
    service: Service,
    picked: Destination | undefined,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
  ): number {
    const destination = picked ?? this.#persistent(service, parsed, flow, nowMs);
    if (destination === undefined) return NO_CONNECTION;
    this.#traffic.countConnection(destination.row);
    return this.#stateless.to(service, destination, flow);
  }

  /** Where the client's template says, if that is the `caller`. */
  #persistent(
    service: Service,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
    caller?: Destination | undefined,
  ): Destination | undefined {
    return this.#connections.locked(() => {
      const template = this.persistence.templateOf(service, parsed, flow, nowMs, caller);
      if (template === NO_CONNECTION) return undefined;
      this.#connections.touch(template, ticksAt(nowMs));
      return this.persistence.destinationOf(template);
    });
  }

  /** The same of a packet that is for no service: of a call that a server begins, or an answer without a connection. */
  #beginOut(parsed: Parsed, flow: PacketFlow, nowMs: number, now: number): number {
    const out = this.#callsOut;
    if (this.#services.calling.length > 0 && out.find(parsed, flow.network)) {
      const service = out.service!;
      if (goesAlone(service, parsed)) this.#persistent(service, parsed, out.flow, nowMs, out.destination);
      else {
        const connection = this.#enter(
          service,
          undefined,
          parsed,
          out.flow,
          nowMs,
          undefined,
          out.destination,
        );
        if (connection !== NO_CONNECTION) return connection | 1;
      }
    }
    return parsed.fragment === WHOLE ? this.#or(this.#stateless.from(flow, now), PASS) : this.#none(PASS);
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

  /** Another engine may have made it in between. @param picked undefined: where its client's template says, if that is the `caller` */
  #enter(
    service: Service,
    picked: Destination | undefined,
    parsed: Parsed,
    flow: PacketFlow,
    nowMs: number,
    preparation: Preparation | undefined,
    caller?: Destination | undefined,
  ): number {
    const connections = this.#connections;
    return connections.locked(() => {
      const known = connections.find(flow);
      if (known !== NO_CONNECTION) return known;
      const template =
        picked === undefined ? this.persistence.templateOf(service, parsed, flow, nowMs, caller) : -1;
      const destination = picked ?? this.persistence.destinationOf(template);
      if (destination === undefined) return NO_CONNECTION;
      const { spec } = destination;
      const connection = connections.take(flow, kindOf(spec));
      if (connection === NO_CONNECTION) return NO_CONNECTION;
      const { records } = connections;
      const at = connections.at(connection);
      // Of a persistent service only what came to its own port goes to the destination's (ip_vs_sched_persist).
      const keeps = spec.port === 0 || (picked === undefined && flow.targetPort !== service.spec.port);
      setDestination(records, at, spec.address, keeps ? flow.targetPort : spec.port);
      const told = service.spec.resetOnExpiry === true && flow.protocol === tcp.PROTOCOL;
      // Only what is masqueraded is answered through here.
      const replies = spec.forward === 'nat' ? FLAG_REPLIES : 0;
      records[at + STATE] = replies | FLAG_NO_REPLY_YET | (told ? FLAG_RESET_ON_EXPIRY : 0);
      records[at + OWNER] = ownerOf(service.spec.index, spec.row);
      records[at + TIMEOUT] = ticksOf(service.timeouts, flow.protocol, 0);
      this.#counts.addInactive(spec.row, 1);
      this.#traffic.countConnection(spec.row);
      destination.weigh();
      preparation?.prepare(connection);
      const now = ticksAt(nowMs);
      if (template >= 0) this.persistence.join(connection, template, now);
      connections.publish(connection, flow, now + records[at + TIMEOUT]!);
      return connection * 2;
    });
  }
}

/** To another port of a service of FTP's: what its data connections may be. */
const isFtpData = (service: Service, flow: PacketFlow): boolean =>
  service.spec.port === FTP_PORT && flow.targetPort !== FTP_PORT;

/** The service keeps no connection for the datagram. Later fragments would not find the way without one. */
const goesAlone = ({ spec }: Service, { protocol, fragment }: Parsed): boolean =>
  spec.onePacket === true && protocol === udp.PROTOCOL && fragment === WHOLE;
