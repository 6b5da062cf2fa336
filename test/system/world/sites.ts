/** Hosts on one underlay, workloads in namespaces of their own, and what a data plane's file says of them. */
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import type { Written } from '../../../src/dataplane/config/schema.js';
import { Plane } from './plane.js';

export const VNI = 4097;
export const PORT = 4789;
/** interface of every host on the underlay */
export const CABLE = 'cable';

export type Family = 4 | 6;

/** Bytes that VXLAN adds to an inner IP packet, over an underlay of each family. */
export const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

export interface Site {
  host: Host;
  number: number;
}

export const vtep = ({ number }: Site, family: Family): string =>
  family === 4 ? `10.0.0.${number}` : `fd00::${number}`;

/** Two hosts with a cable between them, or more with a switch: each has an address of both families. */
export async function sites(lab: Lab, count: number, mtu = 1550): Promise<Site[]> {
  const all: Site[] = [];
  for (let number = 1; number <= count; number++) all.push({ host: await lab.host(`h${number}`), number });
  const end = (site: Site) => ({
    host: site.host,
    name: CABLE,
    addresses: [`${vtep(site, 4)}/24`, `${vtep(site, 6)}/64`],
  });
  if (count === 2) {
    await lab.link(end(all[0]!), end(all[1]!), mtu);
    return all;
  }
  const middle = await lab.host('switch');
  await middle.ip('link add name bridge type bridge');
  await middle.ip(`link set bridge mtu ${mtu} up`);
  for (const site of all) {
    await lab.link(end(site), { host: middle, name: `to${site.number}` }, mtu);
    await middle.ip(`link set to${site.number} master bridge`);
  }
  return all;
}

export interface Workload {
  host: Host;
  number: number;
  interface: string;
  mac: string;
  ipv4: string;
  ipv6: string;
}

/** A namespace whose interface a data plane or a kernel peer will make. */
export async function workload(lab: Lab, number: number, name = `w${number}`): Promise<Workload> {
  return { host: await lab.host(name), ...seat(number) };
}

/** The addresses of workload `number`; of another network's when `net` differs. */
export function seat(number: number, net = 10): Omit<Workload, 'host'> {
  return {
    number,
    interface: 'eth0',
    mac: `02:42:0a:${net.toString(16).padStart(2, '0')}:00:${number.toString(16).padStart(2, '0')}`,
    ipv4: `10.${net}.0.${number}`,
    ipv6: `fd00:${net}::${number}`,
  };
}

export const address = (of: Pick<Workload, 'ipv4' | 'ipv6'>, family: Family): string =>
  family === 4 ? of.ipv4 : of.ipv6;

type WrittenNetwork = NonNullable<Written['networks']>[number];
type WrittenEndpoint = NonNullable<WrittenNetwork['endpoints']>[number];
type WrittenRemote = NonNullable<WrittenNetwork['remotes']>[number];

export const endpoint = (of: Workload): WrittenEndpoint => ({
  netns: of.host.netns,
  interface: of.interface,
  mac: of.mac,
  addresses: [`${of.ipv4}/24`, `${of.ipv6}/64`],
});

export const remote = (of: Omit<Workload, 'host'>, at: string): WrittenRemote => ({
  mac: of.mac,
  addresses: [of.ipv4, of.ipv6],
  vtep: at,
});

/** Network blue with these workloads here and those there, which are known (static) or to be learned. */
export function blue(
  here: Workload[],
  there: { workload: Omit<Workload, 'host'>; vtep: string }[],
  more: Partial<WrittenNetwork> = {},
): WrittenNetwork {
  const learning = more.learning ?? false;
  return {
    name: 'blue',
    vni: VNI,
    vteps: [...new Set(there.map((each) => each.vtep))],
    endpoints: here.map(endpoint),
    remotes: learning ? [] : there.map((each) => remote(each.workload, each.vtep)),
    ...more,
  };
}

export type Device = 'tunnel' | 'udp';

/** A workload and a data plane a host, each knowing all the others. Workload 2 is on host 1, and so on. */
export async function mesh(
  lab: Lab,
  hosts: Site[],
  family: Family,
  devices: Device[] = [],
  more: Parameters<typeof blue>[2] = {},
  engine: { count?: number } = {},
): Promise<{ workloads: Workload[]; planes: Plane[] }> {
  const workloads: Workload[] = [];
  for (const { number } of hosts) workloads.push(await workload(lab, number + 1));
  const planes = hosts.map(({ host }) => new Plane(host));
  await Promise.all(
    planes.map((plane, i) => {
      const there = hosts.flatMap((site, j) =>
        j === i ? [] : [{ workload: workloads[j]!, vtep: vtep(site, family) }],
      );
      return plane.start({
        underlay: { address: vtep(hosts[i]!, family), device: devices[i] ?? 'auto' },
        engine,
        networks: [blue([workloads[i]!], there, more)],
      });
    }),
  );
  return { workloads, planes };
}
