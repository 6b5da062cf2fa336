/** The worker of table.test.ts: entries 1 to 25 stay as they are, up to 50 they change, the others come and go. */
import { parentPort, workerData } from 'node:worker_threads';
import { Random } from '../../src/dataplane/core/random.js';
import { Table, type TableMemory } from '../../src/dataplane/core/table.js';

const { shared, flags } = workerData as { shared: TableMemory; flags: SharedArrayBuffer };
const [stop, changes] = [0, 1];
const table = new Table(shared);
const cells = new Int32Array(flags);
const random = new Random(9);
const key = (number: number) => (table.keyWords === 5 ? [1, 0, 0, 0xffff, number] : [1, number]);

function set(number: number): void {
  const value = (random.below(0x7ffff) << 12) | number;
  table.locked(() => table.set(key(number), value, value ^ 0x2aaaaaaa));
}

for (let number = 1; number <= 50; number++) set(number);
parentPort!.postMessage('ready');
while (Atomics.load(cells, stop) === 0) {
  const number = 26 + random.below(375);
  if (number <= 50 || random.chance(0.5)) set(number);
  else table.locked(() => table.remove(key(number)));
  cells[changes]!++;
}
