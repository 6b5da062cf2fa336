import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { HEADER_WORDS, hash2 } from '../../src/dataplane/core/table.js';
import {
  Fdb,
  indexOf,
  isLocal,
  isStatic,
  localTarget,
  NOWHERE,
  remoteTarget,
} from '../../src/dataplane/overlay/fdb.js';

const newFdb = (entries = 64) => new Fdb(Fdb.allocate(entries));

test('a target says local or remote, and its number', (t) => {
  for (const index of [0, 1, 65_535]) {
    t.true(isLocal(localTarget(index)));
    t.false(isLocal(remoteTarget(index)));
    t.is(indexOf(localTarget(index)), index);
    t.is(indexOf(remoteTarget(index)), index);
    t.false(isStatic(localTarget(index)));
  }
});

test('the same MAC in two networks is two entries', (t) => {
  const fdb = newFdb();
  t.true(fdb.setStatic(1, 0x0242, -1, localTarget(3)));
  t.true(fdb.setStatic(32_767, 0x0242, -1, remoteTarget(4)));
  t.is(indexOf(fdb.find(1, 0x0242, -1)), 3);
  t.is(indexOf(fdb.find(32_767, 0x0242, -1)), 4);
  t.is(fdb.find(2, 0x0242, -1), NOWHERE);
  t.true(fdb.remove(1, 0x0242, -1));
  t.false(fdb.remove(1, 0x0242, -1));
  t.is(fdb.find(1, 0x0242, -1), NOWHERE);
  t.deepEqual(
    [...fdb.entries()].map(({ network, macHigh, macLow }) => [network, macHigh, macLow]),
    [[32_767, 0x0242, -1]],
  );
});

test('learning never overwrites what control has set', (t) => {
  const fdb = newFdb();
  fdb.setStatic(1, 2, 3, remoteTarget(7));
  t.false(fdb.learn(1, 2, 3, localTarget(1), 10));
  t.is(indexOf(fdb.find(1, 2, 3)), 7);
  t.true(isStatic(fdb.find(1, 2, 3)));
});

test('control that comes between the look and the lock of a learner wins', (t) => {
  const fdb = newFdb();
  const { table } = fdb;
  const tryLock = table.tryLock.bind(table);
  table.tryLock = () => {
    table.tryLock = tryLock;
    fdb.setStatic(1, 2, 3, remoteTarget(7));
    return tryLock();
  };
  t.false(fdb.learn(1, 2, 3, localTarget(1), 10));
  t.is(indexOf(fdb.find(1, 2, 3)), 7);
});

test('a MAC is learned once, moves with its frames, and its time is that of the last one', (t) => {
  const fdb = newFdb();
  t.true(fdb.learn(1, 2, 3, remoteTarget(5), 10));
  t.false(fdb.learn(1, 2, 3, remoteTarget(5), 20));
  t.deepEqual([...fdb.entries()], [{ network: 1, macHigh: 2, macLow: 3, target: 5, seenSeconds: 20 }]);
  t.true(fdb.learn(1, 2, 3, localTarget(5), 30), 'it moved');
  t.true(isLocal(fdb.find(1, 2, 3)));
  t.true(fdb.setStatic(1, 2, 3, localTarget(6)), 'control takes it over');
  t.true(isStatic(fdb.find(1, 2, 3)));
});

test('a busy or full table teaches nothing', (t) => {
  const fdb = newFdb(16);
  t.true(fdb.table.tryLock());
  t.false(fdb.learn(1, 2, 3, remoteTarget(5), 10));
  fdb.table.unlock();
  for (let low = 0; fdb.setStatic(2, 2, low, 0); low++);
  t.false(fdb.learn(1, 2, 3, remoteTarget(5), 10));
  t.is(fdb.find(1, 2, 3), NOWHERE);
  t.true(fdb.table.tryLock(), 'the lock was given back');
});

test('a sweep removes all learned entries that are gone, and no others, as an obvious model has it', (t) => {
  const random = new Random(1);
  const fdb = newFdb(300);
  const model = new Map<string, { fixed: boolean; seen: number }>();
  for (let now = 0; now < 200; now++) {
    for (let i = 0; i < 40; i++) {
      const [network, low] = [1 + random.below(3), random.below(120)];
      const key = `${network} ${low}`;
      const known = model.get(key);
      const what = random.below(10);
      if (what === 0) {
        fdb.setStatic(network, 7, low, remoteTarget(1));
        model.set(key, { fixed: true, seen: 0 });
      } else if (what === 1) {
        t.is(fdb.remove(network, 7, low), model.delete(key));
      } else {
        fdb.learn(network, 7, low, remoteTarget(random.below(2)), now);
        if (known?.fixed !== true) model.set(key, { fixed: false, seen: now });
      }
    }
    const old = [...model].filter(([, { fixed, seen }]) => !fixed && now - seen > 5);
    t.is(
      fdb.sweep(({ seenSeconds }) => now - seenSeconds > 5),
      old.length,
    );
    for (const [key] of old) model.delete(key);
    t.deepEqual(
      [...fdb.entries()].map(({ network, macLow }) => `${network} ${macLow}`).sort(),
      [...model.keys()].sort(),
    );
  }
});

test('so many learned entries as control needs go, the longest unseen first', (t) => {
  const fdb = newFdb(64);
  for (let low = 0; low < 10; low++) fdb.setStatic(1, 2, low, remoteTarget(1));
  for (let low = 10; low < 30; low++) fdb.learn(1, 2, low, remoteTarget(1), 100 + (low % 10));
  t.is(fdb.evict(5), 5);
  t.deepEqual(
    [...fdb.entries()]
      .filter(({ target }) => !isStatic(target))
      .map(({ seenSeconds }) => seenSeconds)
      .sort(),
    [102, 103, 103, 104, 104, 105, 105, 106, 106, 107, 107, 108, 108, 109, 109],
  );
  t.is(fdb.evict(1000), 15);
  t.is(fdb.evict(1), 0);
  t.is(fdb.table.size, 10);
});

test('entries lie near their places, also MACs that count up, in one network and in many', (t) => {
  const kinds: Record<string, (i: number) => [network: number, low: number]> = {
    'counting up': (i) => [1, 0x0a000000 + i],
    'in steps of 256': (i) => [1, (i << 8) | 0],
    'in steps of 65,536': (i) => [1, (i << 16) | 0],
    scattered: (i) => [1, Math.imul(i, 0x9e3779b1)],
    'counting up in 1,000 networks': (i) => [1 + (i % 1000), 0x0a000000 + Math.floor(i / 1000)],
  };
  for (const [kind, of] of Object.entries(kinds)) {
    const entries = 60_000;
    const { table, ...fdb } = filled(entries, of);
    let further = 0;
    for (const at of table.entries()) {
      const cell = (at - HEADER_WORDS) / table.stride;
      further += (cell - hash2(table.words[at]!, table.words[at + 1]!)) & table.mask;
    }
    t.is(fdb.size, entries);
    // Random keys at this load would have 0.42.
    t.true(further / entries < 0.5, `${kind}: ${further / entries} cells on the average`);
  }
});

function filled(entries: number, of: (i: number) => [network: number, low: number]) {
  const fdb = new Fdb(Fdb.allocate(entries));
  for (let i = 0; i < entries; i++) fdb.setStatic(of(i)[0], 0x0242, of(i)[1], remoteTarget(1));
  return { table: fdb.table, size: fdb.table.size };
}
