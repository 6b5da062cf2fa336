import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { CHECKSUM_UNFINISHED } from '../../core/pool.js';
import { complete, coveredBytes } from '../../core/unfinished.js';
import type { NativePool } from '../native.js';
import { sumOf } from './sum.js';

/**
 * Completes an unfinished L4 checksum in place, up to the packet's end, and marks it as verified; a finished one is
 * left alone. False: the columns contradict the packet, and it was dropped ('inner-malformed').
 */
export function finishChecksum(path: Path, packet: number, native?: NativePool): boolean {
  const { pool } = path;
  if ((pool.offload[packet] & CHECKSUM_UNFINISHED) === 0) return true;
  const covered = coveredBytes(pool, packet);
  if (covered < 0) {
    path.drop(packet, drop['inner-malformed']);
    return false;
  }
  const at = pool.offset[packet] + pool.checksumStart[packet];
  complete(pool, packet, sumOf(pool, at, covered, native));
  return true;
}
