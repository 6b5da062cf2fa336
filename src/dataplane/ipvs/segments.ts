/** A super-packet that goes into a tunnel is split before, for no device segments within those tunnels. */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_VERIFIED, NO_PACKET } from '../core/pool.js';
import { SegmentHeaders } from '../core/segment-headers.js';

export class Segments {
  readonly #path: Path;
  readonly #headers: SegmentHeaders;

  constructor(path: Path) {
    this.#path = path;
    this.#headers = new SegmentHeaders(path.pool);
  }

  /**
   * Appends the packets that the super-packet (a whole Ethernet frame) is made of to `out`, checksums finished, each in a
   * slot of its own, and frees it. False: it was dropped, whole, for it contradicts itself or the pool has no room.
   */
  split(packet: number, out: Batch): boolean {
    const path = this.#path;
    const { pool } = path;
    const headers = this.#headers;
    if (!headers.read(packet, 0)) {
      path.drop(packet, drop['inner-malformed']);
      return false;
    }
    const segments = headers.count;
    if (pool.room < segments) {
      path.drop(packet, drop['no-packet']);
      return false;
    }
    headers.makeTemplate(segments);
    for (let i = 0; i < segments; i++) {
      const piece = pool.take();
      if (piece === NO_PACKET) break;
      pool.length[piece] = headers.build(pool.offset[piece]!, i);
      pool.offload[piece] = CHECKSUM_VERIFIED;
      pool.inherit(piece, packet);
      out.push(piece);
    }
    path.counters.add('segmented');
    pool.free(packet);
    return true;
  }
}
