/**
 * Open vSwitch with its user-space datapath ("netdev"): a vswitchd and a database on each host, a bridge for the
 * workloads and one for the underlay, by which its own tunnelling finds the way.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import { scratchDirectory, waitFor } from '../../labs.js';
import {
  buildHosts,
  ENDS,
  type End,
  other,
  plugWorkload,
  type Side,
  sideOf,
  UNDERLAY_INTERFACE,
  UNDERLAY_MTU,
  VNI,
} from '../side.js';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** Starts both daemons; returns the pid of the switch and a way to configure it. */
async function start(host: Host): Promise<{ pid: number; configure(...args: string[]): Promise<void> }> {
  const directory = join(await scratchDirectory(), `${host.netns}-ovs`);
  await mkdir(directory, { recursive: true });
  const database = `unix:${directory}/db.sock`;
  const env = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory };
  await host.run('ovsdb-tool', ['create', `${directory}/conf.db`, SCHEMA]);
  const quiet = ['-vconsole:off', `--unixctl=${directory}/db.ctl`];
  host.spawn('ovsdb-server', [`${directory}/conf.db`, `--remote=p${database}`, ...quiet], env);
  await waitFor(`${directory}/db.sock`);
  const configure = async (...args: string[]) => {
    await host.run('ovs-vsctl', [`--db=${database}`, '--timeout=10', ...args], { env });
  };
  await configure('--no-wait', 'init');
  const child = host.spawn('ovs-vswitchd', [database, '-vconsole:off', `--unixctl=${directory}/vs.ctl`], env);
  await waitFor(`${directory}/vs.ctl`);
  return { pid: child.pid!, configure };
}

/** @param type 'system': by AF_PACKET and tap; 'afxdp': by AF_XDP in the mode that the device can */
export async function buildOpenVswitch(lab: Lab, type: 'system' | 'afxdp'): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  const processes: number[] = [];
  for (const [i, end] of ENDS.entries())
    processes.push(await buildEnd(lab, hosts[i]!, workloads[i]!, end, type));
  const name = type === 'afxdp' ? 'open vswitch af_xdp' : 'open vswitch tap';
  return { ...sideOf(name, hosts, workloads), processes, ...(type === 'afxdp' && { polls: true as const }) };
}

async function buildEnd(lab: Lab, host: Host, workload: Host, end: End, type: string): Promise<number> {
  const port = await plugWorkload(lab, host, workload, end);
  // Its datapath knows neither unfinished checksums nor super-packets.
  await workload.run('ethtool', ['-K', 'eth0', 'tx', 'off', 'tso', 'off', 'gso', 'off']);
  for (const name of ['tx', 'tso', 'gso']) await host.run('ethtool', ['-K', UNDERLAY_INTERFACE, name, 'off']);
  const { pid, configure } = await start(host);
  // Polling threads are pinned to cores: one core for each host's, not the same for both.
  const cores = [...ENDS].indexOf(end) + 1;
  if (type === 'afxdp') await configure('set', 'open', '.', `other_config:pmd-cpu-mask=${cores}`);
  const userSpace = ['datapath_type=netdev'];
  const kind = type === 'afxdp' ? ['--', 'set', 'interface', port, 'type=afxdp'] : [];
  const underKind = type === 'afxdp' ? ['--', 'set', 'interface', UNDERLAY_INTERFACE, 'type=afxdp'] : [];
  await configure('add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', ...userSpace);
  await configure('add-port', 'br-phy', UNDERLAY_INTERFACE, ...underKind);
  await host.ip(`addr flush dev ${UNDERLAY_INTERFACE}`);
  await host.ip(`addr add ${end.underlay}/24 dev br-phy`);
  await host.ip(`link set br-phy mtu ${UNDERLAY_MTU} up`);
  await configure('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', ...userSpace);
  await configure('add-port', 'br-int', port, ...kind);
  const options = ['type=vxlan', `options:remote_ip=${other(end).underlay}`, `options:key=${VNI}`];
  await configure('add-port', 'br-int', 'vx0', '--', 'set', 'interface', 'vx0', ...options);
  return pid;
}
