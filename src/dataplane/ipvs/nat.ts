/**
 * Rewrites one end of a packet, its address and port, and what sums cover them (RFC 1624 eqn. 3): IPv4's header
 * checksum, TCP's and UDP's with their pseudo-header, ICMPv6's, SCTP's CRC32c, which covers ports alone. A super-packet
 * stays one: where only the pseudo-header's sum stands in the checksum field (CHECKSUM_UNFINISHED), that sum is kept
 * right, and who finishes the checksum sums the ports.
 *
 * 16 ns an end of an IPv4 packet, reading it 18 (bench/micro/nat.ts).
 */
import { drop } from '../core/drops.js';
import { CHECKSUM_UNFINISHED, type Pool } from '../core/pool.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { LATER_FRAGMENT, type Memory, type Parsed, WHOLE } from './packet.js';

/** Where a port stands in its transport header. */
const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;

/** UDP's checksum and ICMPv6's; the others' are in wire/. */
const UDP_CHECKSUM = 6;
const ICMPV6_CHECKSUM = 2;

/**
 * Rewrites the destination of the packet that `parsed` was read from; `parsed` follows. 0, or the reason to drop
 * the packet, which is then as it was.
 * @param port the new one; without meaning where the protocol has none
 */
export function rewriteDestination4(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  address: number,
  port: number,
): number {
  const change = replaced32(parsed.destination0, address);
  const reason = rewriteTransport(
    pool,
    packet,
    parsed,
    change,
    DESTINATION_PORT,
    parsed.destinationPort,
    port,
  );
  if (reason !== 0) return reason;
  pool.view.setInt32(parsed.ip + 16, address);
  adjustHeader(pool.view, parsed.ip, change);
  parsed.destination0 = address;
  return 0;
}

/** The same for the source. */
export function rewriteSource4(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  address: number,
  port: number,
): number {
  const change = replaced32(parsed.source0, address);
  const reason = rewriteTransport(pool, packet, parsed, change, SOURCE_PORT, parsed.sourcePort, port);
  if (reason !== 0) return reason;
  pool.view.setInt32(parsed.ip + 12, address);
  adjustHeader(pool.view, parsed.ip, change);
  parsed.source0 = address;
  return 0;
}

/** `a` to `d`: the words of the new address. */
export function rewriteDestination6(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  a: number,
  b: number,
  c: number,
  d: number,
  port: number,
): number {
  const change =
    replaced32(parsed.destination0, a) +
    replaced32(parsed.destination1, b) +
    replaced32(parsed.destination2, c) +
    replaced32(parsed.destination3, d);
  const reason = rewriteTransport(
    pool,
    packet,
    parsed,
    change,
    DESTINATION_PORT,
    parsed.destinationPort,
    port,
  );
  if (reason !== 0) return reason;
  write6(pool.view, parsed.ip + 24, a, b, c, d);
  parsed.destination0 = a;
  parsed.destination1 = b;
  parsed.destination2 = c;
  parsed.destination3 = d;
  return 0;
}

export function rewriteSource6(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  a: number,
  b: number,
  c: number,
  d: number,
  port: number,
): number {
  const change =
    replaced32(parsed.source0, a) +
    replaced32(parsed.source1, b) +
    replaced32(parsed.source2, c) +
    replaced32(parsed.source3, d);
  const reason = rewriteTransport(pool, packet, parsed, change, SOURCE_PORT, parsed.sourcePort, port);
  if (reason !== 0) return reason;
  write6(pool.view, parsed.ip + 8, a, b, c, d);
  parsed.source0 = a;
  parsed.source1 = b;
  parsed.source2 = c;
  parsed.source3 = d;
  return 0;
}

/** One hop on, IPv4 or IPv6. False: the packet has no hop left, and is as it was. */
export function decrementTtl(memory: Memory, parsed: Parsed): boolean {
  const { view } = memory;
  const { ip } = parsed;
  if (parsed.family === 6) {
    const hops = view.getUint8(ip + 7);
    if (hops <= 1) return false;
    view.setUint8(ip + 7, hops - 1);
    return true;
  }
  const ttl = view.getUint8(ip + 8);
  if (ttl <= 1) return false;
  view.setUint8(ip + 8, ttl - 1);
  adjustHeader(view, ip, 0xfeff); // 0x100 less, in one's complement
  return true;
}

/** Whether only the pseudo-header's sum stands in the checksum field of the transport header; not in that of one further in. */
export const isUnfinished = (pool: Pool, packet: number, parsed: Parsed): boolean =>
  (pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0 &&
  pool.offset[packet]! + pool.checksumStart[packet]! === parsed.transport;

/** What a sum gains, unfolded, when one 32-bit word becomes another. */
export const replaced32 = (before: number, after: number): number =>
  (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff);

/** The same for 16 bits. */
export const replaced16 = (before: number, after: number): number => (~before & 0xffff) + after;

/** A checksum after what it covers changed by `change`; below 2^32. */
export function adjusted(checksum: number, change: number): number {
  const sum = (~checksum & 0xffff) + change;
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~((once & 0xffff) + (once >>> 16)) & 0xffff;
}

function adjustHeader(view: DataView, ip: number, change: number): void {
  view.setUint16(ip + 10, adjusted(view.getUint16(ip + 10), change));
}

function write6(view: DataView, at: number, a: number, b: number, c: number, d: number): void {
  view.setInt32(at, a);
  view.setInt32(at + 4, b);
  view.setInt32(at + 8, c);
  view.setInt32(at + 12, d);
}

/** `change` is the addresses', `before` the port that stands at `portAt` of the header. */
function rewriteTransport(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  change: number,
  portAt: number,
  before: number,
  port: number,
): number {
  if (parsed.fragment === LATER_FRAGMENT) return 0;
  const { view } = pool;
  const { transport } = parsed;
  switch (parsed.protocol) {
    case tcp.PROTOCOL:
      writePort(view, parsed, portAt, port);
      adjustSum(pool, packet, parsed, transport + tcp.CHECKSUM, change, replaced16(before, port));
      return 0;
    case udp.PROTOCOL: {
      writePort(view, parsed, portAt, port);
      const field = transport + UDP_CHECKSUM;
      // 0: the sender computed none. What comes out as 0 is written as its other zero.
      if (view.getUint16(field) === 0 && !isUnfinished(pool, packet, parsed)) return 0;
      adjustSum(pool, packet, parsed, field, change, replaced16(before, port));
      if (view.getUint16(field) === 0) view.setUint16(field, 0xffff);
      return 0;
    }
    case sctp.PROTOCOL:
      return before === port ? 0 : rewriteSctp(pool, packet, parsed, portAt, port);
    case icmpv6.PROTOCOL:
      if (parsed.family === 6) {
        adjustSum(pool, packet, parsed, transport + ICMPV6_CHECKSUM, change, 0);
      }
      return 0;
    default:
      return 0;
  }
}

function writePort(view: DataView, parsed: Parsed, portAt: number, port: number): void {
  view.setUint16(parsed.transport + portAt, port);
  if (portAt === SOURCE_PORT) parsed.sourcePort = port;
  else parsed.destinationPort = port;
}

function adjustSum(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  field: number,
  addresses: number,
  ports: number,
): void {
  const { view } = pool;
  const stands = view.getUint16(field);
  view.setUint16(
    field,
    isUnfinished(pool, packet, parsed)
      ? ~adjusted(~stands, addresses) & 0xffff
      : adjusted(stands, addresses + ports),
  );
}

function rewriteSctp(pool: Pool, packet: number, parsed: Parsed, portAt: number, port: number): number {
  if (parsed.fragment !== WHOLE) return drop['sctp-fragment'];
  const { view } = pool;
  const { transport, end } = parsed;
  const before = view.getInt32(transport);
  writePort(view, parsed, portAt, port);
  if (isUnfinished(pool, packet, parsed)) return 0;
  const field = transport + sctp.CHECKSUM;
  const checksum = sctp.updatePorts(
    view.getUint32(field, true),
    end - transport,
    before,
    view.getInt32(transport),
  );
  view.setUint32(field, checksum, true);
  return 0;
}
