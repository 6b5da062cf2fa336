/** Every lab that a bench opens is closed again: at the end, after a failure, on SIGINT and SIGTERM. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lab, run } from '../src/cli/lab/lab.js';
import { sleep } from './machine.js';

/** Namespaces are called vb<pid>x…, the directory viaduct-bench-<pid>, so that a later run finds what a killed one left. */
const PREFIX = 'vb';
const SCRATCH = 'viaduct-bench-';

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
  scratch ??= join(tmpdir(), `${SCRATCH}${process.pid}`);
  await mkdir(scratch, { recursive: true, mode: 0o755 });
  return scratch;
}

/** Waits until a file, or a socket, is there. */
export async function waitFor(path: string, seconds = 10): Promise<void> {
  for (const deadline = performance.now() + seconds * 1000; !existsSync(path); await sleep(20))
    if (performance.now() > deadline) throw new Error(`${path} did not appear within ${seconds} s`);
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

/** Whether a process of this number is there still. */
const lives = (pid: string | undefined) => pid !== undefined && existsSync(`/proc/${pid}`);

/** Removes what a bench that was killed outright has left. */
export async function sweep(): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'list'], { check: false });
  for (const line of stdout.split('\n')) {
    const [name = ''] = line.split(' ');
    const left = new RegExp(`^${PREFIX}(\\d+)x`).exec(name);
    if (left === null || lives(left[1])) continue;
    await endProcesses(name);
    await run('ip', ['netns', 'delete', name], { check: false });
  }
  for (const name of await readdir(tmpdir())) {
    const left = new RegExp(`^${SCRATCH}(\\d+)$`).exec(name);
    if (left !== null && !lives(left[1])) await rm(join(tmpdir(), name), { recursive: true, force: true });
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
