/**
 * Checks one destination again and again: the first time somewhere within an interval, so that many that begin
 * together don't go on together (keepalived's warm-up); then an interval after each began, but never two at once.
 */
import { type Check, type Healthy, type Target, TimeOver } from './check.js';
import type { Clock } from './clock.js';
import type { Turns } from './turns.js';

/** What all checkers share. */
export interface Surroundings {
  readonly clock: Clock;
  /** 0 up to 1 */
  readonly random: () => number;
  readonly turns: Turns;
}

export interface Timing {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** What came of a check. */
export type Result = ({ good: true } & Healthy) | { good: false; error: string };

export class Checker {
  readonly #check: Check;
  readonly #target: Target;
  readonly #timing: Timing;
  readonly #around: Surroundings;
  readonly #tell: (result: Result) => void;
  #stopped = false;
  #cancel = () => {};
  #running: AbortController | undefined;

  constructor(
    check: Check,
    target: Target,
    timing: Timing,
    around: Surroundings,
    tell: (result: Result) => void,
  ) {
    this.#check = check;
    this.#target = target;
    this.#timing = timing;
    this.#around = around;
    this.#tell = tell;
  }

  start(): void {
    this.#schedule(this.#around.random() * this.#timing.intervalMs);
  }

  /** Nothing is told any more, and what runs is given up. */
  stop(): void {
    this.#stopped = true;
    this.#cancel();
    this.#running?.abort(new Error('the check is no longer wanted'));
  }

  #schedule(milliseconds: number): void {
    this.#cancel = this.#around.clock.after(milliseconds, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    const { turns, clock } = this.#around;
    await turns.next();
    const began = clock.now();
    const result = this.#stopped ? undefined : await this.#once();
    turns.done();
    if (this.#stopped || result === undefined) return;
    this.#schedule(Math.max(0, began + this.#timing.intervalMs - clock.now()));
    this.#tell(result);
  }

  async #once(): Promise<Result> {
    const { timeoutMs } = this.#timing;
    const running = new AbortController();
    this.#running = running;
    const cancel = this.#around.clock.after(timeoutMs, () => running.abort(new TimeOver(timeoutMs)));
    try {
      return { good: true, ...(await this.#check(this.#target, running.signal)) };
    } catch (error) {
      return { good: false, error: sentence(error) };
    } finally {
      cancel();
      this.#running = undefined;
    }
  }
}

/** One line, of bounded length: some of it may come from the destination. */
function sentence(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  const text = message || code || String(error);
  return text.replace(/[\p{Cc}\s]+/gu, ' ').slice(0, 200);
}
