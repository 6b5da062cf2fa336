/**
 * A side of the comparison: two workloads that reach each other through something. Every side has hosts and
 * workloads of its own, built alike, so that sides can take turns within one run.
 */
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import { run } from '../../src/cli/lab/lab.js';
import { sleep } from '../machine.js';

export const UNDERLAY_INTERFACE = 'under0';
export const UNDERLAY_MTU = 1550;
export const OVERLAY_MTU = 1500;
export const VNI = 4097;

/** What stands on either end; the client is on A, the server on B. */
export const ENDS = [
  { name: 'a', underlay: '10.0.0.1', mac: '02:42:0a:0a:00:02', overlay: '10.10.0.2', overlay6: 'fd00:10::2' },
  { name: 'b', underlay: '10.0.0.2', mac: '02:42:0a:0a:00:03', overlay: '10.10.0.3', overlay6: 'fd00:10::3' },
] as const;

export type End = (typeof ENDS)[number];
export const other = (end: End): End => (end === ENDS[0] ? ENDS[1] : ENDS[0]);

export interface Side {
  name: string;
  /** what carries: 'tunnel', 'udp' for Viaduct; '' where there is no choice */
  device: string;
  /** the hosts on the underlay, A first; none where the workloads are joined directly */
  hosts: Host[];
  client: Host;
  server: Host;
  /** of the server's workload: the one that loads are sent to */
  address: string;
  address6: string;
  /** of the server's, where loads are sent to another address than it has */
  listen?: string;
  listen6?: string;
  /** those that have the page of the HTTP loads; absent: the server alone */
  servers?: Host[];
  /** measurements that can't be had here */
  without?: readonly string[];
  /** sets one congestion control for all; absent: as the overlay's workloads need it */
  congestion?(): Promise<void>;
  /** processes that carry the packets, for their CPU; none for the kernel */
  processes: number[];
  /** its processes poll without rest: they are stopped while others have their turn */
  polls?: true;
  /** last words of what carries, when a measurement fails */
  log?(): string;
}

/** Ports enough for ten thousand connections a second. */
async function prepare(host: Host): Promise<void> {
  await host.run('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=1024 65535', 'net.ipv4.tcp_tw_reuse=1']);
}

/**
 * One congestion control for all, cubic, whatever the machine's default is. By the route, for a namespace's default
 * can't be one that the machine restricts.
 */
async function useCubic(workload: Host, end: End): Promise<void> {
  const network = end.overlay.replace(/\d+$/, '0/24');
  await workload.ip(
    `route replace ${network} dev eth0 proto kernel scope link src ${end.overlay} congctl cubic`,
  );
  await workload.ip(
    `-6 route replace ${end.overlay6.replace(/\d+$/, '/64')} dev eth0 proto kernel metric 256 congctl cubic`,
  );
}

/** Two hosts joined by an underlay of MTU 1550, and a workload's namespace for each, still without an interface. */
export async function buildHosts(lab: Lab): Promise<{ hosts: Host[]; workloads: Host[] }> {
  const hosts: Host[] = [];
  const workloads: Host[] = [];
  for (const end of ENDS) {
    hosts.push(await lab.host(end.name));
    workloads.push(await lab.host(`w${end.name}`));
  }
  for (const host of [...hosts, ...workloads]) await prepare(host);
  const [a, b] = ENDS.map((end, i) => ({
    host: hosts[i]!,
    name: UNDERLAY_INTERFACE,
    addresses: [`${end.underlay}/24`, `fd00::${i + 1}/64`],
  }));
  await lab.link(a!, b!, UNDERLAY_MTU);
  return { hosts, workloads };
}

/** A veth pair from a host into the workload, where it is eth0 with the end's MAC and addresses. */
export async function plugWorkload(lab: Lab, host: Host, workload: Host, end: End): Promise<string> {
  const name = 'port0';
  const addresses = [`${end.overlay}/24`, `${end.overlay6}/64`];
  await lab.link({ host, name }, { host: workload, name: 'eth0', addresses }, OVERLAY_MTU);
  await workload.ip(`link set eth0 address ${end.mac}`);
  return name;
}

/** Waits until the workloads reach each other, and sets them alike. */
export async function awaitReach(side: Side, seconds = 15): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const { code } = await side.client.run('ping', ['-c1', '-W1', side.address], { check: false });
    if (code === 0) break;
    if (performance.now() > deadline)
      throw new Error(`${side.name}: no ping after ${seconds} s\n${side.log?.() ?? ''}`.trimEnd());
    await sleep(200);
  }
  if (side.congestion !== undefined) return side.congestion();
  await useCubic(side.client, ENDS[0]);
  await useCubic(side.server, ENDS[1]);
}

/** Stops or continues what would take a core from the others. */
export async function pause(side: Side, stopped: boolean): Promise<void> {
  if (!side.polls) return;
  for (const pid of side.processes) process.kill(pid, stopped ? 'SIGSTOP' : 'SIGCONT');
  if (!stopped) await sleep(300);
}

/** Names this side and gives it the server's addresses. */
export function sideOf(name: string, hosts: Host[], workloads: Host[], device = ''): Side {
  const [client, server] = workloads;
  const { overlay, overlay6 } = ENDS[1];
  return {
    ...{ name, device, hosts, client: client!, server: server! },
    ...{ address: overlay, address6: overlay6, processes: [] },
  };
}

/** The plain side: the workloads joined by bridge and veth in one host, no overlay between them. */
export async function buildPlain(lab: Lab): Promise<Side> {
  const host = await lab.host('h');
  const workloads = [await lab.host('wa'), await lab.host('wb')];
  for (const each of [host, ...workloads]) await prepare(each);
  await host.ip('link add br0 type bridge');
  for (const [i, end] of ENDS.entries()) {
    const port = await plugWorkload(lab, host, workloads[i]!, end);
    await host.ip(`link set ${port} name ${port}${end.name} master br0`);
  }
  await host.ip('link set br0 up');
  return sideOf('bridge and veth', [], workloads);
}

/** The kernel's side: vxlan device, bridge and veth on each host, with a static table as Viaduct's. */
export async function buildKernel(lab: Lab): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  for (const [i, end] of ENDS.entries()) {
    const host = hosts[i]!;
    const peer = other(end);
    await host.ip('link add br0 type bridge');
    await host.ip(
      `link add vx0 mtu ${OVERLAY_MTU} type vxlan id ${VNI} local ${end.underlay} dstport 4789 nolearning`,
    );
    await host.ip('link set vx0 master br0');
    const port = await plugWorkload(lab, host, workloads[i]!, end);
    await host.ip(`link set ${port} master br0`);
    await host.ip('link set vx0 up');
    await host.ip('link set br0 up');
    for (const mac of ['00:00:00:00:00:00', peer.mac]) {
      const rule = ['fdb', 'append', mac, 'dev', 'vx0', 'dst', peer.underlay];
      await run('bridge', ['-n', host.netns, ...rule]);
    }
  }
  return sideOf('kernel vxlan', hosts, workloads);
}
