/**
 * Weighted round robin (ip_vs_wrr.c), interleaved: laps over the list, each with a threshold. A lap picks whoever
 * weighs at least that much; the next lap's threshold is lower by the weights' greatest common divisor, down to 1.
 *
 *     weights 4 2      thresholds 3 1      picks a, a b
 */
import type { Destination } from '../destination.js';
import { gcdOf } from './gcd.js';
import type { MakeScheduler, Pool, Scheduler } from './scheduler.js';

class WeightedRoundRobin implements Scheduler {
  #destinations: readonly Destination[];
  /** place of the last pick; -1: before the first */
  #last = -1;
  #step = 1;
  /** the first lap's threshold: the greatest weight less (step - 1), so that the last lap's is 1; 0: no weights */
  #highest = 0;
  #threshold = 0;

  constructor(pool: Pool) {
    this.#destinations = pool.destinations;
    this.#weigh();
    this.#threshold = this.#highest;
  }

  /**
   * 1. On from the last pick: the first one that weighs enough and is not overloaded.
   * 2. At the list's end the threshold falls; below 1 it is the highest again.
   * 3. It is over when a lap with threshold 1 has seen all, or has come to where this pick began.
   */
  pick(): Destination | undefined {
    if (this.#highest === 0) return undefined;
    const destinations = this.#destinations;
    const start = this.#last;
    let stop = -1;
    let lastLap = false;
    let restarted = false;
    for (let at = start + 1; ; at = 0) {
      for (; at < destinations.length; at++) {
        const destination = destinations[at]!;
        if (destination.weight >= this.#threshold && !destination.overloaded) {
          this.#last = at;
          return destination;
        }
        if (at === stop) {
          this.#last = at;
          return undefined;
        }
      }
      this.#lower();
      if (this.#threshold <= 0) {
        this.#threshold = this.#highest;
        if (lastLap || start === -1) break;
        restarted = true;
      }
      lastLap = this.#threshold <= this.#step;
      if (lastLap && restarted) stop = start;
    }
    this.#last = -1;
    return undefined;
  }

  /** The threshold stays where it was, on the new steps; the lap begins anew. */
  update(pool: Pool): void {
    this.#destinations = pool.destinations;
    this.#weigh();
    this.#last = -1;
    if (this.#threshold > this.#highest || this.#threshold === 0) this.#threshold = this.#highest;
    else if (this.#step > 1) {
      this.#threshold = Math.floor(this.#threshold / this.#step) * this.#step + 1;
    }
  }

  /**
   * One step down, and at once past the laps that could pick nobody: with weights 65535 and 1 and the first one
   * overloaded they are 65534 (0.39 ms → 47 ns a pick). Not past the last lap, whose end the caller must see.
   */
  #lower(): void {
    this.#threshold -= this.#step;
    if (this.#threshold <= this.#step) return;
    let heaviest = this.#step;
    for (let i = 0; i < this.#destinations.length; i++) {
      const destination = this.#destinations[i]!;
      if (destination.weight > heaviest && !destination.overloaded) heaviest = destination.weight;
    }
    if (this.#threshold > heaviest) {
      this.#threshold -= Math.ceil((this.#threshold - heaviest) / this.#step) * this.#step;
    }
  }

  #weigh(): void {
    this.#step = gcdOf(this.#destinations) || 1;
    let heaviest = 0;
    for (const { weight } of this.#destinations) if (weight > heaviest) heaviest = weight;
    this.#highest = heaviest - (this.#step - 1);
  }
}

export const wrr: MakeScheduler = (pool) => new WeightedRoundRobin(pool);
