import { closeSync, openSync } from 'node:fs';
import test from 'ava';
import { Lab } from '../../src/cli/lab/lab.js';
import { addon } from '../../src/dataplane/io/native.js';
import { addAddress, addresses, removeAddress } from '../../src/dataplane/io/rtnetlink/address.js';
import { NetlinkError } from '../../src/dataplane/io/rtnetlink/error.js';
import {
  linkByIndex,
  linkByName,
  links,
  removeLink,
  setLink,
} from '../../src/dataplane/io/rtnetlink/link.js';
import { neighbour, neighbours, useNeighbour } from '../../src/dataplane/io/rtnetlink/neighbour.js';
import { addRoute, removeRoute, routeTo } from '../../src/dataplane/io/rtnetlink/route.js';
import { until } from './until.js';

const asRoot = addon !== undefined && process.getuid?.() === 0 ? test : test.skip;

interface Place {
  lab: Lab;
  a: string;
  b: string;
  /** indexes of the two ends of a veth pair */
  left: number;
  right: number;
}

/** Two namespaces joined by a veth pair, `left` in a, `right` in b. */
async function withPlace(work: (place: Place) => unknown): Promise<void> {
  const lab = new Lab();
  try {
    const [a, b] = [await lab.host('a'), await lab.host('b')];
    await lab.link({ host: a, name: 'left' }, { host: b, name: 'right' });
    const paths = { a: `/run/netns/${a.netns}`, b: `/run/netns/${b.netns}` };
    const left = linkByName(paths.a, 'left')!.index;
    const right = linkByName(paths.b, 'right')!.index;
    await work({ lab, ...paths, left, right });
  } finally {
    await lab.remove();
  }
}

asRoot('an interface is found by name, by index and in the list, and nothing else is', (t) =>
  withPlace(({ a, left }) => {
    const link = linkByName(a, 'left')!;
    t.like(link, { index: left, name: 'left', mtu: 1500, up: true, lowerUp: true, loopback: false });
    t.like(link, { kind: 'veth', master: 0 });
    t.regex(link.mac, /^([\da-f]{2}:){5}[\da-f]{2}$/);
    t.true(link.gsoMaxSize >= 65536 && link.groMaxSize >= 65536);
    t.deepEqual(linkByIndex(a, left), link);
    t.deepEqual(
      links(a)
        .map(({ name }) => name)
        .sort(),
      ['left', 'lo'],
    );
    t.true(links(a).find(({ name }) => name === 'lo')?.loopback);
    t.is(linkByName(a, 'right'), undefined);
    t.is(linkByIndex(a, 9999), undefined);
  }),
);

asRoot('one request changes MTU, MAC, name and state of an interface', (t) =>
  withPlace(({ a, left }) => {
    setLink(a, left, { up: false });
    t.false(linkByIndex(a, left)?.up);
    setLink(a, left, { mtu: 9000, mac: '02:42:0a:0a:00:02', name: 'other', up: true, gsoMaxSize: 30000 });
    t.like(linkByIndex(a, left), {
      ...{ mtu: 9000, mac: '02:42:0a:0a:00:02', name: 'other', up: true, gsoMaxSize: 30000 },
    });
  }),
);

asRoot('an interface moves to another namespace and gets its name and state there', (t) =>
  withPlace(async ({ a, b, left }) => {
    setLink(a, left, { netns: b, name: 'moved', up: true });
    t.is(linkByName(a, 'left'), undefined);
    t.like(linkByName(b, 'moved'), { up: true, kind: 'veth' });
    t.throws(() => setLink(b, linkByName(b, 'moved')!.index, { netns: '/run/netns/nowhere' }), {
      code: 'ENOENT',
    });
  }),
);

asRoot('an interface is removed once and for all', (t) =>
  withPlace(({ a, b, left }) => {
    removeLink(a, left);
    removeLink(a, left);
    t.deepEqual(
      links(b).map(({ name }) => name),
      ['lo'],
    );
  }),
);

asRoot('addresses are usable at once, and adding or removing one twice is fine', (t) =>
  withPlace(async ({ lab, a, left }) => {
    for (const cidr of ['10.1.0.1/24', '10.1.9.1/31', 'fd00:0:0::1/64']) {
      addAddress(a, left, cidr);
      addAddress(a, left, cidr);
    }
    const ours = addresses(a).filter(({ index, address }) => index === left && !address.startsWith('fe80'));
    t.deepEqual(ours, [
      { index: left, address: '10.1.0.1', prefixLength: 24 },
      { index: left, address: '10.1.9.1', prefixLength: 31 },
      { index: left, address: 'fd00::1', prefixLength: 64 },
    ]);
    const shown = await lab.hosts[0]!.ip('addr show dev left');
    t.regex(shown, /inet 10\.1\.0\.1\/24 brd 10\.1\.0\.255 /);
    t.regex(shown, /inet 10\.1\.9\.1\/31 scope/);
    t.regex(shown, /inet6 fd00::1\/64 scope global nodad/);
    t.notRegex(shown, /fd00::1.*tentative/);

    removeAddress(a, left, '10.1.0.1/24');
    removeAddress(a, left, '10.1.0.1/24');
    removeAddress(a, left, 'fd00::1/64');
    removeAddress(a, left, 'fd00::1/64');
    t.notRegex(await lab.hosts[0]!.ip('addr show dev left'), /10\.1\.0\.1|fd00::1/);
    removeLink(a, left);
    removeAddress(a, left, '10.1.9.1/31');
  }),
);

asRoot('what the kernel refuses is an error with its code, the object, and the kernel’s own words', (t) =>
  withPlace(({ a, left }) => {
    addAddress(a, left, '10.1.0.1/24');
    const again = t.throws(() => addAddress(a, left, '10.1.0.1/24', { refuseExisting: true }), {
      instanceOf: NetlinkError,
    });
    t.is(again.code, 'EEXIST');
    t.regex(again.message, /^add address 10\.1\.0\.1\/24 to interface \d+: /);
    t.throws(() => setLink(a, 9999, { up: true }), { code: 'ENODEV', message: /interface 9999/ });
    t.throws(() => setLink(a, left, { mtu: 7 }), { code: 'EINVAL', message: /mtu less than device minimum/ });
    t.throws(() => addAddress(a, left, '10.1.0.1/33'), { instanceOf: RangeError });
    t.throws(() => addAddress(a, left, 'localhost/8'), { code: 'ERR_ADDRESS' });
    t.throws(() => addRoute(a, { to: 'default', via: '192.0.2.1', index: left }), {
      ...{ code: 'ENETUNREACH', message: /route to default via 192\.0\.2\.1 .*invalid gateway/i },
    });
    t.throws(() => links('/run/netns/nowhere'), { code: 'ENOENT' });
  }),
);

asRoot('routes are added, followed and removed in both families', (t) =>
  withPlace(({ a, left }) => {
    addAddress(a, left, '10.1.0.1/24');
    addAddress(a, left, 'fd00::1/64');
    const routes = [
      { to: '10.2.0.0/16', via: '10.1.0.9', index: left },
      { to: 'default', via: '10.1.0.8', index: left },
      { to: '10.3.0.0/16', via: null, index: left },
      { to: 'fd02::/32', via: 'fd00::9', index: left },
      { to: 'default', via: 'fd00::8', index: left },
      { to: 'fd03::/32', via: null, index: left },
    ];
    for (const route of routes) {
      addRoute(a, route);
      addRoute(a, route);
    }
    const plain = { index: left, mtu: null, mtuLearned: false, type: 'unicast' } as const;
    const [four, six] = [{ prefSource: '10.1.0.1' }, { prefSource: 'fd00::1' }];
    t.deepEqual(routeTo(a, '10.1.0.77'), { ...plain, ...four, gateway: null });
    t.deepEqual(routeTo(a, '10.2.3.4'), { ...plain, ...four, gateway: '10.1.0.9' });
    t.deepEqual(routeTo(a, '10.3.3.4'), { ...plain, ...four, gateway: null });
    t.deepEqual(routeTo(a, '198.51.100.1'), { ...plain, ...four, gateway: '10.1.0.8' });
    t.like(routeTo(a, '198.51.100.1', '10.1.0.1'), { index: left, gateway: '10.1.0.8' });
    t.deepEqual(routeTo(a, 'fd00::77'), { ...plain, ...six, gateway: null });
    t.deepEqual(routeTo(a, 'fd02::4'), { ...plain, ...six, gateway: 'fd00::9' });
    t.deepEqual(routeTo(a, 'fd03::4'), { ...plain, ...six, gateway: null });
    t.deepEqual(routeTo(a, '2001:db8::1'), { ...plain, ...six, gateway: 'fd00::8' });
    t.is(routeTo(a, '10.1.0.1')?.type, 'local');
    t.is(routeTo(a, '10.1.0.255')?.type, 'broadcast');
    t.is(routeTo(a, '239.1.1.1')?.type, 'multicast');

    for (const route of routes) {
      removeRoute(a, route);
      removeRoute(a, route);
    }
    t.is(routeTo(a, '198.51.100.1'), undefined);
    t.is(routeTo(a, '2001:db8::1'), undefined);
    t.is(routeTo(a, '10.1.0.77', '192.0.2.1'), undefined);
  }),
);

asRoot('the MTU of a route is known, and that it isn’t learned', (t) =>
  withPlace(async ({ lab, a, left }) => {
    addAddress(a, left, '10.1.0.1/24');
    addAddress(a, left, 'fd00::1/64');
    await lab.hosts[0]!.ip('route add 10.2.0.0/16 via 10.1.0.9 mtu 1400');
    await lab.hosts[0]!.ip('route add fd02::/32 via fd00::9 mtu 1300');
    t.like(routeTo(a, '10.2.0.1'), { mtu: 1400, mtuLearned: false });
    t.like(routeTo(a, 'fd02::1'), { mtu: 1300, mtuLearned: false });
  }),
);

asRoot('the kernel resolves a neighbour when asked, in both families', (t) =>
  withPlace(async ({ a, b, left, right }) => {
    const mac = linkByName(b, 'right')?.mac;
    for (const [ours, theirs] of [
      ['10.1.0.1/24', '10.1.0.2/24'],
      ['fd00::1/64', 'fd00::2/64'],
    ] as const) {
      addAddress(a, left, ours);
      addAddress(b, right, theirs);
      const [address = ''] = theirs.split('/');
      t.is(neighbour(a, left, address), undefined);
      useNeighbour(a, left, address);
      const found = await until(() => {
        const entry = neighbour(a, left, address);
        return entry?.mac ? entry : undefined;
      });
      t.like(found, { index: left, address, mac, state: 'reachable' });
      t.true(neighbours(a, left).some((entry) => entry.address === address));
      t.deepEqual(neighbours(a, 9999), []);
    }
    useNeighbour(a, left, '10.1.0.3');
    const silent = await until(() => (neighbour(a, left, '10.1.0.3')?.state === 'failed' ? true : undefined));
    t.true(silent);
    t.is(neighbour(a, left, '10.1.0.3')?.mac, null);
  }),
);

asRoot('a permanent neighbour stays as the administrator made it', (t) =>
  withPlace(async ({ lab, a, left }) => {
    addAddress(a, left, '10.1.0.1/24');
    await lab.hosts[0]!.ip('neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev left nud permanent');
    useNeighbour(a, left, '10.1.0.7', { managed: true });
    t.like(neighbour(a, left, '10.1.0.7'), { mac: '02:00:00:00:00:07', state: 'permanent' });
  }),
);

asRoot('a managed neighbour is the kernel’s to keep fresh until it is given back', (t) =>
  withPlace(async ({ lab, a, b, left, right }) => {
    addAddress(a, left, '10.1.0.1/24');
    addAddress(b, right, '10.1.0.2/24');
    const shown = () => lab.hosts[0]!.ip('neigh show 10.1.0.2 dev left');
    useNeighbour(a, left, '10.1.0.2', { managed: true });
    t.regex(await shown(), /managed/);
    useNeighbour(a, left, '10.1.0.2');
    t.notRegex(await shown(), /managed/);
  }),
);

asRoot('a namespace is named by any path, also that of an open descriptor', (t) =>
  withPlace(({ a, left }) => {
    const fd = openSync(a, 'r');
    try {
      t.is(linkByName(`/proc/self/fd/${fd}`, 'left')?.index, left);
    } finally {
      closeSync(fd);
    }
  }),
);
