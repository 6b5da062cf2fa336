/**
 * A director between a client and two servers, all of them network namespaces:
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1, 10.2.0.1 ─── 10.1.0.2, 10.2.0.2 servers
 *
 * and the same in IPv6, fd00::2 and so on.
 */
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import type { Written } from '../../../src/dataplane/config/schema.js';
import { Plane } from './plane.js';

export const VIRTUAL = { 4: '203.0.113.80', 6: '2001:db8::80' } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
export type Services = NonNullable<Written['services']>;

/** Address and port as configurations write them. */
export const at = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
/** Site 0 is the client's. */
export const addressOf = (site: number, family: Family) =>
  family === 4 ? `10.${site}.0.2` : `fd0${site}::2`;

export function service(listen: string, family: Family, servers: number[], port = 8080): Services[number] {
  return {
    listen,
    scheduler: 'rr',
    destinations: servers.map((site) => ({ address: at(addressOf(site, family), port) })),
  };
}

export interface Directed {
  client: Host;
  director: Host;
  servers: Host[];
  plane: Plane;
}

/** Makes the hosts; the data plane is yours to start. */
export async function directed(lab: Lab): Promise<Directed> {
  const director = await lab.host('d');
  const [client, ...servers] = [await lab.host('c'), await lab.host('s1'), await lab.host('s2')] as const;
  for (const [site, host] of [client, ...servers].entries()) await join(lab, director, host, site);
  return { client, director, servers, plane: new Plane(director) };
}

/** Makes `host` site number `site` of a director, or of a router. */
export async function join(lab: Lab, router: Host, host: Host, site: number): Promise<void> {
  const gateways = [`10.${site}.0.1/24`, `fd0${site}::1/64`];
  const own = [`${addressOf(site, 4)}/24`, `${addressOf(site, 6)}/64`];
  const link = { host: router, name: `to${site}`, addresses: gateways };
  await lab.link(link, { host, name: 'eth0', addresses: own });
  await host.ip(`route add default via 10.${site}.0.1`);
  await host.ip(`-6 route add default via fd0${site}::1`);
}

/** Nothing was dropped. */
export async function nothingDropped(t: ExecutionContext, plane: Plane): Promise<void> {
  const { drops } = await plane.stats();
  t.deepEqual(Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0)), {});
}
