/** What becomes of wanted services: numbers that stay, and what is led here until its last connection has ended. */
import test from 'ava';
import { settle } from '../../src/dataplane/config/settled.js';
import { parseConfig } from '../../src/dataplane/config.js';
import { ApplyError } from '../../src/dataplane/face.js';
import { ServiceKeeper } from '../../src/dataplane/host/service-keeper.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { DEFAULTS } from '../../src/dataplane/ipvs/settings.js';

const WEB = 'tcp://203.0.113.80:80';
const DNS = 'udp://[2001:db8::53]:53';

/** Services by where they listen, with the addresses of their destinations. */
function wanted(services: Record<string, readonly string[]>, virtualServer?: { tcpSeconds: number }) {
  const list = Object.entries(services).map(([listen, addresses]) => ({
    listen,
    destinations: addresses.map((address) => ({ address })),
  }));
  const written = { networks: [], services: list, ...(virtualServer && { virtualServer }) };
  return settle(parseConfig(written, 'the test'), null);
}

function world() {
  const memory = DestinationCounts.allocate(8);
  return { keeper: new ServiceKeeper(memory), counts: new DestinationCounts(memory) };
}

test('numbers stay while a service and its destinations do, and only what changed is told', (t) => {
  const { keeper } = world();
  const first = keeper.change(wanted({ [WEB]: ['10.0.0.1:80', '10.0.0.2:80'], [DNS]: ['[fd00::1]:53'] }))!;
  t.deepEqual(
    first.set.map(({ index, destinations }) => [index, destinations.map(({ row }) => row)]),
    [
      [0, [0, 1]],
      [1, [2]],
    ],
  );
  t.is(keeper.change(wanted({ [WEB]: ['10.0.0.1:80', '10.0.0.2:80'], [DNS]: ['[fd00::1]:53'] })), undefined);
  const next = keeper.change(wanted({ [WEB]: ['10.0.0.2:80', '10.0.0.3:80'], [DNS]: ['[fd00::1]:53'] }))!;
  t.deepEqual([next.set.map(({ index }) => index), next.gone, next.settings], [[0], [], null]);
  // Nobody was connected to the first, so its row serves again.
  t.deepEqual(
    next.set[0]!.destinations.map(({ row }) => row),
    [1, 3],
  );
  t.deepEqual(keeper.change(wanted({ [DNS]: ['[fd00::1]:53'] }))!.gone, [0]);
});

test('what left with connections is led here until they have ended, and its row is given to nobody', (t) => {
  const { keeper, counts } = world();
  keeper.change(wanted({ [WEB]: ['10.0.0.1:80'] }));
  counts.addInactive(0, 1);
  const gone = keeper.change(wanted({}))!;
  t.deepEqual(gone.gone, [0]);
  t.deepEqual(gone.services, [{ family: 4, protocol: 6, address: '203.0.113.80', port: 80 }]);
  t.deepEqual(gone.destinations, [{ family: 4, protocol: 6, address: '10.0.0.1', port: 80 }]);
  t.is(keeper.settle(), undefined);
  const other = keeper.change(wanted({ [DNS]: ['[fd00::1]:53'] }))!;
  t.is(other.set[0]!.destinations[0]!.row, 1);
  t.is(other.services.length, 2);
  counts.addInactive(0, -1);
  t.deepEqual(keeper.settle()!.services, [{ family: 6, protocol: 17, address: '2001:db8::53', port: 53 }]);
  t.is(keeper.settle(), undefined);
});

test('what comes back while it has connections is theirs again, and nobody else gets its number', (t) => {
  const { keeper, counts } = world();
  keeper.change(wanted({ [WEB]: ['10.0.0.1:80', '10.0.0.2:80'] }));
  counts.addInactive(1, 1);
  keeper.change(wanted({ [WEB]: ['10.0.0.1:80'] }));
  const rows = (change: ReturnType<typeof keeper.change>) =>
    change!.set.map(({ index, destinations }) => [index, ...destinations.map(({ row }) => row)]);
  t.deepEqual(rows(keeper.change(wanted({ [WEB]: ['10.0.0.3:80', '10.0.0.2:80'] }))), [[0, 2, 1]]);
  t.deepEqual(keeper.change(wanted({}))!.gone, [0]);
  t.deepEqual(rows(keeper.change(wanted({ [DNS]: ['[fd00::1]:53'] }))), [[1, 0]]);
  t.deepEqual(rows(keeper.change(wanted({ [DNS]: ['[fd00::1]:53'], [WEB]: ['10.0.0.2:80'] }))), [[0, 1]]);
  counts.addInactive(1, -1);
  t.is(keeper.settle(), undefined);
});

test('a change is taken back by wanting what was before', (t) => {
  const { keeper } = world();
  const before = wanted({ [WEB]: ['10.0.0.1:80'] });
  keeper.change(before);
  keeper.change(wanted({ [DNS]: ['[fd00::1]:53'] }));
  const back = keeper.change(before)!;
  t.deepEqual([back.set.length, back.gone.length], [1, 1]);
  t.is(keeper.change(before), undefined);
});

test('other timeouts reach every service, and an engine that takes another’s place', (t) => {
  const { keeper } = world();
  keeper.change(wanted({ [WEB]: ['10.0.0.1:80'] }));
  t.deepEqual(keeper.whole().settings!.timeouts, { tcp: 900, tcpFin: 120, udp: 300 });
  const change = keeper.change(wanted({ [WEB]: ['10.0.0.1:80'] }, { tcpSeconds: 60 }))!;
  t.deepEqual([change.settings!.timeouts, change.set.length], [{ tcp: 60, tcpFin: 120, udp: 300 }, 1]);
  t.deepEqual(keeper.whole().settings!.timeouts, { tcp: 60, tcpFin: 120, udp: 300 });
  t.is(keeper.whole().set.length, 1);
});

test('all settings reach the engines; by default they are IPVS’s', (t) => {
  const { keeper } = world();
  t.deepEqual(keeper.whole().settings, DEFAULTS);
  const virtualServer = {
    ...{ sloppyTcp: true, secureTcp: 1, dropEntry: 2, dropPacket: 3, dropRate: 7 },
    ...{ expireNodestConn: true, expireQuiescentTemplate: true, connReuseMode: 3 },
  };
  const written = { networks: [], services: [], virtualServer };
  const { settings } = keeper.change(settle(parseConfig(written, 'the test'), null))!;
  t.deepEqual(settings, { ...DEFAULTS, ...virtualServer } as typeof DEFAULTS);
});

test('what can not be had is refused by name, and nothing has changed', (t) => {
  const { keeper } = world();
  const destinations = [{ address: '10.0.0.1:80', forward: 'route' }];
  const config = { networks: [], services: [{ listen: WEB, synProxy: true, destinations }] };
  t.throws(() => keeper.change(settle(parseConfig(config, 'the test'), null)), {
    instanceOf: ApplyError,
    message: /203\.0\.113\.80:80: not supported yet: synProxy with forward other than nat/,
  });
  const sorryServer = destinations[0]!;
  const sorry = {
    networks: [],
    services: [{ listen: WEB, resetOnExpiry: true, destinations: [], sorryServer }],
  };
  t.throws(() => keeper.change(settle(parseConfig(sorry, 'the test'), null)), {
    message: /resetOnExpiry with forward other than nat/,
  });
  t.deepEqual(keeper.wanted.services, []);
});

test('a mark is led here by itself, and what its destinations send by any protocol', (t) => {
  const { keeper, counts } = world();
  const change = keeper.change(
    wanted({ 'mark://7': ['10.0.0.1'], 'mark6://7': ['[fd00::1]:80'], [WEB]: [] }),
  )!;
  t.deepEqual(change.marks, [
    { family: 4, mark: 7 },
    { family: 6, mark: 7 },
  ]);
  t.deepEqual(
    change.services.map(({ address }) => address),
    ['203.0.113.80'],
  );
  t.deepEqual(change.destinations, [
    ...[6, 17, 132].map((protocol) => ({ family: 4, protocol, address: '10.0.0.1', port: 0 })),
    ...[6, 17, 132].map((protocol) => ({ family: 6, protocol, address: 'fd00::1', port: 80 })),
  ]);
  t.like(change.set[0], { mark: 7, protocol: 0, port: 0, family: 4 });
  t.is(change.set[2]!.mark, undefined);
  counts.addActive(0, 1);
  t.deepEqual(keeper.change(wanted({}))!.marks, [{ family: 4, mark: 7 }]);
  counts.addActive(0, -1);
  t.deepEqual(keeper.settle()!.marks, []);
});

test('persistence reaches engines; a destination with templates alone keeps its row, and has it again', (t) => {
  const { keeper, counts } = world();
  const sticky = (addresses: readonly string[]) => {
    const persistence = { timeoutSeconds: 60, mask: 24 };
    const destinations = addresses.map((address) => ({ address }));
    return settle(
      parseConfig({ networks: [], services: [{ listen: WEB, persistence, destinations }] }, 'the test'),
      null,
    );
  };
  const { set } = keeper.change(sticky(['10.0.0.1:80']))!;
  t.deepEqual(set[0]!.persistence, { timeoutSeconds: 60, mask: 24, engine: null });
  counts.addPersistent(0, 1);
  t.is(keeper.change(sticky(['10.0.0.2:80']))!.set[0]!.destinations[0]!.row, 1);
  const both = keeper.change(sticky(['10.0.0.2:80', '10.0.0.1:80']))!;
  t.deepEqual(
    both.set[0]!.destinations.map(({ row }) => row),
    [1, 0],
  );
});
