/** Virtual time, and a network of simulated paths that carry the prober's echoes in it. */
import type { Random } from '../../../src/dataplane/core/random.js';
import type { EchoListener, EchoTransport } from '../../../src/dataplane/io/path-mtu/transport.js';

export class VirtualTime {
  now = 0;
  readonly #tasks: { at: number; task: () => void }[] = [];

  readonly later = (ms: number, task: () => void): (() => void) => {
    const entry = { at: this.now + ms, task };
    this.#tasks.push(entry);
    return () => {
      const index = this.#tasks.indexOf(entry);
      if (index >= 0) this.#tasks.splice(index, 1);
    };
  };

  get idle(): boolean {
    return this.#tasks.length === 0;
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let next = -1;
      for (const [index, { at }] of this.#tasks.entries())
        if (at <= end && (next < 0 || at < this.#tasks[next].at)) next = index;
      if (next < 0) break;
      const [{ at, task }] = this.#tasks.splice(next, 1);
      this.now = Math.max(this.now, at);
      task();
    }
    this.now = end;
  }
}

export interface SimulatedPath {
  mtu: number;
  rttMs: number;
  /** whether the VTEP answers echoes */
  answers: boolean;
  /** whether a router says what doesn't fit */
  says: boolean;
  /** share of echoes lost */
  loss: number;
}

export class SimulatedNetwork implements EchoTransport {
  listener: EchoListener | undefined;
  closed = false;
  readonly sent: { at: number; address: string; size: number }[] = [];
  readonly #paths = new Map<string, SimulatedPath>();
  readonly #time: VirtualTime;
  readonly #random: Random;

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  path(address: string, path: Partial<SimulatedPath>): SimulatedPath {
    const made = { mtu: 1500, rttMs: 2, answers: true, says: false, loss: 0, ...path };
    this.#paths.set(address, made);
    return made;
  }

  send(address: string, size: number, sequence: number): void {
    this.sent.push({ at: this.#time.now, address, size });
    const path = this.#paths.get(address);
    if (path === undefined || this.#random.chance(path.loss)) return;
    const { mtu } = path;
    if (size > mtu) {
      if (path.says) this.#time.later(path.rttMs / 2, () => this.listener?.tooBig(address, mtu));
    } else if (path.answers) this.#time.later(path.rttMs, () => this.listener?.answered(sequence));
  }

  close(): void {
    this.closed = true;
  }
}
