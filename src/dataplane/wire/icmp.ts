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

/** Codes of UNREACHABLE. */
export const HOST_UNREACHABLE = 1;
export const PORT_UNREACHABLE = 3;
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
  if (packet === -1 || ethernet.payloadType(bytes, packet) !== ethernet.IPV4) return 0;
  if (ethernet.isMulticast(bytes, at + ethernet.DESTINATION)) return 0;
  if (ethernet.isMulticast(bytes, at + ethernet.SOURCE)) return 0;
  const link = packet - at;
  const answer = writeError(
    bytes,
    packet,
    at + length,
    out + link,
    UNREACHABLE,
    FRAGMENTATION_NEEDED,
    mtu & 0xffff,
  );
  if (answer === 0) return 0;
  bytes.copyWithin(out, at, packet);
  ethernet.swap(bytes, out);
  return link + answer;
}

/**
 * The error about the packet whose IPv4 header is at `packet`, from the address that it was for.
 *
 * 1. none where RFC 1122 §3.2.2 forbids it
 * 2. IP header back to the source
 * 3. ICMP header and quote
 *
 * @param end where the packet's bytes end; padding may be among them
 * @param out where the answer goes: room for ANSWER_MAX, apart from the packet
 * @param rest the 32 bits behind the checksum
 * @returns bytes of the answer, or 0 when none may be sent
 */
export function writeError(
  bytes: Uint8Array,
  packet: number,
  end: number,
  out: number,
  type: number,
  code: number,
  rest: number,
): number {
  if (!mayAnswer(bytes, packet, end)) return 0;
  return writeErrorAbout(bytes, packet, ipv4.totalLength(bytes, packet), out, type, code, rest);
}

/** The same, without asking whether it may be sent, about a packet of which `length` bytes are there. */
export function writeErrorAbout(
  bytes: Uint8Array,
  packet: number,
  length: number,
  out: number,
  type: number,
  code: number,
  rest: number,
): number {
  const quoted = Math.min(length, ANSWER_MAX - ipv4.HEADER - HEADER);
  const total = ipv4.HEADER + HEADER + quoted;
  ipv4.write(bytes, out, total, PROTOCOL, ipv4.destination(bytes, packet), ipv4.source(bytes, packet));

  const icmp = out + ipv4.HEADER;
  bytes[icmp] = type;
  bytes[icmp + 1] = code;
  bytes[icmp + 2] = 0;
  bytes[icmp + 3] = 0;
  ipv4.writeAddress(bytes, icmp + 4, rest);
  bytes.copyWithin(icmp + HEADER, packet, packet + quoted);
  const checksum = checksums.finish(checksums.sum(bytes, icmp, HEADER + quoted));
  bytes[icmp + 2] = checksum >>> 8;
  bytes[icmp + 3] = checksum;
  return total;
}

function mayAnswer(bytes: Uint8Array, packet: number, end: number): boolean {
  if (!ipv4.valid(bytes, packet, end - packet)) return false;
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
