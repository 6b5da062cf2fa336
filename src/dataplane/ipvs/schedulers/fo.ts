/** Fail-over (ip_vs_fo.c): all to the greatest weight that isn't overloaded; of equals the first. */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { usable } from './scheduler.js';

function heaviest(destinations: readonly Destination[]): Destination | undefined {
  let best: Destination | undefined;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (usable(destination) && (best === undefined || destination.weight > best.weight)) best = destination;
  }
  return best;
}

export const fo = scanning(heaviest);
