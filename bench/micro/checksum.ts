/** The Internet checksum over a header and over a packet; in TypeScript, and by the addon where it is built. */
import { addon, nativePool } from '../../src/dataplane/io/native.js';
import * as checksum from '../../src/dataplane/wire/checksum.js';
import { type Case, sunk } from './case.js';
import { BATCH, stage } from './stage.js';

const SIZES = [20, 1500];

export function checksumCases(): Case[] {
  const { pool, packets } = stage(1000, 'remote');
  const cases: Case[] = SIZES.map((size) => ({
    ...{
      name: `checksum, ${size} bytes`,
      unit: 'range',
      units: BATCH,
      reference: ['checksum', size] as const,
    },
    prepare: () => () => {
      let total = 0;
      // Headers are summed by bytes, more by words.
      for (let i = 0; i < BATCH; i++) {
        const at = pool.offset[packets[i]!]!;
        total += size < 64 ? checksum.sum(pool.bytes, at, size) : checksum.sumWords(pool.view, at, size);
      }
      sunk.value += total;
    },
  }));
  if (addon === undefined) return cases;
  const native = nativePool(BATCH);
  const { sums } = addon;
  const starts = Int32Array.from({ length: BATCH }, () => native.pool.offset[native.pool.take()]!);
  const found = new Int32Array(BATCH);
  for (const size of SIZES) {
    const lengths = new Int32Array(BATCH).fill(size);
    cases.push({
      ...{ name: `checksum by the addon, ${size} bytes`, unit: 'range', units: BATCH },
      prepare: () => () => sums(native.handle, starts, lengths, found, BATCH),
      reference: ['checksum', size],
    });
  }
  return cases;
}
