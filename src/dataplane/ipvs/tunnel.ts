/**
 * Puts a packet into another for a real server elsewhere, as ip_vs_tunnel_xmit does: IP in IP (RFC 2003, RFC 2473,
 * RFC 4213), GRE (RFC 2784, without key), GUE (draft-ietf-intarea-gue, version 0; remote checksum offload:
 * draft-herbert-remotecsumoffload).
 *
 *     IPIP      | outer IP | packet
 *     GRE       | outer IP | C 0 0 0  version 0 | EtherType | [checksum | 0] | packet
 *     GUE       | outer IP | UDP | 0 | header words | protocol | flags | [private flags | start | offset] | packet
 *
 * A super-packet is to be split before (segments.ts): no device segments within these tunnels. An unfinished checksum
 * stays unfinished; where a checksum outside covers it, what it will be is already known (local checksum offload).
 */
import { CHECKSUM_UNFINISHED, FRAME_AT, NO_PACKET, type Pool } from '../core/pool.js';
import * as checksums from '../wire/checksum.js';
import * as ethernet from '../wire/ethernet.js';
import { finish, mix } from '../wire/flow.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as udp from '../wire/udp.js';
import { type DestinationSpec, TUNNEL_CHECKSUMS, TUNNEL_TYPES } from './destination.js';
import type { Memory, Parsed } from './packet.js';

const IPV4_IN_IP = 4;
const IPV6_IN_IP = 41;
const GRE = 47;

const TYPE_GUE = TUNNEL_TYPES.indexOf('gue');
const TYPE_GRE = TUNNEL_TYPES.indexOf('gre');
const NO_CHECKSUM = TUNNEL_CHECKSUMS.indexOf('none');
const REMOTE_CHECKSUM = TUNNEL_CHECKSUMS.indexOf('remote');

const GRE_HEADER = 4;
const GRE_CHECKSUM_BYTES = 4;
const GRE_CHECKSUM = 0x8000;
const GUE_HEADER = 4;
/** Private flags, and where the checksum starts and goes. */
const GUE_REMOTE_BYTES = 8;
const GUE_PRIVATE = 0x0001;
const GUE_REMOTE = 0x80000000;

/** The bytes before a packet that encapsulation may need: IPv6, UDP, GUE with its option. */
export const OVERHEAD_MAX = ipv6.HEADER + udp.HEADER + GUE_HEADER + GUE_REMOTE_BYTES;

/** A tunnel to one destination, made once. Addresses are words, of an IPv4 one the first. */
export interface Tunnel {
  type: number;
  checksum: number;
  port: number;
  family: 4 | 6;
  source: ipv6.Words;
  destination: ipv6.Words;
}

/** @param source the director's address towards the destination, of the same family */
export const tunnelTo = (
  spec: Pick<DestinationSpec, 'tunnel' | 'family' | 'address'>,
  source: ipv6.Words,
): Tunnel => ({
  type: TUNNEL_TYPES.indexOf(spec.tunnel.type),
  checksum: TUNNEL_CHECKSUMS.indexOf(spec.tunnel.checksum),
  port: spec.tunnel.port,
  family: spec.family,
  source,
  destination: spec.address,
});

/** Whether an unfinished checksum may stay so: the other end finishes it. */
export const leavesChecksum = ({ type, checksum }: Tunnel): boolean =>
  type === TYPE_GUE && checksum === REMOTE_CHECKSUM;

/** The largest packet that fits into the tunnel where the path carries `mtu` bytes. */
export const largestPayload = (tunnel: Tunnel, mtu: number): number =>
  mtu - overhead(tunnel, tunnel.checksum === REMOTE_CHECKSUM);

/** @param remote whether a checksum is left to the other end */
function overhead({ family, type, checksum }: Tunnel, remote: boolean): number {
  const outer = family === 4 ? ipv4.HEADER : ipv6.HEADER;
  if (type === TYPE_GUE) return outer + udp.HEADER + GUE_HEADER + (remote ? GUE_REMOTE_BYTES : 0);
  if (type !== TYPE_GRE) return outer;
  return outer + GRE_HEADER + (checksum === NO_CHECKSUM ? 0 : GRE_CHECKSUM_BYTES);
}

/**
 * The packet with room before it: itself, or a copy when it lies behind another in the same slot; then it is freed, and
 * is to be parsed again. NO_PACKET: there is no slot for a copy, and the packet is as it was.
 */
export function withRoom(pool: Pool, packet: number): number {
  if (pool.offset[packet]! - pool.slotStart(packet) <= FRAME_AT + ethernet.HEADER) return packet;
  const copy = pool.copy(packet);
  if (copy !== NO_PACKET) pool.free(packet);
  return copy;
}

export class Encapsulator {
  readonly #pool: Pool;
  #id = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * The packet that was read, which is no super-packet and has room before it, goes into the tunnel: afterwards it begins
   * at its outer IP header, without the link header and padding that it had.
   *
   * TTL, DSCP and ECN are those of the packet (RFC 6040 §4.1, normal mode).
   *
   * @param discover whether DF goes outside as it is inside (pmtu_disc); 6in4 never has it, like the kernel's
   * @param hops that the outer TTL has more, for who takes them before the packet leaves
   */
  encapsulate(packet: number, parsed: Parsed, tunnel: Tunnel, discover: boolean, hops = 0): void {
    const pool = this.#pool;
    const { view, bytes } = pool;
    const { ip, end } = parsed;
    const unfinished = (pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0;
    const summed = pool.offset[packet]! + pool.checksumStart[packet]!;
    const remote = unfinished && leavesChecksum(tunnel);
    const head = overhead(tunnel, remote);
    const at = ip - head;
    const length = end - at;
    const next = parsed.family === 4 ? IPV4_IN_IP : IPV6_IN_IP;
    const isV4 = tunnel.family === 4;
    const outer = isV4 ? ipv4.HEADER : ipv6.HEADER;
    const shim = at + outer;

    // 1. The outer IP header.
    const protocol = tunnel.type === TYPE_GUE ? udp.PROTOCOL : tunnel.type === TYPE_GRE ? GRE : next;
    const tos = parsed.family === 4 ? view.getUint8(ip + 1) : (view.getUint16(ip) >>> 4) & 0xff;
    const ttl = Math.min(255, view.getUint8(ip + (parsed.family === 4 ? 8 : 7)) + hops);
    if (isV4) {
      const df = discover && parsed.family === 4 ? view.getUint16(ip + 6) & ipv4.DONT_FRAGMENT : 0;
      const { source, destination } = tunnel;
      ipv4.write(bytes, at, length, protocol, source[0], destination[0], ttl, tos, this.#nextId(), df);
    } else {
      ipv6.write(bytes, at, length - ipv6.HEADER, protocol, ttl, tos);
      writeAddress(bytes, at + ipv6.SOURCE, tunnel.source);
      writeAddress(bytes, at + ipv6.DESTINATION, tunnel.destination);
    }

    // 2. What stands between it and the packet.
    if (tunnel.type === TYPE_GRE) {
      const covers = tunnel.checksum !== NO_CHECKSUM;
      view.setUint16(shim, covers ? GRE_CHECKSUM : 0);
      view.setUint16(shim + 2, parsed.family === 4 ? ethernet.IPV4 : ethernet.IPV6);
      if (covers) {
        view.setUint32(shim + 4, 0);
        view.setUint16(
          shim + 4,
          checksums.finish(this.#sum(packet, shim, end, 0, unfinished ? summed : end)),
        );
      }
    } else if (tunnel.type === TYPE_GUE) {
      const gue = shim + udp.HEADER;
      udp.write(bytes, shim, sourcePort(parsed), tunnel.port, end - shim);
      view.setUint32(
        gue,
        ((remote ? GUE_REMOTE_BYTES >> 2 : 0) << 24) | (next << 16) | (remote ? GUE_PRIVATE : 0),
      );
      if (remote) {
        view.setUint32(gue + 4, GUE_REMOTE);
        view.setUint16(gue + 8, summed - ip);
        view.setUint16(gue + 10, summed - ip + pool.checksumOffset[packet]!);
      }
      if (tunnel.checksum !== NO_CHECKSUM) {
        const whole = end - shim;
        const pseudo = isV4
          ? checksums.pseudoHeader4(tunnel.source[0], tunnel.destination[0], udp.PROTOCOL, whole)
          : checksums.pseudoHeader6(bytes, at, udp.PROTOCOL, whole);
        const sum = this.#sum(packet, shim, end, pseudo, unfinished && !remote ? summed : end);
        udp.writeChecksum(bytes, shim, udp.finishChecksum(sum));
      }
    }

    // 3. The packet's new beginning. What the other end finishes is finished here.
    pool.offset[packet] = at;
    pool.length[packet] = length;
    pool.checksumStart[packet] = summed - at;
    if (remote) pool.offload[packet]! &= ~CHECKSUM_UNFINISHED;
  }

  /**
   * The sum from `from` to `end`. What begins at `unfinished` will sum, with the pseudo-header's sum that stands in its
   * checksum field, to 0xffff: it need not be read.
   */
  #sum(packet: number, from: number, end: number, initial: number, unfinished: number): number {
    const { bytes, view, checksumOffset } = this.#pool;
    const sum = checksums.sum(bytes, from, unfinished - from, initial);
    if (unfinished === end) return sum;
    const rest = checksums.finish(view.getUint16(unfinished + checksumOffset[packet]!));
    const odd = ((unfinished - from) & 1) !== 0;
    return checksums.fold(sum + (odd ? ((rest & 0xff) << 8) | (rest >>> 8) : rest));
  }

  #nextId(): number {
    this.#id = (this.#id + 1) & 0xffff;
    return this.#id;
  }
}

/** From the connection, so that what is on its way keeps its order and connections spread; the dynamic ports of RFC 6335. */
function sourcePort(parsed: Parsed): number {
  let state = mix(parsed.protocol, parsed.source0);
  state = mix(mix(mix(state, parsed.source1), parsed.source2), parsed.source3);
  state = mix(mix(state, parsed.destination0), parsed.destination1);
  state = mix(mix(state, parsed.destination2), parsed.destination3);
  return 0xc000 | (finish(mix(state, (parsed.sourcePort << 16) | parsed.destinationPort)) & 0x3fff);
}

function writeAddress(bytes: Uint8Array, at: number, [a, b, c, d]: ipv6.Words): void {
  ipv6.writeAddress(bytes, at, a, b, c, d);
}

/**
 * Where the packet begins that `outer` carries, -1 if it carries none: IP in IP, GRE without key, GUE to the port. It may
 * be cut short, as what an ICMP error quotes: `parseAt` reads it then, `parse` otherwise.
 */
export function carried(memory: Memory, outer: Parsed, guePort: number): number {
  const { view } = memory;
  const { transport, end, protocol } = outer;
  if (protocol === IPV4_IN_IP || protocol === IPV6_IN_IP) return transport < end ? transport : -1;
  if (protocol === GRE) {
    if (transport + GRE_HEADER > end) return -1;
    const flags = view.getUint16(transport);
    const type = view.getUint16(transport + 2);
    if ((flags & ~GRE_CHECKSUM) !== 0 || (type !== ethernet.IPV4 && type !== ethernet.IPV6)) return -1;
    const inner = transport + GRE_HEADER + (flags === 0 ? 0 : GRE_CHECKSUM_BYTES);
    return inner < end ? inner : -1;
  }
  if (protocol !== udp.PROTOCOL || outer.destinationPort !== guePort) return -1;
  const gue = transport + udp.HEADER;
  if (gue + GUE_HEADER > end) return -1;
  const head = view.getUint32(gue);
  // Version 1 is a packet right behind UDP.
  if (head >>> 30 === 1) return gue;
  const next = (head >>> 16) & 0xff;
  const isData = head >>> 29 === 0 && (next === IPV4_IN_IP || next === IPV6_IN_IP);
  const inner = gue + GUE_HEADER + ((head >>> 24) & 31) * 4;
  return isData && inner < end ? inner : -1;
}

/** Finishes the checksum that GUE left to this end; `inner` is from `carried`. False: it points out of the packet. */
export function finishRemote({ view, bytes }: Memory, outer: Parsed, inner: number): boolean {
  const gue = outer.transport + udp.HEADER;
  const hasOption =
    inner >= gue + GUE_HEADER + GUE_REMOTE_BYTES &&
    (view.getUint16(gue + 2) & GUE_PRIVATE) !== 0 &&
    (view.getUint32(gue + 4) & GUE_REMOTE) !== 0;
  if (!hasOption) return true;
  const start = inner + view.getUint16(gue + 8);
  const field = inner + view.getUint16(gue + 10);
  if (start > outer.end || field + 2 > outer.end) return false;
  const checksum = checksums.finish(checksums.sum(bytes, start, outer.end - start));
  view.setUint16(field, checksum);
  return true;
}
