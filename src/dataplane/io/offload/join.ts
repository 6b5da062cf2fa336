/**
 * From the underlay: datagrams that arrived glued (UDP_GRO, outer USO) become packets. Those that the other end split
 * from a super-packet, or bundled, are joined to one again before anybody looks at them: the inverse of split.
 *
 *     | VXLAN, headers | payload | VXLAN, headers | payload | …      →      | VXLAN, headers | payload payload … |
 *
 * A packet each would walk through everything for itself: a segment of TCP takes 139 ns so, 200 with a packet each
 * (bench/micro/split.ts), and decap and bridge are spared too: with a TCP stream the receiving data plane takes 28 µs of CPU per
 * 64 KB instead of 38.
 */
import type { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { NO_PACKET, SEGMENT_TCP4, SEGMENT_TCP6, SEGMENT_UDP } from '../../core/pool.js';
import * as checksums from '../../wire/checksum.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as tcp from '../../wire/tcp.js';
import * as vxlan from '../../wire/vxlan.js';
import { addon, type NativePool } from '../native.js';
import * as candidate from './candidate.js';
import { IP, L4_IPV4 } from './candidate.js';
import type { CoalesceOptions } from './coalesce.js';
import { pseudoHeader, writeSuper } from './merge.js';
import { sum } from './sum.js';

/** UDP_GRO_CNT_MAX, as when coalescing. */
const MAX_SEGMENTS = 64;
const MAX_IP_BYTES = 65_535;

export class Joiner {
  readonly #path: Path;
  readonly #native: NativePool | undefined;
  /** SEGMENT_* of what may be joined. */
  #kinds = 0;
  /** Of the run at hand: where its first frame begins, its kind, bytes before L4 and before the payload. */
  #at = 0;
  #kind = 0;
  #l4 = 0;
  #headers = 0;
  readonly #starts = new Int32Array(MAX_SEGMENTS);
  readonly #lengths = new Int32Array(MAX_SEGMENTS);
  readonly #sums = new Int32Array(MAX_SEGMENTS);

  constructor(path: Path, native?: NativePool) {
    this.#path = path;
    this.#native = native;
  }

  /** Which super-packets whoever gets the packets can take; until it is told, none is made. */
  set joins({ tcp4, tcp6, udp }: CoalesceOptions) {
    this.#kinds = (tcp4 ? SEGMENT_TCP4 : 0) | (tcp6 ? SEGMENT_TCP6 : 0) | (udp ? SEGMENT_UDP : 0);
  }

  /**
   * Appends the datagrams of a packet with `segment` > 0, which begins at its VXLAN header, to `into`: in order, in the slot
   * they are in.
   *
   * 1. Runs by their headers  2. Their checksums  3. Payloads moved together, headers of the whole
   * 4. From the first datagram on that belongs to no run, or has a wrong checksum: a packet each
   */
  unglue(packet: number, into: Batch): void {
    const { pool, counters } = this.#path;
    const size = pool.segment[packet]!;
    const end = pool.offset[packet]! + pool.length[packet]!;
    let at = pool.offset[packet]!;
    let made = packet;
    if (this.#kinds !== 0) {
      while (end - at > size) {
        // 1.
        pool.offset[made] = at + vxlan.HEADER;
        pool.length[made] = size - vxlan.HEADER;
        pool.segment[made] = 0;
        const count = this.#begins(made) ? this.#run(at, end, size) : 1;
        pool.offset[made] = at;
        // 2.
        if (count === 1 || !this.#right(at, end, size, count)) break;
        // 3.
        const bytes = Math.min(count * size, end - at);
        this.#join(made, at, bytes, size, count);
        into.push(made);
        counters.add('coalesced', count);
        at += bytes;
        if (at >= end) return;
        made = pool.share(packet, at, 0);
        if (made === NO_PACKET) {
          counters.dropMany(drop['no-packet'], Math.ceil((end - at) / size));
          return;
        }
      }
    }
    // 4.
    pool.segment[made] = size;
    pool.length[made] = end - at;
    unglue(this.#path, made, into);
  }

  /** Whether the packet, which begins at its frame, may be the first of a run. */
  #begins(packet: number): boolean {
    const { pool } = this.#path;
    const at = pool.offset[packet]!;
    if (candidate.keyOf(pool.view, at, pool.length[packet]!) === 0) return false;
    const kind = candidate.examine(pool, packet);
    if ((kind & this.#kinds) === 0 || !candidate.mergeable || candidate.ends) return false;
    if (candidate.l4 === L4_IPV4 && !ipv4.checksumValid(pool.bytes, at + IP)) return false;
    this.#at = at;
    this.#kind = kind;
    this.#l4 = candidate.l4;
    this.#headers = candidate.headerLength;
    return true;
  }

  /** How many of the datagrams of `size` bytes in [start, end) are of the run that the first one begins. */
  #run(start: number, end: number, size: number): number {
    const { view, bytes } = this.#path.pool;
    const first = this.#at;
    const l4 = this.#l4;
    const headers = this.#headers;
    const isUdp = this.#kind === SEGMENT_UDP;
    const v4 = l4 === L4_IPV4;
    const full = size - vxlan.HEADER;
    const most = Math.min(MAX_SEGMENTS, Math.floor((MAX_IP_BYTES - headers) / (full - headers)));
    const ipSum = v4 ? candidate.ipSumOf(view, first + IP) : 0;
    const id = view.getUint16(first + IP + 4);
    let step = 1;
    let sequence = view.getInt32(first + l4 + 4);
    let count = 1;
    for (let vx = start + size; vx < end && count < most; vx += size) {
      const at = vx + vxlan.HEADER;
      const length = Math.min(full, end - at);
      if (length <= headers) break;
      if (view.getInt32(vx) !== view.getInt32(start) || view.getInt32(vx + 4) !== view.getInt32(start + 4))
        break;
      if (!candidate.sameEthernet(view, first, at)) break;
      if (v4) {
        if (!candidate.sameIpv4(view, first, at, length, ipSum)) break;
        const ahead = (view.getUint16(at + IP + 4) - id) & 0xffff;
        if (count === 1) step = ahead === 0 && ipv4.dontFragment(bytes, at + IP) ? 0 : 1;
        if (ahead !== count * step) break;
      } else if (!candidate.sameIpv6(view, first, at, length)) break;
      if (isUdp) {
        if (
          view.getUint16(at + l4 + 4) !== length - l4 ||
          view.getUint16(at + l4 + candidate.UDP_CHECKSUM) === 0
        )
          break;
        count++;
        continue;
      }
      sequence = (sequence + full - headers) | 0;
      if (view.getInt32(at + l4 + 4) !== sequence) break;
      if (!candidate.sameTcp(view, first + l4, at + l4, headers - l4)) break;
      count++;
      if ((tcp.flags(bytes, at + l4) & (tcp.PSH | tcp.FIN)) !== 0) break;
    }
    return count;
  }

  /** Whether the L4 checksums of a run are right. */
  #right(start: number, end: number, size: number, count: number): boolean {
    const { pool } = this.#path;
    const skip = vxlan.HEADER + this.#l4;
    for (let i = 0; i < count; i++) {
      const from = start + i * size;
      this.#starts[i] = from + skip;
      this.#lengths[i] = Math.min(size, end - from) - skip;
    }
    const sums = this.#sums;
    if (this.#native !== undefined) {
      addon!.sums(this.#native.handle, this.#starts, this.#lengths, sums, count);
    } else {
      for (let i = 0; i < count; i++) sums[i] = sum(pool.view, this.#starts[i]!, this.#lengths[i]!);
    }
    const last = count - 1;
    const pseudo = pseudoHeader(pool.bytes, this.#at, size - skip);
    for (let i = 0; i < last; i++) if (checksums.fold(sums[i]! + pseudo) !== 0xffff) return false;
    const pseudoLast = pseudoHeader(pool.bytes, this.#at, this.#lengths[last]!);
    return checksums.fold(sums[last]! + pseudoLast) === 0xffff;
  }

  /** The run of `count` datagrams in `bytes` bytes at `at` becomes the super-packet `packet`. */
  #join(packet: number, at: number, bytes: number, size: number, count: number): void {
    const { pool } = this.#path;
    const headerLength = vxlan.HEADER + this.#headers;
    const flags =
      this.#kind === SEGMENT_UDP ? 0 : tcp.flags(pool.bytes, this.#at + (count - 1) * size + this.#l4);
    if (this.#native !== undefined) {
      addon!.joinSegments(this.#native.handle, at, headerLength, size, bytes);
    } else {
      let to = at + size;
      for (let from = at + size; from < at + bytes; from += size) {
        pool.bytes.copyWithin(to, from + headerLength, Math.min(from + size, at + bytes));
        to += size - headerLength;
      }
    }
    pool.length[packet] = bytes - (count - 1) * headerLength;
    writeSuper(pool, packet, vxlan.HEADER, size - headerLength, flags);
  }
}

/** Datagrams glued by size (`segment`) become one packet each, in the slot they are in, in order. */
export function unglue(path: Path, packet: number, into: Batch): void {
  const { pool } = path;
  const size = pool.segment[packet]!;
  const end = pool.offset[packet]! + pool.length[packet]!;
  pool.segment[packet] = 0;
  if (pool.length[packet]! > size) pool.length[packet] = size;
  into.push(packet);
  for (let at = pool.offset[packet]! + size; at < end; at += size) {
    const next = pool.share(packet, at, Math.min(size, end - at));
    if (next === NO_PACKET) {
      path.counters.dropMany(drop['no-packet'], Math.ceil((end - at) / size));
      return;
    }
    into.push(next);
  }
}
