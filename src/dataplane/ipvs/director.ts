/**
 * The director: for each packet, the connection that it belongs to, or a new one to the destination that the
 * service's scheduler picks; then the packet goes on. Any engine's director may see either direction: what it knows
 * of a connection is in the shared table.
 *
 *     balance     find, or scheduling.begin → progress.advance → forwarding.send
 *     later       fragments.follow → forwarding.send
 *     translate   find → forwarding.sendError
 *     expire      ending.expire
 */
import type { Path } from '../core/path.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { type Connections, NO_CONNECTION, PACKETS, TICKS_PER_SECOND } from './connections.js';
import { Gate } from './defence/gate.js';
import { type DefenceMemory, ratesKey } from './defence/memory.js';
import { SourceRates } from './defence/source-rates.js';
import type { DestinationCounts } from './destination.js';
import { Ending } from './ending.js';
import type { Extras } from './extras.js';
import { Faults } from './faults.js';
import { noFlow, readFlow } from './flow.js';
import { Forwarding } from './forwarding.js';
import { FragmentWay } from './fragment-way.js';
import { LATER_FRAGMENT, noEnds, type Parsed, turn, WHOLE } from './packet.js';
import { Progress } from './progress.js';
import { Scheduling } from './scheduling.js';
import type { Services } from './service.js';
import type { Timeouts } from './states.js';
import { BARRED, DROPPED, PASS, type Verdict } from './verdict.js';

export interface DirectorParts {
  path: Path;
  services: Services;
  connections: Connections;
  extras: Extras;
  counts: DestinationCounts;
  defence: DefenceMemory;
  /** the virtual server's own, for connections whose service is gone */
  timeouts: Timeouts;
}

/** Packets of the host's own side are in no overlay network. */
const HOST_SIDE = 0;

export class Director {
  /** milliseconds on the engine's clock; the engine sets it once a turn */
  nowMs = 0;

  readonly scheduling: Scheduling;
  readonly progress: Progress;
  readonly fragments: FragmentWay;
  readonly #path: Path;
  readonly #connections: Connections;
  readonly #forwarding: Forwarding;
  readonly #ending: Ending;
  readonly #faults: Faults;
  readonly #flow = noFlow();
  readonly #turned = noEnds();

  constructor({ path, services, connections, extras, counts, defence, timeouts }: DirectorParts) {
    this.#path = path;
    this.#connections = connections;
    const gate = new Gate(new SourceRates(defence.rates, ratesKey(defence)));
    this.scheduling = new Scheduling(path.pool, services, connections, counts, gate, extras);
    this.progress = new Progress(path.pool, connections, services, counts, timeouts);
    this.fragments = new FragmentWay(path, connections);
    this.#forwarding = new Forwarding(path, connections);
    this.#ending = new Ending(connections, extras, services, counts);
    this.#faults = new Faults(connections, counts);
  }

  get #nowTicks(): number {
    return Math.floor((this.nowMs * TICKS_PER_SECOND) / 1000) | 0;
  }

  /**
   * @param parsed what was read from the packet (packet.ts)
   * @param network index of the overlay network that the packet is in
   */
  balance(packet: number, parsed: Parsed, network = HOST_SIDE): Verdict {
    if (parsed.fragment !== WHOLE && network !== HOST_SIDE) return PASS;
    if (parsed.fragment === LATER_FRAGMENT) return this.#follow(packet, parsed);
    const reference = this.#reference(parsed, network);
    if (parsed.fragment !== WHOLE) {
      this.fragments.decide(packet, parsed, reference, this.scheduling.verdict, this.nowMs);
    }
    if (reference === NO_CONNECTION) return this.#stranger(packet);
    return this.#carry(packet, parsed, reference);
  }

  /** Of the packet's connection, which begins with it if need be; NO_CONNECTION: `scheduling.verdict` says what is to be done. */
  #reference(parsed: Parsed, network: number): number {
    const { protocol } = parsed;
    if (protocol !== tcp.PROTOCOL && protocol !== udp.PROTOCOL && protocol !== sctp.PROTOCOL) {
      this.scheduling.verdict = PASS;
      return NO_CONNECTION;
    }
    const flow = this.#flow;
    readFlow(flow, protocol, parsed, network);
    const reference = this.#connections.find(flow);
    return reference === NO_CONNECTION ? this.scheduling.begin(parsed, flow, this.nowMs) : reference;
  }

  /** What may be an answer of a destination, where clients' own packets don't come; PASS: it is of no connection. */
  reply(packet: number, parsed: Parsed, network: number): Verdict {
    readFlow(this.#flow, parsed.protocol, parsed, network);
    const reference = this.#connections.find(this.#flow);
    if (reference === NO_CONNECTION || (reference & 1) === 0) return PASS;
    return this.#carry(packet, parsed, reference);
  }

  /** An ICMP error that speaks of a packet of a connection. @param quoted what was read of that packet */
  translate(packet: number, outer: Parsed, quoted: Parsed, network = HOST_SIDE): Verdict {
    turn(quoted, this.#turned);
    readFlow(this.#flow, quoted.protocol, this.#turned, network);
    const found = this.#connections.find(this.#flow);
    if (outer.fragment !== WHOLE && network === HOST_SIDE)
      this.fragments.decide(packet, outer, found, PASS, this.nowMs);
    if (found === NO_CONNECTION) return PASS;
    const at = this.#connections.at(found >> 1);
    const toClient = (found & 1) !== 0;
    if (toClient) this.#faults.refused(at, outer);
    return this.#forwarding.sendError(packet, outer, quoted, at, toClient);
  }

  /** Ends the connections that have run out; the engine calls it once a second, on one engine. */
  expire(): number {
    return this.#ending.expire(this.#nowTicks);
  }

  /** A packet that belongs to no connection, and has begun none. */
  #stranger(packet: number): Verdict {
    const { verdict, reason } = this.scheduling;
    if (verdict !== BARRED) return verdict;
    this.#path.drop(packet, reason);
    return DROPPED;
  }

  /** A fragment without ports: it goes where the first one of its packet went. */
  #follow(packet: number, parsed: Parsed): Verdict {
    const reference = this.fragments.follow(packet, parsed, this.nowMs);
    if (reference === NO_CONNECTION) return this.fragments.passes ? PASS : DROPPED;
    return this.#forwarding.send(packet, parsed, this.#connections.at(reference >> 1), (reference & 1) !== 0);
  }

  /** A packet of a connection: state, time, addresses. */
  #carry(packet: number, parsed: Parsed, reference: number): Verdict {
    const { records } = this.#connections;
    const connection = reference >> 1;
    const at = this.#connections.at(connection);
    const reply = (reference & 1) !== 0;
    this.progress.advance(at, parsed, reply);
    this.#connections.touch(connection, this.#nowTicks);
    if (!reply) records[at + PACKETS]!++;
    return this.#forwarding.send(packet, parsed, at, reply);
  }
}
