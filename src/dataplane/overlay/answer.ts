/**
 * What the bridge answers in a workload's or host's stead: ARP requests (RFC 826) and neighbour solicitations
 * (RFC 4861 §7.2) out of the neighbour table, and packets too big for the path (RFC 1191, RFC 4443 §3.2).
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, NO_PACKET } from '../core/pool.js';
import { hop } from '../core/tracer.js';
import * as arp from '../wire/arp.js';
import * as ethernet from '../wire/ethernet.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv6 from '../wire/ipv6.js';
import type { Neighbours } from './neighbour.js';
import type { Network } from './network.js';

export class Answerer {
  readonly #path: Path;
  readonly #neighbours: Neighbours;

  constructor(path: Path, neighbours: Neighbours) {
    this.#path = path;
    this.#neighbours = neighbours;
  }

  /** Turns an ARP request or neighbour solicitation into its answer, in place. False: not one, or nobody is known. */
  resolve(packet: number, network: Network): boolean {
    const { pool } = this.#path;
    const { bytes } = pool;
    const at = pool.offset[packet]!;
    const end = at + pool.length[packet]!;
    const payload = ethernet.payload(bytes, at, end - at);
    if (payload < 0) return false;
    const type = ethernet.payloadType(bytes, payload);
    if (type === ethernet.ARP) return this.#resolve4(packet, network, at, payload, end);
    if (type === ethernet.IPV6) return this.#resolve6(packet, network, at, payload, end);
    return false;
  }

  #resolve4(packet: number, network: Network, at: number, payload: number, end: number): boolean {
    const { bytes } = this.#path.pool;
    const neighbours = this.#neighbours;
    if (!arp.isRequest(bytes, payload, end)) return false;
    if (!neighbours.find4(network.index, arp.targetIp(bytes, payload)) || this.#isOwn(at)) return false;
    arp.writeReply(bytes, payload, neighbours.macHigh, neighbours.macLow);
    ethernet.turnBack(bytes, at, neighbours.macHigh, neighbours.macLow);
    this.#answered(packet, 0);
    return true;
  }

  #resolve6(packet: number, network: Network, at: number, payload: number, end: number): boolean {
    const { pool } = this.#path;
    const { bytes } = pool;
    const neighbours = this.#neighbours;
    if (!icmpv6.isSolicitation(bytes, payload, end)) return false;
    if (
      (pool.offload[packet]! & CHECKSUM_UNFINISHED) === 0 &&
      !icmpv6.checksumValid(bytes, payload, payload + ipv6.HEADER, end)
    ) {
      return false;
    }
    const known = neighbours.find6(
      network.index,
      icmpv6.targetWord(bytes, payload, 0),
      icmpv6.targetWord(bytes, payload, 1),
      icmpv6.targetWord(bytes, payload, 2),
      icmpv6.targetWord(bytes, payload, 3),
    );
    if (!known || this.#isOwn(at)) return false;
    const detection = ipv6.isUnspecified(bytes, payload + ipv6.SOURCE);
    icmpv6.writeAdvertisement(bytes, payload, neighbours.macHigh, neighbours.macLow);
    ethernet.turnBack(bytes, at, neighbours.macHigh, neighbours.macLow);
    // Duplicate address detection is answered to all nodes, and so is the frame.
    if (detection) ethernet.writeMac(bytes, at, ethernet.MULTICAST6_HIGH, 1);
    pool.length[packet] = payload - at + icmpv6.ADVERTISEMENT;
    pool.offload[packet] = 0;
    this.#answered(packet, 1);
    return true;
  }

  /** A workload asks for its own address to see whether somebody else has it: that is for the others to answer. */
  #isOwn(at: number): boolean {
    const { bytes } = this.#path.pool;
    const source = at + ethernet.SOURCE;
    return (
      ethernet.macHigh(bytes, source) === this.#neighbours.macHigh &&
      ethernet.macLow(bytes, source) === this.#neighbours.macLow
    );
  }

  #answered(packet: number, kind: 0 | 1): void {
    const path = this.#path;
    path.counters.add(kind === 0 ? 'arpAnswered' : 'ndAnswered');
    if (path.pool.trace[packet] !== 0) path.tracer.note(packet, hop['bridge.answer'], kind);
  }

  /**
   * Ends a packet that is too big. A new one for its sender's port, appended to `local`, says how much fits, where such may be sent.
   * @param largest bytes of the longest frame that would have fitted
   */
  tooBig(packet: number, largest: number, local: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const answer = pool.take();
    if (answer === NO_PACKET) {
      path.drop(packet, drop['no-packet']);
      return;
    }
    const { bytes } = pool;
    const at = pool.offset[packet]!;
    const frame = pool.length[packet]!;
    const out = pool.offset[answer]!;
    const payload = ethernet.payload(bytes, at, frame);
    const mtu = largest - (payload - at);
    let length = 0;
    if (payload >= 0) {
      const type = ethernet.payloadType(bytes, payload);
      if (type === ethernet.IPV4) length = icmp.writeFragmentationNeeded(bytes, at, frame, out, mtu);
      else if (type === ethernet.IPV6) length = icmpv6.writePacketTooBig(bytes, at, frame, out, mtu);
    }
    if (length === 0) {
      pool.free(answer);
      path.drop(packet, drop['too-big-not-ip']);
      return;
    }
    pool.length[answer] = length;
    pool.port[answer] = pool.port[packet]!;
    pool.network[answer] = pool.network[packet]!;
    local.push(answer);
    path.counters.add('tooBigAnswered');
    if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['bridge.answer'], 2);
    path.drop(packet, drop['too-big']);
  }
}
