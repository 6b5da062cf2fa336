/** Every lab that a bench opens is closed again: at the end, after a failure, on SIGINT and SIGTERM. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lab, run } from '../src/cli/lab/lab.js';

/** Namespaces are called vb<pid>…, so that a later run finds what a killed one left. */
const PREFIX = 'vb';

const open = new Set<Lab>();
let count = 0;
let scratch: string | undefined;

export function openLab(): Lab {
  const lab = new Lab(`${PREFIX}${process.pid}x${count++}`);
  open.add(lab);
  return lab;
}

/** A directory for configuration files and sockets, removed with the labs. */
export async function scratchDirectory(): Promise<string> {
  return (scratch ??= await mkdtemp(join(tmpdir(), 'viaduct-bench-')));
}

export async function closeLab(lab: Lab): Promise<void> {
  const names = lab.hosts.map((host) => host.netns);
  await Promise.all(lab.hosts.map((host) => host.stop()));
  await Promise.all(names.map(endProcesses));
  await lab.remove();
  open.delete(lab);
}

export async function closeLabs(): Promise<void> {
  for (const lab of open) await closeLab(lab);
  if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  scratch = undefined;
}

/** Ends whatever still runs in one of our namespaces. */
async function endProcesses(netns: string): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'pids', netns], { check: false });
  for (const pid of stdout.split('\n').filter(Boolean).map(Number)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}

/** Removes what a bench that was killed outright has left. */
export async function sweep(): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'list'], { check: false });
  for (const line of stdout.split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = new RegExp(`^${PREFIX}(\\d+)x`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await endProcesses(name);
    await run('ip', ['netns', 'delete', name], { check: false });
  }
}

/** Closes all labs before a signal ends the process. */
export function closeOnSignals(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      console.error(`\n${signal}: removing namespaces`);
      closeLabs().finally(() => process.exit(code));
    });
  }
}
