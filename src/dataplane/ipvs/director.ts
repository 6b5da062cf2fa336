/**
 * The director: for each packet, the connection that it belongs to, or a new one to the destination that the
 * service's scheduler picks; then the packet goes on. Any engine's director may see either direction: what it knows
 * of a connection is in the shared table.
 *
 *     balance     find → renewal.judge; or expectations.meet, scheduling.begin → progress.advance → ftp → forwarding.send
 *     later       fragments.follow → forwarding.send
 *     translate   find → forwarding.sendError
 *     expire      ending.expire, dropEntry.sweep
 *
 * What it sends of its own waits in `resets.answers`.
 */
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { Random } from '../core/random.js';
import * as tcp from '../wire/tcp.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import { Gate } from './defence/gate.js';
import type { DefenceMemory } from './defence/memory.js';
import { SynProxy } from './defence/syn-proxy.js';
import type { DestinationCounts } from './destination.js';
import { DropEntry } from './drop-entry.js';
import { Ending } from './ending.js';
import { Expectations } from './expectations.js';
import type { Extras } from './extras.js';
import { Faults } from './faults.js';
import { noFlow, type PacketFlow, readFlow } from './flow.js';
import { Forwarding } from './forwarding.js';
import { FragmentWay } from './fragment-way.js';
import { FtpHelper } from './ftp-helper.js';
import { Latency } from './latency.js';
import { isDirected, LATER_FRAGMENT, noEnds, type Parsed, turn, WHOLE } from './packet.js';
import { Pressure } from './pressure.js';
import { Progress } from './progress.js';
import {
  FLAG_OPENING,
  FLAG_PROXIED,
  FLAG_RESET_ON_EXPIRY,
  HOST_SIDE,
  PACKETS,
  rowOf,
  STATE,
  ticksAt,
} from './record.js';
import { GOES_ON, RESET, Renewal } from './renewal.js';
import { Resets } from './resets.js';
import { Scheduling } from './scheduling.js';
import type { Services } from './service.js';
import { DEFAULTS, type Settings } from './settings.js';
import { Stateless } from './stateless.js';
import type { Timeouts } from './states.js';
import type { Traffic } from './traffic.js';
import { BARRED, DROPPED, PASS, PROXY, SEND, type Verdict } from './verdict.js';
import { Ways } from './ways.js';

export interface DirectorParts {
  path: Path;
  services: Services;
  connections: Connections;
  extras: Extras;
  /** none: whatever isn't masqueraded is unreachable */
  ways?: Ways;
  counts: DestinationCounts;
  defence: DefenceMemory;
  /** this engine's own */
  traffic: Traffic;
  /** the virtual server's own, for connections whose service is gone */
  timeouts: Timeouts;
  /** of what is drawn at random */
  seed?: number;
}

export class Director {
  /** milliseconds on the engine's clock; the engine sets it once a turn */
  nowMs = 0;

  readonly scheduling: Scheduling;
  readonly progress: Progress;
  readonly forwarding: Forwarding;
  readonly fragments: FragmentWay;
  readonly resets: Resets;
  readonly #timeouts: Timeouts;
  readonly #pressure: Pressure;
  readonly #stateless: Stateless;
  readonly #renewal: Renewal;
  readonly #dropEntry: DropEntry;
  readonly #path: Path;
  readonly #connections: Connections;
  readonly #ending: Ending;
  readonly #expectations: Expectations;
  readonly #ftp: FtpHelper;
  readonly #faults: Faults;
  readonly #latency: Latency;
  readonly #traffic: Traffic;
  readonly #synProxy: SynProxy;
  readonly #flow = noFlow();
  readonly #turned = noEnds();

  constructor(parts: DirectorParts) {
    const { path, services, connections, extras, ways = new Ways() } = parts;
    const { counts, traffic, defence, timeouts, seed = 1 } = parts;
    this.#path = path;
    this.#connections = connections;
    this.#traffic = traffic;
    this.#timeouts = timeouts;
    this.#pressure = new Pressure(connections, DEFAULTS);
    const gate = new Gate(defence);
    const { pool, counters } = path;
    this.#stateless = new Stateless(services, connections, counts, counters);
    this.scheduling = new Scheduling({
      ...{ pool, services, connections, counts, gate, extras, traffic },
      ...{ pressure: this.#pressure, stateless: this.#stateless },
    });
    this.progress = new Progress(pool, connections, services, counts, timeouts);
    this.fragments = new FragmentWay(path, connections);
    this.forwarding = new Forwarding({ path, connections, ways });
    this.#faults = new Faults(connections, counts);
    this.#latency = new Latency(connections, counts);
    this.#renewal = new Renewal(pool, connections, services, DEFAULTS);
    this.resets = new Resets(path, connections);
    this.#ending = new Ending(connections, extras, services, counts, this.resets);
    this.#expectations = new Expectations({ ...parts, ending: this.#ending });
    this.#ftp = new FtpHelper(path, connections, extras, services, this.#expectations);
    this.#dropEntry = new DropEntry(connections, this.#ending, new Random(seed));
    const { scheduling, progress } = this;
    const made = this.resets.answers;
    this.#synProxy = new SynProxy({
      ...{ path, connections, services, scheduling, progress, gate, memory: defence, made },
    });
  }

  /** What control wants of the whole virtual server. Services take the timeouts when they are set next. */
  configure(settings: Settings): void {
    const { tcp, tcpFin, udp } = settings.timeouts;
    this.#timeouts.set(tcp, tcpFin, udp);
    this.scheduling.sloppyTcp = settings.sloppyTcp;
    this.scheduling.persistence.expireQuiescent = settings.expireQuiescentTemplate;
    this.#renewal.settings = settings;
    this.#pressure.settings = settings;
    this.progress.secureTcp = this.#pressure.secure;
  }

  /** Once a turn, before its packets. @param nowMs milliseconds on the engine's clock */
  beginTurn(nowMs: number): void {
    this.nowMs = nowMs;
    this.#pressure.refresh(nowMs);
    this.progress.secureTcp = this.#pressure.secure;
  }

  get #nowTicks(): number {
    return ticksAt(this.nowMs);
  }

  /**
   * @param parsed what was read from the packet (packet.ts)
   * @param network index of the overlay network that the packet is in
   */
  balance(packet: number, parsed: Parsed, network = HOST_SIDE): Verdict {
    if (parsed.fragment === LATER_FRAGMENT) return this.#follow(packet, parsed);
    const reference = this.#reference(parsed, network);
    if (parsed.fragment !== WHOLE) {
      this.fragments.decide(packet, parsed, reference, this.scheduling.verdict, this.nowMs);
    }
    if (reference === NO_CONNECTION) return this.#stranger(packet, parsed);
    return this.#carry(packet, parsed, reference);
  }

  /** Of the packet's connection, which begins with it if need be; NO_CONNECTION: `scheduling.verdict` says what is to be done. */
  #reference(parsed: Parsed, network: number): number {
    const { protocol } = parsed;
    if (!isDirected(protocol)) {
      this.scheduling.verdict = PASS;
      return NO_CONNECTION;
    }
    const flow = this.#flow;
    readFlow(flow, protocol, parsed, network);
    const reference = this.#connections.find(flow);
    if (reference !== NO_CONNECTION) {
      if ((reference & 1) !== 0) return reference;
      const renewed = this.#renewal.judge(this.#connections.at(reference >> 1), parsed);
      if (renewed === GOES_ON) return reference;
      if (renewed === RESET) return this.#reset(parsed, flow, reference);
      this.#end(flow, reference);
    }
    const expected = this.#expectations.meet(parsed, flow, this.#nowTicks);
    return expected === NO_CONNECTION ? this.scheduling.begin(parsed, flow, this.nowMs) : expected;
  }

  /** What may be an answer of a destination, where clients' own packets don't come; PASS: it is of no connection. */
  reply(packet: number, parsed: Parsed, network: number): Verdict {
    if (parsed.fragment === LATER_FRAGMENT) return this.#follow(packet, parsed);
    readFlow(this.#flow, parsed.protocol, parsed, network);
    let found = this.#connections.find(this.#flow);
    if (found === NO_CONNECTION) found = this.#expectations.meet(parsed, this.#flow, this.#nowTicks);
    const reference = (found & 1) !== 0 ? found : NO_CONNECTION;
    if (parsed.fragment !== WHOLE) this.fragments.decide(packet, parsed, reference, PASS, this.nowMs);
    if (reference !== NO_CONNECTION) return this.#carry(packet, parsed, reference);
    if (parsed.fragment !== WHOLE) return PASS;
    const without = this.#stateless.from(this.#flow, this.#nowTicks);
    return without === NO_CONNECTION ? PASS : this.#carry(packet, parsed, without);
  }

  /** An ICMP error that speaks of a packet of a connection. @param quoted what was read of that packet */
  translate(packet: number, outer: Parsed, quoted: Parsed, network = HOST_SIDE): Verdict {
    turn(quoted, this.#turned);
    readFlow(this.#flow, quoted.protocol, this.#turned, network);
    let found = this.#connections.find(this.#flow);
    if (found === NO_CONNECTION && outer.fragment === WHOLE) {
      found = this.#stateless.from(this.#flow, this.#nowTicks);
    }
    if (outer.fragment !== WHOLE && network === HOST_SIDE)
      this.fragments.decide(packet, outer, found, PASS, this.nowMs);
    if (found === NO_CONNECTION) {
      // Tunnels are the host's own.
      if (network !== HOST_SIDE || outer.fragment !== WHOLE) return PASS;
      return this.forwarding.answerError(packet, outer, quoted, this.#findInner);
    }
    const at = this.#connections.at(found >> 1);
    const toClient = (found & 1) !== 0;
    if (toClient) this.#faults.refused(at, outer);
    else if ((this.#connections.records[at + STATE]! & FLAG_PROXIED) !== 0) {
      this.#synProxy.shift.carryQuoted(packet, outer, quoted, found >> 1);
    }
    this.#count(packet, outer, at, toClient);
    return this.forwarding.sendError(packet, outer, quoted, at, toClient);
  }

  /** The connection of a client's packet that is in a tunnel. */
  readonly #findInner = (inner: Parsed): number => {
    readFlow(this.#flow, inner.protocol, inner, HOST_SIDE);
    return this.#connections.find(this.#flow);
  };

  /**
   * Ends the connections that have run out, and those that a nearly full table must do without; the engine calls it
   * once a second, on one engine, takes the answers, and calls it again while it `hasMore`.
   */
  expire(): number {
    const now = this.#nowTicks;
    let ended = this.#ending.expire(now, this.#synProxy.opening);
    if (!this.hasMore && this.#pressure.dropsEntries) ended += this.#dropEntry.sweep(now);
    return ended;
  }

  get hasMore(): boolean {
    return this.#ending.hasMore;
  }

  /** Another engine may have ended it in between. */
  #end(flow: PacketFlow, reference: number): void {
    const connections = this.#connections;
    connections.locked(() => {
      if (connections.find(flow) === reference) this.#ending.end(reference >> 1);
    });
  }

  /** Its destination is gone. Inside a network its sender alone is told, as who asks for a connection that there is not. */
  #reset(parsed: Parsed, flow: PacketFlow, reference: number): typeof NO_CONNECTION {
    const host = flow.network === HOST_SIDE;
    if (host) this.resets.refused(this.#connections.at(reference >> 1), parsed);
    this.#end(flow, reference);
    this.scheduling.verdict = host ? BARRED : PASS;
    this.scheduling.reason = drop['destination-gone'];
    return NO_CONNECTION;
  }

  /** A packet that belongs to no connection, and has begun none. */
  #stranger(packet: number, parsed: Parsed): Verdict {
    const { verdict, reason, service } = this.scheduling;
    if (verdict === PROXY) return this.#synProxy.receive(packet, parsed, this.#flow, service!, this.nowMs);
    if (verdict !== BARRED) return verdict;
    this.#path.drop(packet, reason);
    return DROPPED;
  }

  /** A fragment without ports: it goes where the first one of its packet went. */
  #follow(packet: number, parsed: Parsed): Verdict {
    const reference = this.fragments.follow(packet, parsed, this.nowMs);
    if (reference === NO_CONNECTION) return this.fragments.passes ? PASS : DROPPED;
    const at = this.#connections.at(reference >> 1);
    const reply = (reference & 1) !== 0;
    if (!reply) this.#count(packet, parsed, at, false);
    return this.#send(packet, parsed, at, reply);
  }

  /** A packet of a connection: state, time, addresses. */
  #carry(packet: number, parsed: Parsed, reference: number): Verdict {
    const { records } = this.#connections;
    const connection = reference >> 1;
    const at = this.#connections.at(connection);
    const reply = (reference & 1) !== 0;
    // Nothing of a packet without a connection is kept.
    if (connection >= this.#connections.capacity) {
      if (!reply) this.#count(packet, parsed, at, false);
      return this.#send(packet, parsed, at, reply);
    }
    const now = this.#nowTicks;
    this.#latency.note(at, parsed, reply, this.nowMs);
    const state = records[at + STATE]!;
    if ((state & FLAG_OPENING) !== 0) {
      const verdict = this.#synProxy.opening.carry(packet, parsed, connection, reply, now);
      if (verdict !== PASS) return verdict;
    }
    this.progress.advance(at, parsed, reply);
    if ((records[at + STATE]! & FLAG_RESET_ON_EXPIRY) !== 0) this.resets.note(at, parsed, reply);
    this.#connections.touch(connection, now);
    if (!reply) {
      records[at + PACKETS]!++;
      this.#count(packet, parsed, at, false);
    }
    // What was noted of it is in the numbers of who sent it; the helper's are the server's.
    const proxied = (state & (FLAG_PROXIED | FLAG_OPENING)) === FLAG_PROXIED;
    if (proxied && !reply) this.#synProxy.shift.carry(packet, parsed, connection, false);
    if (parsed.protocol === tcp.PROTOCOL && parsed.fragment === WHOLE && this.#ftp.concerns(at)) {
      if (!reply) this.#ftp.request(packet, parsed, connection, now);
      else if (!this.#ftp.reply(packet, parsed, connection, now)) return DROPPED;
    }
    if (proxied && reply) this.#synProxy.shift.carry(packet, parsed, connection, true);
    return this.#send(packet, parsed, at, reply);
  }

  /** What a client sends has been counted as it came; a reply is, once it goes on (ip_vs_in, handle_response). */
  #send(packet: number, parsed: Parsed, at: number, reply: boolean): Verdict {
    const verdict = this.forwarding.send(packet, parsed, at, reply);
    if (reply && verdict === SEND) this.#count(packet, parsed, at, true);
    return verdict;
  }

  #count(packet: number, parsed: Parsed, at: number, reply: boolean): void {
    const row = rowOf(this.#connections.records, at);
    if (reply) this.#traffic.countOut(row, this.#path.pool, packet, parsed);
    else this.#traffic.countIn(row, this.#path.pool, packet, parsed);
  }
}
