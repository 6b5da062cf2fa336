/** The machine under the figures: who it is, how busy it was, and which tools it has. */
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { run } from '../src/cli/lab/lab.js';

/** USER_HZ: /proc counts in hundredths of a second on every architecture that Node runs on. */
const TICKS = 100;

/** Seconds of work that all cores together have done since the start: user, nice, system, irq and softirq. */
export function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split(/\s+/, 8)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq!) / TICKS;
}

/** Seconds of work of one process and all its threads. */
export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command's name may hold spaces; fields are counted from behind its bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Resident memory of a process in MB (10^6 bytes). */
export function residentMegabytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(match?.[1] ?? Number.NaN) * 1024) / 1e6;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Cores in use by others just now; from a fifth of a core on, figures are smoke values. */
export async function coresBusy(seconds = 0.5): Promise<number> {
  const [before, start] = [busySeconds(), performance.now()];
  await sleep(seconds * 1000);
  return (busySeconds() - before) / ((performance.now() - start) / 1000);
}

export async function has(tool: string): Promise<boolean> {
  return (await run('sh', ['-c', `command -v ${tool}`], { check: false })).code === 0;
}

export interface Machine {
  date: string;
  commit: string;
  /** whether the tree had changes that the commit has not */
  dirty: boolean;
  kernel: string;
  node: string;
  cpu: string;
  cores: number;
  /** cores that others used before the run */
  busy: number;
}

export async function describe(): Promise<Machine> {
  const git = async (...args: string[]) => (await run('git', args, { check: false })).stdout.trim();
  return {
    date: new Date().toISOString(),
    commit: await git('rev-parse', '--short', 'HEAD'),
    dirty: (await git('status', '--porcelain', '--untracked-files=no')) !== '',
    kernel: release(),
    node: process.version,
    cpu: cpus()[0]?.model ?? '',
    cores: cpus().length,
    busy: Math.round((await coresBusy()) * 100) / 100,
  };
}
