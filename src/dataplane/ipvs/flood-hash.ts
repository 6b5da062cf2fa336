/**
 * Where a flow goes of which nothing is kept: a table of Maglev hashing for each service that needs one, over the
 * destinations that have a weight. Thresholds and slow start don't count, for they would move flows.
 */
import type { Destination } from './destination.js';
import type { PacketFlow } from './flow.js';
import { foldSource } from './schedulers/address.js';
import { clientSlot, fill, inTableOrder, turnsOf } from './schedulers/maglev.js';
import type { Service } from './service.js';

interface Table {
  service: Service;
  /** of the services when it was filled */
  version: number;
  destinations: readonly Destination[];
  weights: readonly number[];
  slots: Int32Array;
}

export class FloodHash {
  /** by index of the service */
  readonly #tables: (Table | undefined)[] = [];

  /** @param byPort whether the client's port counts. @param version of the services: with another, tables are filled anew */
  pick(service: Service, flow: PacketFlow, byPort: boolean, version: number): Destination | undefined {
    const { index } = service.spec;
    let table = this.#tables[index];
    if (table === undefined || table.service !== service || table.version !== version) {
      table = fillFor(service, version, table);
      this.#tables[index] = table;
    }
    const { destinations, slots } = table;
    if (destinations.length === 0) return undefined;
    return destinations[slots[clientSlot(foldSource(flow), byPort ? flow.sourcePort : 0, 0, slots.length)]!];
  }
}

/** 65,537 slots take 4 to 20 ms, so they are filled anew only where destinations or weights have changed. */
function fillFor(service: Service, version: number, before: Table | undefined): Table {
  const size = service.spec.flags.tableSize;
  const destinations = inTableOrder(service.destinations.filter(({ spec }) => spec.weight > 0));
  const weights = destinations.map(({ spec }) => spec.weight);
  const slots = before?.slots.length === size ? before.slots : new Int32Array(size);
  const same =
    before?.slots === slots &&
    destinations.length === before.destinations.length &&
    destinations.every((each, i) => each === before.destinations[i] && weights[i] === before.weights[i]);
  if (!same) {
    const shares = weights.map((lastWeight) => ({ lastWeight, share: 1 }));
    fill(slots, destinations, turnsOf(shares, size));
  }
  return { service, version, destinations, weights, slots };
}
