/**
 * Locality-based least connections (ip_vs_lblc.c), for caches: each address that clients send to stays at the destination
 * that wlc found for it. It moves when that one is unusable, or has more active connections than its weight
 * while another has less than half of its own.
 */
import type { Destination } from '../destination.js';
import { leastLoaded } from './scan.js';
import { type Flow, type MakeScheduler, type Pool, type Scheduler, usable } from './scheduler.js';
import { TargetCache } from './target-cache.js';

/** It has more than its weight, and somebody could take it over. */
export function crowded(destination: Destination, destinations: readonly Destination[]): boolean {
  if (destination.active <= destination.weight) return false;
  for (let i = 0; i < destinations.length; i++) {
    if (destinations[i]!.active * 2 < destinations[i]!.weight) return true;
  }
  return false;
}

class LocalityBased implements Scheduler {
  #destinations: readonly Destination[];
  #expirationMs: number;
  readonly #cache = new TargetCache();
  /** by the address's number in the cache */
  readonly #chosen: Destination[] = [];

  constructor(pool: Pool) {
    this.#destinations = pool.destinations;
    this.#expirationMs = pool.flags.expirationSeconds * 1000;
  }

  pick(flow: Flow, nowMs: number): Destination | undefined {
    const at = this.#cache.use(flow, nowMs, this.#expirationMs);
    if (at >= 0) {
      const chosen = this.#chosen[at]!;
      if (!chosen.removed && usable(chosen) && !crowded(chosen, this.#destinations)) return chosen;
    }
    const least = leastLoaded(this.#destinations);
    if (least !== undefined) this.#chosen[at >= 0 ? at : this.#cache.add(flow, nowMs)] = least;
    return least;
  }

  update(pool: Pool): void {
    this.#destinations = pool.destinations;
    this.#expirationMs = pool.flags.expirationSeconds * 1000;
  }
}

export const lblc: MakeScheduler = (pool) => new LocalityBased(pool);
