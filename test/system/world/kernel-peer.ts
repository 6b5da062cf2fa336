/** The kernel's own overlay end: its vxlan device in a bridge, and a workload on the bridge by veth. */
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import { type Family, OVERHEAD, PORT, type Site, VNI, vtep, type Workload } from './sites.js';

export interface KernelPeerOptions {
  site: Site;
  workload: Workload;
  /** the host at the other end; or the addresses of both ends */
  peer?: Site;
  local?: string;
  remote?: string;
  /** MACs of the workloads there; without them the device learns */
  remotes?: string[];
  /** of the underlay */
  family: Family;
  /** of the underlay */
  mtu: number;
  vni?: number;
  port?: number;
  /** further words for `ip link add … type vxlan` */
  words?: string;
}

export async function kernelPeer(lab: Lab, options: KernelPeerOptions): Promise<void> {
  const { site, workload, peer, remotes, family, vni = VNI, port = PORT, words = '' } = options;
  const { host } = site;
  const mtu = options.mtu - OVERHEAD[family];
  const { local = vtep(site, family), remote = vtep(peer!, family) } = options;
  const learning = remotes === undefined ? 'learning' : 'nolearning';
  await host.ip(
    `link add vxlan mtu ${mtu} type vxlan id ${vni} local ${local} dstport ${port} ${learning} ${words}`.trim(),
  );
  for (const mac of ['00:00:00:00:00:00', ...(remotes ?? [])]) await append(host, mac, remote);
  await host.ip(`link add bridge mtu ${mtu} type bridge`);
  await attach(lab, host, workload, mtu);
  for (const device of ['vxlan', 'bridge']) await host.ip(`link set ${device} up`);
  await host.ip('link set vxlan master bridge');
}

/** A workload on the bridge; with the same MAC and addresses that a data plane would give it. */
async function attach(lab: Lab, host: Host, workload: Workload, mtu: number): Promise<void> {
  const name = `port${workload.number}`;
  const inside = workload.host;
  await lab.link({ host: inside, name: workload.interface }, { host, name }, mtu);
  await inside.ip(`link set ${workload.interface} address ${workload.mac}`);
  await inside.ip(`addr add ${workload.ipv4}/24 dev ${workload.interface}`);
  await inside.ip(`addr add ${workload.ipv6}/64 dev ${workload.interface} nodad`);
  await host.ip(`link set ${name} master bridge`);
}

const append = (host: Host, mac: string, to: string) =>
  host.run('bridge', ['fdb', 'append', mac, 'dev', 'vxlan', 'dst', to]);
