import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import {
  ApplyError,
  createDataplane,
  type Dataplane,
  type DeviceFor,
  MemoryWorkload,
  parseConfig,
} from '../src/dataplane/dataplane.js';
import { QUIET } from './host/fake-carrier.js';
import { until } from './io/until.js';
import { mac as macBytes, plain } from './overlay/overlay.js';
import { ARP_REPLY, ARP_REQUEST } from './wire/packets.js';

const mac = (n: number) => `02:42:00:00:00:0${n}`;

/** A port that nobody has on any address. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

interface Site {
  plane: Dataplane;
  workloads: Map<string, MemoryWorkload>;
}

async function site(t: ExecutionContext): Promise<Site> {
  const workloads = new Map<string, MemoryWorkload>();
  const deviceFor: DeviceFor = (endpoint, path) => {
    if (endpoint.interface === 'missing') return undefined;
    const workload = new MemoryWorkload();
    workloads.set(endpoint.interface, workload);
    return workload.connect(path);
  };
  const plane = createDataplane({ logger: QUIET, deviceFor });
  await plane.start();
  t.teardown(() => plane.stop());
  return { plane, workloads };
}

const received = (site: Site, name: string): Promise<Uint8Array | undefined> =>
  until(() => site.workloads.get(name)!.receive());

/** Host 1's or 2's configuration: network blue, workload n at it, the other one remote. */
function configOf(
  port: number,
  host: 1 | 2,
  more: { family?: 4 | 6; networks?: object[]; blue?: object } = {},
) {
  const six = more.family === 6;
  const address = (n: number) => (six ? '::1' : `127.0.0.${n}`);
  const other = 3 - host;
  return parseConfig(
    {
      underlay: { address: address(host), port, device: 'dgram', mtu: 1500, sourcePorts: 2 },
      networks: [
        {
          name: 'blue',
          vni: 4097,
          vteps: six ? [] : [address(other)],
          endpoints: [
            { netns: 'w', interface: `w${host}`, mac: mac(host), addresses: [`10.0.0.${host}/24`] },
          ],
          remotes: six ? [] : [{ mac: mac(other), addresses: [`10.0.0.${other}`], vtep: address(other) }],
          ...more.blue,
        },
        ...(more.networks ?? []),
      ],
    },
    'the test',
  );
}

async function twoSites(t: ExecutionContext) {
  const port = await freePort();
  const sites = [await site(t), await site(t)] as const;
  await sites[0].plane.apply(configOf(port, 1));
  await sites[1].plane.apply(configOf(port, 2));
  return { port, sites };
}

test('two data planes in one process exchange frames over loopback sockets', async (t) => {
  const { port, sites } = await twoSites(t);
  const [one, two] = sites;
  for (let n = 0; n < 20; n++) {
    const there = plain(macBytes(2), macBytes(1), 60 + 70 * n);
    one.workloads.get('w1')!.send(there);
    t.deepEqual(await received(two, 'w2'), there);
    const back = plain(macBytes(1), macBytes(2), 100 + n);
    two.workloads.get('w2')!.send(back);
    t.deepEqual(await received(one, 'w1'), back);
  }
  const { underlay, engines, endpoints, vteps, counters } = one.plane.stats();
  t.deepEqual(
    [underlay.kind, underlay.addresses, underlay.port, underlay.mtu, engines],
    ['dgram', ['127.0.0.1'], port, 1500, 1],
  );
  t.deepEqual([endpoints[0]!.rxPackets, endpoints[0]!.txPackets], [20, 20]);
  t.deepEqual([vteps[0]!.address, vteps[0]!.rxPackets, vteps[0]!.txPackets], ['127.0.0.2', 20, 20]);
  t.deepEqual([counters.rxPackets, counters.txPackets], [40, 40]);
  t.true(Object.values(one.plane.drops()).every((count) => count === 0));
});

test('before anything is applied there is nothing to be seen, and nothing to watch', async (t) => {
  const { plane } = await site(t);
  t.deepEqual(
    [plane.networks(), plane.fdb(), plane.neighbours(), plane.vteps(), plane.endpoints()],
    [[], [], [], [], []],
  );
  t.is(plane.stats().underlay.kind, 'none');
  t.throws(() => plane.trace({ filter: [], snapLength: 64 }, new AbortController().signal), {
    instanceOf: ApplyError,
  });
});

test('rows say what was applied; the same again changes nothing', async (t) => {
  const { port, sites } = await twoSites(t);
  const { plane } = sites[0];
  t.deepEqual(plane.networks(), [
    { name: 'blue', vni: 4097, mtu: 1450, learning: false, vteps: ['127.0.0.2'], endpoints: 1, remotes: 1 },
  ]);
  const row = { network: 'blue', vni: 4097, origin: 'static', ageSeconds: null };
  t.deepEqual(plane.fdb(), [
    { ...row, mac: mac(1), via: 'w1', kind: 'local' },
    { ...row, mac: mac(2), via: '127.0.0.2', kind: 'remote' },
  ]);
  t.deepEqual(
    plane.neighbours().sort((a, b) => (a.address < b.address ? -1 : 1)),
    [
      { network: 'blue', address: '10.0.0.1', mac: mac(1) },
      { network: 'blue', address: '10.0.0.2', mac: mac(2) },
    ],
  );
  const { generation } = plane.stats();
  const again = await plane.apply(configOf(port, 1));
  t.false(again.changed);
  t.is(again.generation, generation);
});

test('networks, endpoints, remotes and VTEPs come and go while the rest goes on', async (t) => {
  const { port, sites } = await twoSites(t);
  const [one, two] = sites;
  const red = {
    name: 'red',
    vni: 5,
    vteps: ['127.0.0.3'],
    endpoints: [{ netns: 'w', interface: 'r1', mac: mac(7) }],
  };
  const added = await one.plane.apply(configOf(port, 1, { networks: [red] }));
  t.deepEqual([added.networks.added, added.endpoints.added, added.fdb.added], [1, 1, 1]);
  t.deepEqual(
    one.plane.vteps().map(({ address }) => address),
    ['127.0.0.2', '127.0.0.3'],
  );
  const frame = plain(macBytes(2), macBytes(1));
  one.workloads.get('w1')!.send(frame);
  t.deepEqual(await received(two, 'w2'), frame, 'blue is as it was');

  const removed = await one.plane.apply(configOf(port, 1));
  t.deepEqual([removed.networks.removed, removed.endpoints.removed, removed.fdb.removed], [1, 1, 1]);
  t.deepEqual(
    one.plane.vteps().map(({ address }) => address),
    ['127.0.0.2'],
  );
  const without = await one.plane.apply(configOf(port, 1, { blue: { remotes: [], floodUnknown: false } }));
  t.deepEqual([without.networks.changed, without.fdb.removed], [1, 1]);
  one.workloads.get('w1')!.send(frame);
  t.true(await until(() => one.plane.drops()['unknown-unicast'] === 1 || undefined));
  await one.plane.apply(parseConfig({ underlay: configOf(port, 1).underlay, networks: [] }, 'the test'));
  t.deepEqual(
    [one.plane.networks(), one.plane.fdb(), one.plane.neighbours(), one.plane.vteps()],
    [[], [], [], []],
  );
});

test('an apply that fails leaves rows, interfaces and traffic as they were', async (t) => {
  const { port, sites } = await twoSites(t);
  const [one, two] = sites;
  const rows = () => [
    one.plane.networks(),
    one.plane.fdb(),
    one.plane.neighbours(),
    one.plane.vteps(),
    one.plane.endpoints(),
    one.plane.stats().underlay,
    one.plane.stats().generation,
  ];
  const before = rows();
  const bad = {
    name: 'red',
    vni: 5,
    vteps: ['127.0.0.8'],
    endpoints: [
      { netns: 'w', interface: 'r1' },
      { netns: 'w', interface: 'missing' },
    ],
    remotes: [{ mac: mac(9), addresses: ['10.9.0.9'], vtep: '127.0.0.9' }],
  };
  const elsewhere = await freePort();
  for (const config of [
    configOf(port, 1, { networks: [bad] }),
    configOf(elsewhere, 1, { networks: [bad] }),
  ]) {
    await t.throwsAsync(one.plane.apply(config), { instanceOf: ApplyError });
    t.deepEqual(rows(), before);
  }
  const taken = createSocket('udp4').bind(elsewhere, '127.0.0.1');
  await once(taken, 'listening');
  await t.throwsAsync(one.plane.apply(configOf(elsewhere, 1)), {
    instanceOf: ApplyError,
    message: /^underlay: /,
  });
  taken.close();
  t.deepEqual(rows(), before);
  const frame = plain(macBytes(2), macBytes(1));
  one.workloads.get('w1')!.send(frame);
  t.deepEqual(await received(two, 'w2'), frame);
});

test('a first apply that fails leaves nothing, and the next one may succeed', async (t) => {
  const port = await freePort();
  const one = await site(t);
  const taken = createSocket('udp4').bind(port, '127.0.0.1');
  await once(taken, 'listening');
  await t.throwsAsync(one.plane.apply(configOf(port, 1)), { instanceOf: ApplyError });
  t.is(one.plane.stats().underlay.kind, 'none');
  taken.close();
  await once(taken, 'close');
  const missing = { endpoints: [{ netns: 'w', interface: 'missing' }] };
  await t.throwsAsync(one.plane.apply(configOf(port, 1, { blue: missing })), { message: /missing in w/ });
  t.true((await one.plane.apply(configOf(port, 1))).changed);
});

test('the table of connections stays as large as it was at first', async (t) => {
  const { plane } = await site(t);
  const apply = (virtualServer?: object) =>
    plane.apply(parseConfig({ networks: [], ...(virtualServer && { virtualServer }) }, 'the test'));
  await apply({ connections: 64 });
  await t.throwsAsync(apply({ connections: 128 }), {
    instanceOf: ApplyError,
    message: /^virtualServer\.connections: the table is for 64 while the data plane runs, got 128/,
  });
  // A configuration that says nothing of it leaves it.
  t.false((await apply()).changed);
  t.true((await apply({ connections: 64, sloppyTcp: true })).changed);
});

test('the underlay may change its port while the data plane runs', async (t) => {
  const { sites } = await twoSites(t);
  const [one, two] = sites;
  const port = await freePort();
  await one.plane.apply(configOf(port, 1));
  await two.plane.apply(configOf(port, 2));
  t.is(one.plane.stats().underlay.port, port);
  const frame = plain(macBytes(2), macBytes(1));
  one.workloads.get('w1')!.send(frame);
  t.deepEqual(await received(two, 'w2'), frame);
});

test('IPv6 carries as well', async (t) => {
  const port = await freePort();
  const one = await site(t);
  await one.plane.apply(configOf(port, 1, { family: 6 }));
  const far = createSocket('udp6').bind(0, '::1');
  await once(far, 'listening');
  t.teardown(() => far.close());
  const frame = plain(macBytes(1), macBytes(9));
  far.send(Uint8Array.from([8, 0, 0, 0, 0, 0x10, 0x01, 0, ...frame]), port, '::1');
  t.deepEqual(await received(one, 'w1'), frame);
  t.is(one.plane.networks()[0]!.mtu, 1430);
});

test('an ARP request is answered on the spot, seen by a trace and by a capture', async (t) => {
  const { port, sites } = await twoSites(t);
  const { plane, workloads } = sites[0];
  const blue = { remotes: [{ mac: '02:42:0a:00:00:03', addresses: ['10.0.0.3'], vtep: '127.0.0.2' }] };
  await plane.apply(configOf(port, 1, { blue }));
  const stop = new AbortController();
  const arp = [
    { code: 0x28, jt: 0, jf: 0, k: 12 },
    { code: 0x15, jt: 0, jf: 1, k: 0x0806 },
    { code: 6, jt: 0, jf: 0, k: 65_535 },
    { code: 6, jt: 0, jf: 0, k: 0 },
  ];
  const trace = plane.trace({ filter: arp, snapLength: 20 }, stop.signal);
  const capture = plane.capture({ filter: arp, snapLength: 65_535 }, stop.signal);
  workloads.get('w1')!.send(plain(macBytes(2), macBytes(1)));
  workloads.get('w1')!.send(ARP_REQUEST);
  t.deepEqual(await received(sites[0], 'w1'), ARP_REPLY);
  stop.abort();
  const hops = [];
  for await (const { hop, detail, frame, length } of trace) hops.push([hop, detail, frame.length, length]);
  t.deepEqual(hops, [
    ['tap.receive', 'w w1', 20, 42],
    ['bridge.answer', 'ARP reply', 20, 42],
    ['tap.transmit', 'w w1', 20, 42],
  ]);
  const frames = [];
  for await (const { frame } of capture) frames.push(frame);
  t.deepEqual(frames, [ARP_REQUEST]);
  t.is(plane.counters().arpAnswered, 1);
});

test('after stop nothing is open: another data plane may have the address', async (t) => {
  const { port, sites } = await twoSites(t);
  await sites[0].plane.stop();
  t.is(sites[0].plane.stats().underlay.kind, 'none');
  t.is(sites[0].workloads.get('w1')!.path.pool.allocated, 0);
  const next = await site(t);
  t.true((await next.plane.apply(configOf(port, 1))).changed);
});

test('without an underlay nothing is opened for one; networks bring it, and it goes with them', async (t) => {
  const { plane } = await site(t);
  const alone = parseConfig({ networks: [] }, 'the test');
  t.is(alone.underlay, null);
  await plane.apply(alone);
  t.like(plane.stats().underlay, { kind: 'none', addresses: [], port: 0 });
  const port = await freePort();
  await plane.apply(configOf(port, 1));
  t.like(plane.stats().underlay, { kind: 'dgram', addresses: ['127.0.0.1'], port });
  await plane.apply(alone);
  t.is(plane.stats().underlay.kind, 'none');
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  t.teardown(() => socket.close());
  await t.notThrowsAsync(once(socket, 'listening'), 'the port is free again');
});
