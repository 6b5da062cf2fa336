/**
 * ICMP for IPv4 (RFC 792; when and how errors are sent: RFC 1122 §3.2.2, RFC 1812 §4.3.2; the next-hop MTU:
 * RFC 1191 §4). `at` is the ICMP header, but where a whole frame is meant.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *     |            Unused             |         Next-Hop MTU          |
 *     +-------------------------------+-------------------------------+
 *     |   The offending packet, as much of it as 576 bytes hold ...   |
 */

import * as checksums from './checksum.js';
import * as ethernet from './ethernet.js';
import * as ipv4 from './ipv4.js';

export const HEADER = 8;
export const PROTOCOL = 1;

export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;

/** Code of UNREACHABLE. */
export const FRAGMENTATION_NEEDED = 4;

/** Bytes of the longest answer, IP header on (RFC 1812 §4.3.2.3). */
export const ANSWER_MAX = 576;

export const type = (bytes: Uint8Array, at: number): number => bytes[at];

export const code = (bytes: Uint8Array, at: number): number => bytes[at + 1];

export const checksum = (bytes: Uint8Array, at: number): number => (bytes[at + 2] << 8) | bytes[at + 3];

/** Next-hop MTU of a "fragmentation needed". */
export const mtu = (bytes: Uint8Array, at: number): number => (bytes[at + 6] << 8) | bytes[at + 7];

/** Whether a type is an error's: errors are never answered with errors. */
export const isError = (type: number): boolean =>
  type === UNREACHABLE ||
  type === SOURCE_QUENCH ||
  type === REDIRECT ||
  type === TIME_EXCEEDED ||
  type === PARAMETER_PROBLEM;

export const checksumValid = (bytes: Uint8Array, at: number, end: number): boolean =>
  at + HEADER <= end && checksums.sum(bytes, at, end - at) === 0xffff;

/**
 * The answer to a frame that is too big for the tunnel, as the kernel's vxlan gives it
 * (iptunnel_pmtud_build_icmp): from the address that the frame was for, MACs swapped, VLAN tags kept. Whether
 * DF is set is the caller's to ask.
 *
 * 1. no answer where RFC 1122 §3.2.2 forbids it
 * 2. Ethernet header and tags copied, MACs swapped
 * 3. IP header back to the source
 * 4. ICMP header and quote
 *
 * @param at the offending Ethernet frame of `length` bytes
 * @param out where the answer goes: room for Ethernet, tags and ANSWER_MAX, apart from the frame
 * @param mtu the largest IP packet that fits
 * @returns bytes of the answer frame, or 0 when none may be sent
 */
export function writeFragmentationNeeded(
  bytes: Uint8Array,
  at: number,
  length: number,
  out: number,
  mtu: number,
): number {
  const packet = ethernet.payload(bytes, at, length);
  if (packet === -1 || !mayAnswer(bytes, at, packet, at + length)) return 0;

  const link = packet - at;
  bytes.copyWithin(out, at, packet);
  ethernet.swap(bytes, out);

  const ip = out + link;
  const quoted = Math.min(ipv4.totalLength(bytes, packet), ANSWER_MAX - ipv4.HEADER - HEADER);
  const total = ipv4.HEADER + HEADER + quoted;
  ipv4.write(bytes, ip, total, PROTOCOL, ipv4.destination(bytes, packet), ipv4.source(bytes, packet));

  const icmp = ip + ipv4.HEADER;
  bytes[icmp] = UNREACHABLE;
  bytes[icmp + 1] = FRAGMENTATION_NEEDED;
  bytes[icmp + 2] = 0;
  bytes[icmp + 3] = 0;
  bytes[icmp + 4] = 0;
  bytes[icmp + 5] = 0;
  bytes[icmp + 6] = mtu >>> 8;
  bytes[icmp + 7] = mtu;
  bytes.copyWithin(icmp + HEADER, packet, packet + quoted);
  const checksum = checksums.finish(checksums.sum(bytes, icmp, HEADER + quoted));
  bytes[icmp + 2] = checksum >>> 8;
  bytes[icmp + 3] = checksum;
  return link + total;
}

function mayAnswer(bytes: Uint8Array, at: number, packet: number, end: number): boolean {
  if (ethernet.payloadType(bytes, packet) !== ethernet.IPV4) return false;
  if (!ipv4.valid(bytes, packet, end - packet)) return false;
  if (ethernet.isMulticast(bytes, at + ethernet.DESTINATION)) return false;
  if (ethernet.isMulticast(bytes, at + ethernet.SOURCE)) return false;
  const source = ipv4.source(bytes, packet);
  const network = source >>> 24;
  if (network === 0 || network === 127 || ipv4.isMulticast(source) || source === ipv4.BROADCAST) return false;
  const destination = ipv4.destination(bytes, packet);
  if (ipv4.isMulticast(destination) || destination === ipv4.BROADCAST) return false;
  if (ipv4.fragmentOffset(bytes, packet) !== 0) return false;
  if (ipv4.protocol(bytes, packet) !== PROTOCOL) return true;
  const header = ipv4.headerLength(bytes, packet);
  return header < ipv4.totalLength(bytes, packet) && !isError(type(bytes, packet + header));
}
