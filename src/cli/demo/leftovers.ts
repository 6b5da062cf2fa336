/** What an earlier demo left behind when it was killed: namespaces named after its process, and what runs in them. */
import { existsSync, readFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../lab/lab.js';

/** Of everything that a demo makes; its process id follows. */
export const PREFIX = 'viaduct-demo-';

/** Ends and removes it; returns the names of the namespaces. Other demos that run now are left alone. */
export async function removeLeftovers(): Promise<string[]> {
  const abandoned = await removeNamespaces(isAbandoned);
  for (const name of await readdir(tmpdir())) {
    if (isAbandoned(name)) await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
  return abandoned;
}

/** Ends what runs in the namespaces that `choose` picks, and removes them. */
export async function removeNamespaces(choose: (name: string) => boolean): Promise<string[]> {
  const { stdout } = await run('ip', ['netns', 'list'], { check: false });
  const chosen = stdout
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .filter(choose);
  for (const netns of chosen) {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      for (let patience = 20; (await signalAll(netns, signal)) > 0 && patience > 0; patience--)
        await sleep(100);
    }
    await run('ip', ['netns', 'delete', netns], { check: false });
  }
  return chosen;
}

function isAbandoned(name: string): boolean {
  const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
  if (pid === undefined || Number(pid) === process.pid) return false;
  const commandLine = `/proc/${pid}/cmdline`;
  // A number that another program has by now is no demo.
  return !existsSync(commandLine) || !readFileSync(commandLine, 'utf8').split('\0').includes('demo');
}

/** Signals every process in a namespace; returns how many there were. */
async function signalAll(netns: string, signal: NodeJS.Signals): Promise<number> {
  const { stdout } = await run('ip', ['netns', 'pids', netns], { check: false });
  const pids = stdout.split('\n').filter((pid) => pid !== '');
  for (const pid of pids) {
    try {
      process.kill(Number(pid), signal);
    } catch {
      // It has just ended.
    }
  }
  return pids.length;
}
