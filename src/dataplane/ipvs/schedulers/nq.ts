/** Never queue (ip_vs_nq.c): the first idle destination, be it a slow one; if none is idle, as sed. */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { usable } from './scheduler.js';

function idleOrShortest(destinations: readonly Destination[]): Destination | undefined {
  let least: Destination | undefined;
  let leastActive = 0;
  let leastWeight = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!usable(destination)) continue;
    const { active, weight } = destination;
    if (active === 0) return destination;
    if (least === undefined || leastActive * weight > (active + 1) * leastWeight) {
      least = destination;
      leastActive = active + 1;
      leastWeight = weight;
    }
  }
  return least;
}

export const nq = scanning(idleOrShortest);
