import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { localTarget, NOWHERE, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Control, config } from './fake-carrier.js';

const mac = (n: number) =>
  `02:42:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
const HIGH = 0x0242;

/** Tables of exactly 64 entries and 8 VTEPs. */
const FULL = 64;
const SIZES = { fdb: FULL, neighbours: FULL, vteps: 8, endpoints: 4 };

const remotes = (from: number, count: number, vteps: number, to = vteps + 8) =>
  Array.from({ length: count }, (_, i) => ({
    mac: mac(from + i),
    addresses: [`10.2.${(from + i) >> 8}.${(from + i) & 255}`],
    vtep: `10.0.0.${vteps + (i % (to - vteps))}`,
  }));
const wanted = (...networks: object[]) => config({ underlay: { address: '10.0.0.1' }, networks });
const one = (name: string, more: object) => ({ name, vni: 100 + name.length, ...more });

test('all of what fills the tables to the last entry is replaced at once, and what stays is never missing', async (t) => {
  const control = new Control(SIZES);
  const { fdb, neighbours, vteps } = control.shared.tables;
  t.is(fdb.table.capacity, FULL);
  await control.applier.apply(wanted(one('blue', { remotes: remotes(0, FULL, 10) })));
  t.deepEqual([fdb.table.size, neighbours.table.size, vteps.size], [FULL, FULL, 8]);

  // Every entry and every VTEP.
  const all = await control.applier.apply(wanted(one('blue', { remotes: remotes(1000, FULL, 20) })));
  t.deepEqual(all.fdb, { added: FULL, removed: FULL });
  t.deepEqual([fdb.table.size, neighbours.table.size, vteps.size], [FULL, FULL, 8]);

  // The network with them.
  await control.applier.apply(wanted(one('green2', { remotes: remotes(0, FULL, 30) })));
  t.deepEqual([fdb.table.size, neighbours.table.size, vteps.size], [FULL, FULL, 8]);

  // All but sixteen; these are looked up at every step of it.
  const { index } = control.applier.networks.get('green2')!.network;
  const staying = Array.from({ length: 16 }, (_, low) => low);
  const before = staying.map((low) => fdb.find(index, HIGH, low));
  const { setStatic } = fdb;
  let looks = 0;
  fdb.setStatic = (...entry) => {
    looks++;
    t.deepEqual(
      staying.map((low) => fdb.find(index, HIGH, low)),
      before,
    );
    return setStatic.apply(fdb, entry);
  };
  await control.applier.apply(
    wanted(one('green2', { remotes: [...remotes(0, 16, 30), ...remotes(2000, FULL - 16, 30)] })),
  );
  t.is(looks, FULL - 16);
  const fresh = new Control(SIZES);
  await fresh.applier.apply(control.applier.config!);
  t.deepEqual(control.seen(), fresh.seen());
});

test('what is moved to other VTEPs, all at once, is never missing', async (t) => {
  const control = new Control(SIZES);
  const { fdb, vteps } = control.shared.tables;
  await control.applier.apply(wanted(one('blue', { remotes: remotes(0, FULL, 10) })));
  const { index } = control.applier.networks.get('blue')!.network;
  const { setStatic } = fdb;
  fdb.setStatic = (...entry) => {
    for (let low = 0; low < FULL; low++) t.not(fdb.find(index, HIGH, low), NOWHERE);
    return setStatic.apply(fdb, entry);
  };
  await control.applier.apply(wanted(one('blue', { remotes: remotes(0, FULL, 20) })));
  t.deepEqual(
    [...vteps.used()].map((vtep) => vteps.addressWords(vtep)[0] & 255).sort(),
    [20, 21, 22, 23, 24, 25, 26, 27],
  );
});

test('endpoints to the last port are replaced at once', async (t) => {
  const control = new Control(SIZES);
  const endpoints = (netns: string) =>
    Array.from({ length: 4 }, (_, n) => ({
      netns: netns + n,
      interface: 'eth0',
      mac: mac(n),
      addresses: [],
    }));
  for (const netns of ['a', 'b', 'c', 'a']) {
    await control.applier.apply(wanted(one('blue', { endpoints: endpoints(netns) })));
    t.deepEqual([...control.carrier.interfaces.keys()].length, 4);
    for (const { port } of control.applier.endpoints.values()) t.true(port < 8);
  }
});

test('what was learned is in nobody’s way: the longest unseen goes for what is wanted, and no more than needed', async (t) => {
  const control = new Control(SIZES);
  const { fdb, vteps } = control.shared.tables;
  const blue = { learning: true };
  await control.applier.apply(wanted(one('blue', { ...blue, remotes: remotes(0, 10, 10, 12) })));
  const { index } = control.applier.networks.get('blue')!.network;
  for (let n = 0; n < 100; n++) vteps.add(4, 0x0b000000 + n, 0, 0, 0, false);
  t.is(vteps.size, 8, 'engines leave some to control');
  for (let n = 0; n < 100; n++) fdb.learn(index, HIGH, 5000 + n, localTarget(0), 1000 - n);
  t.is(fdb.table.size, FULL);

  await control.applier.apply(wanted(one('blue', { ...blue, remotes: remotes(0, 30, 10, 18) })));
  t.is(fdb.table.size, FULL);
  const left = Array.from({ length: 100 }, (_, n) => n).filter(
    (n) => fdb.find(index, HIGH, 5000 + n) !== NOWHERE,
  );
  t.is(left.length, FULL - 30);
  t.deepEqual(
    left,
    left.map((_, n) => n),
    'those that were seen last',
  );
  t.is(vteps.size, 14, 'those learned, and all that are wanted');

  await control.applier.apply(wanted(one('blue', { ...blue, remotes: remotes(3000, FULL, 20) })));
  t.is(fdb.table.size, FULL);
  t.is([...fdb.entries()].filter(({ seenSeconds }) => seenSeconds > 0).length, 0);
  await control.applier.apply(wanted(one('blue', { ...blue, remotes: remotes(0, FULL, 30) })));
  for (let low = 0; low < FULL; low++) t.true(fdb.find(index, HIGH, low) >= remoteTarget(0));
});

test('when it fails after room was made, all is as it was', async (t) => {
  const control = new Control(SIZES);
  const { fdb } = control.shared.tables;
  await control.applier.apply(
    wanted(
      one('blue', { remotes: remotes(0, 40, 10) }),
      one('green', { remotes: remotes(100, FULL - 40, 10) }),
    ),
  );
  const before = control.exactly();
  control.carrier.changes.length = 0;
  const { setStatic } = fdb;
  let calls = 0;
  fdb.setStatic = (...entry) => {
    // Once, in the middle of it.
    if (calls++ === 30) return false;
    return setStatic.apply(fdb, entry);
  };
  const next = wanted(
    one('blue', { remotes: [...remotes(0, 8, 20), ...remotes(1000, 30, 20)] }),
    one('orange', { remotes: remotes(2000, FULL - 38, 20) }),
  );
  await t.throwsAsync(control.applier.apply(next), { message: /forwarding database is full/ });
  t.deepEqual(control.exactly(), before);
  t.true(
    control.carrier.changes.every((change) => Object.keys(change).length === 0),
    'engines heard nothing',
  );
  await control.applier.apply(next);
  const fresh = new Control(SIZES);
  await fresh.applier.apply(next);
  t.deepEqual(control.seen(), fresh.seen());
});

test('any sequence of configurations that fit passes, whatever is learned meanwhile', async (t) => {
  const random = new Random(77);
  for (let round = 0; round < 10; round++) {
    const control = new Control(SIZES);
    const { fdb, vteps } = control.shared.tables;
    for (let step = 0; step < 30; step++) {
      const split = random.below(FULL + 1);
      const total = random.chance(0.6) ? FULL : random.below(FULL + 1);
      const at = () => ({ from: 500 * random.below(3), vtep: 10 + 8 * random.below(3) });
      const [a, b] = [at(), at()];
      const first = Math.min(split, total);
      const networks = [
        one('blue', { learning: true, remotes: remotes(a.from, first, a.vtep) }),
        one(random.chance(0.5) ? 'green' : 'orange', { remotes: remotes(b.from, total - first, a.vtep) }),
      ].filter(() => random.chance(0.9));
      const next = wanted(...networks);
      await control.applier.apply(next);
      const fresh = new Control(SIZES);
      await fresh.applier.apply(next);
      const statics = (all: ReturnType<Control['seen']>) => ({
        ...all,
        fdb: all.fdb.filter(({ origin }) => origin === 'static'),
        vteps: [],
        entries: [],
      });
      t.deepEqual(statics(control.seen()), statics(fresh.seen()));
      const index = control.applier.networks.get('blue')?.network.index;
      if (index === undefined) continue;
      for (let n = random.below(80); n > 0; n--) {
        const vtep = vteps.add(4, 0x0b000000 + random.below(30), 0, 0, 0, false);
        fdb.learn(index, HIGH, 9000 + random.below(100), remoteTarget(Math.max(0, vtep)), step);
      }
    }
  }
});
