/**
 * Services inside a network: clients and destinations on two hosts, each with a data plane that has the same services.
 *
 *     host 1: workloads 2, 3 ─── network blue: 10.10.0.100, fd00:10::100 ─── host 2: workload 4
 */
import type { Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram, stopProgram } from './world/programs.js';
import {
  address,
  blue,
  type Device,
  type Family,
  type Site,
  sites,
  vtep,
  type Workload,
  workload,
} from './world/sites.js';
import { until } from './world/until.js';

const VIRTUAL = { 4: '10.10.0.100', 6: 'fd00:10::100' } as const;
const FAMILIES = [4, 6] as const;
type Services = NonNullable<Written['services']>;

const at = (of: string, port: number) => (of.includes(':') ? `[${of}]:${port}` : `${of}:${port}`);

function service(
  protocol: 'tcp' | 'udp',
  family: Family,
  to: Workload[],
  port = 80,
  own = 8080,
): Services[number] {
  return {
    listen: `${protocol}://${at(VIRTUAL[family], port)}`,
    network: 'blue',
    scheduler: 'rr',
    destinations: to.map((each) => ({ address: at(address(each, family), own) })),
  };
}

/** Who answers, on TCP and UDP of both families, and iperf3's port. */
const all = (to: Workload[]): Services =>
  FAMILIES.flatMap((family) => [
    ...(['tcp', 'udp'] as const).map((protocol) => service(protocol, family, to)),
    ...(['tcp', 'udp'] as const).map((protocol) => service(protocol, family, to, 5201, 5201)),
    service('tcp', family, to, 8000, 8000),
    service('udp', family, to, 9000, 9000),
  ]);

interface Place {
  hosts: [Site, Site];
  workloads: [Workload, Workload, Workload];
  planes: [Plane, Plane];
  config(i: 0 | 1, services: Services): Written;
}

async function place(
  lab: Lab,
  to: number[],
  devices: [Device, Device] = ['tunnel', 'tunnel'],
  count = 1,
): Promise<Place> {
  const hosts = (await sites(lab, 2)) as [Site, Site];
  const workloads = (await Promise.all([2, 3, 4].map((n) => workload(lab, n)))) as Place['workloads'];
  const [w2, w3, w4] = workloads;
  const planes = hosts.map(({ host }) => new Plane(host)) as [Plane, Plane];
  const config = (i: 0 | 1, services: Services): Written => ({
    underlay: { address: vtep(hosts[i], 4), device: devices[i] },
    engine: { count },
    networks: [
      i === 0
        ? blue([w2, w3], [{ workload: w4, vtep: vtep(hosts[1], 4) }])
        : blue(
            [w4],
            [w2, w3].map((each) => ({ workload: each, vtep: vtep(hosts[0], 4) })),
          ),
    ],
    services,
  });
  const services = all(workloads.filter(({ number }) => to.includes(number)));
  await Promise.all(planes.map((plane, i) => plane.start(config(i as 0 | 1, services))));
  for (const { host, number } of workloads) {
    await awaitWord(spawnProgram(host, 'who', ['serve', `w${number}`, '8080']), 'ready');
  }
  return { hosts, workloads, planes, config };
}

async function ask(from: Workload, protocol: 'tcp' | 'udp', to: string, port = 80): Promise<string> {
  const args = [program('who'), 'ask', protocol, to, String(port)];
  return (await from.host.run(process.execPath, args)).stdout.trim();
}

const dropsOf = async (plane: Plane) =>
  Object.fromEntries(Object.entries((await plane.stats()).drops).filter(([, count]) => count > 0));

for (const [devices, count] of [
  [['tunnel', 'tunnel'], 1],
  [['udp', 'tunnel'], 2],
] as const) {
  labTest(
    `clients on each host are served by each destination, which sees them: ${devices.join(' and ')}, ${count} engines`,
    ['ping'],
    async (t, lab) => {
      const { workloads, planes } = await place(lab, [2, 3, 4], [...devices], count);
      for (const client of workloads) {
        for (const family of FAMILIES) {
          for (const protocol of ['tcp', 'udp'] as const) {
            const got: string[] = [];
            for (let i = 0; i < 3; i++) got.push(await ask(client, protocol, VIRTUAL[family]));
            // With engines of their own, each schedules by itself.
            const expected = [2, 3, 4].map((n) =>
              n === client.number ? `w${n} ${VIRTUAL[family]}` : `w${n} ${address(client, family)}`,
            );
            if (count === 1) t.deepEqual(got.sort(), expected);
            else
              t.true(
                got.every((each) => expected.includes(each)),
                got.join(', '),
              );
          }
          await client.host.run('ping', [
            '-n',
            '-c',
            '2',
            '-i',
            '0.1',
            '-W',
            '5',
            '-s',
            '3000',
            VIRTUAL[family],
          ]);
          t.is(await ask(client, 'tcp', VIRTUAL[family], 81), 'ECONNREFUSED');
        }
      }
      const rows = await planes[1].ask<ConnectionRow[]>('ipvs/connections');
      t.is(rows.length, 12);
      t.true(
        rows.every(({ network, source }) => network === 'blue' && /10\.10\.0\.4|fd00:10::4/.test(source)),
      );
      t.deepEqual(await dropsOf(planes[0]), { 'not-served': 4 });
      t.deepEqual(await dropsOf(planes[1]), { 'not-served': 2 });
      for (const plane of planes) t.is(await plane.end(), 0);
    },
  );
}

/** iperf3 from a client to the virtual address; bytes, or packets, that arrived, and of packets those lost. */
async function iperf(client: Workload, server: Workload, family: Family, words: string[]) {
  const child = server.host.spawn('iperf3', ['-s', '-1', '--forceflush', '-p', '5201']);
  await awaitWord(child, 'listening');
  try {
    const args = ['-c', VIRTUAL[family], '-J', '--connect-timeout', '10000', ...words];
    const { stdout } = await client.host.run('iperf3', args, { check: false });
    const { end, error } = JSON.parse(stdout) as {
      end: Record<string, { bytes: number; packets?: number; lost_packets?: number }>;
      error?: string;
    };
    if (error !== undefined) throw new Error(`iperf3 ${args.join(' ')}: ${error}`);
    return end;
  } finally {
    await stopProgram(child);
  }
}

labTest(
  'bulk by TCP and UDP, both directions and families, from here and from elsewhere; super-packets stay whole',
  ['iperf3'],
  async (t, lab) => {
    const { workloads, planes } = await place(lab, [3]);
    const [w2, w3, w4] = workloads;
    for (const client of [w2, w4]) {
      for (const family of FAMILIES) {
        const before = (await planes[0].stats()).counters.rxPackets;
        const { sum_received: sum } = await iperf(client, w3, family, ['-n', '256M']);
        t.true(sum!.bytes > 240e6);
        const packets = (await planes[0].stats()).counters.rxPackets - before;
        // Of 1,448 bytes each there would be 185,000, and acknowledgements.
        t.true(packets < 60_000, `super-packets do not stay whole: ${packets} packets`);
        const { sum_received: back } = await iperf(client, w3, family, ['-n', '64M', '-R']);
        t.true(back!.bytes > 60e6);
        const { sum: udp } = await iperf(client, w3, family, ['-u', '-l', '1000', '-k', '5000', '-b', '40M']);
        t.is(udp!.packets, 5000);
        // The machine is a busy one, and sockets overflow; what the data planes dropped shows below.
        t.true(udp!.lost_packets! < 2500, `${udp!.lost_packets} datagrams lost`);
      }
    }
    // Datagrams of several fragments, there and back.
    await awaitWord(spawnProgram(w3.host, 'datagrams', ['serve', '9000']), 'ready');
    for (const client of [w2, w4]) {
      for (const family of FAMILIES) {
        const words = [program('datagrams'), 'exchange', VIRTUAL[family], '9000', '7000', '50'];
        const { stdout } = await client.host.run(process.execPath, words);
        t.regex(stdout, /^50 of 5/);
      }
    }
    for (const plane of planes) t.deepEqual(await dropsOf(plane), {});
  },
);

labTest(
  'a transfer goes on while its destination leaves the service, and while the service and its network stay',
  [],
  async (t, lab) => {
    const { workloads, planes, config } = await place(lab, [3]);
    const [w2, w3, w4] = workloads;
    await awaitWord(spawnProgram(w3.host, 'body', ['serve', w3.ipv4, '8000']), 'ready');
    const fetch = async (client: Workload, of: string, seed: number, mebibytes: number) =>
      (
        await client.host.run(process.execPath, [
          program('body'),
          'fetch',
          `http://${of}:8000/${seed}/${mebibytes}`,
        ])
      ).stdout.trim();
    const clients = [w2, w4];
    const long = Promise.all(clients.map((client) => fetch(client, VIRTUAL[4], 1, 1024)));
    for (const plane of planes) {
      await until('the transfer is under way', async () => (await plane.stats()).counters.rxPackets > 3000);
    }
    for (const i of [0, 1] as const) t.true(await planes[i].reload(config(i, all([w4]))));
    t.is(await ask(w2, 'tcp', VIRTUAL[4]), `w4 ${w2.ipv4}`);
    // And all services.
    for (const i of [0, 1] as const) t.true(await planes[i].reload(config(i, [])));
    const through = await long;
    const direct = await fetch(w4, w3.ipv4, 1, 1024);
    t.regex(direct, /^[0-9a-f]{64}$/);
    t.deepEqual(through, [direct, direct]);

    // A network that goes takes its services along; without them it doesn't go.
    t.true(await planes[1].reload(config(1, all([w3]))));
    const empty = { ...config(1, []), networks: [] };
    t.false(await planes[1].reload({ networks: [], underlay: empty.underlay!, engine: empty.engine! }));
    t.regex(planes[1].log, /there is no network blue; remove the service with it/);
    t.true(await planes[1].reload(empty));
    t.deepEqual(await planes[1].ask('ipvs/connections'), []);
    for (const plane of planes) t.is(await plane.end(), 0);
  },
);

labTest('a destination behind a kernel vxlan serves', ['ping', 'iperf3'], async (t, lab) => {
  const [here, there] = (await sites(lab, 2)) as [Site, Site];
  const [client, server] = [await workload(lab, 2), await workload(lab, 3)];
  await kernelPeer(lab, {
    site: there,
    workload: server,
    peer: here,
    remotes: [client.mac],
    family: 4,
    mtu: 1550,
  });
  const plane = new Plane(here.host);
  await plane.start({
    underlay: { address: vtep(here, 4) },
    networks: [blue([client], [{ workload: server, vtep: vtep(there, 4) }])],
    services: all([server]),
  });
  await awaitWord(spawnProgram(server.host, 'who', ['serve', 'kernel', '8080']), 'ready');
  for (const family of FAMILIES) {
    for (const protocol of ['tcp', 'udp'] as const) {
      t.is(await ask(client, protocol, VIRTUAL[family]), `kernel ${address(client, family)}`);
    }
    const { sum_received: sum } = await iperf(client, server, family, ['-n', '64M']);
    t.true(sum!.bytes > 60e6);
  }
  t.deepEqual(await dropsOf(plane), {});
});

labTest(
  'in a network that learns, destinations of whom nobody said anything serve, here and behind a kernel vxlan',
  ['iperf3'],
  async (t, lab) => {
    const [here, there] = (await sites(lab, 2)) as [Site, Site];
    const [client, near, far] = (await Promise.all(
      [2, 3, 4].map((n) => workload(lab, n)),
    )) as Place['workloads'];
    await kernelPeer(lab, { site: there, workload: far, peer: here, family: 4, mtu: 1550 });
    const plane = new Plane(here.host);
    const network = blue([client, near], [{ workload: far, vtep: vtep(there, 4) }], { learning: true });
    // The address of the near one is its own affair.
    network.endpoints![1]!.addresses = [];
    await plane.start({
      ...{ underlay: { address: vtep(here, 4) }, engine: { count: 2 } },
      ...{ networks: [network], services: all([near, far]) },
    });
    await near.host.ip(`addr add ${near.ipv4}/24 dev eth0`);
    await near.host.ip(`addr add ${near.ipv6}/64 dev eth0 nodad`);
    for (const { host, number } of [near, far]) {
      await awaitWord(spawnProgram(host, 'who', ['serve', `w${number}`, '8080']), 'ready');
    }
    for (const family of FAMILIES) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const got = new Set<string>();
        // Each engine schedules by itself.
        for (let i = 0; i < 8; i++) got.add(await ask(client, protocol, VIRTUAL[family]));
        t.deepEqual(
          [...got].sort(),
          ['w3', 'w4'].map((name) => `${name} ${address(client, family)}`),
        );
      }
    }
    t.is((await plane.stats()).drops['destination-unknown'], 0);
  },
);
