/**
 * Locality-based least connections with replication (ip_vs_lblcr.c): as lblc, but an address has a set of
 * destinations, of which the least loaded gets it. The set grows where that one is crowded, and loses its most loaded
 * member when it hasn't changed for the expiration.
 */
import type { Destination } from '../destination.js';
import { crowded } from './lblc.js';
import { leastLoaded } from './scan.js';
import { type Flow, type MakeScheduler, overhead, type Pool, type Scheduler } from './scheduler.js';
import { TargetCache } from './target-cache.js';

/** The most of overhead / weight; of equals the first. Weight 0 doesn't count. */
function mostLoaded(members: readonly Destination[]): number {
  let most = -1;
  for (let i = 0; i < members.length; i++) {
    const { weight } = members[i]!;
    if (weight === 0) continue;
    const least = most === -1 ? undefined : members[most]!;
    if (least === undefined || overhead(least) * weight < overhead(members[i]!) * least.weight) most = i;
  }
  return most;
}

class Replicated implements Scheduler {
  #destinations: readonly Destination[];
  #expirationMs: number;
  readonly #cache = new TargetCache();
  /** by the address's number in the cache; the newest first, as in IPVS. An array is used again with its number. */
  readonly #sets: Destination[][] = [];
  readonly #changedMs = new Float64Array(this.#cache.capacity);

  constructor(pool: Pool) {
    this.#destinations = pool.destinations;
    this.#expirationMs = pool.flags.expirationSeconds * 1000;
  }

  pick(flow: Flow, nowMs: number): Destination | undefined {
    const at = this.#cache.use(flow, nowMs, this.#expirationMs);
    if (at < 0) return this.#begin(flow, nowMs);
    const members = this.#sets[at]!;
    const least = leastLoaded(members);
    if (members.length > 1 && nowMs > this.#changedMs[at]! + this.#expirationMs) {
      const most = mostLoaded(members);
      if (most >= 0) {
        members.copyWithin(most, most + 1);
        members.length--;
        this.#changedMs[at] = nowMs;
      }
    }
    if (least !== undefined && !crowded(least, this.#destinations)) return least;
    const helper = leastLoaded(this.#destinations);
    if (helper !== undefined && !members.includes(helper)) {
      members.unshift(helper);
      this.#changedMs[at] = nowMs;
    }
    return helper;
  }

  /** Who was removed leaves the sets; IPVS leaves it in, and skips it. */
  update(pool: Pool): void {
    this.#destinations = pool.destinations;
    this.#expirationMs = pool.flags.expirationSeconds * 1000;
    const there = new Set(pool.destinations);
    for (const members of this.#sets) {
      let kept = 0;
      for (const member of members) if (there.has(member)) members[kept++] = member;
      members.length = kept;
    }
  }

  #begin(flow: Flow, nowMs: number): Destination | undefined {
    const least = leastLoaded(this.#destinations);
    if (least === undefined) return undefined;
    const at = this.#cache.add(flow, nowMs);
    const members = (this.#sets[at] ??= []);
    members.length = 0;
    members.push(least);
    this.#changedMs[at] = nowMs;
    return least;
  }
}

export const lblcr: MakeScheduler = (pool) => new Replicated(pool);
