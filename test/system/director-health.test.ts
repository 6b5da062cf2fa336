/**
 * Health checks of a director between a client and three nginx, each in a namespace of its own.
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1 … 10.4.0.1 ─── 10.1.0.2 … 10.4.0.2 servers, the fourth sorry
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ServiceRow, VirtualServerReport } from '../../src/dataplane/report.js';
import { join as joinSite, nothingDropped } from './world/directed.js';
import { labTest } from './world/needs.js';
import { Plane, scratch } from './world/plane.js';
import { awaitWord, spawnProgram, stopProgram } from './world/programs.js';
import { until } from './world/until.js';

type WrittenService = NonNullable<Written['services']>[number];
type WrittenHealth = NonNullable<WrittenService['health']>;

const VIRTUAL = '203.0.113.80';
const VIRTUAL6 = '2001:db8::80';
const LISTEN = `tcp://${VIRTUAL}:80`;
const SERVERS = [1, 2, 3];
const SORRY = 4;
const INTERVAL_MS = 200;
const FALL = 3;

const HTTP: WrittenHealth = {
  ...{ kind: 'http', path: '/healthz', intervalMs: INTERVAL_MS, timeoutMs: 500, fall: FALL, rise: 2 },
};

/** An nginx that answers with its name, at :8080, and says on /healthz that it is well. */
async function nginx(host: Host, name: string): Promise<ChildProcess> {
  const folder = join(scratch, host.netns);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
    .join(' ');
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr warn; events {}
     http { access_log ${folder}/access.log; ${temporary}
       server { listen 8080; listen [::]:8080; default_type text/plain;
         location / { return 200 "${name}"; }
         location = /healthz { return 200 "well"; } } }`,
  );
  const child = host.spawn('nginx', ['-p', folder, '-c', file]);
  child.stdout?.resume();
  child.stderr?.resume();
  const answers = async () => (await fetch1(host, '127.0.0.1', 8080)) === name;
  await until(`${name} answers`, answers);
  return child;
}

/** The body that a new connection brings; the exit code of curl when it brings none. */
async function fetch1(from: Host, address: string, port = 80): Promise<string> {
  const at = address.includes(':') ? `[${address}]` : address;
  const args = ['-sg', '--max-time', '5', '--no-keepalive', `http://${at}:${port}/`];
  const { code, stdout } = await from.run('curl', args, { check: false });
  return code === 0 ? stdout : `curl ${code}`;
}

interface Place {
  client: Host;
  director: Host;
  /** by number; the last is the sorry server's */
  hosts: Map<number, Host>;
  programs: Map<number, ChildProcess>;
  plane: Plane;
}

const service = (more: Partial<WrittenService> = {}): WrittenService => ({
  ...{ listen: LISTEN, scheduler: 'rr', health: HTTP },
  destinations: SERVERS.map((site) => ({ address: `10.${site}.0.2:8080` })),
  ...more,
});

async function place(lab: Lab, services: WrittenService[]): Promise<Place> {
  const director = await lab.host('d');
  const client = await lab.host('c');
  const hosts = new Map<number, Host>();
  for (const site of [...SERVERS, SORRY]) hosts.set(site, await lab.host(`s${site}`));
  for (const [site, host] of [[0, client] as const, ...hosts]) await joinSite(lab, director, host, site);
  const programs = new Map<number, ChildProcess>();
  for (const [site, host] of hosts) programs.set(site, await nginx(host, `s${site}`));
  const plane = new Plane(director);
  await plane.start({ networks: [], services });
  return { client, director, hosts, programs, plane };
}

async function rows(plane: Plane, listen = LISTEN): Promise<ServiceRow> {
  const { services } = await plane.ask<VirtualServerReport>('ipvs');
  return services.find((each) => each.listen === listen)!;
}

/** Numbers of the destinations that are up. */
const up = async (plane: Plane, listen = LISTEN): Promise<string> =>
  (await rows(plane, listen)).destinations
    .filter(({ health }) => health?.up)
    .map(({ address }) => /10\.(\d)|fd0(\d)/.exec(address)!.slice(1).join(''))
    .join(' ');

/** Who answers so many new connections, each name once, sorted. */
async function answers(from: Host, count: number, address = VIRTUAL): Promise<string> {
  const names = new Set<string>();
  for (let i = 0; i < count; i++) names.add(await fetch1(from, address));
  return [...names].sort().join(' ');
}

/** Stops a server by its number, as if it had died. */
const kill = (programs: Map<number, ChildProcess>, site: number) => stopProgram(programs.get(site)!);

labTest(
  'a server that dies leaves after `fall` checks and no new connection sees it; it comes back by itself',
  ['nginx', 'curl'],
  async (t, lab) => {
    const { client, hosts, programs, plane } = await place(lab, [service()]);
    t.is(await answers(client, 6), 's1 s2 s3');
    await until('all are up', async () => (await up(plane)) === '1 2 3');
    await kill(programs, 2);
    const died = performance.now();
    await until('it is down', async () => (await up(plane)) === '1 3');
    // Between two and three intervals after its death, and what a busy machine adds.
    t.true(performance.now() - died < (FALL + 1) * INTERVAL_MS + 2000);
    await until('the engines follow', async () => (await answers(client, 3)) === 's1 s3');
    t.is(await answers(client, 12), 's1 s3');
    const row = (await rows(plane)).destinations[1]!;
    t.like(row, { address: '10.2.0.2:8080', out: true, health: { up: false } });
    t.regex(row.health!.error!, /ECONNREFUSED 10\.2\.0\.2:8080/);
    t.regex(plane.log, /"destination":"10\.2\.0\.2:8080".*a destination is down/);
    const listed = await plane.command('ipvsadm', '-Ln');
    t.notRegex(listed.stdout, /10\.2\.0\.2/);
    t.regex(listed.stdout, /-> 10\.3\.0\.2:8080 {16}Masq {4}1 /);
    t.regex((await plane.command('ipvsadm', '-Sn')).stdout, /-r 10\.2\.0\.2:8080 -m -w 1/);
    programs.set(2, await nginx(hosts.get(2)!, 's2'));
    await until('it is up again', async () => (await up(plane)) === '1 2 3');
    t.is(await answers(client, 9), 's1 s2 s3');
    await nothingDropped(t, plane);
    t.is(await plane.end(), 0);
  },
);

labTest(
  'when all are down the sorry server answers alone, and without one the client is told; both end when one is back',
  ['nginx', 'curl'],
  async (t, lab) => {
    const plain = `tcp://${VIRTUAL}:81`;
    const { client, hosts, programs, plane } = await place(lab, [
      service({ sorryServer: { address: `10.${SORRY}.0.2:8080` } }),
      service({ listen: plain }),
    ]);
    for (const site of SERVERS) await kill(programs, site);
    await until('the sorry server serves', async () => (await rows(plane)).health?.sorry);
    await until('and the other is empty', async () => (await up(plane, plain)) === '');
    t.is(await answers(client, 3), 's4');
    t.like((await rows(plane)).destinations.at(-1), { address: '10.4.0.2:8080', weight: 1 });
    t.regex(
      (await plane.command('ipvsadm', '-Ln')).stdout,
      /203\.0\.113\.80:80 rr\n {2}-> 10\.4\.0\.2:8080 /,
    );
    t.is(await fetch1(client, VIRTUAL, 81), 'curl 7');
    programs.set(3, await nginx(hosts.get(3)!, 's3'));
    await until('it has its quorum again', async () => (await rows(plane)).health?.quorum);
    await until('the other is up', async () => (await up(plane, plain)) === '3');
    await until('the engines follow', async () => (await answers(client, 2)) === 's3');
    t.is(await answers(client, 3), 's3');
    t.is(await fetch1(client, VIRTUAL, 81), 's3');
  },
);

labTest(
  'a connection goes on while its server is taken out, and a drained one stays in the list with weight 0',
  ['nginx', 'curl', 'iperf3'],
  async (t, lab) => {
    const bulk = (inhibitOnFailure: boolean): WrittenService => ({
      listen: `tcp://${VIRTUAL}:5201`,
      scheduler: 'rr',
      destinations: [{ address: '10.1.0.2:5201' }],
      health: { kind: 'tcp', port: 8080, intervalMs: INTERVAL_MS, fall: 2, inhibitOnFailure },
    });
    const listen = bulk(false).listen;
    const { client, hosts, programs, plane } = await place(lab, [bulk(false)]);
    const server = hosts.get(1)!.spawn('iperf3', ['-s']);
    server.stdout?.resume();
    await until('iperf3 listens', async () =>
      (await hosts.get(1)!.run('ss', ['-ltn'])).stdout.includes(':5201'),
    );
    const long = client.run('iperf3', ['-c', VIRTUAL, '-t', '5', '-J'], { timeoutMs: 60_000 });
    await until('it is under way', async () => (await plane.stats()).counters.rxPackets > 500);
    await kill(programs, 1);
    await until('it is down', async () => (await up(plane, listen)) === '');
    const { end } = JSON.parse((await long).stdout) as { end: { sum_received: { bytes: number } } };
    t.true(end.sum_received.bytes > 10_000_000, `${end.sum_received.bytes} bytes`);
    t.true(await plane.reload({ networks: [], services: [bulk(true)] }));
    // What is known of it stays known.
    t.regex((await plane.command('ipvsadm', '-Ln')).stdout, /-> 10\.1\.0\.2:5201 {16}Masq {4}0 /);
    programs.set(1, await nginx(hosts.get(1)!, 's1'));
    await until('it is up again', async () => (await up(plane, listen)) === '1');
    t.regex((await plane.command('ipvsadm', '-Ln')).stdout, /-> 10\.1\.0\.2:5201 {16}Masq {4}1 /);
  },
);

labTest(
  'kind icmp pings both families from the director, and notices a host that is gone',
  ['nginx', 'curl'],
  async (t, lab) => {
    const health: WrittenHealth = { kind: 'icmp', intervalMs: INTERVAL_MS, timeoutMs: 400, fall: 2, rise: 2 };
    const six = `tcp://[${VIRTUAL6}]:80`;
    const { client, hosts, plane } = await place(lab, [
      service({ health }),
      service({
        listen: six,
        health,
        destinations: SERVERS.map((site) => ({ address: `[fd0${site}::2]:8080` })),
      }),
    ]);
    // Rises only by answers: the first ones could not be told from no check at all.
    await hosts.get(1)!.ip('link set eth0 down');
    await until('it is down', async () => (await up(plane)) === '2 3' && (await up(plane, six)) === '2 3');
    t.is(await answers(client, 6), 's2 s3');
    t.is(await answers(client, 6, VIRTUAL6), 's2 s3');
    await hosts.get(1)!.ip('link set eth0 up');
    await hosts.get(1)!.ip('addr replace fd01::2/64 dev eth0 nodad');
    await hosts.get(1)!.ip('route replace default via 10.1.0.1');
    await hosts.get(1)!.ip('-6 route replace default via fd01::1');
    await until(
      'it is up again',
      async () => (await up(plane)) === '1 2 3' && (await up(plane, six)) === '1 2 3',
    );
    t.is(await answers(client, 9), 's1 s2 s3');
    t.is(await answers(client, 9, VIRTUAL6), 's1 s2 s3');
  },
);

labTest(
  'resets of the data path take a server out whose check is content, and a script sets a weight',
  ['nginx', 'curl'],
  async (t, lab) => {
    const health: WrittenHealth = {
      ...{ kind: 'icmp', intervalMs: 500, fall: 1, rise: 1000, passiveFailures: 2 },
    };
    const weighed = 'tcp://203.0.113.81:80';
    const command = ['/bin/sh', '-c', 'case $VIADUCT_ADDRESS in 10.2.*) exit 7;; esac'];
    const { client, programs, plane } = await place(lab, [
      service({ health }),
      service({ listen: weighed, health: { kind: 'script', command, dynamicWeight: true, intervalMs: 200 } }),
    ]);
    await kill(programs, 2);
    t.is(await up(plane), '1 2 3');
    await until('enough connections were reset', async () => {
      for (let i = 0; i < 6; i++) await fetch1(client, VIRTUAL);
      return (await up(plane)) === '1 3';
    });
    t.is(await answers(client, 6), 's1 s3');
    t.regex((await rows(plane)).destinations[1]!.health!.error!, /resets and timeouts/);
    await until('the script has set the weight', async () => {
      const { destinations } = await rows(plane, weighed);
      return destinations.map(({ weight }) => weight).join(' ') === '1 5 1';
    });
    t.regex((await plane.command('ipvsadm', '-Ln')).stdout, /-> 10\.2\.0\.2:8080 {16}Masq {4}5 /);
  },
);

labTest(
  'checks over IPv6 and by UDP are answered, although what destinations send goes to the director',
  ['nginx', 'curl'],
  async (t, lab) => {
    const six = `tcp://[${VIRTUAL6}]:80`;
    const udp = (listen: string, of: (site: number) => string): WrittenService => ({
      ...{ listen, scheduler: 'rr', destinations: SERVERS.map((site) => ({ address: of(site) })) },
      health: { kind: 'udp', payload: '00', requireReply: true, intervalMs: INTERVAL_MS, fall: 2, rise: 2 },
    });
    const udp4 = udp(`udp://${VIRTUAL}:90`, (site) => `10.${site}.0.2:9000`);
    const udp6 = udp(`udp://[${VIRTUAL6}]:90`, (site) => `[fd0${site}::2]:9000`);
    const web = service({
      listen: six,
      destinations: SERVERS.map((site) => ({ address: `[fd0${site}::2]:8080` })),
    });
    const { hosts, programs, plane } = await place(lab, [web]);
    const talkers = new Map<number, ChildProcess>();
    const talk = async (site: number) => {
      const child = spawnProgram(hosts.get(site)!, 'who', ['serve', `s${site}`, '9000']);
      await awaitWord(child, 'ready');
      talkers.set(site, child);
    };
    for (const site of SERVERS) await talk(site);
    t.true(await plane.reload({ networks: [], services: [web, udp4, udp6] }));
    const listens = [six, udp4.listen, udp6.listen];
    const states = async () => (await Promise.all(listens.map((listen) => up(plane, listen)))).join('; ');
    await kill(programs, 2);
    await stopProgram(talkers.get(2)!);
    await until('they are down', async () => (await states()) === '1 3; 1 3; 1 3');
    programs.set(2, await nginx(hosts.get(2)!, 's2'));
    await talk(2);
    await until('they are up again', async () => (await states()) === '1 2 3; 1 2 3; 1 2 3');
    t.deepEqual(
      (await rows(plane, udp6.listen)).destinations.map(({ health }) => health!.error),
      [null, null, null],
    );
  },
);
