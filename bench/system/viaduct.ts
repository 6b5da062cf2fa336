/** Viaduct's side: a data plane on each host, started as a user would start it. */
import type { ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import { ask } from '../../src/cli/socket/client.js';
import type { Stats } from '../../src/dataplane/report.js';
import { scratchDirectory } from '../labs.js';
import { sleep } from '../machine.js';
import { buildHosts, ENDS, type End, other, type Side, sideOf, VNI } from './side.js';

/** dist/bench/system/viaduct.js → dist/src/cli/main.js */
const command = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export const DEVICES = ['tunnel', 'udp'] as const;
export type Device = (typeof DEVICES)[number];

/** What these benches write of a configuration file. */
export interface Written {
  underlay: { address: string; port: number; device: string };
  networks: {
    name: string;
    vni: number;
    vteps: string[];
    endpoints: { netns: string; interface: string; mac: string; addresses: string[] }[];
    remotes: { mac: string; addresses: string[]; vtep: string }[];
  }[];
}

/** The configuration of one end: its workload here, the other's there. */
export function configure(end: End, device: string, netns: string): Written {
  const peer = other(end);
  const endpoint = {
    ...{ netns, interface: 'eth0', mac: end.mac },
    addresses: [`${end.overlay}/24`, `${end.overlay6}/64`],
  };
  const remote = { mac: peer.mac, addresses: [peer.overlay, peer.overlay6], vtep: peer.underlay };
  return {
    underlay: { address: end.underlay, port: 4789, device },
    networks: [{ name: 'blue', vni: VNI, vteps: [peer.underlay], endpoints: [endpoint], remotes: [remote] }],
  };
}

export interface Running {
  child: ChildProcess;
  pid: number;
  socket: string;
  /** file that it reads again on SIGHUP */
  config: string;
  log(): string;
}

/** Starts `viaduct dataplane` in the host's namespace; what it prints is kept for when something fails. */
export async function startDataplane(host: Host, config: object): Promise<Running> {
  const base = join(await scratchDirectory(), host.netns);
  const file = `${base}.json`;
  const socket = `${base}.sock`;
  await writeFile(file, JSON.stringify(config));
  const child = host.spawn(process.execPath, [command, 'dataplane', '--config', file, '--socket', socket]);
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n').filter(Boolean));
      lines.splice(0, lines.length - 20);
    });
  }
  if (child.pid === undefined) throw new Error('viaduct dataplane could not be started');
  return { child, pid: child.pid, socket, config: file, log: () => lines.join('\n') };
}

/** Waits until the endpoint's interface is up with its addresses: the sign that a data plane is ready. */
export async function awaitEndpoint(
  workload: Host,
  running: Running,
  addresses: string[],
  seconds = 20,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const text = await workload.ip('addr show').catch(() => '');
    if (/eth0.*[<,]UP/.test(text) && addresses.every((address) => text.includes(address))) return;
    if (running.child.exitCode !== null) throw new Error(`viaduct dataplane ended\n${running.log()}`);
    if (performance.now() > deadline) throw new Error(`no interface after ${seconds} s\n${running.log()}`);
    await sleep(50);
  }
}

export async function buildViaduct(lab: Lab, device: Device): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  const running: Running[] = [];
  for (const [i, end] of ENDS.entries())
    running.push(await startDataplane(hosts[i]!, configure(end, device, workloads[i]!.netns)));
  for (const [i, end] of ENDS.entries()) {
    await awaitEndpoint(workloads[i]!, running[i]!, [end.overlay, end.overlay6]);
    const { underlay } = await ask<Stats>(running[i]!.socket, '/v1/stats');
    if (underlay.kind !== device)
      throw new Error(`the data plane uses ${underlay.kind} here\n${running[i]!.log()}`);
  }
  return {
    ...sideOf(`viaduct ${device}`, hosts, workloads, device),
    processes: running.map(({ pid }) => pid),
    log: () => running.map((each) => each.log()).join('\n'),
  };
}
