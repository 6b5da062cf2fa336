/**
 * Destinations on this node first: one scheduler for them and one for the rest, which gets what the first finds nobody
 * for, because the near ones are unusable, at their upper thresholds, or (ovf, hashing without fallback) not for this connection.
 */
import type { Destination } from '../destination.js';
import type { Flow, MakeScheduler, Pool, Scheduler } from './scheduler.js';

const part = (pool: Pool, near: boolean): Pool => ({
  flags: pool.flags,
  destinations: pool.destinations.filter(({ spec }) => spec.near === near),
});

class NearFirst implements Scheduler {
  readonly #near: Scheduler;
  readonly #far: Scheduler;

  constructor(near: Scheduler, far: Scheduler) {
    this.#near = near;
    this.#far = far;
  }

  pick(flow: Flow, nowMs: number): Destination | undefined {
    return this.#near.pick(flow, nowMs) ?? this.#far.pick(flow, nowMs);
  }

  update(pool: Pool): void {
    this.#near.update(part(pool, true));
    this.#far.update(part(pool, false));
  }
}

export const nearFirst =
  (make: MakeScheduler): MakeScheduler =>
  (pool, random) =>
    new NearFirst(make(part(pool, true), random), make(part(pool, false), random));
