/**
 * Path MTU of each VTEP: found out by probing, so that a path that shrinks is noticed also where routers say
 * nothing, and a router that says something is checked. A VTEP's datagrams are taken to go the way of the echoes.
 */
import { IcmpEcho } from './icmp-echo.js';
import { PathSearch, type Timing } from './search.js';
import type { EchoTransport, Log } from './transport.js';

/** What the host's routing says of a path: see routeTo(). */
export interface RouteMtu {
  readonly mtu: number | null;
  /** true: from a router, so it is checked; false: set by the administrator, so it is the most that is tried */
  readonly mtuLearned: boolean;
}

export interface PathMtuOptions {
  logger: Log;
  /** milliseconds, monotonic */
  now: () => number;
  /** bytes of IP packet; called whenever the value isn't what it was. At first it is the interface's MTU. */
  onChange: (address: string, mtu: number) => void;
  /** default: ICMP and ICMPv6 in the process's network namespace */
  transport?: EchoTransport;
  routeMtu?: (address: string) => RouteMtu | undefined;
  /** default: setTimeout; returns what cancels it */
  later?: (ms: number, task: () => void) => () => void;
  intervalMs?: number;
  timeoutMs?: number;
  raiseMs?: number;
}

interface Watched {
  readonly address: string;
  interfaceMtu: number;
  readonly search: PathSearch;
  /** as told last */
  mtu: number;
}

interface Probe {
  readonly path: Watched;
  readonly size: number;
  readonly sentAt: number;
}

const ACTIVE_PATHS = 32; // paths with probes in flight; each has four at most
const CROWDED_MS = 50; // pause when there are more
const LATE_TIMEOUTS = 4; // an answer counts this many timeouts long, so that a slow path isn't misjudged

export class PathMtuProber {
  readonly #options: PathMtuOptions;
  readonly #transport: EchoTransport;
  readonly #timing: Timing;
  readonly #later: (ms: number, task: () => void) => () => void;
  readonly #paths = new Map<string, Watched>();
  /** by sequence, oldest first */
  readonly #probes = new Map<number, Probe>();
  #sequence = 0;
  #cancel = () => {};
  #closed = false;

  constructor(options: PathMtuOptions) {
    this.#options = options;
    this.#timing = {
      intervalMs: options.intervalMs ?? 10_000,
      timeoutMs: options.timeoutMs ?? 500,
      raiseMs: options.raiseMs ?? 60_000,
    };
    this.#later = options.later ?? laterByTimer;
    this.#transport = options.transport ?? new IcmpEcho(options.logger);
    this.#transport.listener = {
      answered: (sequence) => this.#answered(sequence),
      tooBig: (address, mtu) => this.#tooBig(address, mtu),
    };
  }

  /** Starts to watch a VTEP, or takes over the new MTU of the interface that leads there. `address` in canonical spelling. */
  watch(address: string, interfaceMtu: number): void {
    const now = this.#options.now();
    const known = this.#paths.get(address);
    if (known === undefined) {
      const search = new PathSearch(address.includes(':') ? 6 : 4, interfaceMtu, this.#timing, now);
      this.#paths.set(address, { address, interfaceMtu, search, mtu: interfaceMtu });
    } else if (known.interfaceMtu !== interfaceMtu) {
      known.interfaceMtu = interfaceMtu;
      known.search.setCeiling(interfaceMtu, now);
      this.#tell(known);
    }
    this.#schedule(0);
  }

  unwatch(address: string): void {
    this.#paths.delete(address);
  }

  /** undefined for an address that isn't watched */
  mtu(address: string): number | undefined {
    return this.#paths.get(address)?.mtu;
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#paths.clear();
    this.#transport.listener = undefined;
    this.#transport.close();
  }

  #run(): void {
    const now = this.#options.now();
    for (const [sequence, probe] of this.#probes) {
      if (now - probe.sentAt < LATE_TIMEOUTS * this.#timing.timeoutMs) break;
      this.#probes.delete(sequence);
    }
    let active = 0;
    for (const path of this.#paths.values()) if (!path.search.idle) active++;
    let wake = now + this.#timing.intervalMs;
    for (const path of this.#paths.values()) {
      if (path.search.due <= now && path.search.idle) {
        if (active >= ACTIVE_PATHS) {
          wake = Math.min(wake, now + CROWDED_MS);
          continue;
        }
        active++;
        this.#askRoute(path, now);
      }
      if (path.search.due <= now) for (const size of path.search.step(now)) this.#send(path, size, now);
      this.#tell(path);
      wake = Math.min(wake, path.search.due);
    }
    if (this.#paths.size > 0) this.#schedule(wake - now);
  }

  #schedule(ms: number): void {
    this.#cancel();
    if (!this.#closed) this.#cancel = this.#later(Math.max(0, Math.ceil(ms)), () => this.#run());
  }

  #askRoute(path: Watched, now: number): void {
    const route = this.#options.routeMtu?.(path.address);
    const limit = route?.mtu && !route.mtuLearned ? route.mtu : path.interfaceMtu;
    path.search.setCeiling(Math.min(limit, path.interfaceMtu), now);
    if (route?.mtu && route.mtuLearned) path.search.tooBig(route.mtu, now);
  }

  #send(path: Watched, size: number, now: number): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#probes.delete(this.#sequence); // keeps the order when the numbers begin again
    this.#probes.set(this.#sequence, { path, size, sentAt: now });
    this.#transport.send(path.address, size, this.#sequence);
  }

  #answered(sequence: number): void {
    const probe = this.#probes.get(sequence);
    if (probe === undefined) return;
    this.#probes.delete(sequence);
    probe.path.search.answered(probe.size, this.#options.now());
    this.#schedule(0);
  }

  #tooBig(address: string, mtu: number): void {
    const path = this.#paths.get(address);
    if (path === undefined) return;
    path.search.tooBig(mtu, this.#options.now());
    this.#schedule(0);
  }

  #tell(path: Watched): void {
    const { address, search } = path;
    if (search.mtu === path.mtu) return;
    this.#options.logger.info({ vtep: address, mtu: search.mtu, before: path.mtu }, 'path MTU changed');
    path.mtu = search.mtu;
    this.#options.onChange(address, search.mtu);
  }
}

function laterByTimer(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, ms);
  timer.unref();
  return () => clearTimeout(timer);
}
