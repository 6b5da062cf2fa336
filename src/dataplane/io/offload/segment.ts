/**
 * Software segmentation: a super-packet becomes the packets that the kernel's GSO would have made of it
 * (tcp_gso_segment, __udp_gso_segment, inet_gso_segment), checksums finished. They lie back to back in a new slot,
 * so that they can leave as one segmented send.
 */
import type { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { CHECKSUM_VERIFIED, FRAME_AT, NO_PACKET, SLOT_BYTES } from '../../core/pool.js';
import { SegmentHeaders } from '../../core/segment-headers.js';
import { addon, type NativePool } from '../native.js';
import { finishChecksum } from './finish-checksum.js';
import { sum } from './sum.js';

/** One UDP_SEGMENT send: what a UDP datagram can hold, and the kernel's UDP_MAX_SEGMENTS before Linux 6.9. */
const GLUE_BYTES = 65_507;
const GLUE_SEGMENTS = 64;

/** A workload that may open packet sockets could ask for 65,000 segments of one byte. The smallest MSS with full options makes 1,400. */
const MAX_SEGMENTS = 2048;

export class Segmenter {
  readonly #path: Path;
  readonly #native: NativePool | undefined;
  readonly #headers: SegmentHeaders;
  /** Sums of the payload parts of the segments in a slot. */
  readonly #sums = new Int32Array(MAX_SEGMENTS);

  constructor(path: Path, native?: NativePool) {
    this.#path = path;
    this.#native = native;
    this.#headers = new SegmentHeaders(path.pool);
  }

  /**
   * Splits a super-packet into finished packets, which are appended to `out`, and frees it. False: it was dropped.
   * @param prefix bytes before the Ethernet header (8: the packet begins at its VXLAN header), repeated before every segment
   */
  segment(packet: number, out: Batch, prefix = 0): boolean {
    return this.#split(packet, out, prefix, 1, 0);
  }

  /**
   * The same, but leaves the segments glued: as few packets as possible, whose `segment` column is the bytes per
   * datagram (0 for a packet that is one datagram), at most 65,507 bytes and 64 datagrams each. Their offload is finished.
   */
  glue(packet: number, out: Batch, prefix = 0): boolean {
    return this.#split(packet, out, prefix, GLUE_SEGMENTS, GLUE_BYTES);
  }

  /**
   * 1. The headers, checked; they become the template of a segment
   * 2. For each slot that is needed: template and payload side by side, as often as they fit
   * 3. What differs from segment to segment  4. Packets over them, of `glued` segments
   */
  #split(packet: number, out: Batch, prefix: number, glued: number, gluedBytes: number): boolean {
    const path = this.#path;
    const { pool } = path;
    const headers = this.#headers;

    // 1.
    if (!headers.read(packet, prefix)) {
      path.drop(packet, drop['inner-malformed']);
      return false;
    }
    const { headerLength, segment } = headers;
    const size = headerLength + segment;
    const whole = pool.length[packet] - headerLength;
    const segments = Math.ceil(whole / segment);
    if (segments <= 1) {
      pool.segment[packet] = 0;
      if (!finishChecksum(path, packet, this.#native)) return false;
      pool.offload[packet] = CHECKSUM_VERIFIED;
      out.push(packet);
      return true;
    }
    if (segments > MAX_SEGMENTS) {
      path.drop(packet, drop['segments-too-many']);
      return false;
    }
    headers.makeTemplate(segments);

    const before = out.count;
    const perSlot = Math.floor((SLOT_BYTES - (FRAME_AT - prefix)) / size);
    const perPacket = glued === 1 ? 1 : Math.max(1, Math.min(glued, Math.floor(gluedBytes / size)));
    let from = pool.offset[packet];
    let left = whole;
    for (let done = 0; done < segments; done += perSlot) {
      // 2.
      const home = pool.take(FRAME_AT - prefix);
      if (home === NO_PACKET) return this.#giveUp(packet, out, before);
      pool.inherit(home, packet);
      const to = pool.offset[home];
      const count = Math.min(perSlot, segments - done);
      const payload = Math.min(left, count * segment);
      this.#copy(from, to, payload);

      // 3.
      for (let i = 0; i < count; i++) {
        const part = Math.min(segment, payload - i * segment);
        headers.finish(to + i * size, done + i, part, this.#sums[i]);
      }

      // 4.
      for (let i = 0; i < count; i += perPacket) {
        const together = Math.min(perPacket, count - i);
        const length = Math.min(together * size, payload + count * headerLength - i * size);
        const made = i === 0 ? home : pool.share(home, to + i * size, length);
        if (made === NO_PACKET) return this.#giveUp(packet, out, before);
        pool.length[made] = length;
        pool.segment[made] = together > 1 ? size : 0;
        pool.offload[made] = CHECKSUM_VERIFIED;
        out.push(made);
      }

      // The template moves up to what is left of the payload, over bytes that have been copied.
      left -= payload;
      if (left > 0) pool.bytes.copyWithin(from + payload, from, from + headerLength);
      from += payload;
    }
    path.counters.add('segmented');
    pool.free(packet);
    return true;
  }

  /** Template and `payload` bytes behind it at `from`, to as many segments at `to`; sums of the payload parts. */
  #copy(from: number, to: number, payload: number): void {
    const { bytes, view } = this.#path.pool;
    const { headerLength, segment } = this.#headers;
    if (this.#native !== undefined) {
      addon!.copySegments(this.#native.handle, from, to, headerLength, segment, payload, this.#sums);
      return;
    }
    const source = from + headerLength;
    for (let done = 0, i = 0, at = to; done < payload; done += segment, i++) {
      const part = Math.min(segment, payload - done);
      bytes.copyWithin(at, from, source);
      bytes.copyWithin(at + headerLength, source + done, source + done + part);
      this.#sums[i] = sum(view, source + done, part);
      at += headerLength + part;
    }
  }

  /** All segments or none: those that were made are freed, and the super-packet is dropped. */
  #giveUp(packet: number, out: Batch, before: number): boolean {
    while (out.count > before) this.#path.pool.free(out.packets[--out.count]);
    this.#path.drop(packet, drop['no-packet']);
    return false;
  }
}
