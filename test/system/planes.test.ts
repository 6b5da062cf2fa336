/** Data planes with each other: devices mixed, both families of underlay, networks apart, flooding, answers, learning. */
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { type Host, Lab } from '../../src/cli/lab/lab.js';
import type { FdbRow } from '../../src/dataplane/report.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { sendFrames, stopProgram } from './world/programs.js';
import {
  blue,
  type Family,
  OVERHEAD,
  type Site,
  seat,
  sites,
  VNI,
  vtep,
  type Workload,
  workload,
} from './world/sites.js';
import { bodiesBothWays, ping, reaches, refusedWithMtu, tcpBothWays } from './world/traffic.js';
import { until } from './world/until.js';
import { Capture, inspect, segmentWire, tshark } from './world/wire.js';

type Device = 'tunnel' | 'udp';

/** A workload and a data plane a host, each knowing all the others. Workload 2 is on host 1, and so on. */
async function mesh(
  lab: Lab,
  hosts: Site[],
  family: Family,
  devices: Device[] = [],
  more: Parameters<typeof blue>[2] = {},
  engine: { count?: number } = {},
): Promise<{ workloads: Workload[]; planes: Plane[] }> {
  const workloads: Workload[] = [];
  for (const { number } of hosts) workloads.push(await workload(lab, number + 1));
  const planes = hosts.map(({ host }) => new Plane(host));
  await Promise.all(
    planes.map((plane, i) => {
      const there = hosts.flatMap((site, j) =>
        j === i ? [] : [{ workload: workloads[j]!, vtep: vtep(site, family) }],
      );
      return plane.start({
        underlay: { address: vtep(hosts[i]!, family), device: devices[i] ?? 'auto' },
        engine,
        networks: [blue([workloads[i]!], there, more)],
      });
    }),
  );
  return { workloads, planes };
}

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

/** Frames of the local experimental EtherType that arrive at a workload, counted by their last byte. */
class Listener {
  readonly #child;
  readonly lines: string[] = [];

  private constructor(host: Host, filter: string) {
    // A small snaplen, for in immediate mode each frame takes that much of the kernel's buffer.
    const capture = ['-i', 'eth0', '-Q', 'in', '-s', '2048', '--immediate-mode', '-Z', 'root'];
    const options = ['-n', '-e', '-xx', '-l', ...capture];
    this.#child = host.spawn('tcpdump', [...options, ...filter.split(' ')]);
  }

  static async start({ host }: Workload, filter = 'ether proto 0x88b5'): Promise<Listener> {
    const listener = new Listener(host, filter);
    createInterface({ input: listener.#child.stdout! }).on('line', (line) => listener.lines.push(line));
    await new Promise<void>((resolve) => {
      listener.#child.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('listening')) resolve();
      });
    });
    return listener;
  }

  /** All bytes, in hexadecimal digits, of the frames so far. */
  get frames(): string[] {
    const text = this.lines.map((line) => (/^\s+0x/.test(line) ? line.replace(/^\s+0x\w+:/, '') : '|'));
    return text
      .join('')
      .split('|')
      .map((frame) => frame.replace(/\s/g, ''))
      .filter(Boolean);
  }

  stop(): Promise<string> {
    return stopProgram(this.#child);
  }
}

const digits = (mac: string) => mac.replaceAll(':', '');
/** A frame of the local experimental EtherType. */
const experimental = (to: string, from: string, payload: string) =>
  `${digits(to)}${digits(from)}88b5${payload.padEnd(92, '0')}`;

/** The frames that came, once so many have. */
async function sorted(listener: Listener, count: number): Promise<string[]> {
  await until(`${count} frames`, () => listener.frames.length >= count);
  return listener.frames.sort();
}

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
