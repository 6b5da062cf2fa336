import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { NONE, Ring, ringMemory } from '../../src/dataplane/core/watch/ring.js';

function put(ring: Ring, record: Uint8Array): boolean {
  const at = ring.reserve(record.length);
  if (at === NONE) return false;
  ring.bytes.set(record, at);
  ring.commit();
  return true;
}

function get(ring: Ring): Uint8Array | undefined {
  const at = ring.peek();
  if (at === NONE) return undefined;
  const record = Uint8Array.from(ring.bytes.subarray(at, at + ring.length));
  ring.release();
  return record;
}

test('a ring gives back random records in order, as a queue would, and counts those that found no room', (t) => {
  for (const capacity of [64, 256, 4096]) {
    const memory = ringMemory(capacity);
    const [producer, consumer] = [new Ring(memory), new Ring(memory)];
    const queue: Uint8Array[] = [];
    const random = new Random(capacity);
    let lost = 0;
    let passed = 0;
    for (let i = 0; i < 50_000; i++) {
      if (random.chance(0.5)) {
        const record = new Uint8Array(random.below(Math.min(producer.recordMax, 200) + 1));
        random.fill(record);
        if (put(producer, record)) queue.push(record);
        else {
          // Refused only for want of room: with everything read it would have fitted.
          t.true(queue.length > 0);
          lost++;
        }
      } else {
        const record = get(consumer);
        t.deepEqual(record, queue.shift());
        if (record !== undefined) passed++;
      }
    }
    t.is(consumer.lost, lost);
    t.true(passed > 10_000 && lost > 100, `${passed} passed, ${lost} lost`);
  }
});

test('the longest record always fits an empty ring, wherever that stands', (t) => {
  const ring = new Ring(ringMemory(256));
  for (let i = 0; i < 100; i++) {
    t.true(put(ring, new Uint8Array(i % 9)));
    get(ring);
    t.true(put(ring, new Uint8Array(ring.recordMax).fill(i)));
    t.deepEqual(get(ring), new Uint8Array(ring.recordMax).fill(i));
  }
  t.is(ring.lost, 0);
});

test('the counts of a ring go on when they pass 2^32', (t) => {
  const memory = ringMemory(64);
  const words = new Int32Array(memory);
  words[0] = words[16] = -16;
  const ring = new Ring(memory);
  for (let i = 0; i < 10; i++) {
    t.true(put(ring, Uint8Array.of(i)));
    t.true(put(ring, Uint8Array.of(i, i)));
    t.deepEqual(get(ring), Uint8Array.of(i));
    t.deepEqual(get(ring), Uint8Array.of(i, i));
    t.is(get(ring), undefined);
  }
});

test('clear forgets what waits', (t) => {
  const ring = new Ring(ringMemory(64));
  put(ring, Uint8Array.of(1));
  ring.clear();
  t.is(get(ring), undefined);
  t.true(put(ring, Uint8Array.of(2)));
  t.deepEqual(get(ring), Uint8Array.of(2));
});

test('a capacity that is no power of two is refused', (t) => {
  for (const capacity of [0, 32, 100, 2 ** 31])
    t.throws(() => ringMemory(capacity), { instanceOf: RangeError });
});

test('between two threads every record arrives once, whole and in order, or is counted as lost', async (t) => {
  const COUNT = 200_000;
  const memory = ringMemory(4096);
  const ring = new Ring(memory);
  const worker = new Worker(new URL('./ring-producer.js', import.meta.url), {
    workerData: { memory, count: COUNT },
  });
  let running = true;
  const exit = once(worker, 'exit').then(() => {
    running = false;
  });
  let received = 0;
  let last = -1;
  for (;;) {
    const stopped = !running;
    for (let at = ring.peek(); at !== NONE; at = ring.peek()) {
      const number = ring.words[at >> 2]!;
      if (number <= last || ring.length !== 4 + (number % 60)) t.fail(`${number} after ${last}`);
      for (let i = 4; i < ring.length; i++)
        if (ring.bytes[at + i] !== (number & 255)) t.fail(`torn: ${number}`);
      last = number;
      received++;
      ring.release();
    }
    if (stopped) break;
    await turn();
  }
  await exit;
  t.is(received + ring.lost, COUNT);
  t.true(received > 100, `${received} received`);
});
