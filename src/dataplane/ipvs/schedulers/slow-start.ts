/**
 * Slow start around a scheduler that goes by weight: a destination that came, or came back (`sinceMs`), gets 1/16 of its
 * weight at first and one sixteenth more in each sixteenth of the time, until it has all. Weights are whole numbers, so
 * for schedulers that compare weights all are sixteenfold; for those to which a weight is a number of connections a
 * ramping one is rounded up.
 *
 * The director sets `sinceMs` before `update`. What counts is the first pick after: no packet, no time.
 */
import type { Destination } from '../destination.js';
import type { Flow, MakeScheduler, Pool, Scheduler } from './scheduler.js';

const STEPS = 16;

/** What a weight is to a scheduler: a share of all, a number of connections, or nothing that could be ramped. */
export type WeightIs = 'relative' | 'connections' | 'fixed';

class SlowStart implements Scheduler {
  readonly #inner: Scheduler;
  readonly #rampMs: number;
  readonly #full: number;
  #pool: Pool;
  /** the inner scheduler hasn't been told of the pool yet */
  #stale = true;
  /** when a share changes next */
  #dueMs = -Infinity;

  constructor(pool: Pool, inner: Scheduler, rampMs: number, full: number) {
    this.#pool = pool;
    this.#inner = inner;
    this.#rampMs = rampMs;
    this.#full = full;
  }

  pick(flow: Flow, nowMs: number): Destination | undefined {
    if (nowMs >= this.#dueMs) this.#step(nowMs);
    return this.#inner.pick(flow, nowMs);
  }

  update(pool: Pool): void {
    this.#pool = pool;
    this.#stale = true;
    this.#dueMs = -Infinity;
  }

  #step(nowMs: number): void {
    const stepMs = this.#rampMs / STEPS;
    this.#dueMs = Infinity;
    for (const destination of this.#pool.destinations) {
      const steps = Math.floor((nowMs - destination.sinceMs) / stepMs);
      const reached = Math.min(STEPS, Math.max(1, steps));
      if (reached < STEPS) {
        this.#dueMs = Math.min(this.#dueMs, destination.sinceMs + (reached + 1) * stepMs);
      }
      const share = (reached / STEPS) * this.#full;
      if (destination.share !== share) {
        destination.share = share;
        this.#stale = true;
      }
    }
    if (this.#stale) this.#inner.update(this.#pool);
    this.#stale = false;
  }
}

export const slowStart =
  (make: MakeScheduler, seconds: number, weightIs: 'relative' | 'connections'): MakeScheduler =>
  (pool, random) =>
    new SlowStart(pool, make(pool, random), seconds * 1000, weightIs === 'relative' ? STEPS : 1);
