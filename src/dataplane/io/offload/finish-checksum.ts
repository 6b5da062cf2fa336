import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED } from '../../core/pool.js';
import { finish } from '../../wire/checksum.js';
import type { NativePool } from '../native.js';
import { sumOf } from './sum.js';

/** Where UDP's checksum stands, and no other protocol's that leaves one unfinished. */
const UDP_CHECKSUM = 6;

/**
 * Completes an unfinished L4 checksum in place, up to the packet's end, and marks it as verified; a finished one is
 * left alone. False: the columns contradict the packet, and it was dropped ('inner-malformed').
 */
export function finishChecksum(path: Path, packet: number, native?: NativePool): boolean {
  const { pool } = path;
  const offload = pool.offload[packet];
  if ((offload & CHECKSUM_UNFINISHED) === 0) return true;
  const from = pool.checksumStart[packet];
  const covered = pool.length[packet] - from;
  const field = pool.checksumOffset[packet];
  if (from < 0 || field < 0 || field + 2 > covered) {
    path.drop(packet, drop['inner-malformed']);
    return false;
  }
  // The pseudo-header's sum stands in the field, so it is summed with the rest.
  const at = pool.offset[packet] + from;
  let checksum = finish(sumOf(pool, at, covered, native));
  if (checksum === 0 && field === UDP_CHECKSUM) checksum = 0xffff;
  pool.bytes[at + field] = checksum >>> 8;
  pool.bytes[at + field + 1] = checksum;
  pool.offload[packet] = (offload & ~CHECKSUM_UNFINISHED) | CHECKSUM_VERIFIED;
  return true;
}
