import test, { type ExecutionContext } from 'ava';
import type { Config } from '../../src/dataplane/config.js';
import { Random } from '../../src/dataplane/core/random.js';
import { ApplyError } from '../../src/dataplane/face.js';
import { endpointKey } from '../../src/dataplane/host/endpoints.js';
import { localTarget, NOWHERE, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Control, config } from './fake-carrier.js';

const mac = (n: number) => `02:42:00:00:00:${n.toString(16).padStart(2, '0')}`;

const EXAMPLE = {
  underlay: { address: '10.0.0.1' },
  networks: [
    {
      name: 'blue',
      vni: 10,
      vteps: ['10.0.0.2'],
      endpoints: [{ netns: 'a', interface: 'eth0', mac: mac(1), addresses: ['10.1.0.1/24', 'fd00::1/64'] }],
      remotes: [{ mac: mac(2), addresses: ['10.1.0.2'], vtep: '10.0.0.3' }],
    },
  ],
};

/** Any configuration: few names, so that much is the same from one to the next. */
function anyConfig(random: Random, underlay: object): Config {
  const places = Array.from({ length: 6 }, (_, i) => i).filter(() => random.chance(0.6));
  const vnis = [10, 11, 12, 13].sort(() => random.below(3) - 1);
  const networks = ['blue', 'green', 'red']
    .filter(() => random.chance(0.7))
    .map((name, i) => {
      const endpoints = places.splice(0, random.below(3)).map((n) => ({
        netns: `ns${n}`,
        interface: 'eth0',
        mac: mac(n + 6 * random.below(2)),
        addresses: random.chance(0.8) ? [`10.1.0.${n + 1 + 100 * random.below(2)}/24`] : [],
        ...(random.chance(0.2) ? { mtu: 1300 } : {}),
      }));
      const remotes = Array.from({ length: 8 }, (_, n) => n)
        .filter(() => random.chance(0.4))
        .map((n) => ({
          mac: mac(100 + n),
          addresses: random.chance(0.7) ? [`10.1.1.${n}`, `fd00::1:${n}`] : [],
          vtep: `10.0.0.${2 + random.below(4)}`,
        }));
      return {
        name,
        vni: random.chance(0.8) ? 20 + ['blue', 'green', 'red'].indexOf(name) : vnis[i],
        vteps: ['10.0.0.2', '10.0.0.9', '10.0.0.5'].filter(() => random.chance(0.5)),
        learning: random.chance(0.3),
        mssClamp: random.chance(0.3),
        ...(random.chance(0.2) ? { mtu: 1400 } : {}),
        endpoints,
        remotes,
      };
    });
  return config({ underlay: { address: '10.0.0.1', ...underlay }, networks });
}

/** The orders of the engines are what differs, and nothing else. */
function minimal(
  t: ExecutionContext,
  control: Control,
  before: ReturnType<Control['exactly']>,
  next: Config,
): void {
  const [change] = control.carrier.changes.splice(0);
  const had = new Set(before.endpoints.map(({ key }) => key));
  const wants = new Set(next.networks.flatMap(({ endpoints }) => endpoints.map(endpointKey)));
  const keys = (opens: readonly { endpoint: Parameters<typeof endpointKey>[0] }[] = []) =>
    opens.map(({ endpoint }) => endpointKey(endpoint)).sort();
  t.deepEqual(keys(change!.attach), [...wants].filter((key) => !had.has(key)).sort());
  t.deepEqual(keys(change!.detach), [...had].filter((key) => !wants.has(key)).sort());
  for (const network of change!.networks ?? []) {
    t.notDeepEqual(
      network,
      before.networks.find(({ index }) => index === network.index),
    );
  }
}

test('after any sequence of configurations all is as if the last had been the first', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = new Random(seed);
    const control = new Control();
    for (let step = 0; step < 40; step++) {
      const underlay = random.chance(0.1) ? { port: 4790, mtu: 9000 } : {};
      const next = anyConfig(random, underlay);
      // A carrier begins with the underlay of the first configuration.
      if (step === 0) await control.carrier.reopenUnderlay(next, next);
      const before = control.exactly();
      await control.applier.apply(next);
      const fresh = new Control();
      await fresh.carrier.reopenUnderlay(next, next);
      await fresh.applier.apply(next);
      t.deepEqual(control.seen(), fresh.seen(), `seed ${seed}, step ${step}`);
      minimal(t, control, before, next);
    }
    await control.applier.apply(config({ underlay: { address: '10.0.0.1' }, networks: [] }));
    t.deepEqual(control.seen().entries, [0, 0]);
    t.deepEqual(control.seen().vteps, []);
  }
});

test('a configuration that fails anywhere leaves everything as it was', async (t) => {
  let failures = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const random = new Random(100 + seed);
    const control = new Control();
    await control.applier.apply(config({ underlay: { address: '10.0.0.1' }, networks: [] }));
    control.carrier.changes.length = 0;
    for (let step = 0; step < 40; step++) {
      const next = anyConfig(random, random.chance(0.2) ? { port: 4790 } : {});
      const before = control.exactly();
      control.carrier.failAfter = random.below(6);
      try {
        await control.applier.apply(next);
        control.carrier.failAfter = Number.POSITIVE_INFINITY;
      } catch (error) {
        t.true(error instanceof ApplyError);
        failures++;
        t.deepEqual(control.exactly(), before, `seed ${seed}, step ${step}`);
        t.is(control.carrier.changes.length, 0, 'the engines have heard nothing');
        control.carrier.failAfter = Number.POSITIVE_INFINITY;
        if (random.chance(0.5)) await control.applier.apply(next);
      }
      control.carrier.changes.length = 0;
    }
  }
  t.true(failures > 100, `${failures}`);
});

test('the same configuration twice changes nothing', async (t) => {
  const control = new Control();
  const first = await control.applier.apply(config(EXAMPLE));
  t.deepEqual(first, {
    changed: true,
    networks: { added: 1, removed: 0, changed: 0 },
    endpoints: { added: 1, removed: 0 },
    fdb: { added: 2, removed: 0 },
  });
  const before = control.exactly();
  const second = await control.applier.apply(config(EXAMPLE));
  t.false(second.changed);
  t.deepEqual(control.exactly(), before);
  t.deepEqual(control.carrier.changes[1], { attach: [], detach: [], networks: [], gone: [] });
});

test('what the difference was is counted', async (t) => {
  const control = new Control();
  await control.applier.apply(config(EXAMPLE));
  const [blue] = EXAMPLE.networks as [(typeof EXAMPLE.networks)[0]];
  const moved = { ...blue, remotes: [{ ...blue.remotes[0]!, vtep: '10.0.0.2' }] };
  const difference = await control.applier.apply(
    config({ ...EXAMPLE, networks: [moved, { name: 'red', vni: 11 }] }),
  );
  t.deepEqual(difference, {
    changed: true,
    networks: { added: 1, removed: 0, changed: 1 },
    endpoints: { added: 0, removed: 0 },
    fdb: { added: 1, removed: 0 },
  });
  t.deepEqual(control.seen().vteps, ['10.0.0.2'], 'nobody needs 10.0.0.3 any more');
  t.deepEqual(
    control.carrier.changes[1]!.networks!.map(({ vni }) => vni),
    [11],
    'that a workload moved elsewhere is no news for the engines: they read the table',
  );
});

test('a table that is full refuses the configuration, and nothing of it stays', async (t) => {
  const remotes = (count: number, vtep: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => ({ mac: mac(n), addresses: [`10.2.0.${n}`], vtep: vtep(n) }));
  const full = (count: number, vtep: (n: number) => string) => ({
    underlay: { address: '10.0.0.1' },
    networks: [...EXAMPLE.networks, { name: 'full', vni: 99, remotes: remotes(count, vtep) }],
  });
  for (const [sizes, next, message] of [
    [{ fdb: 16 }, full(60, () => '10.0.0.4'), /forwarding database is full/],
    [{ neighbours: 16 }, full(60, () => '10.0.0.4'), /neighbour table is full/],
    [{ vteps: 6 }, full(30, (n) => `10.0.0.${50 + n}`), /table of VTEPs is full/],
  ] as const) {
    const control = new Control(sizes);
    await control.applier.apply(config(EXAMPLE));
    const before = control.exactly();
    await t.throwsAsync(control.applier.apply(config(next)), { instanceOf: ApplyError, message });
    t.deepEqual(control.exactly(), before);
    const again = await control.applier.apply(config(EXAMPLE));
    t.false(again.changed);
  }
});

test('when the rest fails, the underlay is the old one again', async (t) => {
  const control = new Control();
  await control.applier.apply(config(EXAMPLE));
  const before = control.exactly();
  control.carrier.failAfter = 0;
  await t.throwsAsync(
    control.applier.apply(config({ ...EXAMPLE, underlay: { address: '10.0.0.1', port: 9999 } })),
    { message: 'told to fail' },
  );
  t.deepEqual(control.carrier.reopened, [9999, 4789]);
  t.deepEqual(control.exactly(), before);
});

test('sizes and threads stay what they were at first', async (t) => {
  const control = new Control();
  await control.applier.apply(config(EXAMPLE));
  await t.throwsAsync(control.applier.apply(config({ ...EXAMPLE, tables: { fdb: 999 } })), {
    message: /^tables: can't be changed/,
  });
  await t.throwsAsync(control.applier.apply(config({ ...EXAMPLE, engine: { count: 2 } })), {
    message: /^engine: can't be changed/,
  });
});

test('what was learned goes with its network, its VTEP, or when its network learns no more', async (t) => {
  const network = (name: string, vni: number, more: object = {}) => ({
    name,
    vni,
    learning: true,
    vteps: ['10.0.0.2', '10.0.0.3'],
    ...more,
  });
  const apply = async (...networks: object[]) => {
    const control = new Control();
    const { fdb, vteps } = control.shared.tables;
    const underlay = { address: '10.0.0.1' };
    await control.applier.apply(config({ underlay, networks: [network('blue', 1), network('red', 2)] }));
    const [near, far] = [2, 3].map((n) => vteps.find(4, 0x0a000000 + n, 0, 0, 0)) as [number, number];
    for (const index of [1, 2]) {
      fdb.learn(index, 2, 1, remoteTarget(near), 5);
      fdb.learn(index, 2, 2, remoteTarget(far), 5);
      fdb.learn(index, 2, 3, localTarget(9), 5);
    }
    await control.applier.apply(config({ underlay, networks }));
    return [1, 2].map((index) => [1, 2, 3].filter((low) => fdb.find(index, 2, low) !== NOWHERE));
  };
  t.deepEqual(await apply(network('blue', 1), network('red', 2, { mssClamp: true })), [
    [1, 2, 3],
    [1, 2, 3],
  ]);
  t.deepEqual(await apply(network('blue', 1)), [[1, 2, 3], []]);
  t.deepEqual(await apply(network('blue', 1), network('red', 2, { learning: false })), [[1, 2, 3], []]);
  const near = { vteps: ['10.0.0.2'] };
  t.deepEqual(await apply(network('blue', 1, near), network('red', 2, near)), [
    [1, 3],
    [1, 3],
  ]);
});

test('as many networks as there may be can all be replaced at once', async (t) => {
  const tables = { networks: 2 };
  const underlay = { address: '10.0.0.1' };
  const named = (...names: string[]) =>
    config({ underlay, tables, networks: names.map((name, i) => ({ name, vni: 1 + i })) });
  const control = new Control();
  await control.applier.apply(named('a', 'b'));
  await control.applier.apply(named('c', 'd'));
  t.deepEqual([...control.applier.networks.keys()], ['c', 'd']);
  t.is(control.carrier.networks.size, 2);
});

test('an endpoint that changes its network keeps its interface and port', async (t) => {
  const control = new Control();
  const [blue] = EXAMPLE.networks as [(typeof EXAMPLE.networks)[0]];
  const red = { name: 'red', vni: 11 };
  await control.applier.apply(config({ ...EXAMPLE, networks: [blue, red] }));
  const { port } = [...control.applier.endpoints.values()][0]!;
  const difference = await control.applier.apply(
    config({
      ...EXAMPLE,
      networks: [
        { ...blue, endpoints: [] },
        { ...red, endpoints: blue.endpoints },
      ],
    }),
  );
  t.deepEqual(difference.endpoints, { added: 0, removed: 0 });
  t.deepEqual(
    [...control.applier.endpoints.values()].map((open) => [open.port, open.network]),
    [[port, 'red']],
  );
});
