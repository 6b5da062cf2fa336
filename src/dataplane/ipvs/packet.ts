/**
 * What the virtual server reads of a packet, once: addresses, protocol, ports, flags, whether it is a fragment. One
 * `Parsed` serves packet after packet. IPv4 (RFC 791), IPv6 behind its extension headers (RFC 8200 §4), TCP, UDP,
 * SCTP (RFC 9260 §3.1), ICMP, ICMPv6; of another protocol no ports.
 */
import { drop } from '../core/drops.js';
import type { Pool } from '../core/pool.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';

/** Values of `fragment`. */
export const WHOLE = 0;
export const FIRST_FRAGMENT = 1;
export const LATER_FRAGMENT = 2;

/** Protocols that services have. */
export const isDirected = (protocol: number): boolean =>
  protocol === tcp.PROTOCOL || protocol === udp.PROTOCOL || protocol === sctp.PROTOCOL;

/** The memory that packets lie in: `view` and `bytes` are of the same. */
export type Memory = Pick<Pool, 'view' | 'bytes'>;

export class Parsed {
  family: 4 | 6 = 4;
  /** where the IP header begins, from the memory's start */
  ip = 0;
  /** where the transport header begins; of a later fragment, its payload */
  transport = 0;
  /** where the packet ends by its header; padding may follow */
  end = 0;
  protocol = 0;
  /** unsigned; 0 where the protocol has none, and of later fragments */
  sourcePort = 0;
  destinationPort = 0;
  /** TCP: its flags. ICMP, ICMPv6: the type. */
  flags = 0;
  /** ICMP, ICMPv6 */
  code = 0;
  fragment: typeof WHOLE | typeof FIRST_FRAGMENT | typeof LATER_FRAGMENT = WHOLE;
  fragmentId = 0;
  /** the host's mark of it (fwmark), of whoever reads it to set; 0: none */
  mark = 0;
  /** Words as on the wire, signed; an IPv4 address in the first, the others 0. */
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;

  /** Bytes of the IP packet. */
  get length(): number {
    return this.end - this.ip;
  }

  /** Bytes up to the transport header. */
  get headerLength(): number {
    return this.transport - this.ip;
  }

  /** An ICMP error, which may belong to a connection (of which packet, `parseQuoted` says). */
  get isError(): boolean {
    if (this.fragment === LATER_FRAGMENT) return false;
    if (this.protocol === icmp.PROTOCOL) return this.family === 4 && icmp.isError(this.flags);
    return this.protocol === icmpv6.PROTOCOL && this.family === 6 && icmpv6.isError(this.flags);
  }
}

/** Both ends of a packet, from source to destination; a `Parsed` is one. */
export type Ends = Pick<
  Parsed,
  | 'family'
  | 'source0'
  | 'source1'
  | 'source2'
  | 'source3'
  | 'destination0'
  | 'destination1'
  | 'destination2'
  | 'destination3'
  | 'sourcePort'
  | 'destinationPort'
>;

export const noEnds = (): Ends => ({
  ...{ family: 4, sourcePort: 0, destinationPort: 0 },
  ...{ source0: 0, source1: 0, source2: 0, source3: 0 },
  ...{ destination0: 0, destination1: 0, destination2: 0, destination3: 0 },
});

/** Sets `turned` to the ends of a packet in the other direction. */
export function turn(ends: Ends, turned: Ends): void {
  turned.family = ends.family;
  turned.source0 = ends.destination0;
  turned.source1 = ends.destination1;
  turned.source2 = ends.destination2;
  turned.source3 = ends.destination3;
  turned.destination0 = ends.source0;
  turned.destination1 = ends.source1;
  turned.destination2 = ends.source2;
  turned.destination3 = ends.source3;
  turned.sourcePort = ends.destinationPort;
  turned.destinationPort = ends.sourcePort;
}

/**
 * Reads the packet whose IP header begins at `ip`, at most up to `end`. 0, or the reason to drop it: then `parsed` is
 * not to be used.
 *
 * 1. the IP header, whose length has to fit what is there
 * 2. to the transport header, and whether it is a fragment
 * 3. the transport header, whole
 */
export function parse(memory: Memory, ip: number, end: number, parsed: Parsed): number {
  if (ip >= end) return drop['ip-malformed'];
  const { view } = memory;
  const version = view.getUint8(ip) >>> 4;
  if (version === 4) {
    if (end - ip < ipv4.HEADER) return drop['ip-malformed'];
    const total = view.getUint16(ip + 2);
    if (total > end - ip || !readHeader4(view, ip, parsed)) return drop['ip-malformed'];
    parsed.end = ip + total;
    if (parsed.transport > parsed.end) return drop['ip-malformed'];
  } else if (version === 6) {
    if (end - ip < ipv6.HEADER) return drop['ip-malformed'];
    const total = ipv6.HEADER + view.getUint16(ip + 4);
    if (total > end - ip) return drop['ip-malformed'];
    parsed.end = ip + total;
    if (!readHeader6(memory, ip, parsed)) return drop['ip-malformed'];
  } else {
    return drop['ip-malformed'];
  }
  return readTransport(view, parsed) ? 0 : drop['ip-malformed'];
}

/**
 * Reads the packet that the ICMP error in `outer` quotes. Of it there may be no more than the ports: RFC 792 asks for 8
 * bytes behind the IP header. False: it can't be said which connection it was of.
 */
export function parseQuoted(memory: Memory, outer: Parsed, quoted: Parsed): boolean {
  return parseAt(memory, outer.transport + icmp.HEADER, outer.end, quoted);
}

/** The same for a packet, perhaps cut short, from `ip` to `end`; `quoted.end` is at most `end`. */
export function parseAt(memory: Memory, ip: number, end: number, quoted: Parsed): boolean {
  const { view } = memory;
  if (ip >= end) return false;
  const version = view.getUint8(ip) >>> 4;
  if (version === 4) {
    if (end - ip < ipv4.HEADER || !readHeader4(view, ip, quoted)) return false;
    quoted.end = Math.min(end, ip + view.getUint16(ip + 2));
  } else if (version === 6) {
    if (end - ip < ipv6.HEADER) return false;
    quoted.end = Math.min(end, ip + ipv6.HEADER + view.getUint16(ip + 4));
    if (!readHeader6(memory, ip, quoted)) return false;
  } else {
    return false;
  }
  if (quoted.fragment === LATER_FRAGMENT || quoted.transport + 4 > quoted.end) return false;
  switch (quoted.protocol) {
    case tcp.PROTOCOL:
      if (quoted.transport + 14 <= quoted.end) quoted.flags = view.getUint8(quoted.transport + 13);
      return readPorts(view, quoted);
    case udp.PROTOCOL:
    case sctp.PROTOCOL:
      return readPorts(view, quoted);
    case icmp.PROTOCOL:
    case icmpv6.PROTOCOL:
      return readType(view, quoted);
    default:
      return true;
  }
}

/** Whether the quoted packet is there to its end by its own header. */
export function isWhole(memory: Memory, quoted: Parsed): boolean {
  const { view } = memory;
  const length =
    quoted.family === 4 ? view.getUint16(quoted.ip + 2) : ipv6.HEADER + view.getUint16(quoted.ip + 4);
  return quoted.ip + length === quoted.end;
}

function readHeader4(view: DataView, ip: number, parsed: Parsed): boolean {
  const header = (view.getUint8(ip) & 15) << 2;
  if (header < ipv4.HEADER) return false;
  parsed.family = 4;
  parsed.ip = ip;
  parsed.transport = ip + header;
  parsed.protocol = view.getUint8(ip + 9);
  parsed.source0 = view.getInt32(ip + 12);
  parsed.destination0 = view.getInt32(ip + 16);
  parsed.source1 = parsed.source2 = parsed.source3 = 0;
  parsed.destination1 = parsed.destination2 = parsed.destination3 = 0;
  const field = view.getUint16(ip + 6) & 0x3fff;
  parsed.fragment = field === 0 ? WHOLE : (field & 0x1fff) === 0 ? FIRST_FRAGMENT : LATER_FRAGMENT;
  parsed.fragmentId = field === 0 ? 0 : view.getUint16(ip + 4);
  clearTransport(parsed);
  return true;
}

/** `parsed.end` is set. False: cut short, or too many extension headers. */
function readHeader6(memory: Memory, ip: number, parsed: Parsed): boolean {
  const { view, bytes } = memory;
  parsed.family = 6;
  parsed.ip = ip;
  parsed.source0 = view.getInt32(ip + 8);
  parsed.source1 = view.getInt32(ip + 12);
  parsed.source2 = view.getInt32(ip + 16);
  parsed.source3 = view.getInt32(ip + 20);
  parsed.destination0 = view.getInt32(ip + 24);
  parsed.destination1 = view.getInt32(ip + 28);
  parsed.destination2 = view.getInt32(ip + 32);
  parsed.destination3 = view.getInt32(ip + 36);
  parsed.fragment = WHOLE;
  parsed.fragmentId = 0;
  clearTransport(parsed);
  // What nearly all packets are: no extension header.
  const next = view.getUint8(ip + 6);
  if (next === tcp.PROTOCOL || next === udp.PROTOCOL) {
    parsed.protocol = next;
    parsed.transport = ip + ipv6.HEADER;
    return true;
  }
  const found = ipv6.transport(bytes, ip, parsed.end);
  parsed.protocol = ipv6.transportProtocol;
  parsed.transport = found;
  if (ipv6.fragmented) {
    const header = ipv6.fragmentHeader;
    parsed.fragment = found >= 0 ? FIRST_FRAGMENT : LATER_FRAGMENT;
    parsed.fragmentId = view.getUint32(header + 4);
    if (found >= 0) return true;
    // A first fragment that ends before its transport header is none (RFC 8200 §4.5).
    if ((view.getUint16(header + 2) & 0xfff8) === 0) return false;
    parsed.transport = header + 8;
    return true;
  }
  if (found >= 0) return true;
  parsed.transport = parsed.end;
  return parsed.protocol === ipv6.NO_NEXT_HEADER;
}

function clearTransport(parsed: Parsed): void {
  parsed.sourcePort = 0;
  parsed.destinationPort = 0;
  parsed.flags = 0;
  parsed.code = 0;
}

/** False: its transport header is not all there. */
function readTransport(view: DataView, parsed: Parsed): boolean {
  if (parsed.fragment === LATER_FRAGMENT) return true;
  const { transport } = parsed;
  const room = parsed.end - transport;
  switch (parsed.protocol) {
    case tcp.PROTOCOL: {
      if (room < tcp.HEADER) return false;
      const header = (view.getUint8(transport + 12) >>> 4) << 2;
      if (header < tcp.HEADER || (header > room && parsed.fragment === WHOLE)) return false;
      parsed.flags = view.getUint8(transport + 13);
      return readPorts(view, parsed);
    }
    case udp.PROTOCOL:
      return room >= udp.HEADER && readPorts(view, parsed);
    case sctp.PROTOCOL:
      return room >= sctp.HEADER && readPorts(view, parsed);
    case icmp.PROTOCOL:
    case icmpv6.PROTOCOL:
      return room >= icmp.HEADER && readType(view, parsed);
    default:
      return true;
  }
}

function readPorts(view: DataView, parsed: Parsed): true {
  const ports = view.getUint32(parsed.transport);
  parsed.sourcePort = ports >>> 16;
  parsed.destinationPort = ports & 0xffff;
  return true;
}

function readType(view: DataView, parsed: Parsed): true {
  parsed.flags = view.getUint8(parsed.transport);
  parsed.code = view.getUint8(parsed.transport + 1);
  return true;
}
