/** A director between a client and servers, without any overlay: where its system tests take place. */
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import type { Written } from '../../../src/dataplane/config/schema.js';
import { Plane } from './plane.js';
import { awaitWord, program, spawnProgram } from './programs.js';

export const VIRTUAL = { 4: '203.0.113.80', 6: '2001:db8::80' } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
export type Services = NonNullable<Written['services']>;

export const at = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
export const addressOf = (site: number, family: Family) =>
  family === 4 ? `10.${site}.0.2` : `fd0${site}::2`;

export function service(listen: string, family: Family, servers: number[], port = 8080): Services[number] {
  return {
    listen,
    scheduler: 'rr',
    destinations: servers.map((site) => ({ address: at(addressOf(site, family), port) })),
  };
}

/** Both families, TCP and UDP, to the servers. */
export const both = (servers: number[]): Services =>
  FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) =>
      service(`${protocol}://${at(VIRTUAL[family], 80)}`, family, servers),
    ),
  );

export interface Place {
  client: Host;
  director: Host;
  servers: Host[];
  plane: Plane;
}

export async function place(lab: Lab, services: Services): Promise<Place> {
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

/** What one of the servers answers: its name and whom it sees. */
export async function ask(from: Host, protocol: 'tcp' | 'udp', address: string, port = 80): Promise<string> {
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
export async function answers(
  from: Host,
  protocol: 'tcp' | 'udp',
  address: string,
  count: number,
): Promise<string[]> {
  const all: string[] = [];
  for (let i = 0; i < count; i++) all.push(await ask(from, protocol, address));
  return all.sort();
}
