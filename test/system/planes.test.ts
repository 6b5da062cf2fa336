/** Data planes with each other: devices mixed, both families of underlay, networks apart, several engines. */
import { Lab } from '../../src/cli/lab/lab.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import {
  blue,
  type Device,
  type Family,
  mesh,
  OVERHEAD,
  type Site,
  sites,
  vtep,
  type Workload,
  workload,
} from './world/sites.js';
import { bodiesBothWays, ping, reaches, refusedWithMtu, tcpBothWays } from './world/traffic.js';
import { Capture, inspect, segmentWire } from './world/wire.js';

const pairs: [Device, Device, Family][] = [
  ['tunnel', 'tunnel', 4],
  ['tunnel', 'tunnel', 6],
  ['udp', 'udp', 4],
  ['udp', 'udp', 6],
  ['tunnel', 'udp', 4],
  ['tunnel', 'udp', 6],
];

for (const [left, right, family] of pairs) {
  labTest(
    `a ${left} and a ${right} device over IPv${family}: pings of every size and bodies pass, and the wire is sound`,
    ['ping', 'iperf3', 'tcpdump', 'tshark', 'ethtool'],
    async (t, lab) => {
      const underlay = 1500 + OVERHEAD[family];
      const hosts = await sites(lab, 2, underlay);
      const { workloads, planes } = await mesh(lab, hosts, family, [left, right]);
      const [a, b] = workloads as [Workload, Workload];
      t.deepEqual(await Promise.all(planes.map(async (plane) => (await plane.stats()).underlay.kind)), [
        left,
        right,
      ]);
      for (const inner of [4, 6] as const) {
        t.true(await reaches(a, b, { family: inner, size: 1500 }));
        t.true(await reaches(b, a, { family: inner, size: 1499 }));
        t.is(await refusedWithMtu(a, b, 1501, inner), 1500);
        t.is((await ping(b, a, { family: inner, size: 9000, whole: false })).code, 0, 'fragments');
      }
      for (const bytes of await tcpBothWays(a, b, 6)) t.true(bytes > 1e6);
      t.deepEqual(await bodiesBothWays(a, b, 64), [true, true], 'SHA-256');
      await segmentWire(hosts.map(({ host }) => host));
      const capture = await Capture.start(hosts[0]!.host);
      t.deepEqual(await bodiesBothWays(a, b, 2), [true, true], 'SHA-256, real segments');
      t.deepEqual(await bodiesBothWays(a, b, 2, { family: 6 }), [true, true], 'SHA-256, real segments');
      await capture.stop();
      const { sound, faults } = await inspect(capture.file);
      t.deepEqual(faults, []);
      t.true(sound > (8 << 20) / 1500, `${sound} TCP segments with a right checksum`);
    },
  );
}

labTest(
  'HTTP bodies of 1 GiB in both directions at once arrive with the right SHA-256',
  [],
  async (t, lab) => {
    const { workloads } = await mesh(lab, await sites(lab, 2), 4);
    const [a, b] = workloads as [Workload, Workload];
    t.deepEqual(await bodiesBothWays(a, b, 1024, { timeoutMs: 240_000 }), [true, true]);
  },
);

labTest(
  'VTEPs of both families at once: one host reaches another over IPv4 and a third over IPv6',
  ['ping'],
  async (t, lab) => {
    const [a, b, c] = (await sites(lab, 3)) as [Site, Site, Site];
    const [wa, wb, wc] = [await workload(lab, 2), await workload(lab, 3), await workload(lab, 4)];
    const planes = [a, b, c].map(({ host }) => new Plane(host));
    const known = [
      [wa, wb, 4, 4],
      [wa, wc, 6, 6],
      [wb, wc, 6, 6],
    ] as const;
    const there = (own: Workload) =>
      known.flatMap(([x, y, family]) => {
        if (x !== own && y !== own) return [];
        const other = x === own ? y : x;
        return [{ workload: other, vtep: vtep([a, b, c][other.number - 2]!, family) }];
      });
    for (const [i, own] of [wa, wb, wc].entries()) {
      const site = [a, b, c][i]!;
      await planes[i]!.start({
        underlay: { address: [vtep(site, 4), vtep(site, 6)] },
        networks: [blue([own], there(own), { mtu: 1480 })],
      });
    }
    for (const [x, y] of known) {
      for (const family of [4, 6] as const) {
        t.true(await reaches(x, y, { family, size: 1480 }));
        t.true(await reaches(y, x, { family, size: 1480 }));
      }
      t.deepEqual(await bodiesBothWays(x, y, 16), [true, true]);
    }
    const vteps = (await planes[0]!.stats()).vteps.filter(({ txPackets }) => txPackets > 100);
    t.deepEqual(vteps.map(({ address }) => address).sort(), [vtep(b, 4), vtep(c, 6)].sort());
  },
);

/** Echo requests that the namespace's own stack has received. */
async function echoes({ host }: Workload): Promise<number> {
  const { stdout } = await host.run('cat', ['/proc/net/snmp']);
  const [names, values] = stdout.split('\n').filter((line) => line.startsWith('Icmp:'));
  const column = names!.split(' ').indexOf('InEchos');
  return Number(values!.split(' ')[column]);
}

labTest(
  'two networks with the same MACs and addresses are kept apart, also while one of them has nobody at home',
  ['ping'],
  async (t, lab) => {
    const hosts = (await sites(lab, 2)) as [Site, Site];
    const planes = hosts.map(({ host }) => new Plane(host)) as [Plane, Plane];
    const pair = async (name: string): Promise<[Workload, Workload]> => [
      await workload(lab, 2, `${name}2`),
      await workload(lab, 3, `${name}3`),
    ];
    const [red, green] = [await pair('red'), await pair('green')];
    const config = (i: 0 | 1, greenIsHere = true) => {
      const at = vtep(hosts[1 - i]!, 4);
      return {
        underlay: { address: vtep(hosts[i], 4) },
        networks: [
          blue([red[i]], [{ workload: red[1 - i]!, vtep: at }], { name: 'red', vni: 100 }),
          blue(greenIsHere ? [green[i]] : [], [{ workload: green[1 - i]!, vtep: at }], {
            name: 'green',
            vni: 200,
          }),
        ],
      };
    };
    for (const i of [0, 1] as const) await planes[i].start(config(i));
    t.true(await reaches(red[0], red[1], { count: 20 }));
    t.is(await echoes(green[1]), 0);
    t.true(await reaches(green[1], green[0], { count: 20 }));
    t.is(await echoes(red[0]), 0);
    const whole = await Promise.all([
      bodiesBothWays(red[0], red[1], 16),
      bodiesBothWays(green[0], green[1], 16),
    ]);
    t.deepEqual(whole, [
      [true, true],
      [true, true],
    ]);

    t.true(await planes[1].reload(config(1, false)));
    const before = await echoes(red[1]);
    t.is((await ping(green[0], green[1], { count: 5, patience: 1 })).code, 1, 'nobody answers in green');
    t.is(await echoes(red[1]), before, 'and red has not heard of it');
    t.true(await reaches(red[0], red[1]));
  },
);

labTest(
  'two engines on each side share the work: pings, TCP streams and bodies pass in both directions',
  ['ping', 'iperf3'],
  async (t, lab) => {
    for (const [device, net] of [
      ['tunnel', 'a'],
      ['udp', 'b'],
    ] as const) {
      const own = new Lab(`${lab.prefix}${net}`);
      try {
        const hosts = await sites(own, 2);
        const { workloads, planes } = await mesh(own, hosts, 4, [device, device], {}, { count: 2 });
        const [a, b] = workloads as [Workload, Workload];
        t.is((await planes[0]!.stats()).engines, 2);
        t.true(await reaches(a, b, { family: 6, size: 1500 }));
        t.is((await ping(a, b, { size: 9000, whole: false })).code, 0, 'fragments');
        for (const bytes of await tcpBothWays(a, b, 4, '64M', 4)) t.true(bytes > 1e6);
        t.deepEqual(await bodiesBothWays(a, b, 64), [true, true]);
        for (const plane of planes) t.is(await plane.end(), 0);
      } finally {
        await own.remove();
      }
    }
  },
);
