/**
 * Power of two choices (ip_vs_twos.c): two draws by weight, with replacement; the second one only where its
 * overhead / weight is really less. The draws are from 0 to the sum of weights, both included, so that the first usable
 * destination has one part more than its weight, as in IPVS.
 */
import type { Random } from '../../core/random.js';
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { overhead, usable } from './scheduler.js';

function betterOfTwo(destinations: readonly Destination[], random: Random): Destination | undefined {
  let total = 0;
  let last: Destination | undefined;
  for (let i = 0; i < destinations.length; i++) {
    if (!usable(destinations[i]!)) continue;
    last = destinations[i]!;
    total += last.weight;
  }
  if (last === undefined) return undefined;
  let left1 = random.below(total + 1);
  let left2 = random.below(total + 1);
  let first: Destination | undefined;
  let second: Destination | undefined;
  for (let i = 0; i < destinations.length && (first === undefined || second === undefined); i++) {
    const destination = destinations[i]!;
    if (!usable(destination)) continue;
    const weight = destination.weight;
    left1 -= weight;
    left2 -= weight;
    if (left1 <= 0) first ??= destination;
    if (left2 <= 0) second ??= destination;
  }
  // Another engine may have marked one overloaded meanwhile, so that a draw came to nothing.
  first ??= last;
  second ??= first;
  return second.weight * overhead(first) > first.weight * overhead(second) ? second : first;
}

export const twos = scanning(betterOfTwo);
