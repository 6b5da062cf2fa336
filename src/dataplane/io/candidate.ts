/**
 * Whether a packet may become part of a super-packet, and of which flow it is: the rules of the kernel's GRO
 * (tcp_gro_receive, udp_gro_receive_segment, inet_gro_receive), for frames without VLAN tags, IPv4 without
 * options and fragments, IPv6 without extension headers.
 */
import { CHECKSUM_UNFINISHED, type Pool, SEGMENT_TCP4, SEGMENT_TCP6, SEGMENT_UDP } from '../core/pool.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';

/** From the packet's start. */
const IP = ethernet.HEADER;
export const L4_IPV4 = IP + ipv4.HEADER;
export const L4_IPV6 = IP + ipv6.HEADER;

export const UDP_CHECKSUM = 6;
const RESERVED_BIT = 0x8000;
/** What differs from packet to packet in the word of data offset, flags and window. */
const ENDS = (tcp.PSH | tcp.FIN) << 16;

/** Results of the last `examine`, besides its return value. */

/** Hash of the flow. */
export let key = 0;
/** Whether the packet is whole, plain, and carries something. */
export let mergeable = false;
/** Bytes before the L4 header, and before what it carries. */
export let l4 = 0;
export let headerLength = 0;
export let payload = 0;
/** PSH or FIN: nothing may follow it in a super-packet. */
export let ends = false;

/**
 * Reads a packet's headers: SEGMENT_TCP4, SEGMENT_TCP6 or SEGMENT_UDP, or 0 when its flow can't be told. Fields are
 * read through the DataView, for datagrams that arrived glued lie at any alignment.
 */
export function examine(pool: Pool, packet: number): number {
  const { bytes, view } = pool;
  const at = pool.offset[packet];
  const length = pool.length[packet];
  mergeable = false;
  if (length < L4_IPV4 + udp.HEADER) return 0;

  // 1. IP. Padding behind the IP packet, or a piece missing, forbid merging.
  const type = view.getUint16(at + 12);
  let protocol: number;
  let plain = pool.segment[packet] === 0;
  let kind: number;
  if (type === ethernet.IPV4) {
    const fragment = view.getUint16(at + IP + 6);
    if (bytes[at + IP] !== 0x45 || (fragment & ~(ipv4.DONT_FRAGMENT | RESERVED_BIT)) !== 0) return 0;
    l4 = L4_IPV4;
    kind = SEGMENT_TCP4;
    protocol = bytes[at + IP + 9];
    key = view.getInt32(at + IP + 12) ^ Math.imul(view.getInt32(at + IP + 16), 0x9e3779b1);
    plain &&=
      view.getUint16(at + IP + 2) === length - IP && fragment < RESERVED_BIT && headerSumRight(view, at + IP);
  } else if (type === ethernet.IPV6) {
    if (length < L4_IPV6 + udp.HEADER || bytes[at + IP] >> 4 !== 6) return 0;
    l4 = L4_IPV6;
    kind = SEGMENT_TCP6;
    protocol = bytes[at + IP + 6];
    key = view.getInt32(at + IP + 20) ^ Math.imul(view.getInt32(at + IP + 36), 0x9e3779b1);
    plain &&= view.getUint16(at + IP + 4) === length - L4_IPV6;
  } else return 0;

  // 2. L4.
  let field: number;
  if (protocol === tcp.PROTOCOL) {
    if (length < l4 + tcp.HEADER) return 0;
    field = tcp.CHECKSUM;
    headerLength = l4 + ((bytes[at + l4 + 12] >> 4) << 2);
    const flags = bytes[at + l4 + 13];
    ends = (flags & (tcp.PSH | tcp.FIN)) !== 0;
    plain &&=
      headerLength >= l4 + tcp.HEADER &&
      (flags & (tcp.ACK | tcp.SYN | tcp.RST | tcp.URG | tcp.CWR)) === tcp.ACK;
  } else if (protocol === udp.PROTOCOL) {
    kind = SEGMENT_UDP;
    field = UDP_CHECKSUM;
    headerLength = l4 + udp.HEADER;
    ends = false;
    // The datagrams of a super-packet all get a checksum, so whoever sent none must be known to be right.
    plain &&=
      view.getUint16(at + l4 + 4) === length - l4 &&
      (view.getUint16(at + l4 + UDP_CHECKSUM) !== 0 || pool.offload[packet] !== 0);
  } else return 0;
  key = Math.imul(key ^ view.getInt32(at + l4), 0x85ebca6b) ^ kind;
  payload = length - headerLength;
  mergeable =
    plain &&
    payload > 0 &&
    ((pool.offload[packet] & CHECKSUM_UNFINISHED) === 0 ||
      (pool.checksumStart[packet] === l4 && pool.checksumOffset[packet] === field));
  return kind;
}

function headerSumRight(view: DataView, ip: number): boolean {
  let sum = 0;
  for (let at = ip; at < ip + ipv4.HEADER; at += 4) {
    const word = view.getInt32(at, true);
    sum += (word & 0xffff) + (word >>> 16);
  }
  return ((sum & 0xffff) + (sum >>> 16)) % 0xffff === 0;
}

/** Whether the examined packet at `at` is of the flow of another, examined before, at `first`. */
export function sameFlow(view: DataView, first: number, at: number): boolean {
  let diff = view.getUint16(first + 12) ^ view.getUint16(at + 12);
  if (l4 === L4_IPV4) {
    diff |= view.getUint8(first + IP + 9) ^ view.getUint8(at + IP + 9);
    // addresses and ports
    for (let i = IP + 12; i < L4_IPV4 + 4; i += 4) diff |= view.getInt32(first + i) ^ view.getInt32(at + i);
  } else {
    diff |= view.getUint8(first + IP + 6) ^ view.getUint8(at + IP + 6);
    for (let i = IP + 8; i < L4_IPV6 + 4; i += 4) diff |= view.getInt32(first + i) ^ view.getInt32(at + i);
  }
  return diff === 0;
}

/** Whether the headers of two packets of a flow differ in nothing but what a super-packet restores. IPv4's id and TCP's sequence aside. */
export function sameHeaders(view: DataView, first: number, at: number, isUdp: boolean): boolean {
  let diff =
    (view.getInt32(first) ^ view.getInt32(at)) |
    (view.getInt32(first + 4) ^ view.getInt32(at + 4)) |
    (view.getInt32(first + 8) ^ view.getInt32(at + 8));
  if (l4 === L4_IPV4) {
    // type of service, DF, time to live
    diff |=
      (view.getUint8(first + IP + 1) ^ view.getUint8(at + IP + 1)) |
      (view.getInt32(first + IP + 6) ^ view.getInt32(at + IP + 6));
  } else {
    // traffic class and flow label, hop limit
    diff |=
      (view.getInt32(first + IP) ^ view.getInt32(at + IP)) |
      (view.getUint8(first + IP + 7) ^ view.getUint8(at + IP + 7));
  }
  if (isUdp) return diff === 0;
  diff |=
    (view.getInt32(first + l4 + 8) ^ view.getInt32(at + l4 + 8)) |
    ((view.getInt32(first + l4 + 12) ^ view.getInt32(at + l4 + 12)) & ~ENDS);
  for (let i = l4 + tcp.HEADER; i < headerLength; i += 4)
    diff |= view.getInt32(first + i) ^ view.getInt32(at + i);
  return diff === 0;
}
