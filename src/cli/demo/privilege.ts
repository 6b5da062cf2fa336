/**
 * Who may build namespaces: root, or anybody inside a user namespace of his own where the kernel allows that. Then
 * the demo runs itself again in one, where it is root over its own network, with a /run of its own for `ip netns`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';

const INSIDE = 'VIADUCT_DEMO_INSIDE';
const TUN = '/dev/net/tun';

const USER = ['--user', '--map-root-user', '--net', '--mount'];
/** With a process namespace too, nothing can outlive the demo; not every container allows its /proc. */
const WAYS = [[...USER, '--pid', '--fork', '--kill-child', '--mount-proc'], USER];
const PREPARE = 'mount -t tmpfs tmpfs /run && mkdir /run/netns';
const PROBE = `${PREPARE} && ip netns add probe && ip netns exec probe true`;

export type Privilege =
  | { kind: 'enough' }
  | { kind: 'namespace'; flags: string[] }
  | { kind: 'none'; why: string };

export function findPrivilege(): Privilege {
  if (!existsSync(TUN)) {
    return { kind: 'none', why: `${TUN} is missing; as root: mkdir -p /dev/net && mknod ${TUN} c 10 200` };
  }
  if (process.env[INSIDE] !== undefined) return { kind: 'enough' };
  if (process.getuid?.() === 0 && attempt(['--net', '--mount'], 'true') === undefined)
    return { kind: 'enough' };
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK);
  } catch {
    return { kind: 'none', why: `this user may not open ${TUN}; run as root, or as root: chmod 666 ${TUN}` };
  }
  let complaint = '';
  for (const flags of WAYS) {
    const why = attempt(flags, PROBE);
    if (why === undefined) return { kind: 'namespace', flags };
    complaint = why;
  }
  return {
    kind: 'none',
    why: `run as root; as this user no namespaces can be made here (${complaint})`,
  };
}

/** Undefined when it went well, else what was said. */
function attempt(flags: string[], script: string): string | undefined {
  const { status, stderr, error } = spawnSync('unshare', [...flags, 'sh', '-c', script], {
    encoding: 'utf8',
  });
  if (error !== undefined) return `unshare can't be run: ${error.message}`;
  return status === 0 ? undefined : stderr.trim().split('\n')[0];
}

/**
 * This very command line again, as root of a user namespace; resolves with its exit code. Its stdin is a pipe from
 * us: a signal goes in as its name, and the end of it means that we are gone.
 */
export function runInside(flags: string[]): Promise<number> {
  const script = `${PREPARE} && exec "$0" "$@"`;
  const child = spawn(
    'unshare',
    [...flags, 'sh', '-c', script, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: ['pipe', 'inherit', 'inherit'], env: { ...process.env, [INSIDE]: '1' } },
  );
  child.stdin.on('error', () => {});
  const forward = (signal: NodeJS.Signals) => void child.stdin.write(signal);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Inside: calls `stop` when the demo outside hands on a signal, or is gone. */
export function onOutsideSignal(stop: (signal: NodeJS.Signals) => void): void {
  if (process.env[INSIDE] === undefined) return;
  process.stdin
    .setEncoding('utf8')
    .on('data', (text) => stop(/SIG[A-Z]+/.exec(String(text))?.[0] as NodeJS.Signals));
  process.stdin.on('end', () => stop('SIGHUP'));
  process.stdin.unref?.();
}
