import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, Pool, SENDER_ADDRESS, SENDER_FAMILY } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { FaultDevice, type FaultOptions } from '../../src/dataplane/io/memory/fault.js';
import { Delayed } from '../../src/dataplane/io/memory/misfortune.js';
import { type PairDevice, pair } from '../../src/dataplane/io/memory/pair.js';

const newPath = (slots = 64) => new Path(new Pool(slots), new Counters(2, 2));

/** A faulty device at the near end of a perfect pair. */
function setUp(options: FaultOptions) {
  const [near, far] = [newPath(), newPath()];
  const senders = [1, 2].map((last) => ({ address: Uint8Array.of(10, 0, 0, last), port: 4789 }));
  const [inner, other] = pair({ paths: [near, far], at: DATAGRAM_AT, senders: [senders[0]!, senders[1]!] });
  return { device: new FaultDevice(near, inner, options), near, other, far };
}

function send(path: Path, device: FaultDevice | PairDevice, numbers: readonly number[]): void {
  const { pool } = path;
  const batch = new Batch(numbers.length);
  for (const number of numbers) {
    const packet = pool.take();
    pool.view.setUint32(pool.offset[packet]!, number);
    pool.length[packet] = 4;
    batch.push(packet);
  }
  device.transmit(batch);
}

function receive(path: Path, device: FaultDevice | PairDevice, room = path.pool.packets): number[] {
  const batch = new Batch(room);
  device.receive(batch);
  const numbers = Array.from(batch.packets.subarray(0, batch.count), (packet) =>
    path.pool.view.getUint32(path.pool.offset[packet]!),
  );
  batch.release(path.pool);
  return numbers;
}

test('without faults the device is as the one inside', (t) => {
  const { device, near, other, far } = setUp({});
  t.is(device.kind, 'pair');
  send(near, device, [1, 2]);
  send(far, other, [3]);
  t.deepEqual(receive(far, other), [1, 2]);
  t.deepEqual(receive(near, device), [3]);
  device.close();
  t.is(near.pool.allocated + far.pool.allocated, 0);
});

test('in either direction packets are lost, doubled and held back, the same ones for the same seed', (t) => {
  const faults = { loss: 0.1, duplicate: 0.1, reorder: 0.1, hold: 3 };
  const run = (seed: number) => {
    const { device, near, other, far } = setUp({ transmit: faults, receive: faults, seed });
    const out: number[] = [];
    const back: number[] = [];
    for (let i = 0; i < 2000; i += 5) {
      const numbers = Array.from({ length: 5 }, (_, j) => i + j);
      send(near, device, numbers);
      send(far, other, numbers);
      out.push(...receive(far, other));
      back.push(...receive(near, device));
    }
    for (let turn = 0; turn < 5; turn++) {
      back.push(...receive(near, device));
      out.push(...receive(far, other));
    }
    t.is(device.pending, 0);
    t.is(near.pool.allocated + far.pool.allocated, 0);
    return { out, back, lost: near.counters.dropped('injected-loss') };
  };
  const first = run(1);
  t.deepEqual(first, run(1));
  t.notDeepEqual(first, run(2));
  for (const arrived of [first.out, first.back]) {
    const unique = new Set(arrived).size;
    t.true(unique > 1700 && unique < 1900, `${unique} came`);
    t.true(
      arrived.length - unique > 120 && arrived.length - unique < 260,
      `${arrived.length - unique} twice`,
    );
    const late = arrived.filter((number, i) => i > 0 && number < arrived[i - 1]!).length;
    t.true(late > 100, `${late} late`);
  }
  t.is(4000 - new Set(first.out).size - new Set(first.back).size, first.lost);
});

test('a duplicate that was received has the sender of its original', (t) => {
  const { device, near, other, far } = setUp({ receive: { duplicate: 1 } });
  send(far, other, [1]);
  const batch = new Batch(4);
  device.receive(batch);
  t.is(batch.count, 2);
  for (const packet of batch.packets.subarray(0, 2)) {
    const slot = near.pool.slotStart(packet);
    t.is(near.pool.view.getUint16(slot + SENDER_FAMILY, true), 4);
    t.deepEqual(
      near.pool.bytes.slice(slot + SENDER_ADDRESS, slot + SENDER_ADDRESS + 4),
      Uint8Array.of(10, 0, 0, 2),
    );
  }
  batch.release(near.pool);
  t.is(near.pool.allocated + far.pool.allocated, 0);
});

test('delayed packets leave when virtual time has come, also when nothing else is sent', (t) => {
  let now = 0;
  const { device, near, other, far } = setUp({ transmit: { latency: 10 }, clock: () => now });
  send(near, device, [1]);
  t.deepEqual(receive(far, other), []);
  now = 10;
  receive(near, device);
  t.deepEqual(receive(far, other), [1]);
  t.is(near.pool.allocated + far.pool.allocated, 0);
});

test('what finds no room in the batch waits for the next', (t) => {
  const { device, near, other, far } = setUp({});
  send(far, other, [1, 2, 3]);
  t.deepEqual(
    [2, 2].map((room) => receive(near, device, room)),
    [[1, 2], [3]],
  );
  t.is(near.pool.allocated + far.pool.allocated, 0);
});

test('what is held back when the device closes is counted', (t) => {
  const { device, near, other, far } = setUp({ transmit: { latency: 5 }, receive: { latency: 5 } });
  send(near, device, [1, 2]);
  send(far, other, [3]);
  receive(near, device);
  t.is(device.pending, 3);
  device.close();
  t.is(near.counters.dropped('device-closed'), 3);
  t.is(near.pool.allocated + far.pool.allocated, 0);
});

test('packets on their way come out as a sorted list would give them', (t) => {
  const random = new Random(4);
  const delayed = new Delayed(40);
  let list: { packet: number; due: number; order: number }[] = [];
  let order = 0;
  for (let i = 0; i < 20_000; i++) {
    if (random.chance(0.55) && list.length < 40) {
      const entry = { packet: random.below(1000), due: i + random.below(20), order: order++ };
      delayed.push(entry.packet, entry.due);
      list.push(entry);
    } else {
      const batch = new Batch(random.below(5));
      delayed.take(i, batch);
      const due = list.filter((entry) => entry.due <= i).sort((a, b) => a.due - b.due || a.order - b.order);
      const expected = due.slice(0, batch.capacity);
      t.deepEqual(
        [...batch.packets.subarray(0, batch.count)],
        expected.map(({ packet }) => packet),
      );
      list = list.filter((entry) => !expected.includes(entry));
    }
    t.is(delayed.count, list.length);
  }
});
