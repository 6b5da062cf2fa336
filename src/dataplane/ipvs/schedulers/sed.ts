/**
 * Shortest expected delay (ip_vs_sed.c): the least (active + 1) / weight, this connection counted in; of equals
 * the first. Inactive connections count nothing.
 */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { usable } from './scheduler.js';

function shortestDelay(destinations: readonly Destination[]): Destination | undefined {
  let least: Destination | undefined;
  let leastActive = 0;
  let leastWeight = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!usable(destination)) continue;
    const weight = destination.weight;
    const active = destination.active + 1;
    if (least === undefined || leastActive * weight > active * leastWeight) {
      least = destination;
      leastActive = active;
      leastWeight = weight;
    }
  }
  return least;
}

export const sed = scanning(shortestDelay);
