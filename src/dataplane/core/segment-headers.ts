/** The headers of a super-packet: checked, made the template of its segments, and completed in each. */

import * as checksums from '../wire/checksum.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import {
  CHECKSUM_UNFINISHED,
  type Pool,
  SEGMENT_ANY,
  SEGMENT_ECN,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from './pool.js';

const UDP_CHECKSUM = 6;
const MAX_IP_BYTES = 65_535;
/** Extension headers could be long, and each segment would repeat them. */
const MAX_HEADER_BYTES = 512;
/** In the word of TCP's flags. */
const ENDS = tcp.PSH | tcp.FIN;

export class SegmentHeaders {
  /** Bytes of headers, from the packet's start, and of payload per segment. */
  headerLength = 0;
  segment = 0;

  readonly #pool: Pool;
  #packet = 0;
  /** Byte offsets from the packet's start. */
  #ip = 0;
  #l4 = 0;
  #isIpv4 = false;
  #isTcp = false;
  /** What the first segment has and the template hasn't, and the last. */
  #id = 0;
  #sequence = 0;
  #flags = 0;
  #firstFlags = 0;
  #lastFlags = 0;
  #segments = 0;
  /** Sums of what doesn't change: the IPv4 header without length, id and checksum; the L4 header and pseudo-header without length, sequence, flags and checksum. */
  #ipSum = 0;
  #l4Sum = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Reads the headers of a packet of which somebody said that it is a super-packet. False: they contradict that.
   * Extension headers of IPv6 are left to whoever found where L4 begins.
   */
  read(packet: number, prefix: number): boolean {
    const pool = this.#pool;
    const { bytes } = pool;
    const at = pool.offset[packet];
    const length = pool.length[packet];
    const offload = pool.offload[packet];
    const headerLength = pool.headerLength[packet];
    const l4 = pool.checksumStart[packet];
    this.#packet = packet;
    this.headerLength = headerLength;
    this.segment = pool.segment[packet];
    this.#l4 = l4;
    this.#isTcp = (offload & SEGMENT_UDP) === 0;
    const field = this.#isTcp ? tcp.CHECKSUM : UDP_CHECKSUM;
    if (this.segment <= 0 || (offload & SEGMENT_ANY) === 0) return false;
    if ((offload & CHECKSUM_UNFINISHED) === 0) return false;
    if (headerLength >= length || headerLength > MAX_HEADER_BYTES) return false;
    if (pool.checksumOffset[packet] !== field) return false;

    // The tags are looked for within the headers, so what is read here lies in the packet.
    if (headerLength < prefix + ethernet.HEADER) return false;
    const found = ethernet.payload(bytes, at + prefix, headerLength - prefix);
    if (found < 0) return false;
    const ip = found - at;
    this.#ip = ip;
    if (l4 < ip + ipv4.HEADER || headerLength < l4 + udp.HEADER) return false;
    const protocol = this.#isTcp ? tcp.PROTOCOL : udp.PROTOCOL;
    const type = ethernet.payloadType(bytes, found);
    this.#isIpv4 = type === ethernet.IPV4;
    if (this.#isIpv4) {
      if ((offload & SEGMENT_TCP6) !== 0 || length - ip > MAX_IP_BYTES) return false;
      if (ipv4.version(bytes, found) !== 4 || ipv4.headerLength(bytes, found) !== l4 - ip) return false;
      if (ipv4.protocol(bytes, found) !== protocol || ipv4.isFragment(bytes, found)) return false;
    } else {
      if (type !== ethernet.IPV6 || (offload & SEGMENT_TCP4) !== 0 || l4 < ip + ipv6.HEADER) return false;
      if (ipv6.version(bytes, found) !== 6 || length - ip - ipv6.HEADER > MAX_IP_BYTES) return false;
      if (l4 === ip + ipv6.HEADER && ipv6.nextHeader(bytes, found) !== protocol) return false;
    }
    if (!this.#isTcp) return headerLength === l4 + udp.HEADER;
    return headerLength >= l4 + tcp.HEADER && tcp.headerLength(bytes, at + l4) === headerLength - l4;
  }

  /** How many segments the packet makes. */
  get count(): number {
    return Math.ceil((this.#pool.length[this.#packet] - this.headerLength) / this.segment);
  }

  /** Turns the headers into those of a full segment in the middle, and takes the sums of what stays. */
  makeTemplate(segments: number): void {
    const pool = this.#pool;
    const { bytes, view } = pool;
    const at = pool.offset[this.#packet];
    const ip = at + this.#ip;
    const l4 = at + this.#l4;
    const whole = pool.length[this.#packet] - this.#l4;
    this.#segments = segments;

    if (this.#isIpv4) {
      this.#id = ipv4.id(bytes, ip);
      const rest = checksums.sum(bytes, ip + 12, l4 - ip - 12, checksums.sum(bytes, ip + 6, 4));
      this.#ipSum = checksums.sum(bytes, ip, 2, rest);
    }
    this.#writeLengths(at, this.segment);

    // The field has the pseudo-header's sum with the length of all; that length goes, each segment's comes.
    const field = l4 + (this.#isTcp ? tcp.CHECKSUM : UDP_CHECKSUM);
    const seed = checksums.fold(view.getUint16(field) + (~whole & 0xffff));
    if (this.#isTcp) {
      const flags = tcp.flags(bytes, l4);
      const ecn = (pool.offload[this.#packet] & SEGMENT_ECN) !== 0;
      this.#sequence = view.getInt32(l4 + 4);
      this.#flags = flags & ~ENDS & ~(ecn ? tcp.CWR : 0);
      this.#firstFlags = flags & ~ENDS;
      this.#lastFlags = this.#flags | (flags & ENDS);
      const rest = checksums.sum(bytes, l4 + 14, 2, checksums.sum(bytes, l4 + 8, 4, seed));
      const ends = checksums.sum(bytes, l4 + 18, this.headerLength - this.#l4 - 18, rest);
      this.#l4Sum = checksums.sum(bytes, l4, 4, checksums.fold(ends + (bytes[l4 + 12] << 8)));
      bytes[l4 + 13] = this.#flags;
    } else {
      this.#l4Sum = checksums.sum(bytes, l4, 4, seed);
    }
  }

  /**
   * Completes the headers of a copy of the template.
   * @param at where it lies
   * @param index its number within the super-packet
   * @param part its bytes of payload, whose sum is `sum`
   */
  finish(at: number, index: number, part: number, sum: number): void {
    const { bytes, view } = this.#pool;
    const l4 = at + this.#l4;
    const length = this.headerLength - this.#l4 + part;
    if (part !== this.segment) this.#writeLengths(at, part);
    if (this.#isIpv4) {
      const ip = at + this.#ip;
      const id = (this.#id + index) & 0xffff;
      view.setUint16(ip + 4, id);
      const total = this.#l4 - this.#ip + length;
      view.setUint16(ip + 10, checksums.finish(checksums.fold(this.#ipSum + id + total)));
    }
    if (!this.#isTcp) {
      // Its length counts twice: in the pseudo-header and in its own.
      const checksum = udp.finishChecksum(checksums.fold(this.#l4Sum + 2 * length + sum));
      view.setUint16(l4 + UDP_CHECKSUM, checksum);
      return;
    }
    const sequence = (this.#sequence + index * this.segment) | 0;
    let flags = this.#flags;
    if (index === 0) flags = this.#firstFlags;
    else if (index === this.#segments - 1) flags = this.#lastFlags;
    view.setInt32(l4 + 4, sequence);
    bytes[l4 + 13] = flags;
    const total = this.#l4Sum + length + (sequence >>> 16) + (sequence & 0xffff) + flags + sum;
    view.setUint16(l4 + tcp.CHECKSUM, checksums.finish(checksums.fold(total)));
  }

  /** Makes the segment of that number at `to`, apart from the packet: a copy of the template, and its payload. Its bytes. */
  build(to: number, index: number): number {
    const { bytes, view, offset, length } = this.#pool;
    const { headerLength, segment } = this;
    const at = offset[this.#packet];
    const from = at + headerLength + index * segment;
    const part = Math.min(segment, at + length[this.#packet] - from);
    bytes.copyWithin(to, at, at + headerLength);
    bytes.copyWithin(to + headerLength, from, from + part);
    this.finish(to, index, part, checksums.sumWords(view, to + headerLength, part));
    return headerLength + part;
  }

  #writeLengths(at: number, part: number): void {
    const { view } = this.#pool;
    const l4Length = this.headerLength - this.#l4 + part;
    const ip = at + this.#ip;
    if (this.#isIpv4) view.setUint16(ip + 2, this.#l4 - this.#ip + l4Length);
    else view.setUint16(ip + 4, this.#l4 - this.#ip - ipv6.HEADER + l4Length);
    if (!this.#isTcp) view.setUint16(at + this.#l4 + 4, l4Length);
  }
}
