import { Worker } from 'node:worker_threads';
import test from 'ava';
import { columnCells } from '../../src/dataplane/core/pool.js';
import { native, SLOT_BYTES } from './machine.js';

const addonPath =
  process.env.VIADUCT_ADDON ?? new URL('../../../native/build/viaduct.node', import.meta.url).pathname;

const one = { starts: new Int32Array(1), lengths: Int32Array.of(100), sums: new Int32Array(1) };
const sum = (pool: number): number => {
  native.sums(pool, one.starts, one.lengths, one.sums, 1);
  return one.sums[0]!;
};

/** The arguments of attach, over memory of one's choice. */
function parts(memory: (bytes: number) => ArrayBuffer) {
  const slab = memory(SLOT_BYTES);
  return { slab, columns: new Int32Array(memory(4 * columnCells(4))), status: new Int32Array(memory(8)) };
}
const attach = ({ slab, columns, status }: ReturnType<typeof parts>) =>
  native.attach(slab, SLOT_BYTES, columns, 4, status);

test('allocated memory is zero, writable to its last byte, and as long as asked for', (t) => {
  for (const bytes of [1, 4095, 4096, 4097, 8 * SLOT_BYTES]) {
    const array = new Uint8Array(native.allocate(bytes));
    t.is(array.length, bytes);
    t.true(array.every((byte) => byte === 0));
    array.fill(0xff);
  }
});

test('a length that is none is refused, one that cannot be had is an error with a code', (t) => {
  for (const bytes of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 33, 2 ** 60]) {
    t.throws(() => native.allocate(bytes), { instanceOf: RangeError }, `${bytes}`);
  }
});

test('a pool is made of memory from allocate, of ordinary and of shared memory', (t) => {
  const shared = (bytes: number) => new SharedArrayBuffer(bytes) as unknown as ArrayBuffer;
  for (const memory of [native.allocate, (bytes: number) => new ArrayBuffer(bytes), shared]) {
    const made = parts(memory);
    const pool = attach(made);
    new Uint8Array(made.slab).fill(1);
    t.is(sum(pool), 0x0101 * 50);
    native.detach(pool);
  }
});

test('memory that is too small for its slots or packets is refused', (t) => {
  const { slab, columns, status } = parts((bytes) => new ArrayBuffer(bytes));
  const range = { instanceOf: RangeError };
  t.throws(() => native.attach(slab, SLOT_BYTES + 1, columns, 4, status), range);
  t.throws(() => native.attach(slab, 0, columns, 4, status), range);
  t.throws(() => native.attach(slab, -4096, columns, 4, status), range);
  t.throws(() => native.attach(slab, SLOT_BYTES, columns, 5, status), range);
  t.throws(() => native.attach(slab, SLOT_BYTES, columns, 0, status), range);
  t.throws(() => native.attach(slab, SLOT_BYTES, columns, 0x7fffffff, status), range);
  t.throws(() => native.attach(slab, SLOT_BYTES, columns, 4, status.subarray(1)), range);
  t.throws(() => native.attach(new ArrayBuffer(0), SLOT_BYTES, columns, 4, status), {
    instanceOf: TypeError,
  });
});

test('a handle is good until it is detached, and then given out again', (t) => {
  const made = parts(native.allocate);
  const pool = attach(made);
  native.detach(pool);
  t.throws(() => sum(pool), { instanceOf: RangeError });
  native.detach(pool);
  t.is(attach(made), pool);
  native.detach(pool);
});

test('a pool whose memory was detached is refused', (t) => {
  for (const which of ['slab', 'columns', 'status'] as const) {
    const made = parts((bytes) => new ArrayBuffer(bytes));
    const pool = attach(made);
    t.is(sum(pool), 0);
    const buffer = which === 'slab' ? made.slab : (made[which].buffer as ArrayBuffer);
    structuredClone(buffer, { transfer: [buffer] });
    t.throws(() => sum(pool), { instanceOf: TypeError, message: /detached/ });
    native.detach(pool);
  }
});

test('a pool whose memory shrank is refused', (t) => {
  const made = parts((bytes) => new ArrayBuffer(bytes));
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: object,
  ) => ArrayBuffer & { resize(bytes: number): void };
  const slab = new Resizable(SLOT_BYTES, { maxByteLength: 2 * SLOT_BYTES });
  const pool = attach({ ...made, slab });
  slab.resize(2 * SLOT_BYTES);
  t.is(sum(pool), 0);
  slab.resize(4096);
  t.throws(() => sum(pool), { instanceOf: TypeError });
  native.detach(pool);
});

test('memory from allocate stays mapped for its pool, whatever becomes of the ArrayBuffer', (t) => {
  const made = parts(native.allocate);
  new Uint8Array(made.slab).fill(2);
  const pool = attach(made);
  const movable = made.slab as ArrayBuffer & { transfer?: () => ArrayBuffer };
  if (movable.transfer === undefined) t.log(`Node ${process.version} has no ArrayBuffer.prototype.transfer`);
  else movable.transfer();
  t.is(sum(pool), 0x0202 * 50);
  native.detach(pool);
});

test('memory from allocate is given back', async (t) => {
  const mapped = () => process.memoryUsage().rss;
  const before = mapped();
  for (let i = 0; i < 40; i++) {
    // 64 MB each, touched: 2.5 GB if nothing were given back.
    const array = new Uint8Array(native.allocate(64 << 20));
    for (let at = 0; at < array.length; at += 4096) array[at] = 1;
    await new Promise((resolve) => setImmediate(resolve)); // Node finalizes between turns
  }
  t.true(mapped() - before < 2 ** 31, `${mapped() - before}`);
});

test('each thread has 64 pools of its own, and leaves none behind', async (t) => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData.addonPath);
    const attach = () => addon.attach(addon.allocate(${SLOT_BYTES}), ${SLOT_BYTES},
      new Int32Array(addon.allocate(${4 * columnCells(4)})), 4, new Int32Array(2));
    const handles = Array.from({ length: 64 }, attach);
    let code;
    try { attach(); } catch (error) { code = error.code; }
    addon.sums(63, new Int32Array(1), new Int32Array(1), new Int32Array(1), 1);
    parentPort.postMessage({ handles, code });`;
  for (let round = 0; round < 2; round++) {
    const workers = [0, 1, 2].map(() => new Worker(source, { eval: true, workerData: { addonPath } }));
    const ended = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
    const said = workers.map(
      (worker) =>
        new Promise<{ handles: number[]; code: string }>((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    );
    for (const { handles, code } of await Promise.all(said)) {
      t.deepEqual(
        handles,
        Array.from({ length: 64 }, (_, i) => i),
      );
      t.is(code, 'ENOSPC');
    }
    await Promise.all(ended);
  }
});
