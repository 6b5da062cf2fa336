/**
 * Puts the VXLAN header before each frame (RFC 7348 §5) and takes the hash of its flow, from which the underlay
 * makes the source port (§5: "calculated using a hash of fields from the inner packet"), and its ECN field. The outer
 * Ethernet, IP and UDP headers are the underlay's.
 */
import type { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import { hop } from '../core/tracer.js';
import * as ecn from '../wire/ecn.js';
import * as flow from '../wire/flow.js';
import * as vxlan from '../wire/vxlan.js';
import type { Networks } from './network.js';

/** Every packet of `frames`, from index `from` on, stays in it, and begins at its VXLAN header afterwards. */
export function encap(path: Path, networks: Networks, frames: Batch, from = 0): void {
  const { pool } = path;
  const { offset, length } = pool;
  for (let i = from; i < frames.count; i++) {
    const packet = frames.packets[i]!;
    // 1. What the outer headers need of the frame: the flow, for the source port, and the ECN field.
    const at = offset[packet]!;
    pool.flow[packet] = flow.of(pool.view, pool.bytes, at, at + length[packet]!);
    pool.ecn[packet] = ecn.ofFrame(pool.view, pool.bytes, at, length[packet]!);

    // 2. The header. `network` was there a moment ago when the bridge sent the packet on; it can't have gone since.
    const network = networks.at(pool.network[packet]!)!;
    const header = at - vxlan.HEADER;
    if (network.groupPolicy < 0) vxlan.writeTo(pool.view, header, network.vni);
    else vxlan.writeGroup(pool.bytes, header, network.vni, network.groupPolicy);

    // 3. The packet begins 8 bytes earlier.
    offset[packet] = header;
    length[packet]! += vxlan.HEADER;
    if (pool.offload[packet] !== 0) {
      pool.checksumStart[packet]! += vxlan.HEADER;
      pool.headerLength[packet]! += vxlan.HEADER;
    }
    if (pool.trace[packet] !== 0) path.tracer.note(packet, hop.encap, pool.flow[packet]!);
  }
}
