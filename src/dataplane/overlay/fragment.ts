/**
 * An IPv4 packet that is too big for the path and may be fragmented (DF is not set) is fragmented here, as a router
 * would (RFC 791 §3.2), for the outer packet is never: a lost outer fragment would cost the whole frame, and
 * the tunnel device can't split it. Of a super-packet each segment is.
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, NO_PACKET, SLOT_BYTES } from '../core/pool.js';
import { SegmentHeaders } from '../core/segment-headers.js';
import { complete, coveredBytes } from '../core/unfinished.js';
import * as checksums from '../wire/checksum.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';

/** Room before each piece: the VXLAN header, and the longest outer ones. */
const HEADROOM = 70;

export class Fragmenter {
  readonly #path: Path;
  readonly #headers: SegmentHeaders;
  /** The pieces of a packet lie in few slots: the first packet of the current one, and where the next may begin. */
  #home = NO_PACKET;
  #next = 0;

  constructor(path: Path) {
    this.#path = path;
    this.#headers = new SegmentHeaders(path.pool);
  }

  /**
   * Puts the packet into frames of at most `largest` bytes, appended to `out`, and frees it. Without room for all of a
   * packet's, or segment's, fragments it is dropped whole. False: it may not be fragmented, and was left alone.
   *
   * 1. An unfinished L4 checksum is finished, in each segment  2. Fragments
   */
  fragment(packet: number, largest: number, out: Batch): boolean {
    const path = this.#path;
    const { pool } = path;
    const ip = fragmentable(path, packet);
    if (ip < 0) return false;
    this.#home = NO_PACKET;
    if (pool.segment[packet] !== 0) {
      this.#segments(packet, ip, largest, out);
      return true;
    }
    if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) {
      const covered = coveredBytes(pool, packet);
      if (covered < 0) {
        path.drop(packet, drop['inner-malformed']);
        return true;
      }
      const start = pool.offset[packet]! + pool.checksumStart[packet]!;
      complete(pool, packet, checksums.sumWords(pool.view, start, covered));
    }
    if (this.#pieces(packet, pool.offset[packet]!, ip, largest, out)) pool.free(packet);
    else path.drop(packet, drop['no-packet']);
    return true;
  }

  /** Each segment is made whole in a slot that serves for all of them. */
  #segments(packet: number, ip: number, largest: number, out: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const headers = this.#headers;
    if (!headers.read(packet, 0)) {
      path.drop(packet, drop['inner-malformed']);
      return;
    }
    const scratch = pool.take();
    if (scratch === NO_PACKET) {
      path.drop(packet, drop['no-packet']);
      return;
    }
    const segments = headers.count;
    const to = pool.offset[scratch]!;
    const toIp = to + ip - pool.offset[packet]!;
    headers.makeTemplate(segments);
    let lost = 0;
    for (let i = 0; i < segments; i++) {
      headers.build(to, i);
      if (!this.#pieces(packet, to, toIp, largest, out)) lost++;
    }
    path.counters.add('segmented');
    pool.free(scratch);
    if (lost === segments) path.drop(packet, drop['no-packet']);
    else {
      path.counters.dropMany(drop['no-packet'], lost);
      pool.free(packet);
    }
  }

  /** The frame at `at`, with its IPv4 header at `ip`, in pieces that have the columns of `packet`. False: no room for all. */
  #pieces(packet: number, at: number, ip: number, largest: number, out: Batch): boolean {
    const { pool } = this.#path;
    const { bytes } = pool;
    const headers = ip + ipv4.HEADER - at;
    const payload = ip + ipv4.HEADER;
    const end = ip + ipv4.totalLength(bytes, ip);
    const part = (largest - headers) & ~7;
    const field = ipv4.fragment(bytes, ip);
    const before = out.count;
    // At least one: a packet may be all header, and its frame too long by what is padded behind.
    let from = payload;
    do {
      const size = end - at <= largest ? end - from : Math.min(part, end - from);
      const piece = part > 0 ? this.#place(packet, headers + size) : NO_PACKET;
      if (piece === NO_PACKET) {
        while (out.count > before) pool.free(out.packets[--out.count]!);
        this.#home = NO_PACKET;
        return false;
      }
      const to = pool.offset[piece]!;
      bytes.copyWithin(to, at, payload);
      bytes.copyWithin(to + headers, from, from + size);
      const header = to + headers - ipv4.HEADER;
      const more = from + size < end || (field & ipv4.MORE_FRAGMENTS) !== 0 ? ipv4.MORE_FRAGMENTS : 0;
      const offset = (field & 0x1fff) + ((from - payload) >>> 3);
      ipv4.writeTotalLength(bytes, header, ipv4.HEADER + size);
      bytes[header + 6] = (more | offset) >>> 8;
      bytes[header + 7] = offset;
      ipv4.writeChecksum(bytes, header, 0);
      ipv4.writeChecksum(bytes, header, ipv4.headerChecksum(bytes, header));
      out.push(piece);
      from += size;
    } while (from < end);
    return true;
  }

  /** A packet of `length` bytes with the columns of `packet`, behind the last one in its slot if that has room for it. */
  #place(packet: number, length: number): number {
    const { pool } = this.#path;
    const home = this.#home;
    let piece: number;
    if (home !== NO_PACKET && this.#next + length <= pool.slotStart(home) + SLOT_BYTES) {
      piece = pool.share(home, this.#next, length);
    } else {
      piece = pool.take();
      if (piece === NO_PACKET) return NO_PACKET;
      this.#home = piece;
      pool.length[piece] = length;
      pool.inherit(piece, packet);
    }
    if (piece === NO_PACKET) return NO_PACKET;
    // 2 mod 4, as every frame begins (core/pool.ts).
    this.#next = ((pool.offset[piece]! + length + HEADROOM + 1) & ~3) + 2;
    return piece;
  }
}

/** Offset of the IPv4 header if the packet may be fragmented; -1 otherwise. */
function fragmentable({ pool }: Path, packet: number): number {
  const at = pool.offset[packet]!;
  const length = pool.length[packet]!;
  const ip = ethernet.payload(pool.bytes, at, length);
  if (ip < 0) return -1;
  if (ethernet.payloadType(pool.bytes, ip) !== ethernet.IPV4) return -1;
  if (!ipv4.valid(pool.bytes, ip, at + length - ip) || ipv4.dontFragment(pool.bytes, ip)) return -1;
  // Options would have to be sorted into those that are copied and those that aren't; such packets are told instead.
  return ipv4.headerLength(pool.bytes, ip) === ipv4.HEADER ? ip : -1;
}
