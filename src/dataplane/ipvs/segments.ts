/** A super-packet that goes into a tunnel is split before, for no device segments within those tunnels. */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_VERIFIED, FRAME_AT, NO_PACKET, SLOT_BYTES } from '../core/pool.js';
import { SegmentHeaders } from '../core/segment-headers.js';

/** Bytes before each packet, for the tunnel's headers: as many as before one that arrives, so it is as well aligned. */
const ROOM = FRAME_AT - 2;

export class Segments {
  readonly #path: Path;
  readonly #headers: SegmentHeaders;

  constructor(path: Path) {
    this.#path = path;
    this.#headers = new SegmentHeaders(path.pool);
  }

  /**
   * Appends the packets that the super-packet (a whole Ethernet frame) is made of to `out`, checksums finished, as many as
   * fit in a slot, each with room before it, and frees it. False: it was dropped, whole, for it contradicts itself or the
   * pool has no room.
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
    const each = (ROOM + headers.headerLength + headers.segment + 3) & ~3;
    const perSlot = Math.max(1, Math.floor((SLOT_BYTES - 2) / each));
    if (pool.room < Math.ceil(segments / perSlot) || pool.packetsFree < segments) {
      path.drop(packet, drop['no-packet']);
      return false;
    }
    headers.makeTemplate(segments);
    let first = NO_PACKET;
    for (let i = 0; i < segments; i++) {
      const place = i % perSlot;
      const piece = place === 0 ? pool.take() : pool.share(first, pool.offset[first]! + place * each, 0);
      if (place === 0) first = piece;
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
