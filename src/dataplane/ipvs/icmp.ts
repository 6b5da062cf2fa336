/**
 * ICMP and ICMPv6 errors about connections: those that come are translated to the end that they are for (RFC 5508 §4.2),
 * outside and in the packet that they quote; and those that a director sends itself.
 */
import type { Pool } from '../core/pool.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv6 from '../wire/ipv6.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { adjusted, isUnfinished, replaced16, replaced32 } from './nat.js';
import { type Memory, type Parsed, WHOLE } from './packet.js';

/** Where the checksum stands in ICMP's, ICMPv6's and UDP's header. */
const ICMP_CHECKSUM = 2;
const UDP_CHECKSUM = 6;

/** Which way an error goes: to the server, about what it sent; to the client, about what it sent. */
export const TO_SERVER = 0;
export const TO_CLIENT = 1;

/**
 * Translates the error in `packet`. To the server: its destination, and the source of the packet that it quotes, become
 * the server's address and port. To the client: its source, and the destination of the quoted packet, become the virtual
 * ones. `outer` is what `parse` read, `quoted` what `parseQuoted` did; both follow.
 *
 * 1. the quoted packet: address, header checksum, port, and its transport checksum where the quote reaches that far
 * 2. the outer address and, IPv4, header checksum
 * 3. the error's own checksum, for all that changed
 *
 * @param a to `d`: words of the address; of an IPv4 one the first
 */
export function translateError(
  pool: Pool,
  packet: number,
  outer: Parsed,
  quoted: Parsed,
  way: typeof TO_SERVER | typeof TO_CLIENT,
  a: number,
  b: number,
  c: number,
  d: number,
  port: number,
): void {
  const { view } = pool;
  const unfinished = isUnfinished(pool, packet, outer);
  const addresses = rewriteEnd(view, quoted, way === TO_CLIENT, a, b, c, d);
  let inside = addresses + rewriteQuotedTransport(view, quoted, way === TO_CLIENT, addresses, port);
  if (quoted.family === 4) inside += adjustField(view, quoted.ip + 10, addresses);

  const outside = rewriteEnd(view, outer, way === TO_SERVER, a, b, c, d);
  const field = outer.transport + ICMP_CHECKSUM;
  if (outer.family === 4) {
    adjustField(view, outer.ip + 10, outside);
    if (!unfinished) adjustField(view, field, inside);
  } else if (unfinished) {
    view.setUint16(field, ~adjusted(~view.getUint16(field), outside) & 0xffff);
  } else {
    adjustField(view, field, inside + outside);
  }
}

/** Destination or source gets another address. What a sum over the header gains, without its checksum. */
function rewriteEnd(
  view: DataView,
  parsed: Parsed,
  destination: boolean,
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  if (parsed.family === 4) {
    const before = destination ? parsed.destination0 : parsed.source0;
    view.setInt32(parsed.ip + (destination ? 16 : 12), a);
    if (destination) parsed.destination0 = a;
    else parsed.source0 = a;
    return replaced32(before, a);
  }
  const at = parsed.ip + (destination ? ipv6.DESTINATION : ipv6.SOURCE);
  const change =
    replaced32(view.getInt32(at), a) +
    replaced32(view.getInt32(at + 4), b) +
    replaced32(view.getInt32(at + 8), c) +
    replaced32(view.getInt32(at + 12), d);
  view.setInt32(at, a);
  view.setInt32(at + 4, b);
  view.setInt32(at + 8, c);
  view.setInt32(at + 12, d);
  if (destination) {
    parsed.destination0 = a;
    parsed.destination1 = b;
    parsed.destination2 = c;
    parsed.destination3 = d;
  } else {
    parsed.source0 = a;
    parsed.source1 = b;
    parsed.source2 = c;
    parsed.source3 = d;
  }
  return change;
}

/** The checksum at `field` follows a change of what it covers. What a sum over the field gains. */
function adjustField(view: DataView, field: number, change: number, zero = 0): number {
  const before = view.getUint16(field);
  const after = adjusted(before, change) || zero;
  view.setUint16(field, after);
  return replaced16(before, after);
}

/**
 * The port, and the checksum if it is there. What a sum over the quoted transport header gains.
 * @param addresses what the pseudo-header's sum gains
 */
function rewriteQuotedTransport(
  view: DataView,
  quoted: Parsed,
  destination: boolean,
  addresses: number,
  port: number,
): number {
  const { transport, end, protocol } = quoted;
  if (protocol === icmpv6.PROTOCOL && quoted.family === 6) {
    const field = transport + ICMP_CHECKSUM;
    return field + 2 <= end ? adjustField(view, field, addresses) : 0;
  }
  if (protocol !== tcp.PROTOCOL && protocol !== udp.PROTOCOL && protocol !== sctp.PROTOCOL) return 0;
  const before = destination ? quoted.destinationPort : quoted.sourcePort;
  const words = view.getInt32(transport);
  view.setUint16(transport + (destination ? 2 : 0), port);
  if (destination) quoted.destinationPort = port;
  else quoted.sourcePort = port;
  const ports = replaced16(before, port);
  if (protocol === sctp.PROTOCOL) return ports + adjustSctp(view, quoted, words);
  const field = transport + (protocol === tcp.PROTOCOL ? tcp.CHECKSUM : UDP_CHECKSUM);
  if (field + 2 > end) return ports;
  if (protocol === tcp.PROTOCOL) return ports + adjustField(view, field, addresses + ports);
  if (view.getUint16(field) === 0) return ports;
  return ports + adjustField(view, field, addresses + ports, 0xffff);
}

/** The CRC needs the packet's length, not its bytes. */
function adjustSctp(view: DataView, quoted: Parsed, before: number): number {
  const field = quoted.transport + sctp.CHECKSUM;
  if (field + 4 > quoted.end || quoted.fragment !== WHOLE) return 0;
  const packetEnd =
    quoted.ip +
    (quoted.family === 4 ? view.getUint16(quoted.ip + 2) : ipv6.HEADER + view.getUint16(quoted.ip + 4));
  const old = view.getInt32(field);
  const checksum = sctp.updatePorts(
    view.getUint32(field, true),
    packetEnd - quoted.transport,
    before,
    view.getInt32(quoted.transport),
  );
  view.setUint32(field, checksum, true);
  return replaced32(old, view.getInt32(field));
}

/**
 * "Port unreachable" about the packet that was read, written to `out` (room for ANSWER_MAX of wire/icmp or wire/icmpv6,
 * apart from the packet), from the address that it was for. Bytes of the answer, 0 where none may be sent.
 */
export const writeUnreachable = ({ bytes }: Memory, { family, ip, end }: Parsed, out: number): number =>
  family === 4
    ? icmp.writeError(bytes, ip, end, out, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, 0)
    : icmpv6.writeError(bytes, ip, end, out, icmpv6.UNREACHABLE, icmpv6.PORT_UNREACHABLE, 0);

/** "Host unreachable" or "address unreachable" likewise. */
export const writeHostUnreachable = ({ bytes }: Memory, { family, ip, end }: Parsed, out: number): number =>
  family === 4
    ? icmp.writeError(bytes, ip, end, out, icmp.UNREACHABLE, icmp.HOST_UNREACHABLE, 0)
    : icmpv6.writeError(bytes, ip, end, out, icmpv6.UNREACHABLE, icmpv6.ADDRESS_UNREACHABLE, 0);

/** "Time exceeded" likewise. */
export const writeTimeExceeded = ({ bytes }: Memory, { family, ip, end }: Parsed, out: number): number =>
  family === 4
    ? icmp.writeError(bytes, ip, end, out, icmp.TIME_EXCEEDED, 0, 0)
    : icmpv6.writeError(bytes, ip, end, out, icmpv6.TIME_EXCEEDED, 0, 0);

/**
 * "Fragmentation needed" or "packet too big" likewise; whether DF is set is the caller's to ask. 0 also for an MTU
 * below IPv6's least, which a host would not follow.
 */
export function writeTooBig(memory: Memory, parsed: Parsed, out: number, mtu: number): number {
  const { bytes } = memory;
  const { family, ip, end } = parsed;
  if (family === 4) {
    const code = icmp.FRAGMENTATION_NEEDED;
    return icmp.writeError(bytes, ip, end, out, icmp.UNREACHABLE, code, Math.min(mtu, 0xffff));
  }
  if (mtu < icmpv6.ANSWER_MAX) return 0;
  return icmpv6.writeError(bytes, ip, end, out, icmpv6.PACKET_TOO_BIG, 0, mtu);
}
