import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import { ACK, anySuper, build, CWR, frame, headerBytes, PSH, segments } from './frames.js';
import { bench, bytesOf, put, putSuper, WAYS } from './pools.js';

const VXLAN = [8, 0, 0, 0, 0, 0, 42, 0];

for (const way of WAYS) {
  test(`${way}: a super-packet becomes the packets that the kernel would have sent`, (t) => {
    const random = new Random(1);
    const { path, pool, native } = bench(way);
    const segmenter = new Segmenter(path, native);
    const out = new Batch(pool.packets);
    for (let round = 0; round < 200; round++) {
      const { f, segment } = anySuper(random);
      const prefix = random.chance(0.5) ? VXLAN : [];
      const packet = putSuper(pool, f, segment, prefix);
      pool.port[packet] = 1;
      pool.network[packet] = 2;
      pool.vtep[packet] = 3;
      pool.flow[packet] = 4;
      pool.ecn[packet] = 2;
      const expected = segments(f, segment, (f.tcpFlags & CWR) !== 0).map((s) =>
        Buffer.from([...prefix, ...build(s)]),
      );
      t.true(segmenter.segment(packet, out, prefix.length));
      const made = Array.from(out.packets.subarray(0, out.count));
      t.is(made.length, expected.length);
      t.true(
        made.every((p, i) => expected[i]!.equals(bytesOf(pool, p))),
        `round ${round}`,
      );
      for (const p of made) {
        t.deepEqual([pool.segment[p], pool.offload[p]], [0, CHECKSUM_VERIFIED]);
        t.deepEqual([pool.port[p], pool.network[p], pool.vtep[p], pool.flow[p]], [1, 2, 3, 4]);
        t.is(pool.ecn[p], 2);
      }
      out.release(pool);
      t.is(pool.allocated, 0);
    }
  });

  test(`${way}: glued segments are the same bytes in as few sends as the kernel allows`, (t) => {
    const random = new Random(2);
    const { path, pool, native } = bench(way);
    const segmenter = new Segmenter(path, native);
    const out = new Batch(pool.packets);
    for (let round = 0; round < 150; round++) {
      const { f, segment } = anySuper(random);
      const expected = segments(f, segment, (f.tcpFlags & CWR) !== 0).map((s) => [...VXLAN, ...build(s)]);
      t.true(segmenter.glue(putSuper(pool, f, segment, VXLAN), out, 8));
      const size = 8 + headerBytes(f).payload + segment;
      let at = 0;
      for (let i = 0; i < out.count; i++) {
        const packet = out.packets[i]!;
        const count = Math.ceil(pool.length[packet]! / size);
        t.true(count <= 64 && pool.length[packet]! <= 65_507);
        t.is(pool.segment[packet], count > 1 ? size : 0);
        const bytes = Buffer.from(expected.slice(at, at + count).flat());
        t.true(bytes.equals(bytesOf(pool, packet)), `round ${round}`);
        at += count;
      }
      t.is(at, expected.length);
      const most = Math.max(1, Math.min(64, Math.floor(65_507 / size)));
      t.true(out.count <= Math.ceil(expected.length / most) + (expected.length * size > 69_000 ? 1 : 0));
      out.release(pool);
      t.is(pool.allocated, 0);
    }
  });

  test(`${way}: a super-packet of tiny segments fills several slots`, (t) => {
    const { path, pool, native } = bench(way);
    const segmenter = new Segmenter(path, native);
    const out = new Batch(pool.packets);
    const f = frame({ payload: Array.from({ length: 16_000 }, (_, i) => i & 255), tcpFlags: ACK | PSH });
    const expected = segments(f, 8, false).map((s) => Buffer.from(build(s)));
    t.true(segmenter.segment(putSuper(pool, f, 8), out));
    t.is(out.count, 2000);
    t.true(expected.every((bytes, i) => bytes.equals(bytesOf(pool, out.packets[i]!))));
    t.is(path.counters.engine().segmented, 1);
    out.release(pool);
    t.is(pool.allocated, 0);

    t.false(segmenter.segment(putSuper(pool, f, 7), out));
    t.is(path.counters.dropped('segments-too-many'), 1);
    t.is(pool.allocated, 0);
  });

  test(`${way}: a super-packet that fits one packet is finished and passed on`, (t) => {
    const { path, pool, native } = bench(way);
    const out = new Batch(pool.packets);
    const f = frame({ payload: [1, 2, 3] });
    t.true(new Segmenter(path, native).segment(putSuper(pool, f, 3), out));
    t.is(out.count, 1);
    t.deepEqual(bytesOf(pool, out.packets[0]!), build(f));
    out.release(pool);
    t.is(pool.allocated, 0);
  });

  test(`${way}: an exhausted pool drops the super-packet and nothing of it stays`, (t) => {
    const f = frame({ payload: Array<number>(40).fill(7) });
    for (const [slots, packets] of [
      [1, 64],
      [4, 2],
      [4, 5],
      [4, 10],
    ] as const) {
      const { path, pool, native } = bench(way, slots, packets);
      const out = new Batch(pool.packets);
      t.false(new Segmenter(path, native).segment(putSuper(pool, f, 4), out));
      t.is(path.counters.dropped('no-packet'), 1);
      t.is(out.count, 0);
      t.is(pool.allocated, 0);
    }
  });

  test(`${way}: whatever headers and columns say, nothing outside of the packet is touched and nothing leaks`, (t) => {
    const random = new Random(3);
    const { path, pool, native } = bench(way, 4);
    const segmenter = new Segmenter(path, native);
    const out = new Batch(pool.packets);
    const guard = put(pool, new Uint8Array(69_000).fill(0x5a));
    const guarded = Buffer.from(bytesOf(pool, guard));
    const columns = [
      pool.length,
      pool.segment,
      pool.offload,
      pool.checksumStart,
      pool.checksumOffset,
      pool.headerLength,
    ];
    const check = (packet: number, prefix: number) => {
      if (random.chance(0.5)) segmenter.segment(packet, out, prefix);
      else segmenter.glue(packet, out, prefix);
      out.release(pool);
      t.is(pool.allocated, 1);
    };
    for (let shape = 0; shape < 24; shape++) {
      const { f } = anySuper(random);
      const small = { ...f, payload: f.payload.slice(0, 64) };
      const prefix = shape % 2 === 0 ? VXLAN : [];
      const whole = prefix.length + headerBytes(small).payload + small.payload.length;
      for (let length = 0; length <= whole; length++) {
        const packet = putSuper(pool, small, 10, prefix);
        pool.length[packet] = length;
        check(packet, prefix.length);
      }
      for (let round = 0; round < 1000; round++) {
        const packet = putSuper(pool, small, 10, prefix);
        const at = pool.offset[packet]!;
        for (let n = random.below(4); n > 0; n--) pool.bytes[at + random.below(whole)] = random.below(256);
        for (let n = random.below(3); n > 0; n--) {
          const column = columns[random.below(columns.length)]!;
          if (column === pool.length) column[packet] = random.below(65_600);
          else column[packet] = random.below(random.chance(0.5) ? 128 : 70_000);
        }
        check(packet, prefix.length);
      }
    }
    t.true(guarded.equals(bytesOf(pool, guard)));
  });
}

test('a super-packet whose checksum is finished, or whose columns say nothing, is malformed', (t) => {
  const { path, pool } = bench('javascript');
  const segmenter = new Segmenter(path);
  const out = new Batch(pool.packets);
  const f = frame({ payload: Array<number>(40).fill(7) });
  const spoil: ((packet: number) => void)[] = [
    (p) => (pool.offload[p]! &= ~CHECKSUM_UNFINISHED),
    (p) => (pool.offload[p] = CHECKSUM_UNFINISHED),
    (p) => (pool.segment[p] = 0),
    (p) => (pool.headerLength[p] = pool.length[p]!),
    (p) => (pool.bytes[pool.offset[p]! + 23] = 17),
    (p) => (pool.bytes[pool.offset[p]! + 20] = 0x20), // a fragment
  ];
  for (const [i, change] of spoil.entries()) {
    const packet = putSuper(pool, f, 10);
    change(packet);
    t.false(segmenter.segment(packet, out));
    t.is(path.counters.dropped('inner-malformed'), i + 1);
    t.is(pool.allocated, 0);
  }
});
