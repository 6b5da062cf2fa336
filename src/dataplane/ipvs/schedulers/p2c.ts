/**
 * Latency-aware two choices; IPVS has nothing like it. Two draws by weight, and the connection goes where
 * smoothed latency × (active + 1) / weight is less. While a latency isn't known, the two compare without. Draws are by
 * bisection, so that its time hardly grows with the destinations.
 */
import type { Random } from '../../core/random.js';
import type { Destination } from '../destination.js';
import { type MakeScheduler, type Pool, type Scheduler, usable } from './scheduler.js';

/** Draws for one choice, when the drawn ones are unusable, before everyone is looked at. */
const DRAWS = 4;
/** One pick of so many takes its first draw as it is, so that the latency of a slow one is measured again. */
const PROBE = 64;

/** Whether `b` is the better choice. */
function better(a: Destination, b: Destination): boolean {
  const latencyA = a.latencyMicros;
  const latencyB = b.latencyMicros;
  const known = latencyA !== 0 && latencyB !== 0;
  const costA = (a.active + 1) * b.weight * (known ? latencyA : 1);
  const costB = (b.active + 1) * a.weight * (known ? latencyB : 1);
  return costB < costA;
}

class TwoChoices implements Scheduler {
  #destinations: readonly Destination[] = [];
  /** sums of the weights up to and with each */
  #sums = new Float64Array(0);
  readonly #random: Random;

  constructor(pool: Pool, random: Random) {
    this.#random = random;
    this.update(pool);
  }

  pick(): Destination | undefined {
    const first = this.#draw();
    if (first === undefined) return this.#best();
    if (this.#random.below(PROBE) === 0) return first;
    const second = this.#draw();
    return second !== undefined && better(first, second) ? second : first;
  }

  update(pool: Pool): void {
    this.#destinations = pool.destinations;
    this.#sums = new Float64Array(pool.destinations.length);
    let sum = 0;
    for (let i = 0; i < this.#sums.length; i++) this.#sums[i] = sum += pool.destinations[i]!.weight;
  }

  #draw(): Destination | undefined {
    const sums = this.#sums;
    for (let tries = 0; tries < DRAWS && sums.length > 0; tries++) {
      const drawn = this.#random.below(sums[sums.length - 1]!);
      let low = 0;
      let high = sums.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sums[middle]! > drawn) high = middle;
        else low = middle + 1;
      }
      const destination = this.#destinations[low]!;
      if (usable(destination)) return destination;
    }
    return undefined;
  }

  #best(): Destination | undefined {
    let best: Destination | undefined;
    for (let i = 0; i < this.#destinations.length; i++) {
      const destination = this.#destinations[i]!;
      if (usable(destination) && (best === undefined || better(best, destination))) best = destination;
    }
    return best;
  }
}

export const p2c: MakeScheduler = (pool, random) => new TwoChoices(pool, random);
