/**
 * How connections through a director live and end, with real sockets: an idle one that expires, one whose server is
 * taken out; and what goes without one.
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1, 10.2.0.1 ─── 10.1.0.2, 10.2.0.2 servers
 */
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import {
  addressOf,
  at,
  type Directed,
  directed,
  FAMILIES,
  type Services,
  VIRTUAL,
} from './world/directed.js';
import { labTest } from './world/needs.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

type Change = Partial<Services[number]>;

const service = (protocol: 'tcp' | 'udp', family: 4 | 6, servers: number[], change: Change = {}) => ({
  listen: `${protocol}://${at(VIRTUAL[family], 80)}`,
  scheduler: 'rr' as const,
  destinations: servers.map((site) => ({ address: at(addressOf(site, family), 8080) })),
  ...change,
});

async function place(lab: Lab, config: Omit<Written, 'networks'>): Promise<Directed> {
  const made = await directed(lab);
  await made.plane.start({ networks: [], ...config });
  return made;
}

/** What the program says from now on. */
function listen(child: ChildProcess): () => string {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return () => text;
}

/** A client's connection to the virtual address, and what it and the server say of it. */
interface Held {
  child: ChildProcess;
  client: () => string;
  server: () => string;
}

async function serve(host: Host, name: string): Promise<() => string> {
  const child = spawnProgram(host, 'hold', ['serve', name, '8080']);
  await awaitWord(child, 'ready');
  return listen(child);
}

async function hold(from: Host, server: () => string, family: 4 | 6): Promise<Held> {
  const child = spawnProgram(from, 'hold', ['tcp', VIRTUAL[family], '80']);
  const client = listen(child);
  await until('the connection is open', () => client().includes('open') && server().includes('open'));
  return { child, client, server };
}

const said = ({ client, server }: Held): string[] => [client().trim(), server().trim()];
const RESET = 'open\nECONNRESET';

for (const family of FAMILIES) {
  labTest(
    `an idle connection that expires is reset at both ends, where asked, over IPv${family}`,
    [],
    async (t, lab) => {
      const change = { timeouts: { tcpSeconds: 2 }, resetOnExpiry: true };
      const { client, servers, plane } = await place(lab, {
        services: [service('tcp', family, [1], change)],
      });
      const held = await hold(client, await serve(servers[0]!, 's1'), family);
      await until('both ends are told', () => said(held).every((each) => each.includes('\n')));
      t.deepEqual(said(held), [RESET, RESET]);
      t.is((await plane.ask<ConnectionRow[]>('ipvs/connections')).length, 0);
    },
  );
}

labTest('where it isn’t asked for, an idle connection expires in silence', [], async (t, lab) => {
  const services = [service('tcp', 4, [1], { timeouts: { tcpSeconds: 1 } })];
  const { client, servers, plane } = await place(lab, { services });
  const held = await hold(client, await serve(servers[0]!, 's1'), 4);
  const rows = () => plane.ask<ConnectionRow[]>('ipvs/connections');
  await until('it has expired', async () => (await rows()).length === 0);
  await sleep(2000);
  t.deepEqual(said(held), ['open', 'open']);
});

for (const [how, change, virtualServer] of [
  ['goes on', {}, {}],
  ['is reset with rescheduleRemoved', { rescheduleRemoved: true }, {}],
  ['is reset with expireNodestConn', {}, { expireNodestConn: true }],
] as const) {
  labTest(`a TCP connection whose server is taken out ${how}; a UDP flow likewise`, [], async (t, lab) => {
    const services = (servers: number[]): Services =>
      (['tcp', 'udp'] as const).map((protocol) => service(protocol, 4, servers, change));
    const { client, servers, plane } = await place(lab, { services: services([1]), virtualServer });
    const told = await serve(servers[0]!, 's1');
    await serve(servers[1]!, 's2');
    const held = await hold(client, told, 4);
    const answers = listen(spawnProgram(client, 'hold', ['udp', VIRTUAL[4], '80']));
    await until('the first server answers', () => answers() === 's1\n');
    t.true(await plane.reload({ networks: [], services: services([2]), virtualServer }));
    // Until the client says something, nobody has noticed.
    await sleep(500);
    t.deepEqual(said(held), ['open', 'open']);
    held.child.kill('SIGUSR2');
    if (how === 'goes on') {
      await sleep(1000);
      t.deepEqual([...said(held), answers()], ['open', 'open', 's1\n']);
      return;
    }
    await until('both ends are told', () => said(held).every((each) => each.includes('\n')));
    t.deepEqual(said(held), [RESET, RESET]);
    await until('the second server answers the flow', () => answers() === 's1\ns2\n');
    t.is((await plane.stats()).drops['destination-gone'], 1);
    // Nothing is led here any more for the one that left.
    await until('its rules are gone', async () => !/10\.1\.0\.2/.test(await plane.host.ip('rule')));
  });
}

labTest(
  'each datagram of a one-packet service is scheduled for itself, and nothing is kept',
  [],
  async (t, lab) => {
    const services = FAMILIES.map((family) => service('udp', family, [1, 2], { onePacket: true }));
    const { client, servers, plane } = await place(lab, { services });
    for (const [i, host] of servers.entries()) await serve(host, `s${i + 1}`);
    for (const family of FAMILIES) {
      const answers = listen(spawnProgram(client, 'hold', ['udp', VIRTUAL[family], '80']));
      await until('one socket hears of both in turn', () => answers().includes('s1\ns2\ns1\ns2\n'));
    }
    t.deepEqual(await plane.ask<ConnectionRow[]>('ipvs/connections'), []);
  },
);

for (const protocol of ['tcp', 'udp'] as const) {
  labTest(`a table of 64 serves 300 clients at once, over ${protocol}`, [], async (t, lab) => {
    const services = FAMILIES.map((family) => service(protocol, family, [1, 2]));
    const { client, servers, plane } = await place(lab, { services, virtualServer: { connections: 64 } });
    for (const [i, host] of servers.entries()) {
      await awaitWord(spawnProgram(host, 'crowd', ['serve', `s${i + 1}`, '8080']), 'ready');
    }
    for (const family of FAMILIES) {
      const { stdout } = await client.run(process.execPath, [
        ...[program('crowd'), protocol, VIRTUAL[family], '80', '300'],
      ]);
      // Each of them was answered ten times by one server.
      const [s1 = 0, s2 = 0] = ['s1', 's2'].map((name) => JSON.parse(stdout)[name]);
      t.is(s1 + s2, 300, stdout);
      t.true(s1 > 80 && s2 > 80, stdout);
    }
    const { counters, drops } = await plane.stats();
    t.true(counters.bypassed > 2 * 236 * 10, `${counters.bypassed}`);
    t.is(drops['connections-full'], 0);
    t.is((await plane.ask<ConnectionRow[]>('ipvs/connections')).length, 64);
  });
}
