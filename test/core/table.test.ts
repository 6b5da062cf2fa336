import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { NOT_FOUND, Table } from '../../src/dataplane/core/table.js';

type Key = readonly number[];

/** Keys out of few values, so that they meet each other often; the first word is never 0. */
function anyKey(random: Random, keyWords: 2 | 5): Key {
  const word = () => [0, 1, -1, random.below(40), random.word() | 0][random.below(5)]!;
  const first = random.chance(0.9) ? 1 + random.below(3) : random.word() | 1;
  return [first, random.below(60), ...Array.from({ length: keyWords - 2 }, () => word())];
}

const find = (table: Table, [k0, k1, k2, k3, k4]: Key) => table.find(k0!, k1!, k2, k3, k4);

/** The table against a Map of what it should hold. */
function agree(t: ExecutionContext, table: Table, model: Map<string, [value: number, second: number]>): void {
  t.is(table.size, model.size);
  const held = Array.from(table.entries(), (at) => {
    const value = at + table.keyWords;
    return `${table.words.slice(at, value)}: ${table.valueAt(at)} ${table.secondAt(at)}`;
  });
  const expected = Array.from(model, ([key, [value, second]]) => `${key}: ${value} ${second}`);
  t.deepEqual(held.sort(), expected.sort());
}

for (const keyWords of [2, 5] as const) {
  test(`a table of ${keyWords}-word keys does what a Map would do, random operations long`, (t) => {
    for (const entries of [1, 10, 64]) {
      const random = new Random(entries + keyWords);
      const table = new Table(Table.allocate(entries, keyWords));
      const model = new Map<string, [number, number]>();
      for (let i = 0; i < 60_000; i++) {
        const key = anyKey(random, keyWords);
        const known = model.get(key.join());
        const what = random.below(i % 2000 < 1000 ? 4 : 6);
        if (what < 2) {
          const value: [number, number] = [random.below(2 ** 31), random.word() | 0];
          const done = table.set(key, ...value);
          if (done !== (known !== undefined || model.size < table.capacity)) t.fail(`set ${key}: ${done}`);
          if (done) model.set(key.join(), value);
        } else if (what > 3) {
          if (table.remove(key) !== model.delete(key.join())) t.fail(`remove ${key}`);
        } else {
          const found = find(table, key);
          if (found !== (known?.[0] ?? NOT_FOUND)) t.fail(`find ${key}: ${found}`);
          if (known !== undefined && table.second !== known[1]) t.fail(`find ${key}: second`);
          if (keyWords === 2 && table.find2(key[0]!, key[1]!) !== found) t.fail(`find2 ${key}`);
        }
        if (i % 500 === 0) agree(t, table, model);
      }
      agree(t, table, model);
    }
  });
}

test('a table takes at least the entries it was made for, and then refuses new ones but changes old ones', (t) => {
  for (const entries of [1, 8, 9, 1000]) {
    const table = new Table(Table.allocate(entries, 2));
    t.true(table.capacity >= entries);
    for (let i = 0; i < table.capacity; i++) t.true(table.set([7, i], i, 0));
    t.false(table.set([7, -1], 1, 1));
    t.is(table.find(7, -1), NOT_FOUND);
    t.true(table.set([7, 0], 99, 98));
    t.is(table.find(7, 0), 99);
    t.is(table.second, 98);
    t.true(table.remove([7, 3]));
    t.true(table.set([7, -1], 1, 1));
  }
});

test('a look-up that finds nothing leaves the second word alone', (t) => {
  const table = new Table(Table.allocate(4, 2));
  table.set([1, 2], 3, 4);
  t.is(table.find(1, 2), 3);
  t.is(table.find(1, 3), NOT_FOUND);
  t.is(table.second, 4);
});

/** Cells from each occupied one to the next empty one: what a look-up that finds nothing walks at most. */
function longestChain(table: Table): number {
  const occupied = new Set(table.entries());
  let longest = 0;
  let run = 0;
  const cells = 2 * table.capacity;
  const first = table.words.length - cells * table.stride;
  for (let i = 0; i < 2 * cells; i++) {
    run = occupied.has(first + (i % cells) * table.stride) ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

test('chains stay short when entries come and go for long, in a full table as well', (t) => {
  const random = new Random(5);
  const table = new Table(Table.allocate(1024, 2));
  const keys: Key[] = [];
  for (let i = 0; i < 400_000; i++) {
    const key = [(1 + random.below(9)) << 16, random.word() | 0];
    if (keys.length === table.capacity) {
      const gone = random.below(keys.length);
      table.remove(keys[gone]!);
      keys[gone] = key;
    } else keys.push(key);
    table.set(key, i, 0);
  }
  t.is(table.size, table.capacity);
  t.true(longestChain(table) < 60, `${longestChain(table)}`);
  for (const key of keys.splice(0)) table.remove(key);
  t.is(longestChain(table), 0);
});

test('keys that count up, as MACs and addresses do, spread over the table', (t) => {
  const fdb = new Table(Table.allocate(50_000, 2));
  const neighbours = new Table(Table.allocate(50_000, 5));
  for (let network = 1; network <= 50; network++) {
    for (let i = 0; i < 1000; i++) {
      fdb.set([(network << 16) | 0x0242, 0x0a0a0000 + i], i, 0);
      neighbours.set([network, 0, 0, 0xffff, 0x0a0a0000 + i], i, 0);
    }
  }
  t.is(fdb.size, 50_000);
  for (const table of [fdb, neighbours]) t.true(longestChain(table) < 60, `${longestChain(table)}`);
});

test('the lock has one holder, and one that died is passed over', (t) => {
  const { shared } = new Table(Table.allocate(4, 2));
  const [one, other] = [new Table(shared), new Table(shared)];
  t.true(one.tryLock());
  t.false(other.tryLock());
  one.unlock();
  t.is(
    other.locked(() => (one.tryLock() ? 'two holders' : 'one holder')),
    'one holder',
  );
  t.true(one.tryLock());
  t.true(
    other.locked(() => other.set([1, 1], 1, 1), 1000),
    'a holder that never lets go',
  );
  t.true(one.tryLock());
  one.unlock();
  t.throws(() =>
    one.locked(() => {
      throw new Error('a change that fails');
    }),
  );
  t.true(one.tryLock());
});

for (const keyWords of [2, 5] as const) {
  test(`while another thread writes, a reader of ${keyWords}-word keys never finds a wrong value`, async (t) => {
    const table = new Table(Table.allocate(256, keyWords));
    const flags = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(new URL('./table-writer.js', import.meta.url), {
      workerData: { shared: table.shared, flags: flags.buffer },
    });
    await once(worker, 'message');
    const counts = { found: 0, missed: 0, wrong: 0, lost: 0 };
    for (let i = 0; i < 3_000_000; i++) {
      const number = 1 + (i % 400);
      const value = table.find(1, 0, 0, keyWords === 5 ? 0xffff : 0, number);
      const narrow = keyWords === 2 ? table.find(1, number) : value;
      if (narrow === NOT_FOUND) counts[number <= 25 ? 'lost' : 'missed']++;
      // What the writer keeps to: the value tells the key, and the second word the value.
      else if ((narrow & 0xfff) !== number || table.second !== (narrow ^ 0x2aaaaaaa)) counts.wrong++;
      else counts.found++;
    }
    Atomics.store(flags, 0, 1);
    await once(worker, 'exit');
    t.log(counts, `${flags[1]} changes`);
    t.is(counts.wrong, 0);
    t.is(counts.lost, 0, 'entries that stay as they are are found however the others move');
    t.true(counts.found > 1000 && counts.missed > 1000 && flags[1]! > 1000);
  });
}
