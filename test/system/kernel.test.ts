/** Viaduct on one host, the kernel's own vxlan device and bridge on the other. */
import type { ExecutionContext } from 'ava';
import type { Lab } from '../../src/cli/lab/lab.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import {
  blue,
  CABLE,
  type Family,
  OVERHEAD,
  type Site,
  sites,
  vtep,
  type Workload,
  workload,
} from './world/sites.js';
import { bodiesBothWays, ping, reaches, refusedWithMtu, tcpBothWays, udp } from './world/traffic.js';
import { Capture, inspect, segmentWire } from './world/wire.js';

const PROGRAMS = ['bridge', 'ping', 'iperf3', 'tcpdump', 'tshark', 'ethtool'];

interface Row {
  family: Family;
  device: 'tunnel' | 'udp';
  fdb: 'static' | 'learning';
  /** of the underlay */
  mtu: number;
  vni?: number;
  port?: number;
}

interface Pair {
  hosts: [Site, Site];
  /** behind Viaduct */
  ours: Workload;
  /** behind the kernel */
  theirs: Workload;
  plane: Plane;
}

async function build(lab: Lab, row: Row): Promise<Pair> {
  const { family, device, mtu, vni = 4097, port = 4789 } = row;
  const hosts = (await sites(lab, 2, mtu)) as [Site, Site];
  const [ours, theirs] = [await workload(lab, 2), await workload(lab, 3)];
  const learning = row.fdb === 'learning';
  await kernelPeer(lab, {
    ...{ site: hosts[1], workload: theirs, peer: hosts[0], family, mtu, vni, port },
    ...(learning ? {} : { remotes: [ours.mac] }),
  });
  const plane = new Plane(hosts[0].host);
  await plane.start({
    underlay: { address: vtep(hosts[0], family), port, device },
    networks: [blue([ours], [{ workload: theirs, vtep: vtep(hosts[1], family) }], { vni, learning })],
  });
  return { hosts, ours, theirs, plane };
}

/** The largest packet passes and each larger one is refused with the MTU, at every size around it. */
async function sizesAround(t: ExecutionContext, from: Workload, to: Workload, mtu: number): Promise<void> {
  const families: Family[] = [4, 6];
  for (const family of families) {
    const smaller = [-3, -2, -1, 0].map((step) => mtu + step);
    const passed = await Promise.all(smaller.map((size) => reaches(from, to, { family, size })));
    t.deepEqual(passed, [true, true, true, true], `IPv${family} ${from.ipv4} → ${to.ipv4}: ${smaller}`);
    const larger = [1, 2, 3].map((step) => mtu + step);
    const said = await Promise.all(larger.map((size) => refusedWithMtu(from, to, size, family)));
    t.deepEqual(said, [mtu, mtu, mtu], `IPv${family} ${from.ipv4} → ${to.ipv4}: ${larger}`);
    t.is((await ping(from, to, { family, size: 3 * mtu, whole: false })).code, 0, 'fragmented by the sender');
  }
}

function matrixTest(row: Row): void {
  const { family, device, fdb, mtu, vni, port } = row;
  const overlay = mtu - OVERHEAD[family];
  const special = [vni && `VNI ${vni}`, port && `port ${port}`].filter(Boolean).join(', ');
  const title =
    `${device} over IPv${family}, ${fdb} FDB, MTU ${overlay} over ${mtu}${special && `, ${special}`}: ` +
    'pings of every size, TCP, UDP and HTTP pass between Viaduct and the kernel, and the wire is sound';
  labTest(title, PROGRAMS, async (t, lab) => {
    const { hosts, ours, theirs, plane } = await build(lab, row);
    t.is((await plane.stats()).underlay.kind, device);

    t.true(await reaches(theirs, ours), 'the first packet finds its way by flooding');
    t.true(await reaches(ours, theirs, { family: 6 }));
    await sizesAround(t, ours, theirs, overlay);
    await sizesAround(t, theirs, ours, overlay);

    for (const bytes of await tcpBothWays(ours, theirs, 4)) t.true(bytes > 1e6, `TCP over IPv4: ${bytes}`);
    for (const bytes of await tcpBothWays(theirs, ours, 6)) t.true(bytes > 1e6, `TCP over IPv6: ${bytes}`);
    for (const [from, to] of [
      [ours, theirs],
      [theirs, ours],
    ] as const) {
      const { sent, lost } = await udp(from, to, family === 4 ? 6 : 4);
      t.true(sent > 100 && lost < sent / 2, `UDP ${from.ipv4} → ${to.ipv4}: ${lost} of ${sent} lost`);
    }
    t.deepEqual(await bodiesBothWays(ours, theirs, 64, { family }), [true, true], 'SHA-256');

    await segmentWire(hosts.map(({ host }) => host));
    const capture = await Capture.start(hosts[0].host, '', CABLE);
    t.deepEqual(await bodiesBothWays(ours, theirs, 2, { family: 4 }), [true, true], 'SHA-256, real segments');
    t.deepEqual(await bodiesBothWays(ours, theirs, 2, { family: 6 }), [true, true], 'SHA-256, real segments');
    t.true(await reaches(ours, theirs, { family, size: 3 * overlay, whole: false }));
    await capture.stop();
    const { sound, faults } = await inspect(capture.file, port);
    t.deepEqual(faults, []);
    t.true(sound > (8 << 20) / mtu, `${sound} TCP segments with a right checksum`);
    t.false(plane.log.includes('"level":"error"'), plane.log);
  });
}

/** All of them; VNIs and ports at their bounds in some of the wide ones. */
const SPECIAL: Readonly<Record<string, Pick<Row, 'vni' | 'port'>>> = {
  '4 tunnel static': { vni: 0xffffff, port: 8472 },
  '4 udp learning': { vni: 1 },
  '6 udp static': { port: 14_789 },
};
for (const family of [4, 6] as const) {
  for (const device of ['tunnel', 'udp'] as const) {
    for (const fdb of ['static', 'learning'] as const) {
      for (const mtu of [1500, 1500 + OVERHEAD[family], 9000]) {
        const special = mtu === 9000 ? SPECIAL[`${family} ${device} ${fdb}`] : {};
        matrixTest({ family, device, fdb, mtu, ...special });
      }
    }
  }
}
