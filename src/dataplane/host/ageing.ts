/**
 * What was learned and isn't seen any more goes: first entries of the forwarding database, then VTEPs that nothing
 * leads to. VTEPs that the configuration names stay.
 */
import type { Config } from '../config.js';
import { indexOf, isLocal, isStatic } from '../overlay/fdb.js';
import type { Carrier, Shared } from './carrier.js';
import type { NetworkState } from './network-state.js';

export class Ageing {
  readonly #carrier: Carrier;
  readonly #shared: Shared;
  /** of each VTEP that was learned: the second when an entry last led to it, or it was first noticed */
  readonly #seen = new Map<number, number>();
  /** numbers of the VTEPs that a configuration names */
  #named: ReadonlySet<number> = new Set();
  #config: Config | undefined;

  constructor(carrier: Carrier, shared: Shared) {
    this.#carrier = carrier;
    this.#shared = shared;
  }

  /** Once a second, and not while a configuration is being applied. */
  async tick(config: Config, networks: ReadonlyMap<string, NetworkState>, nowSeconds: number): Promise<void> {
    const { vteps } = this.#shared.tables;
    const ages = new Map<number, number>();
    for (const { network, config } of networks.values()) {
      if (network.learning) ages.set(network.index, config.ageingSeconds);
    }
    const led = ages.size > 0 ? this.#sweepEntries(ages, nowSeconds) : new Set<number>();
    if (this.#config !== config) {
      this.#config = config;
      this.#named = namedBy(networks);
    }
    if (vteps.size === this.#named.size && this.#seen.size === 0) return;
    const gone = this.#forgotten(led, Math.max(0, ...ages.values()), nowSeconds);
    if (gone.size === 0) return;
    for (const vtep of gone) this.#seen.delete(vtep);
    await removeVteps(this.#carrier, this.#shared, gone);
  }

  /** Removes entries that are too old; the VTEPs that the others lead to. */
  #sweepEntries(ages: ReadonlyMap<number, number>, nowSeconds: number): Set<number> {
    const led = new Set<number>();
    this.#shared.tables.fdb.sweep(({ network, seenSeconds, target }) => {
      if (nowSeconds - seenSeconds > (ages.get(network) ?? 0)) return true;
      if (!isLocal(target)) led.add(target);
      return false;
    });
    return led;
  }

  /** VTEPs that nobody named, and that no entry has led to for so long. */
  #forgotten(led: ReadonlySet<number>, ageSeconds: number, nowSeconds: number): Set<number> {
    const used = new Set(this.#shared.tables.vteps.used());
    for (const vtep of this.#seen.keys()) {
      if (!used.has(vtep) || this.#named.has(vtep)) this.#seen.delete(vtep);
    }
    const gone = new Set<number>();
    for (const vtep of used) {
      if (this.#named.has(vtep)) continue;
      const seen = this.#seen.get(vtep);
      if (seen === undefined || led.has(vtep)) this.#seen.set(vtep, nowSeconds);
      else if (nowSeconds - seen > ageSeconds) gone.add(vtep);
    }
    return gone;
  }
}

/** VTEPs that the networks flood to, or that static entries lead to. */
export function namedBy(networks: ReadonlyMap<string, NetworkState>): Set<number> {
  const named = new Set<number>();
  for (const { network, fdb } of networks.values()) {
    for (const vtep of network.vteps) named.add(vtep);
    for (const target of fdb.values()) if (!isLocal(target)) named.add(indexOf(target));
  }
  return named;
}

/**
 * Rows, and what was learned of them.
 *
 * 1. Nobody finds them any more  2. when engines have finished the batches for which they had found them, nor does anybody
 * learn of them: what has been learned goes  3. and when nothing is on its way by such an entry, the rows are free
 */
export async function removeVteps(
  carrier: Carrier,
  { tables: { vteps, fdb }, counters }: Shared,
  numbers: ReadonlySet<number>,
): Promise<void> {
  if (numbers.size === 0) return;
  for (const vtep of numbers) vteps.retire(vtep);
  await carrier.perform({});
  if (fdb.sweep(({ target }) => !isStatic(target) && numbers.has(target)) > 0) await carrier.perform({});
  for (const vtep of numbers) {
    for (const each of counters) each.clearRow(each.vtepRow(vtep));
    vteps.release(vtep);
  }
}
