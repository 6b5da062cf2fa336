/** The worker of ring.test.ts: writes numbered records as fast as it can, and lets go of the processor now and then. */
import { workerData } from 'node:worker_threads';
import { NONE, Ring } from '../../src/dataplane/core/watch/ring.js';

const { memory, count } = workerData as { memory: SharedArrayBuffer; count: number };
const ring = new Ring(memory);
const pause = new Int32Array(new SharedArrayBuffer(4));
for (let number = 0; number < count; number++) {
  if (number % 100 === 0) Atomics.wait(pause, 0, 0, 0.05);
  const length = 4 + (number % 60);
  const at = ring.reserve(length);
  if (at === NONE) continue;
  ring.words[at >> 2] = number;
  ring.bytes.fill(number & 255, at + 4, at + length);
  ring.commit();
}
