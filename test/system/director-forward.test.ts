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
import { decapsulate } from './world/decapsulator.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';

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
): Promise<void> {
  const from = addressOf(2, family);
  for (const protocol of ['tcp', 'udp'] as const) {
    const got = [await ask(client, protocol, VIRTUAL[family]), await ask(client, protocol, VIRTUAL[family])];
    t.deepEqual(got.sort(), [`s1 ${from}`, `s2 ${from}`], `${words}, ${protocol}`);
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
  'direct routing leads packets unchanged to the servers, which answer past the director',
  [],
  async (t, lab) => {
    const here = await place(lab);
    await here.plane.start({
      networks: [],
      services: FAMILIES.flatMap((family) => services(family, [11, 12], family, { forward: 'route' })),
    });
    for (const family of FAMILIES) await serves(t, here, family, `IPv${family}`);
  },
);
