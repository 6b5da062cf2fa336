/** Pools for io's tests, with the addon and without, and the way of frames into them and out. */
import type { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  FRAME_AT,
  Pool,
  SEGMENT_ECN,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../../src/dataplane/core/pool.js';
import { addon, type NativePool, nativePool } from '../../src/dataplane/io/native.js';
import { build, CWR, type Frame, headerBytes } from './frames.js';

export interface Bench {
  path: Path;
  pool: Pool;
  native: NativePool | undefined;
}

/** The ways that a test is run: in JavaScript alone, and with native where it has been built. */
export const WAYS: readonly ('javascript' | 'native')[] =
  addon === undefined ? ['javascript'] : ['javascript', 'native'];

/** A pool whose bytes are all 0xa5. */
export function bench(way: 'javascript' | 'native', slots = 16, packets = slots * 128): Bench {
  const native = way === 'native' ? nativePool(slots, packets) : undefined;
  const pool = native?.pool ?? new Pool(slots, packets);
  pool.bytes.fill(0xa5);
  return { path: new Path(pool, new Counters(1, 1)), pool, native };
}

export function put(pool: Pool, bytes: Uint8Array, at = FRAME_AT): number {
  const packet = pool.take(at);
  pool.bytes.set(bytes, pool.offset[packet]);
  pool.length[packet] = bytes.length;
  return packet;
}

/** A super-packet, or an unfinished one when `segment` is 0; `prefix` bytes before the frame. */
export function putSuper(pool: Pool, f: Frame, segment: number, prefix: readonly number[] = []): number {
  const at = headerBytes(f);
  const packet = put(pool, Uint8Array.from([...prefix, ...build(f, 'seed')]), FRAME_AT - prefix.length);
  const bits = f.l4 === 'udp' ? SEGMENT_UDP : f.ip === 4 ? SEGMENT_TCP4 : SEGMENT_TCP6;
  const ecn = f.l4 === 'tcp' && (f.tcpFlags & CWR) !== 0 ? SEGMENT_ECN : 0;
  pool.offload[packet] = CHECKSUM_UNFINISHED | (segment > 0 ? bits | ecn : 0);
  pool.segment[packet] = segment;
  pool.checksumStart[packet] = prefix.length + at.l4;
  pool.checksumOffset[packet] = f.l4 === 'tcp' ? 16 : 6;
  pool.headerLength[packet] = prefix.length + at.payload;
  return packet;
}

export const bytesOf = (pool: Pool, packet: number): Uint8Array =>
  pool.bytes.slice(pool.offset[packet], pool.offset[packet]! + pool.length[packet]!);

/** What the addon would write for list[i]: the packet, and behind it what its followers add. */
export function written(pool: Pool, batch: Batch, i: number): { bytes: Uint8Array; count: number } {
  const first = batch.packets[i]!;
  const count = Math.max(1, pool.bundle[first]!);
  const pieces = [bytesOf(pool, first)];
  for (let k = 1; k < count; k++) {
    pieces.push(bytesOf(pool, batch.packets[i + k]!).subarray(pool.bundleSkip[first]));
  }
  return { bytes: Uint8Array.from(Buffer.concat(pieces)), count };
}
