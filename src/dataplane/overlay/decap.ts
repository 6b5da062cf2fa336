/**
 * Takes the VXLAN header off each datagram (RFC 7348 §4.1, §5), after it has been found valid and of a network
 * that is here. Reserved bits and the VXLAN-GBP group are ignored, as §5 demands.
 */
import type { Batch } from '../core/batch.js';
import { RX_BYTES, RX_PACKETS } from '../core/counters.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { SENDER_ADDRESS, SENDER_FAMILY } from '../core/pool.js';
import { hop } from '../core/tracer.js';
import type { Vteps } from '../core/vteps.js';
import * as ecn from '../wire/ecn.js';
import * as ethernet from '../wire/ethernet.js';
import * as vxlan from '../wire/vxlan.js';
import type { Network, Networks } from './network.js';

export class Decap {
  readonly #path: Path;
  readonly #networks: Networks;
  readonly #vteps: Vteps;

  // Datagrams come in runs: the last look-ups are remembered for the length of a batch.
  #vni = -1;
  #network: Network | undefined;
  #family = 0;
  #a0 = 0;
  #a1 = 0;
  #a2 = 0;
  #a3 = 0;
  #vtep = -1;

  constructor(path: Path, networks: Networks, vteps: Vteps) {
    this.#path = path;
    this.#networks = networks;
    this.#vteps = vteps;
  }

  /** `datagrams` begin at their VXLAN header; those that are valid end up in `frames`, with network and VTEP set. */
  decap(datagrams: Batch, frames: Batch): void {
    const path = this.#path;
    const { pool, counters } = path;
    const { bytes, offset, length } = pool;
    const { cells } = counters;
    this.#vni = -1;
    this.#family = 0;
    for (let i = 0; i < datagrams.count; i++) {
      const packet = datagrams.packets[i]!;
      const at = offset[packet]!;

      // 1. The header: long enough, I flag set, a VNI that is here.
      if (length[packet]! < vxlan.HEADER + ethernet.HEADER) {
        path.drop(packet, drop['vxlan-short']);
        continue;
      }
      if ((vxlan.flags(bytes, at) & vxlan.FLAG_I) === 0) {
        path.drop(packet, drop['vxlan-flags']);
        continue;
      }
      const vni = vxlan.vni(bytes, at);
      if (vni !== this.#vni) {
        this.#vni = vni;
        this.#network = this.#networks.ofVni(vni);
      }
      const network = this.#network;
      if (network === undefined) {
        path.drop(packet, drop['vxlan-unknown-vni']);
        continue;
      }

      // 2. Who sent it. A network that learns takes new VTEPs in.
      const vtep = this.#sender(packet, network.learning);
      if (vtep >= 0) {
        const row = counters.vtepRow(vtep);
        cells[row + RX_PACKETS]!++;
        cells[row + RX_BYTES]! += length[packet]!;
      }

      // 3. What happened to the datagram on the underlay has happened to the frame.
      const outer = pool.ecn[packet]!;
      if ((outer & 1) !== 0) {
        const frame = at + vxlan.HEADER;
        if (!ecn.combine(bytes, frame, length[packet]! - vxlan.HEADER, outer)) {
          path.drop(packet, drop['ecn-marked']);
          continue;
        }
      }

      // 4. The frame begins behind the header.
      pool.network[packet] = network.index;
      pool.vtep[packet] = vtep;
      offset[packet] = at + vxlan.HEADER;
      length[packet]! -= vxlan.HEADER;
      if (pool.offload[packet] !== 0) {
        pool.checksumStart[packet]! -= vxlan.HEADER;
        pool.headerLength[packet]! -= vxlan.HEADER;
      }
      if (path.tracer.active) path.tracer.match(packet, hop.decap, vni);
      frames.push(packet);
    }
    datagrams.count = 0;
  }

  /** Number of the VTEP that sent the packet; -1 when it isn't known and shall not be learned. */
  #sender(packet: number, learn: boolean): number {
    const { view } = this.#path.pool;
    const at = this.#path.pool.slotStart(packet);
    const family = view.getUint16(at + SENDER_FAMILY, true);
    const a0 = view.getInt32(at + SENDER_ADDRESS);
    const a1 = family === 4 ? 0 : view.getInt32(at + SENDER_ADDRESS + 4);
    const a2 = family === 4 ? 0 : view.getInt32(at + SENDER_ADDRESS + 8);
    const a3 = family === 4 ? 0 : view.getInt32(at + SENDER_ADDRESS + 12);
    const same =
      family === this.#family && a0 === this.#a0 && a1 === this.#a1 && a2 === this.#a2 && a3 === this.#a3;
    if (same && (this.#vtep >= 0 || !learn)) return this.#vtep;
    this.#family = family;
    this.#a0 = a0;
    this.#a1 = a1;
    this.#a2 = a2;
    this.#a3 = a3;
    this.#vtep = this.#vteps.find(family, a0, a1, a2, a3);
    if (this.#vtep < 0 && learn) {
      this.#vtep = this.#vteps.add(family, a0, a1, a2, a3, false);
      if (this.#vtep < 0) this.#path.counters.add('vtepsRefused');
    }
    return this.#vtep;
  }
}
