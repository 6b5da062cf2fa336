/** Hashing into 256 buckets: sh and dh. */
import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { dh } from '../../../src/dataplane/ipvs/schedulers/dh.js';
import { sh } from '../../../src/dataplane/ipvs/schedulers/sh.js';
import { agree, destinationsOf, flowOf, type Model, type Plain, poolOf, usable } from './world.js';

const word = (n: number): bigint => BigInt.asUintN(32, BigInt(n));
const hash = (n: bigint): number => Number(BigInt.asUintN(32, BigInt.asUintN(32, n) * 0x61c88647n) >> 24n);
const buckets = (tiles: Plain[]): Plain[] =>
  Array.from({ length: 256 }, (_, bucket) => tiles[bucket % tiles.length]!);
const row = (found: Plain | undefined): number => found?.row ?? -1;

const source = (port: boolean, fallback: boolean): Model => ({
  pick(list, { source0, source1, source2, source3, sourcePort }) {
    if (list.length === 0) return -1;
    const tiles = list.flatMap((each) =>
      new Array<Plain>(Math.min(256, Math.max(1, each.weight))).fill(each),
    );
    const table = buckets(tiles);
    const address = word(source0) ^ word(source1) ^ word(source2) ^ word(source3);
    const bucket = hash(address + BigInt(port ? sourcePort : 0));
    const [chosen] = usable([table[bucket]!]);
    if (chosen !== undefined || !fallback) return row(chosen);
    return row(usable(table.map((_, i) => table[(bucket + ((bucket + i) % 256)) % 256]!))[0]);
  },
});

for (const [port, fallback] of [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const) {
  test(`source hashing, ${port ? 'with' : 'without'} port, ${fallback ? 'with' : 'without'} fallback`, (t) => {
    agree(t, { make: sh, flags: { port, fallback }, model: () => source(port, fallback) });
  });
}

test('destination hashing lays all destinations over the buckets, and lets nobody stand in', (t) => {
  agree(t, {
    make: dh,
    model: () => ({
      pick(list, { target0, target1, target2, target3 }) {
        if (list.length === 0) return -1;
        const address = word(target0) ^ word(target1) ^ word(target2) ^ word(target3);
        return row(usable([buckets([...list])[hash(address)]!])[0]);
      },
    }),
  });
});

test('known addresses fall into the buckets that Linux gives them', (t) => {
  const destinations = destinationsOf(new Array<number>(256).fill(1));
  const scheduler = sh(poolOf(destinations, { port: true }), new Random(1));
  t.is(scheduler.pick(flowOf(0xc0000201 | 0), 0)?.row, 50);
  t.is(scheduler.pick(flowOf(0xc0000201 | 0, 65535), 0)?.row, 87);
  t.is(scheduler.pick(flowOf(0x0a000001), 0)?.row, 39);
  t.is(scheduler.pick(flowOf(0x0a000001, 40000), 0)?.row, 203);
});
