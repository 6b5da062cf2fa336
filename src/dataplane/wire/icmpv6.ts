/**
 * ICMPv6 (RFC 4443) and of neighbour discovery what answers for a neighbour (RFC 4861 §4.3-4.4, §7).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *     |  MTU (packet too big), R S O flags (advertisement), or zero   |
 *     +---------------------------------------------------------------+
 *     |   The offending packet, as much of it as 1280 bytes hold,     |
 *     |   or the target address (4 words) and options:                |
 *     +---------------+---------------+-------------------------------+
 *     | Option type   | Length / 8    |  Link-layer address ...       |
 *
 * The functions of neighbour discovery take the IPv6 header, for they validate and rewrite it as well.
 */

import * as checksums from './checksum.js';
import * as ethernet from './ethernet.js';
import * as ipv6 from './ipv6.js';

export const HEADER = 8;
export const PROTOCOL = 58;

export const UNREACHABLE = 1;
export const PACKET_TOO_BIG = 2;
export const TIME_EXCEEDED = 3;
export const PARAMETER_PROBLEM = 4;
export const ECHO_REQUEST = 128;
export const ECHO_REPLY = 129;
export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const REDIRECT = 137;

/** Code of UNREACHABLE. */
export const ADDRESS_UNREACHABLE = 3;
export const PORT_UNREACHABLE = 4;

/** Flags of an advertisement: the sender is a router, was asked, and its word replaces older. */
export const FLAG_ROUTER = 0x80;
export const FLAG_SOLICITED = 0x40;
export const FLAG_OVERRIDE = 0x20;

/** Bytes of the longest answer, IPv6 header on, and the least MTU there is (RFC 4443 §2.4 (c), RFC 8200 §5). */
export const ANSWER_MAX = 1280;

/** Bytes of what writeAdvertisement leaves and writeSolicitation writes, IPv6 header on. */
export const ADVERTISEMENT = 72;
export const SOLICITATION = 72;

/**
 * Who answers for a multicast address, which may be no source (RFC 4291 §2.7): 02:56:49:41:44:54, and its
 * link-local address fe80::56:49ff:fe41:4454.
 */
const ANSWER_MAC_HIGH = 0x0256;
const ANSWER_MAC_LOW = 0x49414454;

const ICMP = ipv6.HEADER;
const TARGET = ICMP + HEADER;
const OPTIONS = TARGET + 16;
const OPTION_SOURCE = 1;
const OPTION_TARGET = 2;

/** `at` is the ICMPv6 header. */
export const type = (bytes: Uint8Array, at: number): number => bytes[at];
export const code = (bytes: Uint8Array, at: number): number => bytes[at + 1];
export const checksum = (bytes: Uint8Array, at: number): number => (bytes[at + 2] << 8) | bytes[at + 3];

/** MTU of a "packet too big", unsigned 32 bits. */
export const mtu = (bytes: Uint8Array, at: number): number => ipv6.word(bytes, at + 4, 0) >>> 0;

/** Whether a type is an error's: errors are never answered with errors. */
export const isError = (type: number): boolean => type < 128;

/**
 * Whether the checksum of the message at `at` is right. The IPv6 header at `ip` says where the message ends; what
 * is behind it up to `end` is padding of the frame.
 */
export function checksumValid(bytes: Uint8Array, ip: number, at: number, end: number): boolean {
  if (at + HEADER > end) return false;
  const length = ip + ipv6.HEADER + ipv6.payloadLength(bytes, ip) - at;
  return length >= HEADER && at + length <= end && messageSum(bytes, ip, at, length) === 0xffff;
}

/** An NS that RFC 4861 §7.1.1 lets pass, but for its checksum; extension headers are not walked. */
export function isSolicitation(bytes: Uint8Array, at: number, end: number): boolean {
  if (!isNeighbourMessage(bytes, at, end, NEIGHBOUR_SOLICITATION)) return false;
  return (
    !ipv6.isUnspecified(bytes, at + ipv6.SOURCE) ||
    (ipv6.isSolicitedNode(bytes, at + ipv6.DESTINATION) && sourceLinkLayer(bytes, at) === -1)
  );
}

/** An NA that RFC 4861 §7.1.2 lets pass, but for its checksum; extension headers are not walked. */
export function isAdvertisement(bytes: Uint8Array, at: number, end: number): boolean {
  if (!isNeighbourMessage(bytes, at, end, NEIGHBOUR_ADVERTISEMENT)) return false;
  return (
    !ipv6.isMulticast(bytes, at + ipv6.DESTINATION) || (advertisementFlags(bytes, at) & FLAG_SOLICITED) === 0
  );
}

/** What both checks have in common: hop limit, length, code, target, options that add up. */
function isNeighbourMessage(bytes: Uint8Array, at: number, end: number, wanted: number): boolean {
  if (!ipv6.valid(bytes, at, end - at) || ipv6.payloadLength(bytes, at) < OPTIONS - ICMP) return false;
  if (ipv6.nextHeader(bytes, at) !== PROTOCOL || ipv6.hopLimit(bytes, at) !== 255) return false;
  if (bytes[at + ICMP] !== wanted || bytes[at + ICMP + 1] !== 0) return false;
  if (ipv6.isMulticast(bytes, at + TARGET)) return false;
  const optionsEnd = at + ICMP + ipv6.payloadLength(bytes, at);
  let option = at + OPTIONS;
  while (option + 2 <= optionsEnd && bytes[option + 1] !== 0) option += bytes[option + 1] << 3;
  return option === optionsEnd;
}

/** Word `index` of the target address of the NS or NA whose IPv6 header is at `at`. */
export const targetWord = (bytes: Uint8Array, at: number, index: number): number =>
  ipv6.word(bytes, at + TARGET, index);

export const advertisementFlags = (bytes: Uint8Array, at: number): number => bytes[at + ICMP + 4];

/** Offset of the MAC in an NS's option, for `ethernet.macHigh`; -1 if there is none. The NS has been validated. */
export const sourceLinkLayer = (bytes: Uint8Array, at: number): number => linkLayer(bytes, at, OPTION_SOURCE);

/** Offset of the MAC in an NA's option, or -1. */
export const targetLinkLayer = (bytes: Uint8Array, at: number): number => linkLayer(bytes, at, OPTION_TARGET);

function linkLayer(bytes: Uint8Array, at: number, wanted: number): number {
  const optionsEnd = at + ICMP + ipv6.payloadLength(bytes, at);
  for (let option = at + OPTIONS; option + 8 <= optionsEnd; option += bytes[option + 1] << 3) {
    if (bytes[option + 1] === 0) return -1;
    if (bytes[option] === wanted && bytes[option + 1] === 1) return option + 2;
  }
  return -1;
}

/**
 * The validated NS becomes, in place, the NA "its target is at this MAC", ADVERTISEMENT bytes long (an NS
 * without option grows by 8). A solicitation from :: (duplicate address detection) is answered to all nodes,
 * without S (§7.2.4). The Ethernet header is `ethernet.turnBack`'s.
 */
export function writeAdvertisement(
  bytes: Uint8Array,
  at: number,
  high: number,
  low: number,
  flags = FLAG_SOLICITED | FLAG_OVERRIDE,
): void {
  const detection = ipv6.isUnspecified(bytes, at + ipv6.SOURCE);
  ipv6.write(bytes, at, ADVERTISEMENT - ICMP, PROTOCOL, 255);
  if (detection) ipv6.writeAddress(bytes, at + ipv6.DESTINATION, 0xff020000, 0, 0, 1);
  else bytes.copyWithin(at + ipv6.DESTINATION, at + ipv6.SOURCE, at + ipv6.SOURCE + 16);
  bytes.copyWithin(at + ipv6.SOURCE, at + TARGET, at + TARGET + 16);
  writeHead(
    bytes,
    at + ICMP,
    NEIGHBOUR_ADVERTISEMENT,
    0,
    (detection ? flags & ~FLAG_SOLICITED : flags) << 24,
  );
  bytes[at + OPTIONS] = OPTION_TARGET;
  bytes[at + OPTIONS + 1] = 1;
  ethernet.writeMac(bytes, at + OPTIONS + 2, high, low);
  writeChecksum(bytes, at, at + ICMP, ADVERTISEMENT - ICMP);
}

/**
 * "Who has the target, `a` to `d`? Tell the source, which is at this MAC", SOLICITATION bytes, to the target's
 * solicited-node group (RFC 4861 §4.3). The source address stands in the IPv6 header at `at` already.
 */
export function writeSolicitation(
  bytes: Uint8Array,
  at: number,
  high: number,
  low: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  ipv6.write(bytes, at, SOLICITATION - ICMP, PROTOCOL, 255);
  ipv6.writeSolicitedNode(bytes, at + ipv6.DESTINATION, d);
  writeHead(bytes, at + ICMP, NEIGHBOUR_SOLICITATION, 0, 0);
  ipv6.writeAddress(bytes, at + TARGET, a, b, c, d);
  bytes[at + OPTIONS] = OPTION_SOURCE;
  bytes[at + OPTIONS + 1] = 1;
  ethernet.writeMac(bytes, at + OPTIONS + 2, high, low);
  writeChecksum(bytes, at, at + ICMP, SOLICITATION - ICMP);
}

/**
 * The answer to a frame that is too big for the tunnel, as the kernel's vxlan gives it
 * (iptunnel_pmtud_build_icmpv6): from the address that the frame was for, MACs swapped, VLAN tags kept. Unlike
 * there, a multicast destination, which RFC 4443 §2.4 (e.3) lets be answered, is answered from ANSWER_MAC.
 * No answer tells an MTU that a host would not follow.
 *
 * @param at the offending Ethernet frame of `length` bytes
 * @param out where the answer goes: room for Ethernet, tags and ANSWER_MAX, apart from the frame
 * @param mtu the largest IP packet that fits
 * @returns bytes of the answer frame, or 0 when none may be sent
 */
export function writePacketTooBig(
  bytes: Uint8Array,
  at: number,
  length: number,
  out: number,
  mtu: number,
): number {
  const packet = ethernet.payload(bytes, at, length);
  if (mtu < ANSWER_MAX || packet === -1 || ethernet.payloadType(bytes, packet) !== ethernet.IPV6) return 0;
  if (ethernet.isMulticast(bytes, at + ethernet.SOURCE)) return 0;
  const link = packet - at;
  const answer = writeError(bytes, packet, at + length, out + link, PACKET_TOO_BIG, 0, mtu);
  if (answer === 0) return 0;
  bytes.copyWithin(out, at, packet);
  if (ethernet.isMulticast(bytes, out)) ethernet.turnBack(bytes, out, ANSWER_MAC_HIGH, ANSWER_MAC_LOW);
  else ethernet.swap(bytes, out);
  return link + answer;
}

/**
 * The error about the packet whose IPv6 header is at `packet`, from the address that it was for; "packet too big" also
 * about one to a group.
 *
 * 1. none where RFC 4443 §2.4 (e) forbids it
 * 2. IPv6 header back to the source
 * 3. ICMPv6 header and quote
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
  const toGroup = ipv6.isMulticast(bytes, packet + ipv6.DESTINATION);
  if (toGroup && type !== PACKET_TOO_BIG) return 0;
  const whole = ipv6.HEADER + ipv6.payloadLength(bytes, packet);
  return writeErrorAbout(bytes, packet, whole, out, type, code, rest);
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
  const toGroup = ipv6.isMulticast(bytes, packet + ipv6.DESTINATION);
  const quoted = Math.min(length, ANSWER_MAX - ipv6.HEADER - HEADER);
  ipv6.write(bytes, out, HEADER + quoted, PROTOCOL);
  bytes.copyWithin(out + ipv6.DESTINATION, packet + ipv6.SOURCE, packet + ipv6.SOURCE + 16);
  if (toGroup) {
    const low = 0xfe000000 | (ANSWER_MAC_LOW & 0xffffff);
    ipv6.writeAddress(bytes, out + ipv6.SOURCE, 0xfe800000, 0, 0x005649ff, low);
  } else {
    bytes.copyWithin(out + ipv6.SOURCE, packet + ipv6.DESTINATION, packet + ipv6.DESTINATION + 16);
  }

  const icmp = out + ipv6.HEADER;
  writeHead(bytes, icmp, type, code, rest);
  bytes.copyWithin(icmp + HEADER, packet, packet + quoted);
  writeChecksum(bytes, out, icmp, HEADER + quoted);
  return ipv6.HEADER + HEADER + quoted;
}

function mayAnswer(bytes: Uint8Array, packet: number, end: number): boolean {
  if (!ipv6.valid(bytes, packet, end - packet)) return false;
  const source = packet + ipv6.SOURCE;
  if (ipv6.isUnspecified(bytes, source) || ipv6.isMulticast(bytes, source)) return false;
  if (ipv6.isLoopback(bytes, source)) return false;
  const upperEnd = packet + ipv6.HEADER + ipv6.payloadLength(bytes, packet);
  const upper = ipv6.transport(bytes, packet, upperEnd);
  if (upper === -1) return false;
  if (ipv6.transportProtocol !== PROTOCOL) return true;
  return upper < upperEnd && !isError(bytes[upper]) && bytes[upper] !== REDIRECT;
}

/** Type, code, a checksum to come, and the 32 bits behind it. */
function writeHead(bytes: Uint8Array, at: number, type: number, code: number, rest: number): void {
  bytes[at] = type;
  bytes[at + 1] = code;
  bytes[at + 2] = 0;
  bytes[at + 3] = 0;
  ipv6.writeWord(bytes, at + 4, 0, rest);
}

function writeChecksum(bytes: Uint8Array, ip: number, at: number, length: number): void {
  const checksum = checksums.finish(messageSum(bytes, ip, at, length));
  bytes[at + 2] = checksum >>> 8;
  bytes[at + 3] = checksum;
}

const messageSum = (bytes: Uint8Array, ip: number, at: number, length: number): number =>
  checksums.sum(bytes, at, length, checksums.pseudoHeader6(bytes, ip, PROTOCOL, length));
