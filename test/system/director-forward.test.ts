/**
 * Forwarding without masquerading: direct routing, tunnels, and the director itself as a destination. The servers have the
 * service's address, and answer the client past the director:
 *
 *     client .2 ──┐
 *     director .1 ┼── switch, 10.0.0.0/24 and fd00::/64
 *     servers .11, .12 ──┘
 */
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { decapsulate } from './world/decapsulator.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';
import { Capture, faultsIn, segmentWire, tshark } from './world/wire.js';

const VIRTUAL = { 4: '203.0.113.80', 6: '2001:db8::80' } as const;
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
type Services = NonNullable<Written['services']>;
type Destination = NonNullable<Services[number]['destinations']>[number];
type Forwarding = Pick<Destination, 'forward' | 'tunnel'>;

const GUE = 6080;
const WHO = 8080;
const BODY = 5201;
const tunnel = (
  type: 'ipip' | 'gre' | 'gue',
  checksum: 'none' | 'checksum' | 'remote' = 'none',
): Forwarding => ({
  forward: 'tunnel',
  tunnel: { type, checksum, port: type === 'gue' ? GUE : 0 },
});

const at = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
const addressOf = (number: number, family: Family) => (family === 4 ? `10.0.0.${number}` : `fd00::${number}`);

const FROM_DIRECTOR = `src host ${addressOf(1, 4)} or src host ${addressOf(1, 6)}`;

/** What IP_MTU_DISCOVER may be. PROBE sends with DF, whatever is known of the path. */
const [DONT, DO, PROBE] = [0, 2, 3];

/** argv: address, port, bytes of the packet, IP_MTU_DISCOVER */
const DATAGRAM = `
import errno, socket, sys, time
address, port, size, discover = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
six = ':' in address
level, how, mtu = (41, 23, 24) if six else (0, 10, 14)
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(level, how, discover)
s.setsockopt(level, 25 if six else 11, 1)
s.connect((address, port))
s.settimeout(2)
try:
    s.send(bytes(size - (48 if six else 28)))
    s.recv(100)
    print('answer')
except socket.timeout:
    print('nothing')
except OSError as fault:
    print('mtu %d' % s.getsockopt(level, mtu) if fault.errno == errno.EMSGSIZE else errno.errorcode[fault.errno])
`;

/** Sends a datagram whose packet has so many bytes: 'answer', 'mtu 1480', 'nothing', or the name of an error. */
async function datagram(from: Host, family: Family, bytes: number, discover: number): Promise<string> {
  const args = ['-c', DATAGRAM, VIRTUAL[family], String(WHO), String(bytes), String(discover)];
  return (await from.run('python3', args)).stdout.trim();
}

interface Place {
  client: Host;
  director: Host;
  servers: Host[];
  plane: Plane;
}

/** Services of a family to servers of another, in one way. */
function services(family: Family, servers: readonly number[], outer: Family, how: Forwarding): Services {
  return (['tcp', 'udp'] as const).flatMap((protocol) =>
    [WHO, BODY].map((port) => ({
      listen: `${protocol}://${at(VIRTUAL[family], port)}`,
      scheduler: 'rr' as const,
      // So that no datagram is of a connection of before, which goes on in its way.
      timeouts: { udpSeconds: 1 },
      destinations: servers.map((number) => ({ address: at(addressOf(number, outer), port), ...how })),
    })),
  );
}

async function place(lab: Lab): Promise<Place> {
  const wire = await lab.host('sw');
  await wire.ip('link add bridge type bridge');
  await wire.ip('link set bridge up');
  const join = async (name: string, number: number) => {
    const host = await lab.host(name);
    const addresses = [`${addressOf(number, 4)}/24`, `${addressOf(number, 6)}/64`];
    await lab.link({ host: wire, name: `to-${name}` }, { host, name: 'eth0', addresses });
    await wire.ip(`link set to-${name} master bridge`);
    return host;
  };
  const director = await join('d', 1);
  const client = await join('c', 2);
  await client.ip(`route add default via ${addressOf(1, 4)}`);
  await client.ip(`-6 route add default via ${addressOf(1, 6)}`);
  const servers = [await join('s1', 11), await join('s2', 12)];
  for (const [i, host] of servers.entries()) {
    for (const family of FAMILIES)
      await host.ip(`addr add ${VIRTUAL[family]}/${family === 4 ? 32 : 128} dev lo`);
    await host.run('sysctl', ['-qw', 'net.ipv4.conf.all.arp_ignore=1', 'net.ipv4.conf.all.arp_announce=2']);
    await awaitWord(
      spawnProgram(host, 'who', ['serve', `s${i + 1}`, String(WHO), VIRTUAL[4], VIRTUAL[6]]),
      'ready',
    );
    await awaitWord(spawnProgram(host, 'body', ['serve', '::', String(BODY)]), 'ready');
  }
  return { client, director, servers, plane: new Plane(director) };
}

const ask = async (from: Host, protocol: 'tcp' | 'udp', address: string, port = WHO): Promise<string> =>
  (await from.run(process.execPath, [program('who'), 'ask', protocol, address, String(port)])).stdout.trim();

const body = async (from: Host, verb: 'fetch' | 'send', address: string, path: string): Promise<string> => {
  const url = `http://${at(address, BODY)}/${path}`;
  return (await from.run(process.execPath, [program('body'), verb, url])).stdout.trim();
};

/** Both servers answer by TCP and UDP, and see the client; ten mebibytes each way arrive as they were. */
async function serves(
  t: ExecutionContext,
  { client, plane }: Place,
  family: Family,
  words: string,
  asks = 2,
): Promise<void> {
  const from = addressOf(2, family);
  for (const protocol of ['tcp', 'udp'] as const) {
    const got = new Set<string>();
    for (let i = 0; i < asks; i++) got.add(await ask(client, protocol, VIRTUAL[family]));
    t.deepEqual([...got].sort(), [`s1 ${from}`, `s2 ${from}`], `${words}, ${protocol}`);
  }
  const whole = await body(client, 'fetch', VIRTUAL[family], '7/10');
  t.regex(whole, /^[0-9a-f]{64}$/);
  t.is(whole, await body(client, 'fetch', addressOf(11, family), '7/10'), words);
  t.is(await body(client, 'send', VIRTUAL[family], '7/10'), whole, words);
  const { drops } = await plane.stats();
  const { 'too-big': _, ...others } = drops;
  t.deepEqual(
    Object.entries(others).filter(([, count]) => count > 0),
    [],
    words,
  );
}

labTest(
  'tunnels of each kind lead to servers of both families, which answer past the director',
  ['python3'],
  async (t, lab) => {
    const here = await place(lab);
    const faults: string[] = [];
    for (const server of here.servers) {
      const child = await decapsulate(server, GUE);
      child.stdout?.on('data', (chunk: Buffer) => faults.push(chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => faults.push(chunk.toString()));
    }
    await here.plane.start({ networks: [], services: services(4, [11, 12], 4, tunnel('ipip')) });
    for (const how of [
      tunnel('ipip'),
      ...[tunnel('gre'), tunnel('gre', 'checksum')],
      ...[tunnel('gue'), tunnel('gue', 'checksum'), tunnel('gue', 'remote')],
    ]) {
      for (const family of FAMILIES) {
        for (const outer of FAMILIES) {
          const words = `${JSON.stringify(how)}, IPv${family} in IPv${outer}`;
          t.true(
            await here.plane.reload({ networks: [], services: services(family, [11, 12], outer, how) }),
            words,
          );
          await serves(t, here, family, words);
        }
      }
    }
    t.is(faults.join('').trim(), '');
  },
);

labTest(
  'direct routing leads packets unchanged to the servers, which answer past the director, also with two engines',
  [],
  async (t, lab) => {
    const here = await place(lab);
    const { client, director, servers, plane } = here;
    await plane.start({
      networks: [],
      engine: { count: 2 },
      services: FAMILIES.flatMap((family) => services(family, [11, 12], family, { forward: 'route' })),
    });
    for (const family of FAMILIES) await serves(t, here, family, `IPv${family}`, 8);
    // What the director sees of ten mebibytes that its client fetches is acknowledgements.
    const before = (await plane.stats()).counters.rxPackets;
    await body(client, 'fetch', VIRTUAL[4], '3/100');
    const { counters } = await plane.stats();
    t.true(counters.rxPackets - before < 40_000, `${counters.rxPackets - before} packets`);
    const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
    // It has seen one side of each: the FIN of who fetched (FIN_WAIT as IPVS's table for one side says).
    t.deepEqual(
      [...new Set(rows.filter(({ protocol }) => protocol === 'tcp').map(({ state }) => state))],
      ['FIN_WAIT'],
    );
    t.regex(await ask(director, 'tcp', VIRTUAL[4]), /^s[12] 10\.0\.0\.1$/);
    t.is(await datagram(client, 4, 3000, 0), 'answer');
    // A server that is gone is not reached any more, and its client is told; one that is back is.
    await servers[0]!.ip('link set eth0 down');
    await servers[1]!.ip('link set eth0 down');
    await director.ip('neigh flush dev eth0');
    t.is(await ask(client, 'tcp', VIRTUAL[4]), 'EHOSTUNREACH');
    for (const server of servers) await server.ip('link set eth0 up');
    t.regex(await ask(client, 'tcp', VIRTUAL[4]), /^s[12] /);
    t.is(await plane.end(), 0);
    t.notRegex((await director.ip('rule')) + (await director.ip('-6 rule')), /viaduct/);
  },
);

labTest(
  'packets around the MTU of a tunnel: the client is told what fits, and nothing that leaves is malformed',
  ['python3', 'tcpdump', 'tshark', 'ethtool'],
  async (t, lab) => {
    const here = await place(lab);
    const { client, director, servers, plane } = here;
    await segmentWire([client, director, ...servers], 'eth0');
    for (const server of servers) await decapsulate(server, GUE);
    await plane.start({ networks: [], services: [] });
    const captures = await Promise.all(servers.map((server) => Capture.start(server, FROM_DIRECTOR, 'eth0')));
    const cases: [Forwarding, number][] = [
      [tunnel('ipip'), 0],
      [tunnel('gre'), 4],
      [tunnel('gre', 'checksum'), 8],
      [tunnel('gue'), 12],
      [tunnel('gue', 'checksum'), 12],
      [tunnel('gue', 'remote'), 20],
    ];
    for (const [how, overhead] of cases) {
      for (const outer of FAMILIES) {
        for (const family of FAMILIES) {
          const words = `${JSON.stringify(how)}, IPv${family} in IPv${outer}`;
          // Each has an address of its own, so that the client has learned nothing of it.
          const most = 1500 - (outer === 4 ? 20 : 40) - overhead;
          const served = services(family, [11, 12], outer, how);
          t.true(await plane.reload({ networks: [], services: served }), words);
          await client.run('ip', [family === 4 ? '-4' : '-6', 'route', 'flush', 'cache']);
          t.is(await datagram(client, family, most, PROBE), 'answer', words);
          t.is(await datagram(client, family, most + 1, PROBE), `mtu ${most}`, words);
          t.is(await datagram(client, family, most, DO), 'answer', words);
          // Without DF it arrives, in fragments of the outer packet; and so do fragments.
          if (family === 4) t.is(await datagram(client, family, 1500, DONT), 'answer', words);
          if (family === 4) t.is(await datagram(client, family, 3000, DONT), 'answer', words);
          t.is(
            await body(client, 'send', VIRTUAL[family], '5/1'),
            await body(client, 'fetch', VIRTUAL[family], '5/1'),
          );
        }
      }
    }
    // Another route: the tunnel follows.
    t.true(await plane.reload({ networks: [], services: services(4, [11], 4, tunnel('ipip')) }));
    await director.ip('route add 10.0.0.11/32 dev eth0 mtu lock 1400');
    await client.ip('route flush cache');
    await until(
      'the tunnel has the MTU of the new route',
      async () => (await datagram(client, 4, 1381, PROBE)) === 'mtu 1380',
    );
    for (const capture of captures) {
      await capture.stop();
      t.deepEqual(await faultsIn(capture.file), []);
      for (const filter of [
        'ip.proto == 4',
        'gre && ip',
        'gre && ipv6',
        'ipv6.nxt == 4',
        'ipv6.nxt == 41',
        'ip.proto == 41',
        'udp.dstport == 6080',
      ]) {
        t.true((await tshark(capture.file, filter, ['frame.number'])).length > 0, filter);
      }
    }
  },
);

labTest(
  'errors about packets in a tunnel come to the client as if they were about its own',
  ['python3'],
  async (t, lab) => {
    const { client, director, plane } = await place(lab);
    const [router, far] = [await lab.host('r'), await lab.host('s3')];
    await lab.link(
      { host: director, name: 'to-r', addresses: ['10.8.0.1/24'] },
      { host: router, name: 'to-d', addresses: ['10.8.0.2/24'] },
    );
    await lab.link(
      { host: router, name: 'to-s3', addresses: ['10.9.0.1/24'] },
      { host: far, name: 'eth0', addresses: ['10.9.0.2/24'] },
      1400,
    );
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0']);
    await router.ip('route add default via 10.8.0.1');
    await far.ip('route add default via 10.9.0.1');
    await far.ip(`addr add ${VIRTUAL[4]}/32 dev lo`);
    await director.ip('route add 10.9.0.0/24 via 10.8.0.2');
    await decapsulate(far, GUE);
    await awaitWord(spawnProgram(far, 'who', ['serve', 's3', String(WHO), VIRTUAL[4]]), 'ready');
    const udp = (how: Forwarding): Services => [
      { listen: `udp://${VIRTUAL[4]}:${WHO}`, destinations: [{ address: `10.9.0.2:${WHO}`, ...how }] },
    ];
    await plane.start({ networks: [], services: udp(tunnel('ipip')) });
    for (const [how, overhead] of [
      [tunnel('ipip'), 20],
      [tunnel('gre'), 24],
      [tunnel('gue'), 32],
    ] as const) {
      t.true(await plane.reload({ networks: [], services: udp(how) }));
      await client.ip('route flush cache');
      t.is(await datagram(client, 4, 1400 - overhead, PROBE), 'answer');
      t.is(await datagram(client, 4, 1480 - overhead, PROBE), `mtu ${1400 - overhead}`);
    }
    await router.ip('route add prohibit 10.9.0.2/32');
    t.is(await datagram(client, 4, 100, PROBE), 'EHOSTUNREACH');
    // The host's own ICMP is its own.
    await client.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', '10.0.0.1']);
    await router.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', '10.8.0.1']);
  },
);

labTest('the director itself may be a destination', [], async (t, lab) => {
  const { client, director, plane } = await place(lab);
  const here = FAMILIES.flatMap((family) => services(family, [1, 11], family, { forward: 'route' }));
  const nat: Services = FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => ({
      listen: `${protocol}://${at(VIRTUAL[family], 90)}`,
      destinations: [{ address: at(addressOf(1, family), 8081) }],
    })),
  );
  await plane.start({ networks: [], services: [...here, ...nat] });
  await awaitWord(
    spawnProgram(director, 'who', ['serve', 'd', String(WHO), VIRTUAL[4], VIRTUAL[6]]),
    'ready',
  );
  await awaitWord(
    spawnProgram(director, 'who', ['serve', 'd', '8081', addressOf(1, 4), addressOf(1, 6)]),
    'ready',
  );
  for (const family of FAMILIES) {
    const from = addressOf(2, family);
    for (const protocol of ['tcp', 'udp'] as const) {
      const got = [
        await ask(client, protocol, VIRTUAL[family]),
        await ask(client, protocol, VIRTUAL[family]),
      ];
      t.deepEqual(got.sort(), [`d ${from}`, `s1 ${from}`], `${protocol} IPv${family}`);
      t.is(await ask(client, protocol, VIRTUAL[family], 90), `d ${from}`, `nat, ${protocol} IPv${family}`);
    }
  }
  const { stdout } = await plane.command('ipvsadm', '-L', '-n');
  t.regex(stdout, /-> 10\.0\.0\.1:8080 +Local +1 /);
  t.regex(stdout, /-> 10\.0\.0\.11:8080 +Route +1 /);
  t.regex(stdout, /-> 10\.0\.0\.1:8081 +Masq +1 /);
  t.regex(await director.ip('addr show dev lo'), /203\.0\.113\.80\/32/);
  t.is(await plane.end(), 0);
  t.notRegex(await director.ip('addr show dev lo'), /203\.0\.113\.80|2001:db8::80/);
});

labTest(
  'connections go on in the way in which they began, when their destination leaves or is reached otherwise',
  ['python3'],
  async (t, lab) => {
    const { client, servers, plane } = await place(lab);
    for (const server of servers) await decapsulate(server, GUE);
    const longWays: [Forwarding, Forwarding][] = [
      [{ forward: 'route' }, tunnel('ipip')],
      [tunnel('gre'), { forward: 'route' }],
    ];
    await plane.start({ networks: [], services: services(4, [11], 4, { forward: 'route' }) });
    for (const [before, after] of longWays) {
      t.true(await plane.reload({ networks: [], services: services(4, [11], 4, before) }));
      const path = '9/60';
      const sending = body(client, 'send', VIRTUAL[4], path);
      const { rxPackets } = (await plane.stats()).counters;
      await until('it is under way', async () => (await plane.stats()).counters.rxPackets > rxPackets + 100);
      t.true(await plane.reload({ networks: [], services: services(4, [11], 4, after) }));
      t.is(await ask(client, 'tcp', VIRTUAL[4]), 's1 10.0.0.2');
      t.true(await plane.reload({ networks: [], services: services(4, [12], 4, after) }));
      t.is(await ask(client, 'tcp', VIRTUAL[4]), 's2 10.0.0.2');
      t.is(await sending, await body(client, 'fetch', addressOf(11, 4), path));
    }
  },
);
