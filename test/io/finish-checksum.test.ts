import test from 'ava';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { finishChecksum } from '../../src/dataplane/io/offload/finish-checksum.js';
import { sum } from '../../src/dataplane/io/offload/sum.js';
import { anySuper, build, frame, slowSum } from './frames.js';
import { bench, bytesOf, put, putSuper, WAYS } from './pools.js';

for (const way of WAYS) {
  test(`${way}: a finished checksum is the one that a slow sum gives`, (t) => {
    const random = new Random(31);
    const { path, pool, native } = bench(way);
    for (let round = 0; round < 500; round++) {
      const { f } = anySuper(random);
      const one = { ...f, payload: f.payload.slice(0, random.below(2000)) };
      const prefix = random.chance(0.5) ? [1, 2, 3, 4, 5, 6, 7, 8] : [];
      const packet = putSuper(pool, one, 0, prefix);
      t.true(finishChecksum(path, packet, native));
      t.deepEqual(bytesOf(pool, packet), Uint8Array.from([...prefix, ...build(one)]));
      t.is(pool.offload[packet], CHECKSUM_VERIFIED);
      pool.free(packet);
    }
    t.is(pool.allocated, 0);
  });

  test(`${way}: a UDP checksum of 0 is sent as 0xffff`, (t) => {
    const { path, pool, native } = bench(way);
    for (const length of [2, 2000]) {
      const f = frame({ l4: 'udp', payload: Array<number>(length).fill(0) });
      // Whatever is missing to 0xffff goes into the payload.
      const sum = slowSum([...build(f, 'seed').subarray(34)]);
      const short = 0xffff - sum;
      f.payload[0] = short >> 8;
      f.payload[1] = short & 255;
      const packet = putSuper(pool, f, 0);
      t.true(finishChecksum(path, packet, native));
      t.deepEqual([...bytesOf(pool, packet).subarray(40, 42)], [255, 255]);
      pool.free(packet);
    }
  });

  test(`${way}: columns that contradict the packet drop it`, (t) => {
    const { path, pool, native } = bench(way);
    const f = frame({ payload: [1, 2, 3] });
    const { length } = build(f);
    for (let short = 0; short <= length; short++) {
      const packet = putSuper(pool, f, 0);
      pool.length[packet] = short;
      const fits = short >= 34 + 18;
      t.is(finishChecksum(path, packet, native), fits);
      if (fits) pool.free(packet);
      t.is(pool.allocated, 0);
    }
    t.is(path.counters.dropped('inner-malformed'), 52);
  });
}

test('a finished packet is left alone', (t) => {
  const { path, pool } = bench('javascript');
  const packet = put(pool, build(frame({ payload: [1] }), 'bad'));
  const before = bytesOf(pool, packet);
  t.true(finishChecksum(path, packet));
  t.deepEqual(bytesOf(pool, packet), before);
  t.is(pool.offload[packet]! & (CHECKSUM_UNFINISHED | CHECKSUM_VERIFIED), 0);
  pool.free(packet);
});

test('the sum of any range is the slow one, whatever its alignment', (t) => {
  const random = new Random(32);
  const { pool } = bench('javascript', 1);
  random.fill(pool.bytes.subarray(0, 4096));
  for (let length = 0; length < 200; length++) {
    for (let at = 0; at < 8; at++) {
      t.is(sum(pool.view, at, length), slowSum([...pool.bytes.subarray(at, at + length)]));
    }
  }
  pool.bytes.fill(0xff);
  t.is(sum(pool.view, 1, 65_600), 0xffff);
});
