/** Round robin (ip_vs_rr.c): the next usable destination after the last one picked, whatever the weights. */
import type { Destination } from '../destination.js';
import { type MakeScheduler, type Pool, type Scheduler, usable } from './scheduler.js';

class RoundRobin implements Scheduler {
  /** a copy, so that after an update it can be seen what stood before the last pick */
  #destinations: readonly Destination[];
  /** place of the last pick; -1: before the first */
  #last = -1;

  constructor(pool: Pool) {
    this.#destinations = [...pool.destinations];
  }

  pick(): Destination | undefined {
    const destinations = this.#destinations;
    let at = this.#last;
    for (let seen = 0; seen < destinations.length; seen++) {
      at = at + 1 === destinations.length ? 0 : at + 1;
      const destination = destinations[at]!;
      if (usable(destination)) {
        this.#last = at;
        return destination;
      }
    }
    return undefined;
  }

  /** Goes on after the last pick; if that is gone, after the nearest one before it that is still there. */
  update(pool: Pool): void {
    const before = this.#destinations;
    this.#destinations = [...pool.destinations];
    const places = new Map(this.#destinations.map((destination, place) => [destination, place]));
    let at = this.#last;
    while (at >= 0 && !places.has(before[at]!)) at--;
    this.#last = at < 0 ? -1 : places.get(before[at]!)!;
  }
}

export const rr: MakeScheduler = (pool) => new RoundRobin(pool);
