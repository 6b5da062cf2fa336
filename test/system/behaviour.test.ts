/** What a data plane does as a service: reloads, ends, is killed and comes back, follows its host, shows and traces. */

import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Lab, run } from '../../src/cli/lab/lab.js';
import type { EndpointRow, FdbRow, NetworkRow, VtepRow } from '../../src/dataplane/report.js';
import { labTest } from './world/needs.js';
import { Plane, scratch } from './world/plane.js';
import { sendFrames, stopProgram } from './world/programs.js';
import { blue, CABLE, type Site, sites, vtep, type Workload, workload } from './world/sites.js';
import { bodiesBothWays, ping, reaches, refusedWithMtu } from './world/traffic.js';
import { until } from './world/until.js';
import { Capture, tshark } from './world/wire.js';

type Networks = ReturnType<typeof blue>[];
type Device = 'tunnel' | 'udp';

interface Pair {
  hosts: [Site, Site];
  a: Workload;
  b: Workload;
  planes: [Plane, Plane];
  /** the configuration of side 0 or 1, with further networks */
  config: (
    side: 0 | 1,
    more?: Networks,
    change?: Parameters<typeof blue>[2],
  ) => Parameters<Plane['write']>[0];
}

/** Two data planes with a workload each, in network blue. */
async function pair(lab: Lab, device: Device): Promise<Pair> {
  const hosts = (await sites(lab, 2)) as [Site, Site];
  const [a, b] = [await workload(lab, 2), await workload(lab, 3)];
  const planes: [Plane, Plane] = [new Plane(hosts[0].host), new Plane(hosts[1].host)];
  const config: Pair['config'] = (side, more = [], change = {}) => {
    const [own, other] = side === 0 ? [a, b] : [b, a];
    const there = [{ workload: other, vtep: vtep(hosts[1 - side]!, 4) }];
    const address = vtep(hosts[side], 4);
    return { underlay: { address, device }, networks: [blue([own], there, change), ...more] };
  };
  await Promise.all([planes[0].start(config(0)), planes[1].start(config(1))]);
  return { hosts, a, b, planes, config };
}

/**
 * Pings a hundred times a second until it is stopped, which tells how many were answered and which not. What was sent
 * in the instant of the end doesn't count: it may be under way.
 */
function steadyPing(from: Workload, to: Workload): () => Promise<{ answered: number; missing: number[] }> {
  const child: ChildProcess = from.host.spawn('ping', ['-n', '-i', '0.01', '-W', '10', to.ipv4]);
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const answers = () => [...said.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number));
  return async () => {
    const before = Math.max(0, ...answers());
    await until('later pings are answered', () => Math.max(0, ...answers()) > before + 10);
    await stopProgram(child, 'SIGINT');
    const seen = new Set(answers());
    const last = Math.max(...seen);
    const missing = Array.from({ length: last }, (_, i) => i + 1).filter((number) => !seen.has(number));
    return { answered: seen.size, missing };
  };
}

for (const device of ['tunnel', 'udp'] as const) {
  labTest(
    `SIGHUP adds and removes networks, endpoints and remotes, and unchanged networks lose no frame (${device} device)`,
    ['ping'],
    async (t, lab) => {
      const { hosts, a, b, planes, config } = await pair(lab, device);
      const [c, d] = [await workload(lab, 4), await workload(lab, 5)];
      const green = [
        blue([c], [{ workload: d, vtep: vtep(hosts[1], 4) }], { name: 'green', vni: 42 }),
        blue([d], [{ workload: c, vtep: vtep(hosts[0], 4) }], { name: 'green', vni: 42 }),
      ] as const;
      t.true(await reaches(a, b));
      const stop = steadyPing(a, b);
      const transfer = bodiesBothWays(a, b, 256, { timeoutMs: 240_000 });

      for (let round = 0; round < 3; round++) {
        for (const side of [0, 1] as const) t.true(await planes[side].reload(config(side, [green[side]])));
        t.true(await reaches(c, d), 'the added network carries');
        const rows = await planes[0].ask<NetworkRow[]>('networks');
        t.deepEqual(rows.map(({ name }) => name).sort(), ['blue', 'green']);
        for (const side of [0, 1] as const) t.true(await planes[side].reload(config(side)));
        t.is((await planes[0].ask<NetworkRow[]>('networks')).length, 1);
        t.deepEqual((await c.host.ip('-o link show')).match(/eth0/g), null, 'its interface is gone');
        t.deepEqual(
          (await planes[0].ask<FdbRow[]>('fdb')).filter(({ network }) => network === 'green'),
          [],
        );
      }
      // Of the network itself: a further endpoint and a further remote.
      const more = config(0);
      more.networks![0] = blue(
        [a, c],
        [b, d].map((each) => ({ workload: each, vtep: vtep(hosts[1], 4) })),
      );
      t.true(await planes[0].reload(more));
      t.true(await reaches(c, a));
      t.is((await planes[0].ask<EndpointRow[]>('endpoints')).length, 2);
      t.true(await planes[0].reload(config(0)));

      t.deepEqual(await transfer, [true, true], 'a transfer went on all the while');
      const { answered, missing } = await stop();
      t.true(answered > 50, `${answered} pings`);
      t.deepEqual(missing, [], 'no ping was lost');
    },
  );
}

labTest(
  'a faulty file is refused with the path of each fault, and what ran runs on',
  ['ping'],
  async (t, lab) => {
    const { a, b, planes, config } = await pair(lab, 'tunnel');
    const stop = steadyPing(a, b);
    const faulty = config(0);
    faulty.networks!.push({ name: 'bad', vni: 0, vteps: ['nowhere'] });
    t.false(await planes[0].reload(faulty));
    t.regex(planes[0].log, /networks\[1\]\.vni/);
    t.regex(planes[0].log, /networks\[1\]\.vteps\[0\]/);

    const impossible = config(0);
    const nobody = {
      ...b,
      interface: 'eth7',
      host: { ...b.host, netns: 'viaduct-no-such-netns' } as Workload['host'],
    };
    impossible.networks!.push(blue([nobody], [], { name: 'bad', vni: 8 }));
    t.false(await planes[0].reload(impossible));
    t.regex(planes[0].log, /viaduct-no-such-netns/);
    t.is((await planes[0].command('apply', '/dev/null')).code, 1);

    t.deepEqual(
      (await planes[0].ask<NetworkRow[]>('networks')).map(({ name }) => name),
      ['blue'],
    );
    t.deepEqual(await bodiesBothWays(a, b, 4), [true, true]);
    t.true(await planes[0].reload({ underlay: config(0).underlay, networks: config(0).networks! }));
    t.deepEqual((await stop()).missing, []);
  },
);

labTest(
  'networks: [] is a configuration, and networks can come and all go again',
  ['ping'],
  async (t, lab) => {
    const { a, b, planes, config } = await pair(lab, 'tunnel');
    t.true(await planes[0].reload({ ...config(0), networks: [] }));
    t.deepEqual(await planes[0].ask('networks'), []);
    t.is((await ping(b, a, { patience: 1 })).code, 1);
    t.true(await planes[0].reload(config(0)));
    t.true(await reaches(a, b));
  },
);

const namesOf = async (where: { ip: (line: string) => Promise<string> }): Promise<string[]> =>
  [...(await where.ip('-o link show')).matchAll(/^\d+: ([^:@]+)/gm)].map(([, name]) => name!).sort();

labTest('SIGTERM ends with 0 and leaves no interface, socket or program', [], async (t, lab) => {
  const { hosts, a, planes } = await pair(lab, 'tunnel');
  t.true(planes[0].socketExists);
  t.true((await namesOf(hosts[0].host)).length > 2, 'the tunnel device is there');
  t.is(await planes[0].end('SIGTERM'), 0);
  t.deepEqual(await namesOf(hosts[0].host), [CABLE, 'lo']);
  t.deepEqual(await namesOf(a.host), ['lo']);
  t.false(planes[0].socketExists);
  await planes[0].start();
  t.is(await planes[0].end('SIGINT'), 0);
  t.regex(planes[0].log, /"stopped"/);
});

for (const device of ['tunnel', 'udp'] as const) {
  labTest(
    `a data plane that is killed is taken over by the next, and the traffic goes on (${device} device)`,
    ['ping'],
    async (t, lab) => {
      const { hosts, a, b, planes } = await pair(lab, device);
      t.true(await reaches(a, b));
      const transfer = bodiesBothWays(a, b, 64, { timeoutMs: 240_000 });
      // Underway: the receiver has got something.
      await until('the transfer is under way', async () => {
        const [row] = await planes[0].ask<EndpointRow[]>('endpoints');
        return row!.rxBytes > 1e6;
      });
      await planes[0].end('SIGKILL');
      t.true(planes[0].socketExists, 'a killed process can remove nothing');
      await planes[0].start();
      t.true(await reaches(b, a, { count: 2 }));
      t.true(await reaches(a, b, { family: 6 }));
      // The interface was made anew, so connections over it may have ended; what is opened now must pass.
      await transfer.catch(() => {});
      t.deepEqual(await bodiesBothWays(a, b, 16), [true, true]);
      t.deepEqual((await namesOf(hosts[0].host)).length, device === 'tunnel' ? 3 : 2);
      t.is(await planes[0].end(), 0);
    },
  );
}

labTest(
  'an endpoint whose namespace is deleted and made again is back by itself',
  ['ping'],
  async (t, lab) => {
    const { a, b, planes } = await pair(lab, 'tunnel');
    t.true(await reaches(a, b));
    await run('ip', ['netns', 'delete', a.host.netns]);
    await until('its loss is noticed', () => planes[0].log.includes('a namespace is gone'));
    t.is((await ping(b, a, { patience: 1 })).code, 1);
    await run('ip', ['netns', 'add', a.host.netns]);
    await until('its interface is there again', async () =>
      (await a.host.ip('addr show').catch(() => '')).includes(a.ipv4),
    );
    await until('and reached', async () => (await ping(b, a, { patience: 1 })).code === 0);
    t.true(await reaches(a, b, { family: 4 }));
    t.deepEqual(await bodiesBothWays(a, b, 4), [true, true]);
    const [row] = await planes[0].ask<EndpointRow[]>('endpoints');
    t.is(row!.mac, a.mac);
  },
);

labTest(
  'another MAC address of the next hop is followed, and of the own interface too',
  ['ping', 'tcpdump', 'tshark'],
  async (t, lab) => {
    const { hosts, a, b, planes } = await pair(lab, 'tunnel');
    t.true(await reaches(a, b));
    const far = await until(
      'the next hop is known',
      async () => (await planes[0].ask<VtepRow[]>('vteps'))[0]?.nextHop,
    );
    const other = '02:00:00:00:77:01';
    t.not(far, other);
    await hosts[1].host.ip(`link set ${CABLE} address ${other}`);
    // The neighbour's kernel learns of it from the next ARP; a gratuitous one is what a failover sends.
    await hosts[0].host.ip(`neigh replace ${vtep(hosts[1], 4)} lladdr ${other} dev ${CABLE} nud reachable`);
    await until(
      'the data plane has it',
      async () => (await planes[0].ask<VtepRow[]>('vteps'))[0]?.nextHop === other,
    );
    t.true(await reaches(a, b));
    t.true(await reaches(b, a));
    // What the other data plane sends comes from the address that its interface has now.
    const capture = await Capture.start(hosts[0].host, `src host ${vtep(hosts[1], 4)} and udp port 4789`);
    await until('the new address is used', async () => {
      await ping(b, a);
      return (await tshark(capture.file, 'vxlan', ['eth.src'])).at(-1)?.startsWith(other);
    });
    await capture.stop();
    t.deepEqual(await bodiesBothWays(a, b, 16), [true, true]);
  },
);

labTest('an underlay interface that goes down and up again carries again', ['ping'], async (t, lab) => {
  const { hosts, a, b } = await pair(lab, 'tunnel');
  t.true(await reaches(a, b));
  await hosts[0].host.ip(`link set ${CABLE} down`);
  t.is((await ping(a, b, { patience: 1 })).code, 1);
  await hosts[0].host.ip(`link set ${CABLE} up`);
  await until('it carries again', async () => (await ping(a, b, { patience: 1 })).code === 0);
  t.deepEqual(await bodiesBothWays(a, b, 16), [true, true]);
});

labTest('networks follow the MTU of the underlay interface, up and down', ['ping'], async (t, lab) => {
  const { hosts, a, b } = await pair(lab, 'tunnel');
  for (const mtu of [9000, 1500]) {
    // The wider end first, and the narrower one last.
    for (const { host } of hosts) await host.ip(`link set ${CABLE} mtu ${mtu}`);
    for (const each of [a, b]) {
      await until(`an interface of MTU ${mtu - 50}`, async () =>
        (await each.host.ip('link show eth0').catch(() => '')).includes(`mtu ${mtu - 50} `),
      );
    }
    await until(
      'the largest packet passes',
      async () => (await ping(a, b, { size: mtu - 50, patience: 1 })).code === 0,
    );
    t.is(await refusedWithMtu(a, b, mtu - 49, 4), mtu - 50);
    t.deepEqual(await bodiesBothWays(a, b, 16), [true, true]);
  }
});

labTest(
  'the underlay device and offloads change by a reload, and a transfer survives that',
  ['ping'],
  async (t, lab) => {
    const { a, b, planes, config } = await pair(lab, 'tunnel');
    t.true(await reaches(a, b));
    const transfer = bodiesBothWays(a, b, 256, { timeoutMs: 240_000 });
    for (const [device, offload] of [
      ['udp', {}],
      ['udp', { tso: false, uso: false }],
      ['udp', { checksum: false, segment: false }],
      ['tunnel', {}],
    ] as const) {
      const next = config(0);
      t.true(
        await planes[0].reload({ ...next, underlay: { ...next.underlay!, device }, offload }),
        planes[0].log,
      );
      t.is((await planes[0].stats()).underlay.kind, device);
      t.true(await reaches(a, b, { family: 6 }));
    }
    t.deepEqual(await transfer, [true, true]);
  },
);

interface TraceLine {
  hop: string;
  detail: string;
  packet: number;
}

labTest(
  'show, trace and capture tell what is there, which way a packet takes and why it is dropped',
  ['ping', 'tshark', 'python3'],
  async (t, lab) => {
    const { hosts, a, b, planes } = await pair(lab, 'tunnel');
    t.true(await reaches(a, b));
    const show = async <T>(table: string): Promise<T> => {
      const { code, stdout, stderr } = await planes[0].command('show', table, '--json');
      t.is(code, 0, stderr);
      return JSON.parse(stdout) as T;
    };
    t.like((await show<NetworkRow[]>('networks'))[0], { name: 'blue', vni: 4097, mtu: 1500 });
    t.like((await show<EndpointRow[]>('endpoints'))[0], {
      mac: a.mac,
      netns: a.host.netns,
      interface: 'eth0',
    });
    const fdb = await show<FdbRow[]>('fdb');
    t.like(
      fdb.find(({ mac }) => mac === b.mac),
      { via: vtep(hosts[1], 4), kind: 'remote', origin: 'static' },
    );
    t.is((await show<object[]>('neighbours')).length, 4);
    t.true((await show<Record<string, number>>('counters')).rxPackets! > 0);
    t.is(typeof (await show<Record<string, number>>('drops'))['too-big'], 'number');
    t.regex((await planes[0].command('show', 'networks')).stdout, /blue/);

    // A packet's way out and back, by a filter that matches nothing else.
    const trace = planes[0].spawnCommand('trace', '--json', 'icmp and greater 500');
    const hops = () =>
      trace
        .said()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as TraceLine);
    await until('a packet is traced', async () => {
      await ping(a, b, { size: 700 });
      return hops().some(({ hop }) => hop === 'tap.transmit');
    });
    await stopProgram(trace.child, 'SIGTERM');
    const seen = new Set(hops().map(({ hop }) => hop));
    for (const hop of [
      'tap.receive',
      'bridge.remote',
      'encap',
      'underlay.transmit',
      'decap',
      'tap.transmit',
    ]) {
      t.true(seen.has(hop), `${hop} of ${[...seen]}`);
    }

    const dropped = planes[0].spawnCommand('trace', '--json', 'ether src 01:00:00:00:00:01');
    const frame = `${b.mac.replaceAll(':', '')}01000000000188b5${'00'.repeat(46)}`;
    const drop = await until('a drop is traced', async () => {
      await sendFrames(a.host, 'eth0', [frame]);
      return dropped
        .said()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as TraceLine)
        .find(({ hop }) => hop === 'drop');
    });
    t.is(drop.detail, 'bad-source-mac');
    await stopProgram(dropped.child, 'SIGTERM');

    const file = join(scratch, 'captured.pcap');
    const capture = planes[0].spawnCommand('capture', '-w', file, 'icmp6 and ip6[40] == 128');
    await until('frames are captured', async () => {
      await ping(a, b, { family: 6 });
      return (await readFile(file).catch(() => Buffer.alloc(0))).length > 500;
    });
    const ended = new Promise<number | null>((resolve) => capture.child.once('close', resolve));
    capture.child.kill('SIGTERM');
    t.is(await ended, 0);
    const { stdout } = await run('tshark', [
      '-n',
      '-r',
      file,
      '-T',
      'fields',
      '-e',
      'ipv6.dst',
      '-e',
      'icmpv6.type',
    ]);
    const lines = [...new Set(stdout.trim().split('\n'))];
    t.deepEqual(lines, [`${b.ipv6}\t128`]);
    const bad = await planes[0].command('capture', '-w', join(scratch, 'none.pcap'), 'nonsense (');
    t.not(bad.code, 0);
  },
);
