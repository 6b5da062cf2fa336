/**
 * The virtual server inside overlay networks, on the node of the client. Frames of a network that has services pass
 * here twice, and in between the bridge sees a client and a destination that talk with one another:
 *
 *     leave    from a workload, before the bridge: what is for a virtual address goes to a destination, or is answered
 *     arrive   to a workload, behind the bridge: what a destination answers comes from the virtual address
 *
 * The destination sees the client's own addresses, and may be anywhere in the network, also behind a node without a
 * data plane like this one. A client that is its own destination is shown the virtual address as the other end, for
 * no host takes packets from itself off the wire; the answer to that comes back here.
 *
 * Frames of other networks are not looked at, and neither pass stands in the way of the express paths.
 */

import { ClientLoop } from './client-loop.js';
import type { Batch } from './core/batch.js';
import { drop } from './core/drops.js';
import type { Path } from './core/path.js';
import { NO_PACKET } from './core/pool.js';
import type { Director } from './ipvs/director.js';
import { rewriteSource4, rewriteSource6 } from './ipvs/nat.js';
import { isDirected, Parsed, parse, parseQuoted } from './ipvs/packet.js';
import type { Services } from './ipvs/service.js';
import { DROPPED, NO_DESTINATION, PASS, SEND, TABLE_FULL, type Verdict } from './ipvs/verdict.js';
import { NeighbourSearch } from './neighbour-search.js';
import type { Answerer } from './overlay/answer.js';
import type { Neighbours } from './overlay/neighbour.js';
import type { Network } from './overlay/network.js';
import { answerEcho, refuse } from './virtual-answers.js';
import { isVirtualHigh, virtualHigh, virtualLow } from './virtual-mac.js';
import * as ethernet from './wire/ethernet.js';
import * as icmp from './wire/icmp.js';
import * as icmpv6 from './wire/icmpv6.js';

/** Indexes of networks are below. */
const NETWORKS = 65_536;

export class NetworkDirector {
  readonly #path: Path;
  readonly #director: Director;
  readonly #loop: ClientLoop;
  readonly #neighbours: Neighbours;
  readonly #answerer: Answerer;
  readonly #search: NeighbourSearch;
  readonly #parsed = new Parsed();
  readonly #quoted = new Parsed();
  /** 1: the network has services, or connections of some that it had */
  readonly #directed = new Uint8Array(NETWORKS);
  #any = false;

  constructor(
    path: Path,
    director: Director,
    services: Services,
    neighbours: Neighbours,
    answerer: Answerer,
  ) {
    this.#path = path;
    this.#director = director;
    this.#loop = new ClientLoop(path, director, services);
    this.#neighbours = neighbours;
    this.#answerer = answerer;
    this.#search = new NeighbourSearch(path, neighbours);
  }

  /** Indexes of the networks whose frames are looked at from now on. */
  direct(networks: readonly number[]): void {
    this.#directed.fill(0);
    for (const index of networks) this.#directed[index] = 1;
    this.#any = networks.length > 0;
  }

  /** Frames of a local port of `network`: those that stay in `frames` are the bridge's, answers are in `local`. */
  leave(frames: Batch, network: Network, local: Batch): void {
    if (!this.#any || this.#directed[network.index] === 0) return;
    const { pool } = this.#path;
    const { view, offset, length } = pool;
    let kept = 0;
    for (let i = 0; i < frames.count; i++) {
      const packet = frames.packets[i]!;
      const at = offset[packet]!;
      if (
        length[packet]! < ethernet.HEADER ||
        !isVirtualHigh(ethernet.highOf(view, at)) ||
        this.#take(packet, network, local)
      ) {
        frames.packets[kept++] = packet;
      }
    }
    frames.count = kept;
    const { released } = this.#director.fragments;
    for (let i = 0; i < released.count; i++) {
      const packet = released.packets[i]!;
      if (this.#take(packet, network, local)) frames.push(packet);
    }
    released.count = 0;
    const { asks } = this.#search;
    for (let i = 0; i < asks.count; i++) frames.push(asks.packets[i]!);
    asks.count = 0;
  }

  /** Frames that wait for the MAC of their destination. */
  get held(): number {
    return this.#search.held;
  }

  /** Those that know it by now, moved to `frames` for the bridge. */
  release(frames: Batch): void {
    this.#search.release(frames, this.#parsed, this.#director.nowMs);
  }

  /** Frames on their way to local ports, whose `network` column is set; all that live stay in `local`. */
  arrive(local: Batch): void {
    if (!this.#any) return;
    const { pool } = this.#path;
    let kept = 0;
    for (let i = 0; i < local.count; i++) {
      const packet = local.packets[i]!;
      const index = pool.network[packet]!;
      if (this.#directed[index] === 0 || this.#answered(packet, index)) local.packets[kept++] = packet;
    }
    local.count = kept;
    const { released } = this.#director.fragments;
    for (let i = 0; i < released.count; i++) {
      const packet = released.packets[i]!;
      if (this.#answered(packet, pool.network[packet]!)) local.push(packet);
    }
    released.count = 0;
  }

  /**
   * A frame to a virtual MAC. True: the bridge shall have it.
   *
   * 1. who asks for the MAC once more is answered; other than IP for a virtual address is not ours
   * 2. pings are answered
   * 3. the director finds or begins a connection  4. and the frame goes to its destination's MAC
   */
  #take(packet: number, network: Network, local: Batch): boolean {
    const path = this.#path;
    const { pool } = path;
    const { bytes } = pool;
    const at = pool.offset[packet]!;
    const end = at + pool.length[packet]!;
    const ip = ethernet.payload(bytes, at, end - at);
    if (ip < 0) return true;
    const type = ethernet.payloadType(bytes, ip);
    pool.network[packet] = network.index;
    if (type === ethernet.ARP) return !this.#resolved(packet, network, local);
    if (type !== ethernet.IPV4 && type !== ethernet.IPV6) return true;
    const parsed = this.#parsed;
    const malformed = parse(pool, ip, end, parsed);
    if (malformed !== 0) {
      path.drop(packet, malformed);
      return false;
    }
    if (parsed.protocol === icmpv6.PROTOCOL && parsed.flags === icmpv6.NEIGHBOUR_SOLICITATION) {
      return !this.#resolved(packet, network, local);
    }
    if (!this.#isVirtual(network.index, parsed)) return true;
    if (answerEcho(pool, packet, parsed)) {
      local.push(packet);
      return false;
    }
    const { destination0: a, destination1: b, destination2: c, destination3: d } = parsed;
    const verdict = this.#verdict(packet, network.index);
    if (verdict === SEND) return this.#sendOn(packet, network, local, a, b, c, d);
    if (verdict === PASS || verdict === NO_DESTINATION) {
      const answer = refuse(path, packet, parsed, verdict === NO_DESTINATION);
      if (answer !== NO_PACKET) local.push(answer);
    } else if (verdict !== DROPPED) {
      path.drop(packet, drop[verdict === TABLE_FULL ? 'connections-full' : 'not-served']);
    }
    return false;
  }

  #verdict(packet: number, network: number): Verdict {
    const parsed = this.#parsed;
    const director = this.#director;
    if (!parsed.isError) {
      const looped = this.#loop.turn(packet, parsed, network);
      return looped === PASS ? director.balance(packet, parsed, network) : looped;
    }
    if (!parseQuoted(this.#path.pool, parsed, this.#quoted)) return PASS;
    return director.translate(packet, parsed, this.#quoted, network);
  }

  /** To the destination that the packet has now; `a` to `d` is the virtual address that it was for. */
  #sendOn(
    packet: number,
    network: Network,
    local: Batch,
    a: number,
    b: number,
    c: number,
    d: number,
  ): boolean {
    const path = this.#path;
    const { bytes, view, offset } = path.pool;
    const parsed = this.#parsed;
    const at = offset[packet]!;
    let macs: Pick<Neighbours, 'macHigh' | 'macLow'> = this.#neighbours;
    if (!this.#find(network.index, parsed)) {
      const search = this.#search;
      if (!search.find(packet, network.index, parsed, this.#director.nowMs)) {
        search.hold(packet, this.#director.nowMs);
        return false;
      }
      macs = search;
    }
    const { macHigh, macLow } = macs;
    const source = at + ethernet.SOURCE;
    if (macLow !== ethernet.lowOf(view, source) || macHigh !== ethernet.highOf(view, source)) {
      ethernet.writeMac(bytes, at, macHigh, macLow);
      return true;
    }
    // The client itself.
    ethernet.swap(bytes, at);
    const reason = this.#showSource(packet, a, b, c, d, parsed.sourcePort);
    if (reason !== 0) path.drop(packet, reason);
    else local.push(packet);
    return false;
  }

  /** False: it is no longer. */
  #answered(packet: number, network: number): boolean {
    const { pool } = this.#path;
    const { bytes, view } = pool;
    const at = pool.offset[packet]!;
    const end = at + pool.length[packet]!;
    const ip = ethernet.payload(bytes, at, end - at);
    if (ip < 0) return true;
    const type = ethernet.payloadType(bytes, ip);
    const { nowMs } = this.#director;
    if (type === ethernet.ARP) {
      this.#search.hear(packet, network, ip, nowMs);
      return true;
    }
    if (type === ethernet.IPV4) {
      const protocol = view.getUint8(ip + 9);
      if (!isDirected(protocol) && protocol !== icmp.PROTOCOL) return true;
    } else if (type !== ethernet.IPV6) return true;
    const parsed = this.#parsed;
    // What is malformed is the workload's to judge, as it is without services.
    if (parse(pool, ip, end, parsed) !== 0) return true;
    if (parsed.protocol === icmpv6.PROTOCOL && parsed.flags === icmpv6.NEIGHBOUR_ADVERTISEMENT) {
      this.#search.hear(packet, network, ip, nowMs);
      return true;
    }
    let verdict: Verdict = PASS;
    if (isDirected(parsed.protocol)) verdict = this.#director.reply(packet, parsed, network);
    else if (parsed.isError && parseQuoted(pool, parsed, this.#quoted)) {
      verdict = this.#director.translate(packet, parsed, this.#quoted, network);
    }
    if (verdict !== SEND) return verdict !== DROPPED;
    const { family, source0, source1, source2, source3 } = parsed;
    const low = virtualLow(family, source0, source1, source2, source3);
    ethernet.writeMac(bytes, at + ethernet.SOURCE, virtualHigh(family), low);
    return true;
  }

  #resolved(packet: number, network: Network, local: Batch): boolean {
    if (!this.#answerer.resolve(packet, network)) return false;
    local.push(packet);
    return true;
  }

  /** Whether the packet is for the address of a service, which has a virtual MAC among the neighbours. */
  #isVirtual(network: number, parsed: Parsed): boolean {
    return this.#find(network, parsed) && isVirtualHigh(this.#neighbours.macHigh);
  }

  /** The MAC of the packet's destination. */
  #find(network: number, parsed: Parsed): boolean {
    const { destination0, destination1, destination2, destination3 } = parsed;
    if (parsed.family === 4) return this.#neighbours.find4(network, destination0);
    return this.#neighbours.find6(network, destination0, destination1, destination2, destination3);
  }

  #showSource(packet: number, a: number, b: number, c: number, d: number, port: number): number {
    const { pool } = this.#path;
    const parsed = this.#parsed;
    return parsed.family === 4
      ? rewriteSource4(pool, packet, parsed, a, port)
      : rewriteSource6(pool, packet, parsed, a, b, c, d, port);
  }
}
