/**
 * The virtual server as a director between a client and two servers, without any overlay: it catches what is for its
 * services by itself, and the servers see the client's address.
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1, 10.2.0.1 ─── 10.1.0.2, 10.2.0.2 servers
 */
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { Written } from '../../src/dataplane/config/schema.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

const VIRTUAL = { 4: '203.0.113.80', 6: '2001:db8::80' } as const;
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
type Services = NonNullable<Written['services']>;

const at = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
const addressOf = (site: number, family: Family) => (family === 4 ? `10.${site}.0.2` : `fd0${site}::2`);

function service(listen: string, family: Family, servers: number[], port = 8080): Services[number] {
  return {
    listen,
    scheduler: 'rr',
    destinations: servers.map((site) => ({ address: at(addressOf(site, family), port) })),
  };
}

/** Both families, TCP and UDP, to the servers. */
const both = (servers: number[]): Services =>
  FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) =>
      service(`${protocol}://${at(VIRTUAL[family], 80)}`, family, servers),
    ),
  );

interface Place {
  client: Host;
  director: Host;
  servers: Host[];
  plane: Plane;
}

async function place(lab: Lab, services: Services): Promise<Place> {
  const director = await lab.host('d');
  const [client, ...servers] = [await lab.host('c'), await lab.host('s1'), await lab.host('s2')] as const;
  for (const [site, host] of [client, ...servers].entries()) {
    const gateways = [`10.${site}.0.1/24`, `fd0${site}::1/64`];
    const own = [`${addressOf(site, 4)}/24`, `${addressOf(site, 6)}/64`];
    const link = { host: director, name: `to${site}`, addresses: gateways };
    await lab.link(link, { host, name: 'eth0', addresses: own });
    await host.ip(`route add default via 10.${site}.0.1`);
    await host.ip(`-6 route add default via fd0${site}::1`);
    if (site > 0) await awaitWord(spawnProgram(host, 'who', ['serve', `s${site}`, '8080']), 'ready');
  }
  const plane = new Plane(director);
  await plane.start({ networks: [], services });
  return { client, director, servers, plane };
}

async function ask(from: Host, protocol: 'tcp' | 'udp', address: string, port = 80): Promise<string> {
  const { stdout } = await from.run(process.execPath, [
    program('who'),
    'ask',
    protocol,
    address,
    String(port),
  ]);
  return stdout.trim();
}

/** So many answers in a row, sorted. */
async function answers(
  from: Host,
  protocol: 'tcp' | 'udp',
  address: string,
  count: number,
): Promise<string[]> {
  const all: string[] = [];
  for (let i = 0; i < count; i++) all.push(await ask(from, protocol, address));
  return all.sort();
}

async function drops(t: ExecutionContext, plane: Plane): Promise<void> {
  const { drops: all } = await plane.stats();
  t.deepEqual(Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0)), {});
}

labTest(
  'TCP and UDP of both families are spread over the servers, which see the client',
  [],
  async (t, lab) => {
    const { client, director, plane } = await place(lab, both([1, 2]));
    for (const family of FAMILIES) {
      const from = addressOf(0, family);
      for (const protocol of ['tcp', 'udp'] as const) {
        const got = await answers(client, protocol, VIRTUAL[family], 4);
        t.deepEqual(
          got,
          [`s1 ${from}`, `s1 ${from}`, `s2 ${from}`, `s2 ${from}`],
          `${protocol} IPv${family}`,
        );
      }
      // What is for no service goes its way.
      t.is(await ask(client, 'tcp', addressOf(1, family), 8080), `s1 ${from}`);
      await client.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', addressOf(1, family)]);
    }
    await drops(t, plane);
    const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
    t.is(rows.length, 16);
    const tcp = rows.find(({ protocol, source }) => protocol === 'tcp' && source.startsWith('10.'));
    t.like(tcp, { virtual: '203.0.113.80:80', state: 'TIME_WAIT', network: null });
    t.regex(await director.ip('rule'), /iif viaduct0 goto/);
    t.is(await plane.end(), 0);
    t.notRegex(await director.ip('rule'), /viaduct0|203\.0\.113\.80|10\.1\.0\.2/);
    t.notRegex(await director.ip('-6 rule'), /viaduct0|2001:db8::80/);
  },
);

labTest(
  'a service may have an address of the host, and clients on the host itself are served',
  [],
  async (t, lab) => {
    const { client, director, plane } = await place(lab, [
      ...both([1, 2]),
      service('tcp://10.0.0.1:80', 4, [1]),
      service('tcp://[fd00::1]:80', 6, [2]),
    ]);
    t.is(await ask(client, 'tcp', '10.0.0.1'), 's1 10.0.0.2');
    t.is(await ask(client, 'tcp', 'fd00::1'), 's2 fd00::2');
    for (const family of FAMILIES) {
      t.regex((await answers(director, 'tcp', VIRTUAL[family], 2)).join(), /^s1 .*,s2 /);
      t.regex((await answers(director, 'udp', VIRTUAL[family], 2)).join(), /^s1 .*,s2 /);
    }
    t.regex(await ask(director, 'tcp', '10.0.0.1'), /^s1 /);
    // Ports of the address that no service has are the host's own.
    t.is(await ask(client, 'tcp', '10.0.0.1', 81), 'ECONNREFUSED');
    await client.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', '10.0.0.1']);
    await drops(t, plane);
  },
);

labTest(
  'a transfer goes on while its server leaves the service; new connections go elsewhere',
  [],
  async (t, lab) => {
    const bulk = (servers: number[]) => service(`tcp://${VIRTUAL[4]}:5201`, 4, servers, 5201);
    const { client, servers, plane } = await place(lab, [...both([1]), bulk([1])]);
    await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', addressOf(1, 4), '5201']), 'ready');
    const fetch = (address: string, seed: number, mebibytes: number) =>
      client.run(process.execPath, [program('body'), 'fetch', `http://${address}:5201/${seed}/${mebibytes}`]);
    const long = fetch(VIRTUAL[4], 1, 1024);
    await until('the transfer is under way', async () => (await plane.stats()).counters.rxPackets > 2000);
    t.true(await plane.reload({ networks: [], services: [...both([2]), bulk([2])] }));
    t.is(await ask(client, 'tcp', VIRTUAL[4]), 's2 10.0.0.2');
    const through = (await long).stdout.trim();
    t.is(through, (await fetch(addressOf(1, 4), 1, 1024)).stdout.trim());
    t.regex(through, /^[0-9a-f]{64}$/);
    const { counters } = await plane.stats();
    // A gibibyte of 1,500 bytes each would be 740,000 packets one way.
    t.true(counters.rxPackets < 300_000, `super-packets do not stay whole: ${counters.rxPackets} packets`);
    await drops(t, plane);
  },
);

labTest(
  'where nobody serves the client is told, and what the director can not do is refused',
  [],
  async (t, lab) => {
    const { client, plane } = await place(lab, both([]));
    for (const family of FAMILIES) {
      t.is(await ask(client, 'udp', VIRTUAL[family]), 'ECONNREFUSED');
      t.is(await ask(client, 'tcp', VIRTUAL[family]), 'ECONNREFUSED');
    }
    t.true((await plane.stats()).drops['service-empty'] >= 4);
    t.false(await plane.reload({ networks: [], services: [{ listen: 'mark://7', destinations: [] }] }));
    t.regex(plane.log, /mark:\/\/7: not supported yet: a mark/);
    t.true(await plane.reload({ networks: [], services: both([1]) }));
    t.is(await ask(client, 'tcp', VIRTUAL[6]), `s1 ${addressOf(0, 6)}`);
  },
);
