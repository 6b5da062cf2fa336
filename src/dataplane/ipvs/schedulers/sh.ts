/**
 * Source hashing (ip_vs_sh.c): the client's address (with `sh-port` its port too) chooses one of 256 buckets. The
 * destinations are laid over them in turn, each over as many as it weighs, and begun anew until the buckets are full: weights
 * beyond 256 in all leave the last ones without. With `sh-fallback` an unusable one's clients go on to other buckets.
 */
import type { Destination } from '../destination.js';
import { bucketOf, foldSource } from './address.js';
import {
  type Flow,
  type MakeScheduler,
  type Pool,
  type Scheduler,
  type SchedulerFlags,
  usable,
} from './scheduler.js';

const BITS = 8;
const BUCKETS = 1 << BITS;

class SourceHashing implements Scheduler {
  readonly #buckets: Destination[] = [];
  #flags: SchedulerFlags;

  constructor(pool: Pool) {
    this.#flags = pool.flags;
    this.update(pool);
  }

  pick(flow: Flow): Destination | undefined {
    if (this.#buckets.length === 0) return undefined;
    const hash = bucketOf(foldSource(flow) + (this.#flags.port ? flow.sourcePort : 0), BITS);
    const chosen = this.#buckets[hash]!;
    if (usable(chosen)) return chosen;
    if (!this.#flags.fallback) return undefined;
    // IPVS adds the hash to each place, the first of which is the hash: the look around begins at twice the hash.
    for (let offset = 0; offset < BUCKETS; offset++) {
      const destination = this.#buckets[(2 * hash + offset) & (BUCKETS - 1)]!;
      if (usable(destination)) return destination;
    }
    return undefined;
  }

  update({ destinations, flags }: Pool): void {
    this.#flags = flags;
    this.#buckets.length = 0;
    let at = 0;
    let laid = 0;
    while (destinations.length > 0 && this.#buckets.length < BUCKETS) {
      const destination = destinations[at]!;
      this.#buckets.push(destination);
      // One of weight 0 has a bucket all the same.
      if (++laid >= destination.weight) {
        at = at + 1 === destinations.length ? 0 : at + 1;
        laid = 0;
      }
    }
  }
}

export const sh: MakeScheduler = (pool) => new SourceHashing(pool);
