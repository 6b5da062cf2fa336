/**
 * Hosts and workloads as network namespaces, for the demo, the benches and the tests: made under a prefix of
 * their own, so that two runs don't collide, and removed with everything in them, also after a failure.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';

export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** throw when the exit code isn't 0 (default) */
  check?: boolean;
  timeoutMs?: number;
  input?: string;
  env?: Record<string, string>;
}

/** Runs a command to its end. Throws with the command and its stderr when it fails, unless `check` is false. */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        timeout: options.timeoutMs ?? 60_000,
        maxBuffer: 64 << 20,
        killSignal: 'SIGKILL',
        env: { ...process.env, ...options.env },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        if (error !== null && (options.check ?? true)) {
          reject(new Error(`${[command, ...args].join(' ')}: ${stderr.trim() || error.message}`));
        } else resolve({ code, stdout, stderr });
      },
    );
    if (options.input !== undefined) child.stdin?.end(options.input);
  });
}

/** One namespace. Commands run in it; what `spawn` starts ends with the lab. */
export class Host {
  readonly netns: string;
  readonly #children = new Set<ChildProcess>();

  constructor(netns: string) {
    this.netns = netns;
  }

  run(command: string, args: string[] = [], options: RunOptions = {}): Promise<Finished> {
    return run('ip', ['netns', 'exec', this.netns, command, ...args], options);
  }

  /** `ip -n NETNS …` with the words of one line. */
  async ip(line: string): Promise<string> {
    return (await run('ip', ['-n', this.netns, ...line.split(/\s+/)])).stdout;
  }

  spawn(command: string, args: string[] = [], env: Record<string, string> = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.netns, command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.#children].map(
        (child) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            const hard = setTimeout(() => child.kill('SIGKILL'), 3000);
            child.once('exit', () => {
              clearTimeout(hard);
              resolve();
            });
            child.kill('SIGTERM');
          }),
      ),
    );
  }
}

export interface LinkEnd {
  host: Host;
  /** interface name in the host */
  name: string;
  /** addresses with prefix length */
  addresses?: string[];
}

export class Lab {
  readonly prefix: string;
  readonly hosts: Host[] = [];

  constructor(prefix = `vd${randomBytes(3).toString('hex')}`) {
    this.prefix = prefix;
  }

  /** A namespace `PREFIX-name` with loopback up, IPv6 on and duplicate address detection off. */
  async host(name: string): Promise<Host> {
    const host = new Host(`${this.prefix}-${name}`);
    await run('ip', ['netns', 'add', host.netns]);
    this.hosts.push(host);
    await host.ip('link set lo up');
    await host.run('sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0']);
    return host;
  }

  /** A veth pair between two hosts, both ends up. */
  async link(a: LinkEnd, b: LinkEnd, mtu = 1500): Promise<void> {
    await run('ip', [
      ...['link', 'add', a.name, 'mtu', String(mtu), 'netns', a.host.netns, 'type', 'veth'],
      ...['peer', 'name', b.name, 'mtu', String(mtu), 'netns', b.host.netns],
    ]);
    for (const end of [a, b]) {
      for (const address of end.addresses ?? []) {
        await end.host.ip(`addr add ${address} dev ${end.name}${address.includes(':') ? ' nodad' : ''}`);
      }
      await end.host.ip(`link set ${end.name} up`);
    }
  }

  /** Stops what runs in the hosts and removes them, last first. */
  async remove(): Promise<void> {
    for (const host of this.hosts.reverse()) {
      await host.stop();
      await run('ip', ['netns', 'delete', host.netns], { check: false });
    }
    this.hosts.length = 0;
  }
}
