/** Children that talk in lines. */
import type { ChildProcess } from 'node:child_process';

/** Calls `each` with every line of the child's stdout from now on. */
export function onLines(child: ChildProcess, each: (line: string) => void): void {
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) each(line);
  });
}

/** Waits for a line that matches. Rejects when the child ends first, or takes longer. */
export function until(child: ChildProcess, pattern: RegExp, seconds = 10): Promise<void> {
  return new Promise((resolve, reject) => {
    onLines(child, (line) => pattern.test(line) && resolve());
    finish(child, seconds).then(() => reject(new Error(`${nameOf(child)} ended early`)), reject);
  });
}

/** Waits for the child's end. Rejects with what it said on stderr when it fails, or takes longer and is killed. */
export function finish(child: ChildProcess, seconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk));
    const timer = setTimeout(() => {
      complaint = `not finished after ${seconds} s`;
      child.kill('SIGKILL');
    }, seconds * 1000);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve();
      else reject(new Error(`${nameOf(child)}: ${complaint.trim() || `ended with ${code}`}`));
    });
  });
}

/** `ip netns exec NAME command …` → `command in NAME`. */
const nameOf = (child: ChildProcess) => `${child.spawnargs[4]} in ${child.spawnargs[3]}`;
