import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters, RX_BYTES, RX_PACKETS, TX_BYTES, TX_PACKETS } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  DATAGRAM_AT,
  FRAME_AT,
  Pool,
  SENDER_ADDRESS,
  SENDER_FAMILY,
  SENDER_PORT,
  SLOT_BYTES,
} from '../../src/dataplane/core/pool.js';
import type { Device } from '../../src/dataplane/io/device.js';
import type { Faults } from '../../src/dataplane/io/memory/misfortune.js';
import { type PairOptions, pair } from '../../src/dataplane/io/memory/pair.js';

const newPath = (slots = 64) => new Path(new Pool(slots), new Counters(2, 2));

function setUp(options: Partial<PairOptions> = {}, slots = 64) {
  const paths = [newPath(slots), newPath(slots)] as const;
  const [a, b] = pair({ paths, ...options });
  return { a, b, from: paths[0], to: paths[1] };
}

/** Transmits packets whose bytes are their number. */
function send(path: Path, device: Device, numbers: readonly number[], length = 4): void {
  const { pool } = path;
  const batch = new Batch(numbers.length);
  for (const number of numbers) {
    const packet = pool.take();
    pool.view.setUint32(pool.offset[packet]!, number);
    pool.length[packet] = length;
    batch.push(packet);
  }
  device.transmit(batch);
}

/** One turn of receiving: the numbers that came. */
function receive(path: Path, device: Device): number[] {
  const batch = new Batch(path.pool.packets);
  device.receive(batch);
  const numbers = Array.from(batch.packets.subarray(0, batch.count), (packet) =>
    path.pool.view.getUint32(path.pool.offset[packet]!),
  );
  batch.release(path.pool);
  return numbers;
}

/** Sends `count` packets, ten a turn, and returns all that arrived, in order. */
function run(faults: Faults, seed: number, count = 2000): { arrived: number[]; lost: number; left: number } {
  const { a, b, from, to } = setUp({ faults: [faults, {}], seed });
  const arrived: number[] = [];
  for (let i = 0; i < count; i += 10) {
    send(
      from,
      a,
      Array.from({ length: 10 }, (_, j) => i + j),
    );
    arrived.push(...receive(to, b));
  }
  for (let turn = 0; turn < 50; turn++) arrived.push(...receive(to, b));
  return {
    arrived,
    lost: from.counters.dropped('injected-loss'),
    left: from.pool.allocated + to.pool.allocated,
  };
}

test('without faults every packet arrives once and in order, in both directions', (t) => {
  const { a, b, from, to } = setUp();
  send(from, a, [1, 2, 3]);
  send(to, b, [4, 5]);
  t.is(from.pool.allocated, 2, 'what was sent is freed, what comes stands in the pool of the receiver');
  t.deepEqual(receive(to, b), [1, 2, 3]);
  t.deepEqual(receive(from, a), [4, 5]);
  t.deepEqual(receive(to, b), []);
  t.is(from.pool.allocated, 0);
  t.is(to.pool.allocated, 0);
});

test('loss, duplication and reordering happen as often as asked', (t) => {
  const lossy = run({ loss: 0.1 }, 1);
  t.is(lossy.lost + lossy.arrived.length, 2000);
  t.true(lossy.lost > 150 && lossy.lost < 250, `${lossy.lost} lost`);
  t.deepEqual(
    lossy.arrived,
    [...lossy.arrived].sort((x, y) => x - y),
  );

  const twice = run({ duplicate: 0.1 }, 2);
  const extra = twice.arrived.length - new Set(twice.arrived).size;
  t.is(new Set(twice.arrived).size, 2000);
  t.true(extra > 150 && extra < 250, `${extra} twice`);

  const mixed = run({ reorder: 0.1, hold: 3 }, 3);
  const late = mixed.arrived.filter((number, i) =>
    mixed.arrived.slice(0, i).some((other) => other > number),
  ).length;
  t.is(new Set(mixed.arrived).size, 2000);
  t.true(late > 150 && late < 250, `${late} late`);

  for (const { left } of [lossy, twice, mixed]) t.is(left, 0);
});

test('the same seed brings the same misfortune, another seed another', (t) => {
  const faults = { loss: 0.05, duplicate: 0.05, reorder: 0.1, hold: 2 };
  t.deepEqual(run(faults, 7), run(faults, 7));
  t.notDeepEqual(run(faults, 7).arrived, run(faults, 8).arrived);
});

test('each direction has its own faults', (t) => {
  const { a, b, from, to } = setUp({ faults: [{ loss: 1 }, { duplicate: 1 }] });
  send(from, a, [1, 2]);
  send(to, b, [3]);
  t.deepEqual(receive(to, b), []);
  t.deepEqual(receive(from, a), [3, 3]);
  t.is(from.counters.dropped('injected-loss'), 2);
  t.is(to.counters.dropped('injected-loss'), 0);
  t.is(from.pool.allocated + to.pool.allocated, 0);
});

test('latency is counted in turns, or in virtual milliseconds where there is a clock', (t) => {
  const turns = setUp({ faults: [{ latency: 2 }, {}] });
  send(turns.from, turns.a, [1]);
  t.deepEqual(
    [0, 1, 2].map(() => receive(turns.to, turns.b)),
    [[], [], [1]],
  );

  let now = 0;
  const timed = setUp({ faults: [{ latency: 30, reorder: 0 }, {}], clock: () => now });
  send(timed.from, timed.a, [1]);
  now = 10;
  send(timed.from, timed.a, [2]);
  t.is(timed.b.pending, 2);
  const arrivals = [29, 30, 39, 40].map((time) => {
    now = time;
    return receive(timed.to, timed.b);
  });
  t.deepEqual(arrivals, [[], [1], [], [2]]);
  t.is(timed.b.pending, 0);
  t.is(timed.from.pool.allocated + timed.to.pool.allocated, 0);
});

test('offload columns and all bytes cross, the receiver finds the packet where it asked for', (t) => {
  const { a, b, from, to } = setUp({ at: DATAGRAM_AT });
  const columns = ['segment', 'offload', 'checksumStart', 'checksumOffset', 'headerLength'] as const;
  const { pool } = from;
  const packet = pool.take();
  pool.length[packet] = 65_000;
  for (let i = 0; i < 65_000; i++) pool.bytes[pool.offset[packet]! + i] = i * 7;
  const sent = pool.bytes.slice(pool.offset[packet], pool.offset[packet]! + 65_000);
  columns.forEach((name, i) => {
    pool[name][packet] = 10 + i;
  });
  pool.trace[packet] = 99;
  const batch = new Batch(1);
  batch.push(packet);
  a.transmit(batch);
  t.is(batch.count, 0);
  b.receive(batch);
  const got = batch.packets[0]!;
  t.is(to.pool.offset[got], to.pool.slotStart(got) + DATAGRAM_AT);
  t.deepEqual(to.pool.bytes.slice(to.pool.offset[got], to.pool.offset[got]! + to.pool.length[got]!), sent);
  columns.forEach((name, i) => {
    t.is(to.pool[name][got], 10 + i);
  });
  t.is(to.pool.trace[got], 0, 'a trace ends at the wire');
  batch.release(to.pool);
  t.is(from.pool.allocated + to.pool.allocated, 0);
});

test('as an underlay each end sees who sent, and counts what it sent to a VTEP', (t) => {
  const senders = [
    { address: Uint8Array.of(10, 0, 0, 1), port: 4789 },
    { address: Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i), port: 50000 },
  ] as const;
  const { a, b, from, to } = setUp({ at: DATAGRAM_AT, senders });
  const check = (path: Path, device: Device, family: number, sender: (typeof senders)[number]) => {
    const batch = new Batch(4);
    device.receive(batch);
    const slot = path.pool.slotStart(batch.packets[0]!);
    const { view, bytes } = path.pool;
    t.is(view.getUint16(slot + SENDER_FAMILY, true), family);
    t.is(view.getUint16(slot + SENDER_PORT, true), sender.port);
    const address = slot + SENDER_ADDRESS;
    t.deepEqual(bytes.slice(address, address + sender.address.length), sender.address);
    batch.release(path.pool);
  };
  send(from, a, [1], 100);
  send(to, b, [2], 100);
  check(to, b, 4, senders[0]);
  check(from, a, 6, senders[1]);
  const { cells } = from.counters;
  t.is(cells[from.counters.vtepRow(0) + TX_PACKETS], 1);
  t.is(cells[from.counters.vtepRow(0) + TX_BYTES], 100);
  t.is(from.pool.allocated + to.pool.allocated, 0);
});

test('as the link to a workload each end sets its port and counts its traffic', (t) => {
  const { a, b, from, to } = setUp({ ports: [1, 0] });
  send(from, a, [1, 2], 60);
  const batch = new Batch(4);
  b.receive(batch);
  t.deepEqual(
    [...batch.packets.subarray(0, 2)].map((packet) => to.pool.port[packet]),
    [0, 0],
  );
  t.is(to.pool.offset[batch.packets[0]!]! % SLOT_BYTES, FRAME_AT);
  batch.release(to.pool);
  t.is(from.counters.cells[from.counters.portRow(1) + TX_PACKETS], 2);
  t.is(from.counters.cells[from.counters.portRow(1) + TX_BYTES], 120);
  t.is(to.counters.cells[to.counters.portRow(0) + RX_PACKETS], 2);
  t.is(to.counters.cells[to.counters.portRow(0) + RX_BYTES], 120);
  t.is(from.pool.allocated + to.pool.allocated, 0);
});

test('corruption flips one bit, withdraws a verified checksum, and spares what has no checksum yet', (t) => {
  const { a, b, from, to } = setUp({ faults: [{ corrupt: 1 }, {}] });
  const sendOne = (offload: number): { flipped: number; offload: number } => {
    const batch = new Batch(1);
    const packet = from.pool.take();
    from.pool.bytes.fill(0, from.pool.offset[packet], from.pool.offset[packet]! + 50);
    from.pool.length[packet] = 50;
    from.pool.offload[packet] = offload;
    batch.push(packet);
    a.transmit(batch);
    b.receive(batch);
    const got = batch.packets[0]!;
    const at = to.pool.offset[got]!;
    const bits = [...to.pool.bytes.subarray(at, at + 50)].reduce(
      (sum, byte) => sum + byte.toString(2).replaceAll('0', '').length,
      0,
    );
    const result = { flipped: bits, offload: to.pool.offload[got]! };
    batch.release(to.pool);
    return result;
  };
  t.deepEqual(sendOne(0), { flipped: 1, offload: 0 });
  t.deepEqual(sendOne(CHECKSUM_VERIFIED), { flipped: 1, offload: 0 });
  t.deepEqual(sendOne(CHECKSUM_UNFINISHED), { flipped: 0, offload: CHECKSUM_UNFINISHED });
  t.is(from.pool.allocated + to.pool.allocated, 0);
});

test('a receiver whose pool is full loses packets under no-packet, and what is too long under underlay-oversize', (t) => {
  const paths = [newPath(8), newPath(2)] as const;
  const [a, b] = pair({ paths });
  send(paths[0], a, [1, 2, 3]);
  t.is(paths[1].counters.dropped('no-packet'), 1);
  t.deepEqual(receive(paths[1], b), [1, 2]);
  const packet = paths[0].pool.take(0);
  paths[0].pool.length[packet] = SLOT_BYTES;
  const batch = new Batch(1);
  batch.push(packet);
  a.transmit(batch);
  t.is(paths[1].counters.dropped('underlay-oversize'), 1);
  t.is(paths[0].pool.allocated + paths[1].pool.allocated, 0);
});

test('after one end is closed nothing passes, and what was on its way is counted', (t) => {
  const { a, b, from, to } = setUp();
  send(from, a, [1, 2]);
  b.close();
  send(from, a, [3]);
  send(to, b, [4]);
  t.is(to.counters.dropped('device-closed'), 3);
  t.is(from.counters.dropped('device-closed'), 1);
  t.deepEqual(receive(to, b), []);
  a.close();
  t.is(from.pool.allocated + to.pool.allocated, 0);
});
