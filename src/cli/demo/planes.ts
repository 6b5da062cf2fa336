/** The data planes: one `viaduct dataplane` in each host's namespace, asked for its counters over its socket. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Stats } from '../../dataplane/report.js';
import { ask } from '../socket/client.js';
import { type Site, type Topology, type Workload, writeConfig } from './topology.js';

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
const PATIENCE_MS = 20_000;

export interface Plane {
  socket: string;
  child: ChildProcess;
  /** the end of what it logged */
  log: string;
}

/** Starts both and waits until their workloads are attached. */
export async function startPlanes({ folder, sites: [a, b] }: Topology): Promise<[Plane, Plane]> {
  const planes: [Plane, Plane] = [await start(folder, a, b), await start(folder, b, a)];
  await Promise.all([attached(a, planes[0]), attached(b, planes[1])]);
  return planes;
}

async function start(folder: string, own: Site, other: Site): Promise<Plane> {
  const socket = join(folder, `${own.name}.sock`);
  const config = await writeConfig(folder, own, other);
  const child = own.host.spawn(process.execPath, [MAIN, 'dataplane', '--config', config, '--socket', socket]);
  const plane: Plane = { socket, child, log: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (plane.log = (plane.log + text).slice(-4000)));
  }
  return plane;
}

/** Ready is: each endpoint's interface is up with its addresses. */
async function attached(site: Site, plane: Plane): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (const workload of site.workloads) {
    while (!(await isUp(workload))) {
      const ended = plane.child.exitCode !== null || plane.child.signalCode !== null;
      if (ended || performance.now() > deadline) {
        const what = ended ? 'ended' : `did not attach ${workload.name} in ${PATIENCE_MS / 1000} s`;
        throw new Error(`the data plane of host ${site.name} ${what}:\n${plane.log.trim()}`);
      }
      await sleep(50);
    }
  }
}

interface Link {
  flags?: string[];
  addr_info?: { local: string; tentative?: boolean }[];
}

async function isUp({ host, ipv4, ipv6 }: Workload): Promise<boolean> {
  const text = await host.ip('-j addr show dev eth0').catch(() => '[]');
  const [link] = JSON.parse(text) as Link[];
  const has = (address: string) =>
    link?.addr_info?.some(({ local, tentative }) => local === address && !tentative);
  return Boolean(link?.flags?.includes('UP') && has(ipv4) && has(ipv6));
}

/** What a data plane counts, or undefined while it doesn't answer. */
export async function readStats({ socket }: Plane): Promise<Stats | undefined> {
  return ask<Stats>(socket, '/v1/stats').catch(() => undefined);
}
