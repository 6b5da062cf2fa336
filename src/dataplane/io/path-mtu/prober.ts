/**
 * Path MTU of each VTEP: found out by probing, so that a path that shrinks is noticed also where routers say
 * nothing, and a router that says something is checked. A VTEP's datagrams are taken to go the way of the echoes.
 */
import { IcmpEcho } from './icmp-echo.js';
import { Path, type Timing } from './path.js';
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
  readonly path: Path;
  /** the MTU as onChange knows it */
  told: number;
}

interface Probe {
  readonly vtep: Watched;
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
  readonly #vteps = new Map<string, Watched>();
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
    const known = this.#vteps.get(address);
    if (known === undefined) {
      const path = new Path(address.includes(':') ? 6 : 4, interfaceMtu, this.#timing, now);
      this.#vteps.set(address, { address, interfaceMtu, path, told: interfaceMtu });
    } else if (known.interfaceMtu !== interfaceMtu) {
      known.interfaceMtu = interfaceMtu;
      this.#askRoute(known, now);
      this.#tell(known);
    }
    this.#schedule(0);
  }

  unwatch(address: string): void {
    this.#vteps.delete(address);
  }

  /** undefined for an address that isn't watched */
  mtu(address: string): number | undefined {
    return this.#vteps.get(address)?.told;
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#vteps.clear();
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
    for (const vtep of this.#vteps.values()) if (!vtep.path.idle) active++;
    let wake = now + this.#timing.intervalMs;
    for (const vtep of this.#vteps.values()) {
      if (vtep.path.due <= now && vtep.path.idle) {
        if (active >= ACTIVE_PATHS) {
          wake = Math.min(wake, now + CROWDED_MS);
          continue;
        }
        active++;
        this.#askRoute(vtep, now);
      }
      if (vtep.path.due <= now) for (const size of vtep.path.step(now)) this.#send(vtep, size, now);
      this.#tell(vtep);
      wake = Math.min(wake, vtep.path.due);
    }
    if (this.#vteps.size > 0) this.#schedule(wake - now);
  }

  #schedule(ms: number): void {
    this.#cancel();
    if (!this.#closed) this.#cancel = this.#later(Math.max(0, Math.ceil(ms)), () => this.#run());
  }

  #askRoute(vtep: Watched, now: number): void {
    const route = this.#routeMtu(vtep.address);
    const limit = route?.mtu && !route.mtuLearned ? route.mtu : vtep.interfaceMtu;
    vtep.path.setCeiling(Math.min(limit, vtep.interfaceMtu), now);
    if (route?.mtu && route.mtuLearned) vtep.path.tooBig(route.mtu, now);
  }

  #routeMtu(address: string): RouteMtu | undefined {
    try {
      return this.#options.routeMtu?.(address);
    } catch (error) {
      this.#options.logger.debug({ vtep: address, error: (error as Error).message }, 'no route MTU');
      return undefined;
    }
  }

  #send(vtep: Watched, size: number, now: number): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#probes.delete(this.#sequence); // keeps the order when the numbers begin again
    this.#probes.set(this.#sequence, { vtep, size, sentAt: now });
    this.#transport.send(vtep.address, size, this.#sequence);
  }

  #answered(sequence: number): void {
    const probe = this.#probes.get(sequence);
    if (probe === undefined) return;
    this.#probes.delete(sequence);
    probe.vtep.path.answered(probe.size, this.#options.now());
    this.#schedule(0);
  }

  #tooBig(address: string, mtu: number): void {
    const vtep = this.#vteps.get(address);
    if (vtep === undefined) return;
    vtep.path.tooBig(mtu, this.#options.now());
    this.#schedule(0);
  }

  #tell(vtep: Watched): void {
    const { address, path, told } = vtep;
    if (path.mtu === told) return;
    this.#options.logger.info({ vtep: address, mtu: path.mtu, before: told }, 'path MTU changed');
    vtep.told = path.mtu;
    this.#options.onChange(address, path.mtu);
  }
}

function laterByTimer(ms: number, task: () => void): () => void {
  const timer = setTimeout(task, ms);
  timer.unref();
  return () => clearTimeout(timer);
}
