/**
 * A director between a client and three servers, alike for every side:
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.N.0.1 ─── 10.N.0.2 server N (1, 2, 3)
 *   attacker 10.9.0.2 ─── 10.9.0.1 (where there is one)
 *
 * The virtual addresses stand on the director's loopback, and the client's default route leads there. Servers answer
 * by way of the director, too, so that masquerading works.
 */
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import type { Side } from '../side.js';

export const VIRTUAL = { 4: '203.0.113.80', 6: '2001:db8::80' } as const;
export type Family = keyof typeof VIRTUAL;
export const FAMILIES = [4, 6] as const;
export const SERVERS = [1, 2, 3] as const;

/** Ports of the loads (load.ts), and which servers take them: iperf3's two connections have to meet. */
export const PORTS = [
  { protocol: 'tcp', port: 8080, servers: SERVERS },
  { protocol: 'tcp', port: 5201, servers: [1] },
  { protocol: 'udp', port: 7000, servers: [1] },
  { protocol: 'udp', port: 7001, servers: [1] },
] as const;

export const addressOf = (server: number, family: Family): string =>
  family === 4 ? `10.${server}.0.2` : `fd0${server}::2`;

export const socketOf = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const ATTACKER = 9;

export interface Place {
  lab: Lab;
  client: Host;
  director: Host;
  servers: Host[];
}

export async function buildPlace(lab: Lab): Promise<Place> {
  const director = await lab.host('d');
  const client = await lab.host('c');
  const servers: Host[] = [];
  for (const number of SERVERS) servers.push(await lab.host(`s${number}`));
  for (const [site, host] of [client, ...servers].entries()) {
    const gateways = [`10.${site}.0.1/24`, `fd0${site}::1/64`];
    const own = [`${addressOf(site, 4)}/24`, `${addressOf(site, 6)}/64`];
    const name = `to${site}`;
    await lab.link({ host: director, name, addresses: gateways }, { host, name: 'eth0', addresses: own });
    // One congestion control for all, cubic, at every end of a connection.
    await host.ip(`route add default via 10.${site}.0.1 congctl cubic`);
    await host.ip(`-6 route add default via fd0${site}::1 congctl cubic`);
    await director.ip(
      `route replace 10.${site}.0.0/24 dev ${name} proto kernel src 10.${site}.0.1 congctl cubic`,
    );
    await director.ip(`-6 route replace fd0${site}::/64 dev ${name} proto kernel metric 256 congctl cubic`);
  }
  for (const host of [director, client, ...servers])
    await host.run('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=1024 65535', 'net.ipv4.tcp_tw_reuse=1']);
  await director.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  await director.ip(`addr add ${VIRTUAL[4]}/32 dev lo`);
  await director.ip(`addr add ${VIRTUAL[6]}/128 dev lo nodad`);
  return { lab, client, director, servers };
}

export interface Attacker {
  host: Host;
  /** arguments of bench/reference/flood.c that say where to */
  to: string[];
}

/** A host of its own, whose packets come in at another interface than the client's. */
export async function addAttacker({ lab, director }: Place): Promise<Attacker> {
  const host = await lab.host('x');
  const name = `to${ATTACKER}`;
  const gateway = { host: director, name, addresses: [`10.${ATTACKER}.0.1/24`] };
  await lab.link(gateway, { host, name: 'eth0', addresses: [`10.${ATTACKER}.0.2/24`] });
  // What is sent back to sources that nobody has ends there.
  await director.ip(`route add 100.64.0.0/10 via 10.${ATTACKER}.0.2`);
  await host.ip('route add blackhole 100.64.0.0/10');
  await director.run('sysctl', ['-qw', `net.ipv4.conf.${name}.rp_filter=0`, 'net.ipv4.conf.all.rp_filter=0']);
  const [link] = JSON.parse(await director.ip(`-j link show ${name}`)) as [{ address: string }];
  return { host, to: ['-i', 'eth0', '-m', link.address, '-a', VIRTUAL[4]] };
}

/** Loads go to the virtual address, or straight to the first server. */
export function sideOf(name: string, { client, servers }: Place, direct = false): Side {
  const [first] = servers;
  const to = (family: Family) => (direct ? addressOf(1, family) : VIRTUAL[family]);
  return {
    ...{ name, device: name.startsWith('viaduct') ? 'tun' : '', hosts: [], client, server: first!, servers },
    ...{ address: to(4), address6: to(6), listen: addressOf(1, 4), listen6: addressOf(1, 6) },
    ...{ processes: [], congestion: async () => {} },
  };
}
