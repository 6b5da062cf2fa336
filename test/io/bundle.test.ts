import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { bench } from './pools.js';

test('bundles hold one flow, one ECN field and one size, and each flow keeps its order', (t) => {
  const random = new Random(21);
  const { path, pool } = bench('javascript', 256, 256);
  const bundler = new Bundler(path);
  const batch = new Batch(pool.packets);
  let bundles = 0;
  let bundled = 0;
  for (let round = 0; round < 1000; round++) {
    const count = random.below(200);
    const flows = 1 + random.below(12);
    const skip = random.chance(0.5) ? 0 : 42;
    const maxSegments = 2 + random.below(63);
    const maxBytes = 2000 + random.below(63_000);
    const before: number[] = [];
    for (let i = 0; i < count; i++) {
      const packet = pool.take();
      pool.vtep[packet] = random.below(flows) % 3;
      pool.flow[packet] = random.below(flows);
      pool.length[packet] = random.chance(0.2) ? random.below(1500) : 1000;
      pool.segment[packet] = random.chance(0.02) ? 500 : 0;
      pool.ecn[packet] = random.chance(0.05) ? 3 : 0;
      before.push(packet);
      batch.push(packet);
    }
    bundler.bundle(batch, maxSegments, maxBytes, skip);
    const after = Array.from(batch.packets.subarray(0, batch.count));
    t.deepEqual(after.toSorted(), before.toSorted());

    const key = (packet: number) => `${pool.vtep[packet]} ${pool.flow[packet]}`;
    for (const one of new Set(before.map(key))) {
      t.deepEqual(
        after.filter((packet) => key(packet) === one),
        before.filter((packet) => key(packet) === one),
      );
    }
    for (let i = 0; i < after.length; ) {
      const first = after[i]!;
      const run = after.slice(i, i + Math.max(1, pool.bundle[first]!));
      i += run.length;
      if (run.length === 1) continue;
      bundles++;
      bundled += run.length;
      const lengths = run.map((packet) => pool.length[packet]!);
      t.true(run.every((packet) => key(packet) === key(first) && pool.segment[packet] === 0));
      t.true(run.every((packet) => pool.ecn[packet] === pool.ecn[first]));
      t.true(lengths.slice(0, -1).every((length) => length === lengths[0]));
      t.true(lengths.at(-1)! <= lengths[0]! && lengths.at(-1)! > skip);
      t.true(run.length <= maxSegments);
      t.true(lengths.reduce((sum, length) => sum + length - skip, skip) <= maxBytes);
      t.is(pool.bundleSkip[first], skip);
    }
    batch.release(pool);
    t.is(pool.allocated, 0);
  }
  t.true(bundled > 10_000);
  t.deepEqual(
    [path.counters.engine().bundlesSent, path.counters.engine().bundledPackets],
    [bundles, bundled],
  );
});

test('up to eight interleaved flows are bundled, the ninth closes the oldest', (t) => {
  const { path, pool } = bench('javascript', 64, 64);
  const bundler = new Bundler(path);
  const batch = new Batch(pool.packets);
  for (const [flows, bundles] of [
    [8, 8],
    [9, 0],
  ] as const) {
    const before = path.counters.engine().bundlesSent;
    for (let i = 0; i < 5 * flows; i++) {
      const packet = pool.take();
      pool.vtep[packet] = 0;
      pool.flow[packet] = i % flows;
      pool.length[packet] = 100;
      batch.push(packet);
    }
    bundler.bundle(batch, 64, 65_507);
    t.is(path.counters.engine().bundlesSent - before, bundles);
    batch.release(pool);
  }
});
