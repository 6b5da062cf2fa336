/**
 * An IPv4 packet that is too big for the path and may be fragmented (DF is not set) is fragmented here, as a router
 * would (RFC 791 §3.2), for the outer packet is never: a lost outer fragment would cost the whole frame, and
 * the tunnel device can't split it.
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, NO_PACKET, type Pool } from '../core/pool.js';
import * as checksums from '../wire/checksum.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';

/** Offset of the IPv4 header if the packet (no super-packet) may be fragmented; -1 otherwise. */
export function fragmentable(path: Path, packet: number): number {
  const { pool } = path;
  const at = pool.offset[packet]!;
  const length = pool.length[packet]!;
  const ip = ethernet.payload(pool.bytes, at, length);
  if (ip < 0 || pool.segment[packet] !== 0) return -1;
  if (ethernet.payloadType(pool.bytes, ip) !== ethernet.IPV4) return -1;
  if (!ipv4.valid(pool.bytes, ip, at + length - ip) || ipv4.dontFragment(pool.bytes, ip)) return -1;
  // Options would have to be sorted into those that are copied and those that aren't; such packets are told instead.
  return ipv4.headerLength(pool.bytes, ip) === ipv4.HEADER ? ip : -1;
}

/**
 * Splits the packet whose IPv4 header is at `ip` into frames of at most `largest` bytes, appended to `out`, and
 * frees it. An unfinished L4 checksum is finished first. Without room for all fragments it is dropped whole.
 */
export function fragment(path: Path, packet: number, ip: number, largest: number, out: Batch): void {
  const { pool } = path;
  const { bytes } = pool;
  const at = pool.offset[packet]!;
  if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) finishChecksum(pool, packet);
  const headers = ip + ipv4.HEADER - at;
  const payload = ip + ipv4.HEADER;
  const end = ip + ipv4.totalLength(bytes, ip);
  const part = (largest - headers) & ~7;
  const field = ipv4.fragment(bytes, ip);
  const before = out.count;
  // At least one: a packet may be all header, and its frame too long by what is padded behind.
  let from = payload;
  do {
    const piece = part > 0 ? pool.take() : NO_PACKET;
    if (piece === NO_PACKET) {
      while (out.count > before) pool.free(out.packets[--out.count]!);
      path.drop(packet, drop['no-packet']);
      return;
    }
    const size = Math.min(part, end - from);
    const to = pool.offset[piece]!;
    bytes.copyWithin(to, at, payload);
    bytes.copyWithin(to + headers, from, from + size);
    pool.length[piece] = headers + size;
    pool.port[piece] = pool.port[packet]!;
    pool.network[piece] = pool.network[packet]!;
    pool.vtep[piece] = pool.vtep[packet]!;
    pool.trace[piece] = pool.trace[packet]!;
    const header = to + headers - ipv4.HEADER;
    const more = from + size < end || (field & ipv4.MORE_FRAGMENTS) !== 0 ? ipv4.MORE_FRAGMENTS : 0;
    const offset = (field & 0x1fff) + ((from - payload) >>> 3);
    ipv4.writeTotalLength(bytes, header, ipv4.HEADER + size);
    bytes[header + 6] = (more | offset) >>> 8;
    bytes[header + 7] = offset;
    ipv4.writeChecksum(bytes, header, 0);
    ipv4.writeChecksum(bytes, header, ipv4.headerChecksum(bytes, header));
    out.push(piece);
    from += size;
  } while (from < end);
  pool.free(packet);
}

function finishChecksum(pool: Pool, packet: number): void {
  const { bytes } = pool;
  const at = pool.offset[packet]!;
  const start = pool.checksumStart[packet]!;
  const field = at + start + pool.checksumOffset[packet]!;
  const sum = checksums.finish(checksums.sum(bytes, at + start, pool.length[packet]! - start)) || 0xffff;
  bytes[field] = sum >>> 8;
  bytes[field + 1] = sum;
  pool.offload[packet] = 0;
}
