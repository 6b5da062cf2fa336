/**
 * Two hosts joined by a wire, two workloads each, Viaduct's data planes between them; and on the same hosts two
 * more workloads behind the kernel's own bridge and vxlan device, which has a port of its own.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, Lab } from '../lab/lab.js';
import { PREFIX, removeNamespaces } from './leftovers.js';
import type { Pair } from './measure.js';

const UNDERLAY_MTU = 1550;
const OVERLAY_MTU = 1500;
const VNI = 4097;
const KERNEL_VNI = 4098;
const KERNEL_PORT = 8472;

export interface Workload {
  name: string;
  host: Host;
  mac: string;
  ipv4: string;
  ipv6: string;
}

export interface Site {
  name: string;
  host: Host;
  underlay: string;
  /** attached by Viaduct */
  workloads: Workload[];
  /** attached by bridge and veth, reached over the kernel's vxlan */
  rival: Workload;
}

export interface Topology {
  lab: Lab;
  folder: string;
  sites: [Site, Site];
}

/** Wires everything; the workloads of Viaduct stay without an interface until their data plane runs. */
export async function build(lab: Lab): Promise<Topology> {
  const folder = await mkdtemp(join(tmpdir(), `${lab.prefix}-`));
  const sites: [Site, Site] = [await site(lab, 'a', 1), await site(lab, 'b', 2)];
  const [a, b] = sites;
  await lab.link(
    { host: a.host, name: 'wire', addresses: [`${a.underlay}/24`] },
    { host: b.host, name: 'wire', addresses: [`${b.underlay}/24`] },
    UNDERLAY_MTU,
  );
  await Promise.all([attachRival(lab, a, b.underlay), attachRival(lab, b, a.underlay)]);
  return { lab, folder, sites };
}

export const newLab = (): Lab => new Lab(`${PREFIX}${process.pid}`);

/** Removes all of it, also what a half-finished build made. */
export async function remove(lab: Lab, folder: string | undefined): Promise<void> {
  await lab.remove();
  await removeNamespaces((name) => name.startsWith(`${lab.prefix}-`));
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
}

/** The first workload of each host, in the direction a → b. */
export function pairs([a, b]: [Site, Site]): { viaduct: Pair; kernel: Pair } {
  const pair = (from: Workload, to: Workload) => ({
    from: from.host,
    to: to.host,
    ipv4: to.ipv4,
    ipv6: to.ipv6,
  });
  return { viaduct: pair(a.workloads[0]!, b.workloads[0]!), kernel: pair(a.rival, b.rival) };
}

async function site(lab: Lab, name: string, number: number): Promise<Site> {
  const host = await lab.host(name);
  const workload = async (index: number, subnet: number): Promise<Workload> => {
    const own = `${name}${index}`;
    const namespace = await lab.host(own);
    // One congestion control for both sides of the comparison, whatever the machine's default is.
    await namespace.run('sysctl', ['-qw', 'net.ipv4.tcp_congestion_control=cubic'], { check: false });
    const octets = [10, subnet, 0, 10 * number + index];
    return {
      name: own,
      host: namespace,
      // As Docker does it: 02:42 and the IPv4 address.
      mac: [0x02, 0x42, ...octets].map((octet) => octet.toString(16).padStart(2, '0')).join(':'),
      ipv4: octets.join('.'),
      ipv6: `fd00:${subnet}::${octets[3]}`,
    };
  };
  return {
    name,
    host,
    underlay: `10.0.0.${number}`,
    workloads: [await workload(1, 10), await workload(2, 10)],
    rival: await workload(3, 11),
  };
}

async function attachRival(lab: Lab, { host, underlay, rival }: Site, remote: string): Promise<void> {
  await host.ip(`link add bridge type bridge`);
  const ends = `local ${underlay} remote ${remote} dstport ${KERNEL_PORT}`;
  await host.ip(`link add vxlan type vxlan id ${KERNEL_VNI} ${ends}`);
  await lab.link(
    { host: rival.host, name: 'eth0', addresses: [`${rival.ipv4}/24`, `${rival.ipv6}/64`] },
    { host, name: rival.name },
    OVERLAY_MTU,
  );
  for (const device of ['vxlan', rival.name]) await host.ip(`link set ${device} master bridge up`);
  await host.ip('link set bridge up');
}

/** Writes a host's configuration file and returns its path. */
export async function writeConfig(folder: string, own: Site, other: Site): Promise<string> {
  const config = {
    underlay: { address: own.underlay, port: 4789 },
    networks: [
      {
        name: 'blue',
        vni: VNI,
        vteps: [other.underlay],
        learning: false,
        endpoints: own.workloads.map(({ host, mac, ipv4, ipv6 }) => ({
          netns: host.netns,
          interface: 'eth0',
          mac,
          addresses: [`${ipv4}/24`, `${ipv6}/64`],
        })),
        remotes: other.workloads.map(({ mac, ipv4, ipv6 }) => ({
          mac,
          addresses: [ipv4, ipv6],
          vtep: other.underlay,
        })),
      },
    ],
  };
  const path = join(folder, `${own.name}.json`);
  await writeFile(path, `${JSON.stringify(config, null, 2)}\n`);
  return path;
}
