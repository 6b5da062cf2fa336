/** A second director that is told of connections takes them over when the first one dies. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join as joinPath } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ConnectionRow, VirtualServerReport } from '../../src/dataplane/report.js';
import { labTest } from './world/needs.js';
import { Plane, scratch } from './world/plane.js';
import { awaitWord, program, spawnProgram, stopProgram } from './world/programs.js';
import { until } from './world/until.js';

type Sync = NonNullable<NonNullable<Written['virtualServer']>['sync']>;

const VIRTUAL = '203.0.113.80';
const TRANSFERS = 200;
/** npx has another program of that name on the PATH. */
const NFT = '/usr/sbin/nft';
/** Every fifth datagram, at random. */
const LOSS = `table inet loss {
  chain arriving {
    type filter hook input priority 0
    iifname "eth9" meta l4proto udp numgen random mod 5 == 0 counter drop
  }
}`;

interface Pair {
  client: Host;
  servers: Host[];
  one: Plane;
  other: Plane;
}

/**
 * Two directors on the same two segments, which are bridges of a switch:
 *
 *     client 10.0.0.2 ──┬── 10.0.0.11 one   10.1.0.11 ──┬── 10.1.0.2, 10.1.0.3 servers
 *                       └── 10.0.0.12 other 10.1.0.12 ──┘
 *
 * The client's way to the virtual address is 10.0.0.1, the servers' default way 10.1.0.1: both are the director's that serves.
 */
async function pair(lab: Lab): Promise<Pair> {
  const wires = await lab.host('w');
  for (const site of [0, 1]) {
    await wires.ip(`link add br${site} type bridge`);
    await wires.ip(`link set br${site} up`);
  }
  let count = 0;
  const plug = async (host: Host, site: number, address: string) => {
    const name = `p${count++}`;
    await lab.link({ host: wires, name }, { host, name: `eth${site}`, addresses: [`${address}/24`] });
    await wires.ip(`link set ${name} master br${site}`);
  };
  const client = await lab.host('c');
  await plug(client, 0, '10.0.0.2');
  await client.ip('route add default via 10.0.0.1');
  const servers = [await lab.host('s1'), await lab.host('s2')];
  for (const [i, server] of servers.entries()) {
    await plug(server, 1, `10.1.0.${i + 2}`);
    await server.ip('route add default via 10.1.0.1');
  }
  const planes = [];
  for (const [i, name] of ['d1', 'd2'].entries()) {
    const host = await lab.host(name);
    for (const site of [0, 1]) await plug(host, site, `10.${site}.0.${11 + i}`);
    // Servers answer clients through the virtual server or not at all, also while a director is dying.
    for (const i of [2, 3]) await host.ip(`rule add pref 32000 from 10.1.0.${i} blackhole`);
    planes.push(new Plane(host));
  }
  const [one, other] = planes as [Plane, Plane];
  return { client, servers, one, other };
}

/** The director is who clients and servers send to, from now on. */
async function move(to: Plane): Promise<void> {
  for (const site of [0, 1]) {
    await to.host.ip(`addr add 10.${site}.0.1/24 dev eth${site}`);
    // A gratuitous ARP of the new owner (RFC 5944 §4.6).
    await to.host.run('python3', [
      '-c',
      `
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth${site}', 0x806))
mac = s.getsockname()[4]; ip = socket.inet_aton('10.${site}.0.1')
for op in (1, 2):
    s.send(b'\\xff' * 6 + mac + struct.pack('!HHHBBH', 0x806, 1, 0x800, 6, 4, op) + mac + ip + b'\\xff' * 6 + ip)
`,
    ]);
  }
}

const services = (): NonNullable<Written['services']> => [
  {
    listen: `tcp://${VIRTUAL}:80`,
    scheduler: 'rr',
    destinations: [{ address: '10.1.0.2:8080' }, { address: '10.1.0.3:8080' }],
  },
];

const configured = (sync: Sync): Written => ({ networks: [], services: services(), virtualServer: { sync } });

/** Bodies that take some seconds, each with its own sum; all run until they are told of the rest. */
const SERVE = `
const { createServer } = require('http');
const { createHash } = require('crypto');
createServer((request, response) => {
  const [, seed, pieces, ms] = request.url.split('/');
  let left = Number(pieces);
  const more = () => {
    if (left-- === 0) return response.end();
    response.write(createHash('sha256').update(seed + '/' + left).digest().toString('hex').repeat(64));
    setTimeout(more, Number(ms));
  };
  more();
}).listen(8080, () => console.log('ready'));
`;

/** Prints "open" when all have begun, and for each whether all of it came and is right. */
const FETCH = `
const { get } = require('http');
const { createHash } = require('crypto');
const [address, count, pieces, ms] = process.argv.slice(1);
let open = 0, done = 0;
const said = {};
const end = (what) => {
  said[what] = (said[what] ?? 0) + 1;
  if (++done === Number(count)) { console.log(JSON.stringify(said)); process.exit(0); }
};
for (let seed = 0; seed < Number(count); seed++) {
  const right = createHash('sha256');
  for (let left = pieces - 1; left >= 0; left--)
    right.update(createHash('sha256').update(seed + '/' + left).digest().toString('hex').repeat(64));
  const sum = right.digest('hex');
  get({ host: address, path: '/' + seed + '/' + pieces + '/' + ms, agent: false }, (response) => {
    if (++open === Number(count)) console.log('open');
    const hash = createHash('sha256');
    response.on('data', (chunk) => hash.update(chunk));
    response.on('error', (error) => end(error.code));
    response.on('end', () => end(hash.digest('hex') === sum ? 'right' : 'wrong'));
  }).on('error', (error) => end(error.code));
}
`;

async function serve(servers: readonly Host[]): Promise<void> {
  for (const server of servers) await awaitWord(server.spawn(process.execPath, ['-e', SERVE]), 'ready');
}

const connections = (plane: Plane) => plane.ask<ConnectionRow[]>('ipvs/connections');

/** Two hundred transfers are under way; the first director is killed, and the second one gets its addresses. */
async function takeOver(t: ExecutionContext, { client, servers, one, other }: Pair): Promise<void> {
  await serve(servers);
  await move(one);
  const fetching = client.spawn(process.execPath, ['-e', FETCH, VIRTUAL, String(TRANSFERS), '60', '250']);
  let said = '';
  fetching.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise((resolve) => fetching.once('exit', resolve));
  await until('all transfers are under way', () => said.includes('open'));
  const known = async () =>
    (await connections(other)).filter(({ state, synced }) => state === 'ESTABLISHED' && synced).length;
  await until('the other director knows of them', async () => (await known()) === TRANSFERS);
  const { services } = await other.ask<VirtualServerReport>('ipvs');
  t.deepEqual(
    services[0]!.destinations.map(({ active }) => active),
    [TRANSFERS / 2, TRANSFERS / 2],
  );
  t.is(said, 'open\n', 'none has ended before the director does');
  await one.end('SIGKILL');
  for (const site of [0, 1]) await one.host.ip(`addr del 10.${site}.0.1/24 dev eth${site}`);
  await move(other);
  await ended;
  t.deepEqual(JSON.parse(said.split('\n')[1]!), { right: TRANSFERS });
  // What ended here ends here.
  await until('no connection counts as active', async () => {
    const { services } = await other.ask<VirtualServerReport>('ipvs');
    return services[0]!.destinations.every(({ active }) => active === 0);
  });
}

labTest('a backup takes 200 transfers over from a master that was killed', ['python3'], async (t, lab) => {
  const all = await pair(lab);
  const daemon = { interface: 'eth1', syncId: 7 };
  await all.one.start(configured({ master: daemon }));
  await all.other.start(configured({ backup: daemon }));
  await takeOver(t, all);
});

labTest(
  'the same with sealed messages of which a fifth is lost, to a backup that came later',
  ['python3', 'curl', NFT],
  async (t, lab) => {
    const all = await pair(lab);
    const keyFile = joinPath(scratch, 'sync.key');
    await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`);
    const daemon = (peer: number) => ({ interface: 'eth9', keyFile, peers: [`10.9.0.${peer}`] });
    // A link for it alone, which loses both ways.
    const [a, b] = [all.one.host, all.other.host];
    await lab.link(
      { host: a, name: 'eth9', addresses: ['10.9.0.1/24'] },
      { host: b, name: 'eth9', addresses: ['10.9.0.2/24'] },
    );
    for (const host of [a, b]) await host.run(NFT, [LOSS]);
    await all.one.start(configured({ master: daemon(2) }));
    const late = until('the first director has connections', async () => {
      return (await connections(all.one)).filter(({ state }) => state === 'ESTABLISHED').length === TRANSFERS;
    }).then(() => all.other.start(configured({ backup: daemon(1) })));
    await Promise.all([late, takeOver(t, { ...all, other: waiting(all.other, late) })]);
    for (const host of [a, b]) {
      const { stdout } = await host.run(NFT, ['list', 'table', 'inet', 'loss']);
      t.regex(stdout, /packets [1-9]\d*/, 'some were lost');
    }
    const metrics = await all.other.host.run(
      'curl',
      ['-s', '--unix-socket', all.other.socket, 'http://x/metrics'],
      {
        check: false,
      },
    );
    t.regex(metrics.stdout, /viaduct_synchronisation_messages_total\{role="backup"\} \d+/);
  },
);

labTest(
  'two directors tell one another, sealed and to a group of IPv6: clients stay at their servers wherever they are sent',
  ['python3'],
  async (t, lab) => {
    const { client, servers, one, other } = await pair(lab);
    const keyFile = joinPath(scratch, 'both.key');
    await writeFile(keyFile, randomBytes(32).toString('hex'));
    const daemon = { interface: 'eth1', syncId: 3, group: 'ff02::81', keyFile };
    const sticky = services().map((each) => ({ ...each, persistence: { timeoutSeconds: 60 } }));
    const config = { ...configured({ master: daemon, backup: daemon }), services: sticky };
    await one.start(config);
    await other.start(config);
    for (const [i, host] of servers.entries()) {
      await awaitWord(spawnProgram(host, 'who', ['serve', `s${i + 1}`, '8080']), 'ready');
    }
    const sources = [2, 3, 4, 5, 6].map((last) => `10.0.0.${last}`);
    for (const each of sources.slice(1)) await client.ip(`addr add ${each}/24 dev eth0`);
    const homes = async () => {
      const found: string[] = [];
      for (const each of sources) {
        const words = [program('who'), 'ask', 'tcp', VIRTUAL, '80', each];
        found.push((await client.run(process.execPath, words)).stdout.trim().split(' ')[0]!);
      }
      return found;
    };
    const templates = async (plane: Plane) =>
      (await connections(plane)).filter(({ source }) => source.endsWith(':0')).length;
    await move(one);
    const first = await homes();
    t.deepEqual([...first].sort(), ['s1', 's1', 's1', 's2', 's2']);
    await until('the other director has the templates', async () => (await templates(other)) === 5);
    // One by round robin would move the next one on.
    await one.end('SIGKILL');
    for (const site of [0, 1]) await one.host.ip(`addr del 10.${site}.0.1/24 dev eth${site}`);
    await move(other);
    t.deepEqual(await homes(), first);
    // The first one is back, and hears of all at once.
    await one.start(config);
    await until('the first director has them back', async () => (await templates(one)) === 5);
    for (const site of [0, 1]) await other.host.ip(`addr del 10.${site}.0.1/24 dev eth${site}`);
    await move(one);
    t.deepEqual((await homes()).reverse(), first.reverse());
  },
);

/** The plane, of which nothing is asked before it has started. */
function waiting(plane: Plane, started: Promise<unknown>): Plane {
  return new Proxy(plane, {
    get(target, name) {
      if (name !== 'ask') return Reflect.get(target, name, target);
      return async (table: string) => {
        await started;
        return target.ask(table);
      };
    },
  });
}

labTest(
  'the daemons are started and stopped by ipvsadm, and what they send is what tshark knows as IPVS',
  ['tshark', 'tcpdump'],
  async (t, lab) => {
    const all = await pair(lab);
    const { client, servers, one, other } = all;
    await one.start({ networks: [], services: services() });
    await other.start({ networks: [], services: services() });
    await serve(servers);
    await move(one);
    const start = (role: string) => ['--start-daemon', role, '--mcast-interface', 'eth1', '--syncid', '9'];
    t.regex(
      (await one.command('ipvsadm', '--start-daemon', 'master', '--mcast-interface', 'no0')).stderr,
      /no0/,
    );
    t.is((await one.command('ipvsadm', ...start('master'))).stderr, '');
    t.is((await other.command('ipvsadm', ...start('backup'))).stderr, '');
    const listed = (await other.command('ipvsadm', '-L', '--daemon')).stdout;
    t.regex(listed, /^backup sync daemon \(mcast=eth1, syncid=9, /);
    const file = joinPath(scratch, `${other.host.netns}.pcap`);
    const capture = other.host.spawn('tcpdump', ['-i', 'eth1', '-U', '-w', file, 'udp', 'port', '8848']);
    await awaitWord(capture, 'listening');
    const fetching = client.spawn(process.execPath, ['-e', FETCH, VIRTUAL, '20', '8', '250']);
    fetching.stdout?.resume();
    const ended = new Promise((resolve) => fetching.once('exit', resolve));
    const synced = async () => (await connections(other)).filter((row) => row.synced);
    await until('the other director knows of them', async () => (await synced()).length === 20);
    await ended;
    await until('and that they close', async () =>
      (await synced()).every(({ state }) => state !== 'ESTABLISHED'),
    );
    await stopProgram(capture, 'SIGINT');
    const { stdout } = await other.host.run('tshark', ['-r', file, '-V', '-d', 'udp.port==8848,ipvs']);
    t.regex(stdout, /IP Virtual Services Sync Daemon/);
    t.regex(stdout, /203\.0\.113\.80/);
    t.notRegex(stdout, /Malformed|Dissector bug/i);
    // Whatever else comes to the port changes nothing.
    const before = await synced();
    const garbage = `
import socket, os
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('10.1.0.2'))
for n in range(300): s.sendto(os.urandom(n), ('224.0.0.81', 8848))
`;
    await servers[0]!.run('python3', ['-c', garbage]);
    t.true((await synced()).length <= before.length);
    t.is((await other.command('ipvsadm', '--stop-daemon', 'backup')).stderr, '');
    t.is((await other.command('ipvsadm', '-L', '--daemon')).stdout, '');
    t.not((await other.command('ipvsadm', '--stop-daemon', 'backup')).code, 0);
  },
);
