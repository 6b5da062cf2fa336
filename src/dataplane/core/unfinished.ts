/**
 * The two ends of completing an unfinished L4 checksum (CHECKSUM_UNFINISHED): which bytes it covers, and where it goes.
 * Summing them is between these, and done in different ways.
 */
import { finish } from '../wire/checksum.js';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED, type Pool } from './pool.js';

/** Where UDP's checksum stands, and no other protocol's that leaves one unfinished. */
const UDP_CHECKSUM = 6;

/** Bytes from `checksumStart` to the packet's end; -1 when the columns contradict the packet. */
export function coveredBytes(pool: Pool, packet: number): number {
  const from = pool.checksumStart[packet];
  const covered = pool.length[packet] - from;
  const field = pool.checksumOffset[packet];
  return from < 0 || field < 0 || field + 2 > covered ? -1 : covered;
}

/** `sum` is that of the bytes covered; the sum of the pseudo-header stands in the field, and so is in it. */
export function complete(pool: Pool, packet: number, sum: number): void {
  const field = pool.checksumOffset[packet];
  const to = pool.offset[packet] + pool.checksumStart[packet] + field;
  let checksum = finish(sum);
  if (checksum === 0 && field === UDP_CHECKSUM) checksum = 0xffff;
  pool.bytes[to] = checksum >>> 8;
  pool.bytes[to + 1] = checksum;
  pool.offload[packet] = (pool.offload[packet] & ~CHECKSUM_UNFINISHED) | CHECKSUM_VERIFIED;
}
