/**
 * ICMP errors about connections through the director, by routers that are no destinations, by the director's host, and
 * by the ends: each one reaches whom it concerns, and speaks of the connection as that end knows it.
 *
 *     client ─ r1 ─ r2 ─ director ─ r3 ─ r4 ─ server          link i has 10.9.i.0/24 and fd09:i::/64, .1 on its left
 */
import { createRequire } from 'node:module';
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import { at, FAMILIES, type Family, nothingDropped, type Services, VIRTUAL } from './world/directed.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

const NAMES = ['c', 'r1', 'r2', 'd', 'r3', 'r4', 's'];
const DIRECTOR = 3;
const LAST = NAMES.length - 1;
const NARROW = 1320;
const PORT = 9000;

const end = (link: number, side: 1 | 2, family: Family) =>
  family === 4 ? `10.9.${link}.${side}` : `fd09:${link}::${side}`;
const clientOf = (family: Family) => end(0, 1, family);
const serverOf = (family: Family) => end(LAST - 1, 2, family);

interface Chain {
  hosts: Host[];
  client: Host;
  director: Host;
  server: Host;
  plane: Plane;
}

/** @param narrow the link whose MTU is smaller than that of all others; -1: none */
async function chain(lab: Lab, narrow: number, services: Services): Promise<Chain> {
  const hosts: Host[] = [];
  for (const name of NAMES) hosts.push(await lab.host(name));
  for (let link = 0; link < LAST; link++) {
    const [left, right] = ([1, 2] as const).map((side) => ({
      host: hosts[link + side - 1]!,
      name: side === 1 ? 'right' : 'left',
      addresses: [`${end(link, side, 4)}/24`, `${end(link, side, 6)}/64`],
    }));
    await lab.link(left!, right!, link === narrow ? NARROW : 1500);
  }
  for (const [k, host] of hosts.entries()) {
    await host.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    for (const family of FAMILIES) {
      const flag = family === 6 ? '-6 ' : '';
      const size = family === 6 ? 64 : 24;
      const net = (link: number) => (family === 4 ? `10.9.${link}.0` : `fd09:${link}::`);
      if (k < LAST) await host.ip(`${flag}route add default via ${end(k, 2, family)}`);
      else await host.ip(`${flag}route add default via ${end(k - 1, 1, family)}`);
      for (let link = 0; k < LAST && link < k - 1; link++) {
        await host.ip(`${flag}route add ${net(link)}/${size} via ${end(k - 1, 1, family)}`);
      }
    }
  }
  const [client, director, server] = [hosts[0]!, hosts[DIRECTOR]!, hosts[LAST]!];
  await awaitWord(spawnProgram(server, 'echo', ['serve', String(PORT)]), 'ready');
  const plane = new Plane(director);
  await plane.start({ networks: [], services });
  return { hosts, client, director, server, plane };
}

const services = (addresses: Record<Family, string> = VIRTUAL): Services =>
  FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => ({
      listen: `${protocol}://${at(addresses[family], 80)}`,
      scheduler: 'rr' as const,
      destinations: [{ address: at(serverOf(family), PORT) }],
    })),
  );

async function say(from: Host, name: string, ...args: string[]): Promise<string> {
  return (await from.run(process.execPath, [program(name), ...args])).stdout.trim();
}

/** What the host has learnt of the way to the address. */
async function learnt(host: Host, address: string): Promise<number> {
  return Number(/ mtu (\d+)/.exec(await host.ip(`route get ${address}`))?.[1] ?? 1500);
}

/** Streams both ways cross the narrow link; who sends towards it learns its MTU. */
async function discovers(
  t: ExecutionContext,
  { client, server, plane }: Chain,
  narrow: number,
  virtual: Record<Family, string> = VIRTUAL,
): Promise<void> {
  for (const family of FAMILIES) {
    t.is(
      await say(client, 'echo', 'exchange', virtual[family], '80', String(4 << 20)),
      'right',
      `IPv${family}`,
    );
    t.deepEqual(
      [await learnt(client, virtual[family]), await learnt(server, clientOf(family))],
      [NARROW, NARROW],
      `IPv${family}, link ${narrow}`,
    );
  }
  await nothingDropped(t, plane);
}

for (const [narrow, where] of [
  [1, 'behind a router on the client’s side'],
  [2, 'between the client’s router and the director'],
  [3, 'between the director and the server’s router'],
  [4, 'behind a router on the server’s side'],
] as const) {
  labTest(`path MTU discovery works both ways when the narrow link is ${where}`, [], async (t, lab) => {
    await discovers(t, await chain(lab, narrow, services()), narrow);
  });
}

/** The package polls on the main thread alone, where no test runs: whether its addon has been built. */
const rawSocket = (() => {
  try {
    createRequire(import.meta.url).resolve('raw-socket/build/Release/raw.node');
    return true;
  } catch {
    return false;
  }
})();

/** Routers' errors about IPv6 replies come to the host by a raw socket. */
labTest(
  'path MTU discovery works where a service has an address of the host',
  rawSocket ? [] : ['the package raw-socket'],
  async (t, lab) => {
    const own = { 4: end(2, 2, 4), 6: end(2, 2, 6) };
    await discovers(t, await chain(lab, 1, services(own)), 1, own);
  },
);

labTest('errors of the server and of routers behind the director reach the client', [], async (t, lab) => {
  const { client, hosts, plane } = await chain(lab, -1, services());
  const ask = (family: Family) => say(client, 'who', 'ask', 'udp', VIRTUAL[family], '80');
  for (const family of FAMILIES) {
    // Nobody has the port on the server.
    t.is(await ask(family), 'ECONNREFUSED', `IPv${family}`);
    // A router forbids it, r4 to r3’s and the director’s ignorance.
    const flag = family === 6 ? '-6 ' : '';
    await hosts[5]!.ip(`${flag}route add prohibit ${serverOf(family)}${family === 4 ? '/32' : '/128'}`);
    t.is(await ask(family), family === 4 ? 'EHOSTUNREACH' : 'EACCES', `IPv${family}`);
  }
  await nothingDropped(t, plane);
});

labTest(
  'ICMP and neighbour discovery of the host are its own, also at a service’s address',
  [],
  async (t, lab) => {
    const own = { 4: end(2, 2, 4), 6: end(2, 2, 6) };
    const { client, director, hosts, plane } = await chain(lab, -1, services(own));
    const [router, next] = [hosts[DIRECTOR - 1]!, hosts[DIRECTOR + 1]!];
    const ping = (from: Host, to: string) => from.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', to]);
    for (const family of FAMILIES) {
      t.is(await say(client, 'echo', 'exchange', own[family], '80', '100000'), 'right');
      await ping(client, own[family]);
      await ping(client, serverOf(family));
      await ping(director, serverOf(family));
      await ping(director, clientOf(family));
      // With the address of the way there, as without a director.
      const { stdout } = await director.run('ip', [
        'route',
        'get',
        serverOf(family),
        'ipproto',
        family === 4 ? 'icmp' : 'ipv6-icmp',
      ]);
      t.true(stdout.includes(`src ${end(DIRECTOR, 1, family)}`), stdout);
      for (const [from, to] of [
        [router, own[family]],
        [next, end(DIRECTOR, 1, family)],
        [director, end(2, 1, family)],
      ] as const) {
        await ping(from, to);
        // A probe to the neighbour it knows, which has to answer.
        const neighbour = async () => from.ip(`${family === 6 ? '-6 ' : ''}neigh show to ${to}`);
        const [, device, mac] = /dev (\S+) lladdr (\S+)/.exec(await neighbour()) ?? [];
        await from.ip(`neigh change ${to} dev ${device} lladdr ${mac} nud probe`);
        await until(
          `${from.netns} reaches its neighbour ${to}`,
          async () => /REACHABLE/.test(await neighbour()),
          10,
        );
      }
    }
    await nothingDropped(t, plane);
  },
);
