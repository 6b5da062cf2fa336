/**
 * Congestion notification across the tunnel (RFC 6040; the field itself: RFC 3168 §5): the low two bits of IPv4's
 * TOS and of IPv6's traffic class. On the way in the outer header gets the frame's field (§4.1, normal mode), on
 * the way out the two are combined (§4.2):
 *
 *                      outer  Not-ECT    ECT(0)     ECT(1)     CE
 *     inner Not-ECT           Not-ECT    Not-ECT    Not-ECT    dropped
 *     inner ECT(0)            ECT(0)     ECT(0)     ECT(1)     CE
 *     inner ECT(1)            ECT(1)     ECT(1)     ECT(1)     CE
 *     inner CE                CE         CE         CE         CE
 *
 * Linux agrees but for a frame that is CE already: there the outer header says ECT(0), as RFC 3168 §9.1.1 had it.
 */
import * as checksums from './checksum.js';
import * as ethernet from './ethernet.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';

export const NOT_ECT = 0;
export const ECT_1 = 1;
export const ECT_0 = 2;
export const CE = 3;

/** The field in an IPv4 header, and in an IPv6 one. */
export const of4 = (bytes: Uint8Array, ip: number): number => bytes[ip + 1] & CE;
export const of6 = (bytes: Uint8Array, ip: number): number => (bytes[ip + 1] >>> 4) & CE;

/**
 * The field of the frame of `length` bytes at `at`; NOT_ECT of what isn't IP, or cut short. `view` and `bytes` are of the
 * same memory. What most frames are takes one read and no call: 2 ns of encap's.
 */
export function ofFrame(view: DataView, bytes: Uint8Array, at: number, length: number): number {
  if (length < ethernet.HEADER + ipv4.HEADER) return NOT_ECT;
  const start = view.getInt32(at + 12);
  return start >>> 16 === ethernet.IPV4 ? start & CE : ofOther(bytes, at, length);
}

function ofOther(bytes: Uint8Array, at: number, length: number): number {
  const ip = find(bytes, at, length);
  if (ip < 0) return NOT_ECT;
  return ethernet.payloadType(bytes, ip) === ethernet.IPV4 ? of4(bytes, ip) : of6(bytes, ip);
}

/**
 * Hands the field of the outer header on to the frame of `length` bytes at `at`. False: the frame is to be dropped.
 * Only ECT(1) and CE change anything, so callers look at `outer & 1` first.
 */
export function combine(bytes: Uint8Array, at: number, length: number, outer: number): boolean {
  if ((outer & 1) === 0) return true;
  const ip = find(bytes, at, length);
  if (ip < 0) return true;
  const isIpv4 = ethernet.payloadType(bytes, ip) === ethernet.IPV4;
  const inner = isIpv4 ? of4(bytes, ip) : of6(bytes, ip);
  if (inner === NOT_ECT) return outer !== CE;
  if (outer === CE ? inner === CE : inner !== ECT_0) return true;
  if (isIpv4) write4(bytes, ip, outer);
  else write6(bytes, ip, outer);
  return true;
}

/** The header checksum is kept right. */
export function write4(bytes: Uint8Array, ip: number, field: number): void {
  const before = (bytes[ip] << 8) | bytes[ip + 1];
  const after = (before & ~CE) | field;
  bytes[ip + 1] = after;
  ipv4.writeChecksum(bytes, ip, checksums.update16(ipv4.checksum(bytes, ip), before, after));
}

export function write6(bytes: Uint8Array, ip: number, field: number): void {
  bytes[ip + 1] = (bytes[ip + 1] & ~(CE << 4)) | (field << 4);
}

/** Offset of the IP header in the frame, -1 when there is none whole. */
function find(bytes: Uint8Array, at: number, length: number): number {
  const found = ethernet.payload(bytes, at, length);
  if (found < 0) return -1;
  const type = ethernet.payloadType(bytes, found);
  const header = type === ethernet.IPV4 ? ipv4.HEADER : type === ethernet.IPV6 ? ipv6.HEADER : 0;
  return header === 0 || found + header > at + length ? -1 : found;
}
