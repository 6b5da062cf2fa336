/**
 * MISC_CHECK: a program, run without a shell. Exit code 0 is good. With `dynamicWeight` 2 to 255 are good as well, and the
 * destination's weight becomes the code less 2 (keepalived's misc_dynamic). When its time is over, its process group gets
 * SIGTERM, and SIGKILL if that doesn't help.
 *
 * Its environment is the data plane's, and:
 *     VIADUCT_SERVICE   where the service listens: tcp://10.0.0.1:80
 *     VIADUCT_ADDRESS   the destination's address
 *     VIADUCT_PORT      the port to check; 0 where the destination has none of its own
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { HealthKind } from '../../../config/service-types.js';
import { type Check, type Healthy, onAbort, type Target, TimeOver } from '../check.js';

/** From SIGTERM to SIGKILL. */
const GRACE_MS = 500;
/** From its end to the end of what it says. */
const LAST_WORDS_MS = 100;
/** Characters of its stderr that are told. */
const SAID_MAX = 160;

export function scriptCheck({ command, dynamicWeight }: Extract<HealthKind, { kind: 'script' }>): Check {
  const [program = '', ...args] = command;
  return (target, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const child = spawn(program, args, {
        ...{ detached: true, stdio: ['ignore', 'ignore', 'pipe'] },
        env: environment(target),
      });
      let said = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        if (said.length < SAID_MAX) said = (said + text).slice(0, SAID_MAX);
      });
      let later: NodeJS.Timeout | undefined;
      const leave = onAbort(signal, (reason) => {
        // What is no longer wanted may be given up because the process ends: there is no time for grace.
        if (!(reason instanceof TimeOver)) return kill(child, 'SIGKILL');
        kill(child, 'SIGTERM');
        later = setTimeout(() => kill(child, 'SIGKILL'), GRACE_MS).unref();
      });
      const end = () => {
        leave();
        clearTimeout(later);
        child.stderr?.destroy();
      };
      child.once('error', (error) => {
        end();
        reject(new Error(`${program} can't be run: ${error.message}`));
      });
      child.once('exit', (code, killed) => {
        leave();
        clearTimeout(later);
        if (signal.aborted) kill(child, 'SIGKILL');
        const told = () => {
          end();
          if (signal.aborted) return reject(signal.reason);
          const healthy = code === null ? undefined : meaning(code, dynamicWeight);
          if (healthy !== undefined) return resolve(healthy);
          const how = code === null ? `was ended by ${killed}` : `exit code ${code}`;
          reject(new Error(said.trim() === '' ? how : `${how}: ${said.trim()}`));
        };
        // What it has said is read when its stderr closes, which children of its own may keep open.
        later = setTimeout(told, LAST_WORDS_MS).unref();
        child.once('close', told);
      });
    });
}

/** Undefined: not well. */
function meaning(code: number, dynamicWeight: boolean): Healthy | undefined {
  if (code === 0) return {};
  return dynamicWeight && code >= 2 ? { weight: code - 2 } : undefined;
}

function environment({ service, address, port }: Target): NodeJS.ProcessEnv {
  return { ...process.env, VIADUCT_SERVICE: service, VIADUCT_ADDRESS: address, VIADUCT_PORT: String(port) };
}

/** The whole group; it may be gone already. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {}
}
