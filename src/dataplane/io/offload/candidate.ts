/**
 * Which packets may become part of a super-packet, and of which flow they are: the rules of the kernel's GRO
 * (tcp_gro_receive, udp_gro_receive_segment, inet_gro_receive), for frames without VLAN tags, IPv4 without
 * options and fragments, IPv6 without extension headers.
 *
 * Fields are read through the DataView, for datagrams that arrived glued lie at any alignment.
 */
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  type Pool,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../../core/pool.js';
import { fold } from '../../wire/checksum.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';

/** From the packet's start. */
export const IP = ethernet.HEADER;
export const L4_IPV4 = IP + ipv4.HEADER;
export const L4_IPV6 = IP + ipv6.HEADER;

export const UDP_CHECKSUM = 6;
const RESERVED_BIT = 0x8000;
/** PSH and FIN, in the word of data offset, flags and window. */
const ENDS = (tcp.PSH | tcp.FIN) << 16;

/** The first word of an untagged packet's type and IP header, with the bits that don't matter here. */
const PLAIN_IPV4 = (ethernet.IPV4 << 16) | 0x4500;
const TOS_IPV4 = 0xff;
const PLAIN_IPV6 = (ethernet.IPV6 << 16) | 0x6000;
const CLASS_IPV6 = 0xfff;

/** Hash of the flow of the frame at `at`; 0 when it isn't IP of the kind that is merged here. */
export function keyOf(view: DataView, at: number, length: number): number {
  if (length < L4_IPV4 + udp.HEADER) return 0;
  const start = view.getInt32(at + 12);
  let addresses: number;
  let ports: number;
  if ((start & ~TOS_IPV4) === PLAIN_IPV4) {
    addresses = view.getInt32(at + IP + 12) ^ Math.imul(view.getInt32(at + IP + 16), 0x9e3779b1);
    ports = view.getInt32(at + L4_IPV4);
  } else if ((start & ~CLASS_IPV6) === PLAIN_IPV6 && length >= L4_IPV6 + udp.HEADER) {
    addresses = view.getInt32(at + IP + 20) ^ Math.imul(view.getInt32(at + IP + 36), 0x9e3779b1);
    ports = view.getInt32(at + L4_IPV6);
  } else return 0;
  return Math.imul(addresses ^ ports, 0x85ebca6b) | 1;
}

/** Results of the last `examine` that returned a kind. */

/**
 * Whether the packet is whole, plain, and carries something: it may begin a run, if nothing `ends` it at once. IPv4's
 * header checksum is looked at when a second packet comes.
 */
export let mergeable = false;
/** PSH or FIN: nothing may follow it in a super-packet. */
export let ends = false;
/** Bytes before the L4 header, and before what it carries. */
export let l4 = 0;
export let headerLength = 0;

/** Reads a packet's headers, `keyOf` which isn't 0: SEGMENT_TCP4, SEGMENT_TCP6 or SEGMENT_UDP, or 0 when its flow can't be told. */
export function examine(pool: Pool, packet: number): number {
  const { bytes, view } = pool;
  const at = pool.offset[packet];
  const length = pool.length[packet];

  // 1. IP. Padding behind the IP packet, or a piece missing, forbid merging.
  let kind: number;
  let protocol: number;
  let plain = pool.segment[packet] === 0;
  if (view.getUint16(at + 12) === ethernet.IPV4) {
    const fragment = view.getUint16(at + IP + 6);
    if ((fragment & ~(ipv4.DONT_FRAGMENT | RESERVED_BIT)) !== 0) return 0;
    l4 = L4_IPV4;
    kind = SEGMENT_TCP4;
    protocol = bytes[at + IP + 9];
    plain &&= ipv4.totalLength(bytes, at + IP) === length - IP;
    plain &&= fragment < RESERVED_BIT;
  } else {
    l4 = L4_IPV6;
    kind = SEGMENT_TCP6;
    protocol = bytes[at + IP + 6];
    plain &&= ipv6.payloadLength(bytes, at + IP) === length - L4_IPV6;
  }

  // 2. L4.
  if (protocol === tcp.PROTOCOL) {
    if (length < l4 + tcp.HEADER) return 0;
    headerLength = l4 + tcp.headerLength(bytes, at + l4);
    const flags = tcp.flags(bytes, at + l4);
    ends = (flags & (tcp.PSH | tcp.FIN)) !== 0;
    plain &&= headerLength >= l4 + tcp.HEADER;
    plain &&= (flags & (tcp.ACK | tcp.SYN | tcp.RST | tcp.URG | tcp.CWR)) === tcp.ACK;
  } else if (protocol === udp.PROTOCOL) {
    kind = SEGMENT_UDP;
    headerLength = l4 + udp.HEADER;
    ends = false;
    plain &&= udp.length(bytes, at + l4) === length - l4;
  } else return 0;
  mergeable = plain && length > headerLength && checksumPlain(pool, packet, l4, kind);
  return kind;
}

/**
 * Whether the state of a packet's checksum allows merging. One that is unfinished must be that of this L4 header; and the
 * datagrams of a super-packet all get one, so whoever sent none must be known to be right.
 */
export function checksumPlain(pool: Pool, packet: number, l4: number, kind: number): boolean {
  const offload = pool.offload[packet];
  if (offload === CHECKSUM_VERIFIED) return true;
  if ((offload & CHECKSUM_UNFINISHED) !== 0) {
    const field = kind === SEGMENT_UDP ? UDP_CHECKSUM : tcp.CHECKSUM;
    return pool.checksumStart[packet] === l4 && pool.checksumOffset[packet] === field;
  }
  return kind !== SEGMENT_UDP || pool.view.getUint16(pool.offset[packet] + l4 + UDP_CHECKSUM) !== 0;
}

/** Whether two packets of which `keyOf` is the same are of one flow; `l4` is that of either. */
export function sameFlow(view: DataView, first: number, at: number, l4: number): boolean {
  let diff = view.getUint16(first + 12) ^ view.getUint16(at + 12);
  const protocol = l4 === L4_IPV4 ? IP + 9 : IP + 6;
  diff |= view.getUint8(first + protocol) ^ view.getUint8(at + protocol);
  // addresses and ports
  for (let i = l4 === L4_IPV4 ? IP + 12 : IP + 8; i < l4 + 4; i += 4) {
    diff |= view.getInt32(first + i) ^ view.getInt32(at + i);
  }
  return diff === 0;
}

// Whether a packet could stand in one super-packet behind another, which `examine` found mergeable: headers that differ
// in nothing but what splitting restores. Sequence numbers, IPv4's ids and sizes are the caller's to judge. In pieces,
// so that V8 inlines them.

/** `a` and `b`: where the frames begin. EtherType, version and IPv4's TOS are compared with them, or part of IPv6's class. */
export function sameEthernet(view: DataView, a: number, b: number): boolean {
  return (
    ((view.getInt32(a) ^ view.getInt32(b)) |
      (view.getInt32(a + 4) ^ view.getInt32(b + 4)) |
      (view.getInt32(a + 8) ^ view.getInt32(b + 8)) |
      (view.getInt32(a + 12) ^ view.getInt32(b + 12))) ===
    0
  );
}

/** DF, TTL, protocol; addresses and ports. `length` is that of the packet at `b`, `ipSum` that of the one at `a`. */
export function sameIpv4(view: DataView, a: number, b: number, length: number, ipSum: number): boolean {
  return (
    ((view.getInt32(a + IP + 6) ^ view.getInt32(b + IP + 6)) |
      (view.getInt32(a + IP + 12) ^ view.getInt32(b + IP + 12)) |
      (view.getInt32(a + IP + 16) ^ view.getInt32(b + IP + 16)) |
      (view.getInt32(a + IP + 20) ^ view.getInt32(b + IP + 20)) |
      (view.getUint16(b + IP + 2) ^ (length - IP)) |
      (ipSumOf(view, b + IP) ^ ipSum)) ===
    0
  );
}

/** Flow label, next header and hop limit; addresses and ports. */
export function sameIpv6(view: DataView, a: number, b: number, length: number): boolean {
  let diff =
    (view.getInt32(a + IP) ^ view.getInt32(b + IP)) |
    (view.getUint16(a + IP + 6) ^ view.getUint16(b + IP + 6)) |
    (view.getUint16(b + IP + 4) ^ (length - L4_IPV6));
  for (let i = IP + 8; i < L4_IPV6 + 4; i += 4) diff |= view.getInt32(a + i) ^ view.getInt32(b + i);
  return diff === 0;
}

/** Acknowledgment, data offset, flags but PSH and FIN, window, options. `a` and `b`: where TCP begins. */
export function sameTcp(view: DataView, a: number, b: number, headerLength: number): boolean {
  let diff =
    (view.getInt32(a + 8) ^ view.getInt32(b + 8)) | ((view.getInt32(a + 12) ^ view.getInt32(b + 12)) & ~ENDS);
  for (let i = tcp.HEADER; i < headerLength; i += 4) diff |= view.getInt32(a + i) ^ view.getInt32(b + i);
  return diff === 0;
}

/**
 * Sum of an IPv4 header's length, id and checksum. Where all the rest is the same, so is this, or one of the checksums is
 * wrong. (It is never 0, so what is equal modulo 0xffff is equal.)
 */
export function ipSumOf(view: DataView, ip: number): number {
  return fold(view.getUint16(ip + 2) + view.getUint16(ip + 4) + view.getUint16(ip + 10));
}
