/** Least connections (ip_vs_lc.c): the least overhead, whatever the weights; of equals the first. */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { overhead, usable } from './scheduler.js';

function fewest(destinations: readonly Destination[]): Destination | undefined {
  let least: Destination | undefined;
  let leastOverhead = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!usable(destination)) continue;
    const its = overhead(destination);
    if (least === undefined || its < leastOverhead) {
      least = destination;
      leastOverhead = its;
    }
  }
  return least;
}

export const lc = scanning(fewest);
