/** The defences of services with real sockets: SYN proxy under a flood, sources that are held back or not let in. */
import type { ExecutionContext } from 'ava';
import type { Host } from '../../src/cli/lab/lab.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { addressOf, at, FAMILIES, type Services, service, VIRTUAL } from './world/directed.js';
import { ask, both, place } from './world/director-place.js';
import { labTest } from './world/needs.js';
import type { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { floodSyns } from './world/syn-flood.js';
import { until } from './world/until.js';

/** npx has another program of that name on the PATH. */
const NFT = '/usr/sbin/nft';

const PROXIED: Services = both([1, 2]).flatMap((each) =>
  each.listen.startsWith('tcp') ? [{ ...each, synProxy: true }] : [],
);
const bulk = (family: 4 | 6) => ({
  ...service(`tcp://${at(VIRTUAL[family], 5201)}`, family, [1], 5201),
  synProxy: true,
});

async function drops(plane: Plane): Promise<Record<string, number>> {
  const { drops: all } = await plane.stats();
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}

const fetch = async (from: Host, address: string, seed: number, mebibytes: number): Promise<string> => {
  const url = `http://${at(address, 5201)}/${seed}/${mebibytes}`;
  const { stdout } = await from.run(process.execPath, [program('body'), 'fetch', url]);
  return stdout.trim();
};

async function states(plane: Plane): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { state } of await plane.ask<ConnectionRow[]>('ipvs/connections')) {
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

labTest(
  'through the SYN proxy clients and servers talk as without, in IPv4 and IPv6, and super-packets stay whole',
  [],
  async (t, lab) => {
    const { client, servers, plane } = await place(lab, [...PROXIED, bulk(4), bulk(6)]);
    for (const family of FAMILIES) {
      const own = addressOf(1, family);
      await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', own, '5201']), 'ready');
      // The server speaks first here.
      for (const name of ['s1', 's2'])
        t.is(await ask(client, 'tcp', VIRTUAL[family]), `${name} ${addressOf(0, family)}`);
      const before = (await plane.stats()).counters.rxPackets;
      const through = await fetch(client, VIRTUAL[family], family, 100);
      t.is(through, await fetch(client, own, family, 100));
      t.regex(through, /^[0-9a-f]{64}$/);
      const packets = (await plane.stats()).counters.rxPackets - before;
      // 100 MiB of 1,500 bytes each would be 72,000 packets one way.
      t.true(packets < 30_000, `super-packets do not stay whole: ${packets} packets`);
    }
    const { counters } = await plane.stats();
    t.is(counters.cookiesSent, 6);
    t.is(counters.cookiesAccepted, 6);
    t.deepEqual(await drops(plane), {});
    t.false('SYN_RECV' in (await states(plane)));
  },
);

labTest(
  'clients without timestamps, or without any option, get through the SYN proxy too',
  [],
  async (t, lab) => {
    const { client, servers, plane } = await place(lab, [...PROXIED, bulk(4)]);
    await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', addressOf(1, 4), '5201']), 'ready');
    const direct = await fetch(client, addressOf(1, 4), 3, 20);
    for (const off of ['tcp_timestamps', 'tcp_window_scaling', 'tcp_sack']) {
      await client.run('sysctl', ['-qw', `net.ipv4.${off}=0`]);
      t.is(await fetch(client, VIRTUAL[4], 3, 20), direct, `without ${off}`);
    }
    for (const on of ['tcp_timestamps', 'tcp_window_scaling', 'tcp_sack'])
      await client.run('sysctl', ['-qw', `net.ipv4.${on}=1`]);
    t.deepEqual(await drops(plane), {});
    // Servers without timestamps: a client that was promised them is reset once, the next ones are not.
    await servers[0]!.run('sysctl', ['-qw', 'net.ipv4.tcp_timestamps=0']);
    await t.throwsAsync(fetch(client, VIRTUAL[4], 3, 1), { message: /ECONNRESET/ });
    t.is(await fetch(client, VIRTUAL[4], 3, 20), direct);
    t.deepEqual(await drops(plane), { 'syn-proxy': 1 });
  },
);

labTest(
  'a flood of SYNs from everywhere leaves no connection behind, and clients are served meanwhile',
  ['python3'],
  async (t, lab) => {
    const { client, director, servers, plane } = await place(lab, [bulk(4), bulk(6)]);
    for (const family of FAMILIES) {
      const own = addressOf(1, family);
      await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', own, '5201']), 'ready');
      const before = (await plane.stats()).counters;
      const flood = floodSyns(client, director, 'eth0', family, VIRTUAL[family], 5201, 3);
      const cookies = async () => (await plane.stats()).counters.cookiesSent - before.cookiesSent;
      await until('the flood is there', async () => (await cookies()) > 1000);
      const bodies: string[] = [];
      for (let i = 0; i < 5; i++) bodies.push(await fetch(client, VIRTUAL[family], 9, 1));
      const sent = await flood;
      t.true(sent > 5000, `${sent} SYNs`);
      t.true((await cookies()) > sent / 2, `${await cookies()} of ${sent} answered`);
      t.deepEqual(bodies, Array(5).fill(await fetch(client, own, 9, 1)));
      t.is((await plane.stats()).counters.cookiesAccepted - before.cookiesAccepted, 5);
      const count = await states(plane);
      for (const half of ['SYN_RECV', 'SYN_SENT', 'SYNACK', 'NONE']) t.false(half in count, half);
      // The server saw the true clients alone.
      const { stdout } = await servers[0]!.run('ss', ['-tnH', 'state', 'syn-recv']);
      t.is(stdout.trim(), '');
    }
    t.is((await plane.ask<ConnectionRow[]>('ipvs/connections')).length, 10);
  },
);

labTest(
  'behind the SYN proxy a closed port is told to the client, and a server that is gone ends the wait',
  [],
  async (t, lab) => {
    const gone: Services = [
      { ...service(`tcp://${at(VIRTUAL[4], 81)}`, 4, [1], 9999), synProxy: true },
      { ...service(`tcp://${at(VIRTUAL[6], 81)}`, 6, [1], 9999), synProxy: true },
      { ...service(`tcp://${at(VIRTUAL[4], 82)}`, 4, []), synProxy: true },
    ];
    const { client } = await place(lab, [...PROXIED, ...gone]);
    t.is(await ask(client, 'tcp', VIRTUAL[4], 81), 'ECONNRESET');
    t.is(await ask(client, 'tcp', VIRTUAL[6], 81), 'ECONNRESET');
    t.is(await ask(client, 'tcp', VIRTUAL[4], 82), 'ECONNRESET');
  },
);

labTest(
  'a lost SYN of the proxy is sent again, though the client waits in silence',
  [NFT],
  async (t, lab) => {
    const { client, servers } = await place(lab, PROXIED);
    const chain =
      'type filter hook input priority 0; tcp flags syn / syn,ack limit rate 1/hour burst 1 packets counter drop;';
    for (const server of servers) {
      await server.run(NFT, ['-f', '-'], { input: `table inet t {\n chain c {\n${chain}\n}\n}\n` });
    }
    for (let i = 0; i < 2; i++) t.regex(await ask(client, 'tcp', VIRTUAL[4]), /^s[12] 10\.0\.0\.2$/);
    for (const server of servers) {
      const { stdout } = await server.run(NFT, ['list', 'ruleset']);
      t.regex(stdout, /counter packets 1 /);
    }
  },
);

labTest('a service by mark may have the SYN proxy', [NFT], async (t, lab) => {
  const { client, director, plane } = await place(lab, [
    { ...service('mark://7', 4, [1], 0), synProxy: true },
    { ...service('mark6://7', 6, [1], 0), synProxy: true },
  ]);
  const rules = FAMILIES.map(
    (family) => `${family === 4 ? 'ip' : 'ip6'} daddr ${VIRTUAL[family]} tcp dport 8080 meta mark set 7;`,
  );
  const chain = `chain c { type filter hook prerouting priority mangle; ${rules.join(' ')}\n}`;
  await director.run(NFT, ['-f', '-'], { input: `table inet t {\n${chain}\n}\n` });
  // What has no route gets no mark.
  await director.ip(`route add ${VIRTUAL[4]} via 10.0.0.2`);
  await director.ip(`-6 route add ${VIRTUAL[6]} via fd00::2`);
  for (const family of FAMILIES) {
    t.is(await ask(client, 'tcp', VIRTUAL[family], 8080), `s1 ${addressOf(0, family)}`);
  }
  const { counters } = await plane.stats();
  t.deepEqual([counters.cookiesSent, counters.cookiesAccepted], [2, 2]);
});

labTest(
  'a source is held back beyond its burst while another is served; who is not allowed gets no answer',
  [],
  async (t, lab) => {
    const rated = FAMILIES.map((family) => ({
      ...service(`tcp://${at(VIRTUAL[family], 80)}`, family, [1]),
      sourceRate: { perSecond: 1, burst: 4 },
    }));
    const allowed: Services = [
      { ...service(`tcp://${at(VIRTUAL[4], 90)}`, 4, [1]), allow: ['10.0.0.0/24', '192.0.2.0/24'] },
      { ...service(`tcp://${at(VIRTUAL[6], 90)}`, 6, [1]), allow: ['fd00::/64'] },
      { ...service(`udp://${at(VIRTUAL[4], 90)}`, 4, [1]), allow: ['10.0.0.0/24'] },
    ];
    const { client, servers, plane } = await place(lab, [...rated, ...allowed]);
    const other = servers[1]!;
    await held(t, client, other, plane);
    for (const family of FAMILIES) {
      t.is(await ask(client, 'tcp', VIRTUAL[family], 90), `s1 ${addressOf(0, family)}`);
      t.is(await ask(other, 'tcp', VIRTUAL[family], 90), 'ETIMEDOUT');
    }
    t.is(await ask(client, 'udp', VIRTUAL[4], 90), 's1 10.0.0.2');
    t.is(await ask(other, 'udp', VIRTUAL[4], 90), 'ETIMEDOUT');
    t.true((await drops(plane))['source-not-allowed']! >= 3);
  },
);

async function held(t: ExecutionContext, client: Host, other: Host, plane: Plane): Promise<void> {
  for (const family of FAMILIES) {
    const before = await plane.drops('source-rate');
    const ports = 40;
    const { stdout } = await client.run(process.execPath, [
      ...[program('who'), 'many', VIRTUAL[family], '80', String(ports)],
    ]);
    const served = Number(stdout);
    t.true(served >= 4 && served <= 10, `${served} of ${ports} in two seconds`);
    t.true((await plane.drops('source-rate')) - before >= ports - served);
    t.is(await ask(other, 'tcp', VIRTUAL[family]), `s1 ${addressOf(2, family)}`);
  }
}
