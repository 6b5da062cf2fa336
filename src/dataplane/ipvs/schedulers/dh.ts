/**
 * Destination hashing (ip_vs_dh.c), for transparent caches: the address that the client sent to chooses one of 256
 * buckets, over which all destinations are laid in turn, whatever their weights. Nobody else stands in for an unusable one.
 */
import type { Destination } from '../destination.js';
import { bucketOf, foldTarget } from './address.js';
import { type Flow, type MakeScheduler, type Pool, type Scheduler, usable } from './scheduler.js';

const BITS = 8;

class DestinationHashing implements Scheduler {
  #destinations: readonly Destination[];

  constructor(pool: Pool) {
    this.#destinations = pool.destinations;
  }

  pick(flow: Flow): Destination | undefined {
    const destinations = this.#destinations;
    if (destinations.length === 0) return undefined;
    const destination = destinations[bucketOf(foldTarget(flow), BITS) % destinations.length]!;
    return usable(destination) ? destination : undefined;
  }

  update(pool: Pool): void {
    this.#destinations = pool.destinations;
  }
}

export const dh: MakeScheduler = (pool) => new DestinationHashing(pool);
