/**
 * Overflow (ip_vs_ovf.c): a weight is a number of connections. The greatest weight gets all until it has more
 * active ones than that, then the next greatest; nobody when all have. Not for UDP, whose connections are never active.
 */
import type { Destination } from '../destination.js';
import { scanning } from './scan.js';
import { usable } from './scheduler.js';

function heaviestWithRoom(destinations: readonly Destination[]): Destination | undefined {
  let best: Destination | undefined;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!usable(destination) || destination.active > destination.weight) continue;
    if (best === undefined || destination.weight > best.weight) best = destination;
  }
  return best;
}

export const ovf = scanning(heaviestWithRoom);
