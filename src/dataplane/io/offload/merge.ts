/** The headers of a run of packets, which `examine` found mergeable, become those of one super-packet. */
import type { Batch } from '../../core/batch.js';
import { CHECKSUM_UNFINISHED, type Pool, SEGMENT_TCP4, SEGMENT_TCP6, SEGMENT_UDP } from '../../core/pool.js';
import * as checksums from '../../wire/checksum.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import { IP, L4_IPV4, L4_IPV6, UDP_CHECKSUM } from './candidate.js';

/** The packets [from, to) of the batch as one: headers and columns of the first. */
export function merge(pool: Pool, batch: Batch, from: number, to: number): void {
  const { bytes } = pool;
  const first = batch.packets[from];
  const at = pool.offset[first];
  const l4 = l4Of(bytes, at);
  const isUdp = protocolOf(bytes, at) === udp.PROTOCOL;
  const headerLength = headerLengthOf(bytes, at, l4, isUdp);
  const own = pool.length[first];
  let length = headerLength;
  for (let i = from; i < to; i++) length += pool.length[batch.packets[i]] - headerLength;
  const last = pool.offset[batch.packets[to - 1]];
  pool.length[first] = length;
  writeSuper(pool, first, 0, own - headerLength, isUdp ? 0 : tcp.flags(bytes, last + l4));
  pool.length[first] = own;
  pool.bundle[first] = to - from;
  pool.bundleSkip[first] = headerLength;
}

/**
 * Headers and columns of a super-packet, whose headers are those of its first segment yet; its `length` is that of the whole.
 * @param prefix bytes before the Ethernet header
 * @param segment payload bytes a segment
 * @param lastFlags TCP flags of the last segment
 */
export function writeSuper(
  pool: Pool,
  packet: number,
  prefix: number,
  segment: number,
  lastFlags: number,
): void {
  const { bytes } = pool;
  const at = pool.offset[packet] + prefix;
  const length = pool.length[packet] - prefix;
  const l4 = l4Of(bytes, at);
  const isUdp = protocolOf(bytes, at) === udp.PROTOCOL;

  // 1. Lengths.
  if (l4 === L4_IPV4) {
    const before = ipv4.totalLength(bytes, at + IP);
    const checksum = checksums.update16(ipv4.checksum(bytes, at + IP), before, length - IP);
    ipv4.writeTotalLength(bytes, at + IP, length - IP);
    ipv4.writeChecksum(bytes, at + IP, checksum);
  } else {
    ipv6.writePayloadLength(bytes, at + IP, length - L4_IPV6);
  }

  // 2. What L4 says of the whole; the checksum is left to whoever needs one.
  const seed = pseudoHeader(bytes, at, length - l4);
  if (isUdp) {
    bytes[at + l4 + 4] = (length - l4) >>> 8;
    bytes[at + l4 + 5] = length - l4;
    udp.writeChecksum(bytes, at + l4, seed);
  } else {
    bytes[at + l4 + 13] |= lastFlags & (tcp.PSH | tcp.FIN);
    tcp.writeChecksum(bytes, at + l4, seed);
  }

  // 3. Columns.
  pool.segment[packet] = segment;
  pool.offload[packet] =
    CHECKSUM_UNFINISHED | (isUdp ? SEGMENT_UDP : l4 === L4_IPV4 ? SEGMENT_TCP4 : SEGMENT_TCP6);
  pool.checksumStart[packet] = prefix + l4;
  pool.checksumOffset[packet] = isUdp ? UDP_CHECKSUM : tcp.CHECKSUM;
  pool.headerLength[packet] = prefix + headerLengthOf(bytes, at, l4, isUdp);
}

const headerLengthOf = (bytes: Uint8Array, at: number, l4: number, isUdp: boolean): number =>
  l4 + (isUdp ? udp.HEADER : tcp.headerLength(bytes, at + l4));

const isIpv4 = (bytes: Uint8Array, at: number): boolean => bytes[at + 12] === ethernet.IPV4 >> 8;

export const l4Of = (bytes: Uint8Array, at: number): number => (isIpv4(bytes, at) ? L4_IPV4 : L4_IPV6);

const protocolOf = (bytes: Uint8Array, at: number): number =>
  isIpv4(bytes, at) ? ipv4.protocol(bytes, at + IP) : ipv6.nextHeader(bytes, at + IP);

/** Sum of the pseudo-header for `length` bytes of L4; the same for all packets of a run but for the length. */
export function pseudoHeader(bytes: Uint8Array, at: number, length: number): number {
  const ip = at + IP;
  const protocol = protocolOf(bytes, at);
  return isIpv4(bytes, at)
    ? checksums.pseudoHeader4(ipv4.source(bytes, ip), ipv4.destination(bytes, ip), protocol, length)
    : checksums.pseudoHeader6(bytes, ip, protocol, length);
}
