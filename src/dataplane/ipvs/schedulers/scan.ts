/**
 * Schedulers that keep nothing between two connections: each looks at all destinations. And the comparison that
 * wlc, lblc and lblcr share.
 */
import type { Random } from '../../core/random.js';
import type { Destination } from '../destination.js';
import { type MakeScheduler, overhead, type Pool, type Scheduler, usable } from './scheduler.js';

export type Scan = (destinations: readonly Destination[], random: Random) => Destination | undefined;

class Scanning implements Scheduler {
  #destinations: readonly Destination[];
  readonly #scan: Scan;
  readonly #random: Random;

  constructor(pool: Pool, scan: Scan, random: Random) {
    this.#destinations = pool.destinations;
    this.#scan = scan;
    this.#random = random;
  }

  pick(): Destination | undefined {
    return this.#scan(this.#destinations, this.#random);
  }

  update(pool: Pool): void {
    this.#destinations = pool.destinations;
  }
}

export const scanning =
  (scan: Scan): MakeScheduler =>
  (pool, random) =>
    new Scanning(pool, scan, random);

/**
 * The least of overhead / weight; of equals the first. Compared as overhead × weight of the other: exact, for
 * both products stay below 2^53 up to 2^29 connections of a destination.
 */
export function leastLoaded(destinations: readonly Destination[]): Destination | undefined {
  let least: Destination | undefined;
  let leastOverhead = 0;
  let leastWeight = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!usable(destination)) continue;
    const weight = destination.weight;
    const its = overhead(destination);
    if (least === undefined || leastOverhead * weight > its * leastWeight) {
      least = destination;
      leastOverhead = its;
      leastWeight = weight;
    }
  }
  return least;
}
