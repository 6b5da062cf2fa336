/** What a network's bridge does between hosts: flooding, VLAN tags, answers, learning, group policies, MSS clamping. */
import type { ExecutionContext } from 'ava';
import type { FdbRow, VtepRow } from '../../src/dataplane/report.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { sendFrames } from './world/programs.js';
import {
  blue,
  type Family,
  mesh,
  type Site,
  seat,
  sites,
  VNI,
  vtep,
  type Workload,
  workload,
} from './world/sites.js';
import { bodiesBothWays, ping, reaches } from './world/traffic.js';
import { until } from './world/until.js';
import { Capture, digits, experimental, Listener, sorted, tshark } from './world/wire.js';

labTest(
  'a frame to everybody, to a group and to an unknown MAC comes to each workload of its network once, and not back',
  ['python3', 'tcpdump'],
  async (t, lab) => {
    const hosts = await sites(lab, 4);
    const workloads: Workload[] = [];
    for (const { number } of hosts) workloads.push(await workload(lab, number + 1));
    const [neighbour, stranger] = [await workload(lab, 12), await workload(lab, 13)];
    for (const [i, { host }] of hosts.entries()) {
      const here = i === 0 ? [workloads[0]!, neighbour] : [workloads[i]!];
      const others = hosts.filter((_, j) => j !== i).map((site) => vtep(site, 4));
      await new Plane(host).start({
        underlay: { address: vtep(hosts[i]!, 4) },
        networks: [
          blue(here, [], { vteps: others }),
          ...(i === 1 ? [blue([stranger], [], { name: 'other', vni: 7, vteps: others })] : []),
        ],
      });
    }
    const from = workloads[0]!;
    const listeners = await Promise.all(
      [...workloads.slice(1), neighbour, stranger, from].map((each) => Listener.start(each)),
    );
    const targets = ['ff:ff:ff:ff:ff:ff', '01:00:5e:01:02:03', '33:33:00:00:00:77', '02:99:99:99:99:99'];
    const frames = targets.flatMap((to, i) =>
      Array.from({ length: 20 }, (_, n) =>
        experimental(to, from.mac, `${i}0${n.toString(16).padStart(2, '0')}`),
      ),
    );
    await sendFrames(from.host, 'eth0', frames);
    const wanted = [...frames].sort();
    for (const listener of listeners.slice(0, 4)) t.deepEqual(await sorted(listener, frames.length), wanted);
    for (const listener of listeners.slice(4)) t.deepEqual(listener.frames, []);
    await Promise.all(listeners.map((listener) => listener.stop()));
  },
);

labTest(
  'frames with one and with two VLAN tags come to a data plane and to the kernel as they were sent',
  ['python3', 'tcpdump', 'bridge', 'ping'],
  async (t, lab) => {
    const [a, b, c] = (await sites(lab, 3)) as [Site, Site, Site];
    const [wa, wb, wc] = [await workload(lab, 2), await workload(lab, 3), await workload(lab, 4)];
    await kernelPeer(lab, {
      ...{ site: c, workload: wc, peer: a, remotes: [wa.mac], family: 4 as const, mtu: 1550 },
    });
    const there = [
      { workload: wb, vtep: vtep(b, 4) },
      { workload: wc, vtep: vtep(c, 4) },
    ];
    await new Plane(a.host).start({ underlay: { address: vtep(a, 4) }, networks: [blue([wa], there)] });
    await new Plane(b.host).start({
      underlay: { address: vtep(b, 4) },
      networks: [blue([wb], [{ workload: wa, vtep: vtep(a, 4) }])],
    });
    for (const [from, to] of [
      [wa, wb],
      [wb, wa],
      [wa, wc],
      [wc, wa],
    ] as const) {
      const listener = await Listener.start(to, 'vlan');
      const tag = (tags: string, size: number) =>
        `${digits(to.mac)}${digits(from.mac)}${tags}88b5${'5a'.repeat(size)}`;
      // The largest that the underlay takes, which knows nothing of tags.
      const sent = [tag('81000005', 46), tag('8100e00a', 1496), tag('88a800078100000a', 46)];
      await sendFrames(from.host, 'eth0', sent);
      t.deepEqual(await sorted(listener, sent.length), [...sent].sort(), `${from.ipv4} → ${to.ipv4}`);
      await listener.stop();
    }
  },
);

/** Whether the underlay has carried a request for an address that everybody was asked for. */
const asked = (file: string) =>
  tshark(
    file,
    'vxlan && ((arp.opcode == 1 && eth.dst == ff:ff:ff:ff:ff:ff) || (icmpv6.type == 135 && ipv6.dst == ff02::/16))',
    ['arp.dst.proto_ipv4', 'icmpv6.nd.ns.target_address'],
  );

labTest(
  'ARP and neighbour solicitations for known workloads are answered on the spot, and for others cross the underlay',
  ['ping', 'tcpdump', 'tshark'],
  async (t, lab) => {
    const hosts = await sites(lab, 2);
    const { workloads, planes } = await mesh(lab, hosts, 4);
    const [a, b] = workloads as [Workload, Workload];
    // A duplicate address that nobody has may be asked for by the stack itself, so flush, then listen, then ask.
    for (const each of [a, b]) await each.host.ip('neigh flush dev eth0');
    const capture = await Capture.start(hosts[0]!.host, 'udp port 4789');
    for (const family of [4, 6] as const) {
      t.true(await reaches(a, b, { family, count: 3 }));
      t.true(await reaches(b, a, { family, count: 3 }));
    }
    const neighbours = await a.host.ip('neigh show dev eth0');
    for (const known of [b.ipv4, b.ipv6]) t.regex(neighbours, new RegExp(`${known} lladdr ${b.mac}`));
    const { arpAnswered, ndAnswered } = (await planes[0]!.stats()).counters;
    t.true(arpAnswered >= 1 && ndAnswered >= 1);
    await ping(a, { ...b, ...seat(77) }, { patience: 1 });
    await ping(a, { ...b, ...seat(77) }, { patience: 1, family: 6 });
    await capture.stop();
    const lines = [...new Set(await asked(capture.file))];
    t.deepEqual(lines.map((line) => line.trim()).sort(), [seat(77).ipv4, seat(77).ipv6]);
  },
);

const learned = async (plane: Plane, of: Workload): Promise<FdbRow | undefined> =>
  (await plane.ask<FdbRow[]>('fdb')).find((row) => row.mac === of.mac && row.origin === 'learned');

labTest(
  'a network that learns finds out who is where, follows who moves, and forgets who is silent',
  ['ping', 'python3'],
  async (t, lab) => {
    const hosts = await sites(lab, 3);
    const { workloads, planes } = await mesh(lab, hosts, 6, [], { learning: true, ageingSeconds: 3 });
    const [a, b, c] = workloads as [Workload, Workload, Workload];
    t.true(await reaches(a, b, { family: 6 }));
    const row = await until('b is learned', () => learned(planes[0]!, b));
    t.is(row.via, vtep(hosts[1]!, 6));
    t.is((await until('a is learned', () => learned(planes[1]!, a))).via, vtep(hosts[0]!, 6));
    t.true(await reaches(c, a), 'a was learned by flooding');

    // c says that it has b's MAC now.
    await until('b seems to be where c is', async () => {
      await sendFrames(c.host, 'eth0', [experimental('ff:ff:ff:ff:ff:ff', b.mac, '')]);
      return (await learned(planes[0]!, b))?.via === vtep(hosts[2]!, 6);
    });
    await until('b is forgotten', async () => (await learned(planes[0]!, b)) === undefined, 60);
    t.true(await reaches(a, b, { family: 6 }), 'and found again');
  },
);

labTest(
  'a VTEP that nobody named is known from its first frame on, and forgotten when it has been silent long enough',
  ['ping'],
  async (t, lab) => {
    const [a, b, c] = (await sites(lab, 3)) as [Site, Site, Site];
    const [wa, wb, wc] = [await workload(lab, 2), await workload(lab, 3), await workload(lab, 4)];
    const [plane, stranger] = [new Plane(a.host), new Plane(c.host)];
    const more = { learning: true, ageingSeconds: 2 };
    await plane.start({
      underlay: { address: vtep(a, 4) },
      networks: [blue([wa], [{ workload: wb, vtep: vtep(b, 4) }], more)],
    });
    const known = async () => (await plane.ask<VtepRow[]>('vteps')).map((row) => row.address).sort();
    t.deepEqual(await known(), [vtep(b, 4)]);
    await stranger.start({
      underlay: { address: vtep(c, 4) },
      networks: [blue([wc], [{ workload: wa, vtep: vtep(a, 4) }], more)],
    });
    for (let round = 0; round < 2; round++) {
      t.true(await reaches(wc, wa));
      t.deepEqual(await known(), [vtep(b, 4), vtep(c, 4)]);
      await until('the stranger is forgotten', async () => (await known()).length === 1, 60);
    }
    t.is((await plane.stats()).counters.vtepsRefused, 0);
  },
);

labTest(
  'a group policy is sent where one is asked for, understood by the kernel, and otherwise no bit of it is set',
  ['ping', 'bridge', 'tcpdump', 'tshark'],
  async (t, lab) => {
    const [a, b] = (await sites(lab, 2)) as [Site, Site];
    const [wa, wb] = [await workload(lab, 2), await workload(lab, 3)];
    await kernelPeer(lab, {
      ...{ site: b, workload: wb, peer: a, remotes: [wa.mac], family: 4 as const, mtu: 1550, words: 'gbp' },
    });
    const plane = new Plane(a.host);
    const config = (more: Parameters<typeof blue>[2]) => ({
      underlay: { address: vtep(a, 4) },
      networks: [blue([wa], [{ workload: wb, vtep: vtep(b, 4) }], more)],
    });
    await plane.start(config({ groupPolicy: 4711 }));
    for (const [policy, flags, group] of [
      [4711, '0x8800', '4711'],
      [null, '0x0800', '0'],
    ] as const) {
      t.true(await plane.reload(config({ groupPolicy: policy })));
      const capture = await Capture.start(a.host, `udp port 4789 and src host ${vtep(a, 4)}`);
      t.true(await reaches(wa, wb, { size: 1500 }));
      await capture.stop();
      const seen = await tshark(capture.file, `vxlan.vni == ${VNI}`, ['vxlan.flags', 'vxlan.gbp']);
      t.deepEqual([...new Set(seen)], [`${flags}\t${group}`]);
      t.deepEqual(await bodiesBothWays(wa, wb, 4), [true, true]);
    }
  },
);

labTest(
  'unknown unicast stays at home when floodUnknown is off, and a source MAC that is none is refused',
  ['python3', 'ping', 'tcpdump'],
  async (t, lab) => {
    const hosts = await sites(lab, 2);
    const { workloads, planes } = await mesh(lab, hosts, 4, [], { floodUnknown: false });
    const [a, b] = workloads as [Workload, Workload];
    const listener = await Listener.start(b);
    await sendFrames(a.host, 'eth0', [
      experimental('02:99:99:99:99:99', a.mac, '01'),
      experimental(b.mac, '01:00:00:00:00:01', '02'),
      experimental(b.mac, '00:00:00:00:00:00', '03'),
      experimental(a.mac, a.mac, '04'),
      experimental(b.mac, a.mac, '05'),
    ]);
    await expectDrops(t, planes[0]!, { 'unknown-unicast': 1, 'bad-source-mac': 2, 'same-port': 1 });
    t.deepEqual(await sorted(listener, 1), [experimental(b.mac, a.mac, '05')]);
    await listener.stop();
  },
);

async function expectDrops(t: ExecutionContext, plane: Plane, wanted: Record<string, number>): Promise<void> {
  for (const [reason, count] of Object.entries(wanted)) {
    const seen = async () => ((await plane.stats()).drops as Record<string, number>)[reason]!;
    await until(`${count} × ${reason}`, async () => (await seen()) >= count);
    t.is(await seen(), count, reason);
  }
}

labTest(
  'mssClamp lowers what TCP offers to what the network carries, where a workload believes in more',
  ['ping', 'bridge', 'tcpdump', 'tshark'],
  async (t, lab) => {
    const [a, b] = (await sites(lab, 2, 1500)) as [Site, Site];
    const [wa, wb] = [await workload(lab, 2), await workload(lab, 3)];
    await kernelPeer(lab, {
      ...{ site: b, workload: wb, peer: a, remotes: [wa.mac], family: 4 as const, mtu: 1550 },
    });
    const plane = new Plane(a.host);
    const network = blue([wa], [{ workload: wb, vtep: vtep(b, 4) }], { mssClamp: true });
    network.endpoints = [{ ...network.endpoints![0]!, mtu: 1500 }];
    await plane.start({ underlay: { address: vtep(a, 4) }, networks: [network] });
    const capture = await Capture.start(a.host, 'udp port 4789');
    t.deepEqual(await bodiesBothWays(wa, wb, 8, { family: 4 }), [true, true]);
    t.deepEqual(await bodiesBothWays(wa, wb, 8, { family: 6 }), [true, true]);
    await capture.stop();
    // Those of the kernel's workload are captured before they come to us, so they say what it believes.
    const offered = (family: Family) =>
      tshark(
        capture.file,
        `tcp.flags.syn == 1 && ip.src == ${vtep(a, 4)} && ${family === 4 ? `ip.src == ${wa.ipv4}` : `ipv6.src == ${wa.ipv6}`}`,
        ['tcp.options.mss_val'],
      );
    t.deepEqual([...new Set(await offered(4))], ['1410']);
    t.deepEqual([...new Set(await offered(6))], ['1390']);
    t.true((await plane.stats()).counters.mssClamped >= 8);
  },
);
