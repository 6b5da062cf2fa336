/** Never queue (ip_vs_nq.c): the first idle destination, be it a slow one; if none is idle, as sed. */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { usable } from './scheduler.js';
import { shortestDelay } from './sed.js';

function idleOrShortest(destinations: readonly Destination[]): Destination | undefined {
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (destination.active === 0 && usable(destination)) return destination;
  }
  return shortestDelay(destinations);
}

export const nq = scanning(idleOrShortest);
