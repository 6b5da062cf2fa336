import test from 'ava';
import { modelSum, native, poolFor, SLOT_BYTES, seeded } from './machine.js';

const EFAULT = 14; // what the addon says of columns that contradict themselves; the kernel never gets to see them

test('sums of random ranges, odd and empty ones among them, are those of the model', (t) => {
  const { pool, handle, status } = poolFor(t, 2);
  const random = seeded(1);
  for (let i = 0; i < pool.bytes.length; i++) pool.bytes[i] = random(256);
  const count = 600;
  const starts = Int32Array.from({ length: count }, () => random(SLOT_BYTES));
  const lengths = Int32Array.from({ length: count }, (_, i) => (i < 200 ? i : random(SLOT_BYTES)));
  const sums = new Int32Array(count);
  native.sums(handle, starts, lengths, sums, count);
  t.is(status[1], 0);
  for (let i = 0; i < count; i++) {
    const want = modelSum(pool.bytes.subarray(starts[i]!, starts[i]! + lengths[i]!));
    if (sums[i] !== want) t.fail(`${lengths[i]} bytes from ${starts[i]}: ${sums[i]}, not ${want}`);
  }
});

test('a sum folds as often as it must: only zeros make 0, words of ones make 0xffff', (t) => {
  const { pool, handle } = poolFor(t, 2);
  const of = (start: number, length: number) => {
    const sums = new Int32Array(1);
    native.sums(handle, Int32Array.of(start), Int32Array.of(length), sums, 1);
    return sums[0];
  };
  t.is(of(0, SLOT_BYTES), 0);
  pool.bytes.fill(0xff);
  for (const length of [2, 4, 6, 64, 1500, 65_536, 2 * SLOT_BYTES]) t.is(of(0, length), 0xffff);
  t.is(of(1, 1), 0xff00);
  t.is(of(7, 0), 0);
});

test('the last byte of the slab can be summed, the one behind it not', (t) => {
  const { pool, handle, status } = poolFor(t, 1);
  pool.bytes[SLOT_BYTES - 1] = 0x12;
  const sums = new Int32Array(2);
  native.sums(handle, Int32Array.of(SLOT_BYTES - 1, SLOT_BYTES), Int32Array.of(1, 0), sums, 2);
  t.is(status[1], 0);
  t.is(sums[0], 0x1200);
  for (const [start, length] of [
    [SLOT_BYTES, 1],
    [SLOT_BYTES - 1, 2],
    [-1, 2],
    [0, -1],
    [0x7fffffff, 0x7fffffff],
    [-0x80000000, 0x7fffffff],
  ] as const) {
    native.sums(handle, Int32Array.of(start), Int32Array.of(length), sums, 1);
    t.is(status[1], EFAULT, `${length} from ${start}`);
  }
  native.sums(handle, Int32Array.of(0), Int32Array.of(1), sums, 2);
  t.is(status[1], EFAULT);
});

/** Segments by the obvious way: [header][part] again and again. */
function modelSegments(bytes: Uint8Array, from: number, header: number, segment: number, payload: number) {
  const out: number[] = [];
  const sums: number[] = [];
  for (let at = 0; at < payload; at += segment) {
    const part = bytes.subarray(from + header + at, from + header + Math.min(at + segment, payload));
    out.push(...bytes.subarray(from, from + header), ...part);
    sums.push(modelSum(part));
  }
  return { out: Uint8Array.from(out), sums };
}

test('segments are laid out as the model lays them out, with the sum of each part, and nothing beside them is touched', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const random = seeded(2);
  for (let round = 0; round < 60; round++) {
    for (let i = 0; i < 2 * SLOT_BYTES; i += 7) pool.bytes[i] = random(256);
    pool.bytes.fill(0xa5, 2 * SLOT_BYTES);
    const header = random(200);
    const segment = 1 + random(round % 2 ? 9000 : 60);
    const payload = random(round % 2 ? 60_000 : 4000);
    const from = random(SLOT_BYTES - 65_000 + 1);
    const to = 2 * SLOT_BYTES + random(100);
    const want = modelSegments(pool.bytes, from, header, segment, payload);
    if (to + want.out.length > 4 * SLOT_BYTES) continue;
    const sums = new Int32Array(want.sums.length + 1).fill(-7);
    t.is(native.copySegments(handle, from, to, header, segment, payload, sums), want.sums.length);
    t.is(status[1], 0);
    t.deepEqual(Array.from(sums), [...want.sums, -7]);
    t.deepEqual(pool.bytes.slice(to, to + want.out.length), want.out);
    t.is(
      pool.bytes.subarray(2 * SLOT_BYTES, to).findIndex((byte) => byte !== 0xa5),
      -1,
    );
    t.is(
      pool.bytes.subarray(to + want.out.length).findIndex((byte) => byte !== 0xa5),
      -1,
    );
  }
});

test('segments that overlap their source, or reach out of the slab, are refused and nothing is written', (t) => {
  const { pool, handle, status } = poolFor(t, 2);
  pool.bytes.fill(0xa5);
  const sums = new Int32Array(64);
  const end = 2 * SLOT_BYTES;
  for (const [from, to, header, segment, payload] of [
    [0, 0, 10, 10, 100],
    [0, 109, 10, 10, 100],
    [199, 0, 10, 10, 100],
    [end - 109, 0, 10, 10, 100],
    [0, end - 199, 10, 10, 100],
    [-1, 1000, 10, 10, 100],
    [0, -1, 10, 10, 100],
    [0, 1000, -1, 10, 100],
    [0, 1000, 10, 0, 100],
    [0, 1000, 10, -1, 100],
    [0, 1000, 10, 10, -1],
    [0, 1000, 10, 1, 65],
    [0, 1000, 0x7fffffff, 1, 0x7fffffff],
    [0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff],
  ] as const) {
    t.is(native.copySegments(handle, from, to, header, segment, payload, sums), 0);
    t.is(status[1], EFAULT, `${[from, to, header, segment, payload]}`);
  }
  t.true(pool.bytes.every((byte) => byte === 0xa5));
  t.is(native.copySegments(handle, 0, 1000, 10, 10, 0, sums), 0);
  t.is(status[1], 0);
});

test('payloads are moved together behind the first header, and nothing else is touched', (t) => {
  const { pool, handle, status } = poolFor(t, 2);
  const random = seeded(8);
  for (let round = 0; round < 300; round++) {
    const header = random(100);
    const segment = header + 1 + random(random(2) === 0 ? 20 : 3000);
    const length = random(Math.min(64 * segment, 60_000));
    const at = random(2 * SLOT_BYTES - length);
    for (let i = 0; i < pool.bytes.length; i++) pool.bytes[i] = (i * 31) >> 3;
    const want = Array.from(pool.bytes);
    const joined: number[] = [];
    for (let from = 0; from < length; from += segment) {
      const piece = want.slice(at + from + (from === 0 ? 0 : header), at + Math.min(from + segment, length));
      joined.push(...piece);
    }
    native.joinSegments(handle, at, header, segment, length);
    t.is(status[1], 0);
    t.deepEqual(pool.bytes.slice(at, at + joined.length), Uint8Array.from(joined));
    t.deepEqual(pool.bytes.slice(0, at), Uint8Array.from(want.slice(0, at)));
    t.deepEqual(pool.bytes.slice(at + length), Uint8Array.from(want.slice(at + length)));
  }
});

test('joining out of the slab, or what has no payload, is refused and nothing is written', (t) => {
  const { pool, handle, status } = poolFor(t, 1);
  pool.bytes.fill(0xa5);
  for (const [at, header, segment, length] of [
    [-1, 10, 20, 100],
    [SLOT_BYTES - 99, 10, 20, 100],
    [0, -1, 20, 100],
    [0, 20, 20, 100],
    [0, 0, 0, 100],
    [0, 10, -20, 100],
    [0, 10, 20, -1],
    [0x7fffffff, 0x7ffffffe, 0x7fffffff, 0x7fffffff],
  ] as const) {
    native.joinSegments(handle, at, header, segment, length);
    t.is(status[1], EFAULT, `${[at, header, segment, length]}`);
  }
  t.true(pool.bytes.every((byte) => byte === 0xa5));
});
