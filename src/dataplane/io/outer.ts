/**
 * The outer Ethernet, IPv4 or IPv6, and UDP headers of the tunnel device, which carries whole outer frames: built
 * per VTEP by control, completed per packet, and checked on arrival. (Sockets leave all this to the kernel.)
 */
import { drop } from '../core/drops.js';
import { CHECKSUM_UNFINISHED, type Pool, SENDER_ADDRESS, SENDER_FAMILY, SENDER_PORT } from '../core/pool.js';
import * as checksums from '../wire/checksum.js';
import * as ecn from '../wire/ecn.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as udp from '../wire/udp.js';
import { sum } from './offload/sum.js';

/** Bytes of outer headers before the VXLAN header. */
export const OUTER_IPV4 = ethernet.HEADER + ipv4.HEADER + udp.HEADER;
export const OUTER_IPV6 = ethernet.HEADER + ipv6.HEADER + udp.HEADER;

const HOP_LIMIT = 64;

export interface OuterEnds {
  family: 4 | 6;
  sourceMac: ethernet.Mac;
  nextHopMac: ethernet.Mac;
  /** IPv4 in the first word */
  source: ipv6.Words;
  destination: ipv6.Words;
  port: number;
}

/** The headers of one VTEP, lengths and source port still 0; an IPv4 header's checksum is that of what stands there. */
export function template(ends: OuterEnds): Uint8Array {
  const length = ends.family === 4 ? OUTER_IPV4 : OUTER_IPV6;
  const bytes = new Uint8Array(length);
  ethernet.writeMac(bytes, ethernet.DESTINATION, ends.nextHopMac.high, ends.nextHopMac.low);
  ethernet.writeMac(bytes, ethernet.SOURCE, ends.sourceMac.high, ends.sourceMac.low);
  ethernet.writeEtherType(bytes, 0, ends.family === 4 ? ethernet.IPV4 : ethernet.IPV6);
  const ip = ethernet.HEADER;
  if (ends.family === 4) {
    // DF: a datagram that is too long must be noticed, not fragmented (fragments aren't received well anywhere).
    ipv4.write(bytes, ip, 0, udp.PROTOCOL, ends.source[0], ends.destination[0], HOP_LIMIT);
  } else {
    ipv6.write(bytes, ip, 0, udp.PROTOCOL, HOP_LIMIT);
    ipv6.writeAddress(bytes, ip + ipv6.SOURCE, ...ends.source);
    ipv6.writeAddress(bytes, ip + ipv6.DESTINATION, ...ends.destination);
  }
  udp.writeDestinationPort(bytes, length - udp.HEADER, ends.port);
  return bytes;
}

/**
 * Puts the headers before the datagram that begins at the packet's offset (8 bytes VXLAN, then the frame).
 * @param rows words that hold the template from `row` on
 * @param total bytes of the datagram's payload: the packet's, or of a whole bundle
 */
export function write(
  pool: Pool,
  packet: number,
  rows: Int32Array,
  row: number,
  ipVersion: number,
  sourcePort: number,
  total: number,
): void {
  const { view, words } = pool;
  const outer = ipVersion === 4 ? OUTER_IPV4 : OUTER_IPV6;
  const at = pool.offset[packet]! - outer;
  // The start is word-aligned (core/pool.ts). Unrolled, for V8 doesn't: 5 ns instead of 18. The last two bytes of
  // 42 or 62 are the UDP checksum.
  copy5(words, at >> 2, rows, row);
  copy5(words, (at >> 2) + 5, rows, row + 5);
  if (outer === OUTER_IPV6) copy5(words, (at >> 2) + 10, rows, row + 10);

  const udpLength = udp.HEADER + total;
  if (ipVersion === 4) {
    const ip = at + ethernet.HEADER;
    view.setUint16(ip + 2, ipv4.HEADER + udpLength);
    view.setUint16(ip + 10, checksums.update16(view.getUint16(ip + 10), 0, ipv4.HEADER + udpLength));
  } else {
    view.setUint16(at + ethernet.HEADER + 4, udpLength);
  }
  const udpAt = at + outer - udp.HEADER;
  view.setUint16(udpAt, sourcePort);
  view.setInt32(udpAt + 4, udpLength << 16);
  pool.offset[packet] = at;
  pool.length[packet]! += outer;
  if (pool.offload[packet] !== 0) {
    pool.checksumStart[packet]! += outer;
    pool.headerLength[packet]! += outer;
  }
}

/**
 * Puts column `ecn`, where it isn't 0, into the headers that `write` has put before the datagram. Apart from it, for within
 * `write`, which V8 inlines as it is, the question alone would cost 10 ns.
 */
export function mark(pool: Pool, packet: number, ipVersion: number): void {
  const ip = pool.offset[packet]! + ethernet.HEADER;
  if (ipVersion === 4) ecn.write4(pool.bytes, ip, pool.ecn[packet]!);
  else ecn.write6(pool.bytes, ip, pool.ecn[packet]!);
}

function copy5(to: Int32Array, at: number, from: Int32Array, start: number): void {
  to[at] = from[start]!;
  to[at + 1] = from[start + 1]!;
  to[at + 2] = from[start + 2]!;
  to[at + 3] = from[start + 3]!;
  to[at + 4] = from[start + 4]!;
}

/** Sum of the pseudo-header of the outer UDP datagram; `at` is the outer Ethernet header. */
export function pseudoHeader(bytes: Uint8Array, at: number, ipVersion: number, udpLength: number): number {
  const ip = at + ethernet.HEADER;
  return ipVersion === 4
    ? checksums.pseudoHeader4(ipv4.source(bytes, ip), ipv4.destination(bytes, ip), udp.PROTOCOL, udpLength)
    : checksums.pseudoHeader6(bytes, ip, udp.PROTOCOL, udpLength);
}

/** What is here; words of address as in `OuterEnds`, undefined where there is none of the family. */
export interface Here {
  address4: number | undefined;
  address6: ipv6.Words | undefined;
  port: number;
}

/**
 * Checks the outer headers of a frame that arrived, and strips them: the packet begins at the UDP payload after
 * that, and ends where UDP says; its sender is written to the slot, its ECN field to the column. Returns 0, or the
 * drop reason + 1.
 *
 * 1. Ethernet type and IP header, whole and consistent  2. to this host and port  3. UDP length
 * 4. UDP checksum, unless it is absent (RFC 7348 §5, for IPv6 RFC 6935) or unfinished (it stayed in this host)
 */
export function strip(pool: Pool, packet: number, here: Here): number {
  const { bytes, view } = pool;
  const at = pool.offset[packet]!;
  const end = at + pool.length[packet]!;
  const ip = at + ethernet.HEADER;
  const malformed = drop['outer-malformed'] + 1;

  // 1.
  if (end - ip < ipv4.HEADER) return malformed;
  const type = view.getUint16(at + 12);
  let udpAt: number;
  let ipEnd: number;
  if (type === ethernet.IPV4) {
    if (!ipv4.valid(bytes, ip, end - ip) || ipv4.isFragment(bytes, ip)) return malformed;
    if (!headerIntact(view, bytes, ip)) return drop['outer-checksum'] + 1;
    if (ipv4.protocol(bytes, ip) !== udp.PROTOCOL) return malformed;
    udpAt = ip + ipv4.headerLength(bytes, ip);
    ipEnd = ip + ipv4.totalLength(bytes, ip);
    // 2.
    if (view.getInt32(ip + 16) !== here.address4) return drop['outer-not-ours'] + 1;
  } else if (type === ethernet.IPV6) {
    if (!ipv6.valid(bytes, ip, end - ip) || ipv6.nextHeader(bytes, ip) !== udp.PROTOCOL) return malformed;
    udpAt = ip + ipv6.HEADER;
    ipEnd = udpAt + ipv6.payloadLength(bytes, ip);
    const ours = here.address6;
    if (ours === undefined) return drop['outer-not-ours'] + 1;
    for (let i = 0; i < 4; i++) {
      if (ipv6.destinationWord(bytes, ip, i) !== ours[i]) return drop['outer-not-ours'] + 1;
    }
  } else return malformed;
  if (ipEnd - udpAt < udp.HEADER) return malformed;
  if (udp.destinationPort(bytes, udpAt) !== here.port) return drop['outer-not-ours'] + 1;

  // 3.
  const length = udp.length(bytes, udpAt);
  if (length < udp.HEADER || length > ipEnd - udpAt) return malformed;

  // 4.
  const checksum = udp.checksum(bytes, udpAt);
  const start = udpAt - at;
  const unfinished = (pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0;
  const outerUnfinished = unfinished && pool.checksumStart[packet] === start;
  if (checksum !== 0 && !unfinished) {
    const pseudo = pseudoHeader(bytes, at, type === ethernet.IPV4 ? 4 : 6, length);
    if (checksums.fold(pseudo + sum(view, udpAt, length)) !== 0xffff) return drop['outer-checksum'] + 1;
  }

  const slot = pool.slotStart(packet);
  const family = type === ethernet.IPV4 ? 4 : 6;
  pool.ecn[packet] = family === 4 ? ecn.of4(bytes, ip) : ecn.of6(bytes, ip);
  view.setUint16(slot + SENDER_FAMILY, family, true);
  view.setUint16(slot + SENDER_PORT, udp.sourcePort(bytes, udpAt), true);
  const source = family === 4 ? ip + 12 : ip + ipv6.SOURCE;
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    view.setInt32(slot + SENDER_ADDRESS + i, view.getInt32(source + i));
  }

  const stripped = start + udp.HEADER;
  pool.offset[packet] = at + stripped;
  pool.length[packet] = length - udp.HEADER;
  if (outerUnfinished) {
    // What is left to finish was the outer checksum, and with the header it is gone.
    pool.offload[packet]! &= ~CHECKSUM_UNFINISHED;
  } else if (pool.offload[packet] !== 0) {
    pool.checksumStart[packet]! -= stripped;
    pool.headerLength[packet]! -= stripped;
  }
  return 0;
}

/** Whether an IPv4 header's checksum is right; the usual one, without options, by words. */
function headerIntact(view: DataView, bytes: Uint8Array, ip: number): boolean {
  if (bytes[ip] !== 0x45) return ipv4.checksumValid(bytes, ip);
  const [a, b, c] = [view.getInt32(ip), view.getInt32(ip + 4), view.getInt32(ip + 8)];
  const [d, e] = [view.getInt32(ip + 12), view.getInt32(ip + 16)];
  const high = (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
  const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return checksums.fold(high + low) === 0xffff;
}
