/**
 * Maglev hashing (ip_vs_mh.c): the client's address (with `mh-port` its port too) chooses a slot of a large table in which
 * every destination has its share. A destination that comes or goes moves few clients of others. One that is drained keeps
 * its slots; with `mh-fallback` its clients go on to other slots, else there is nobody for them.
 *
 * All nodes that have the same destinations choose the same for a client.
 */
import type { Destination } from '../destination.js';
import { foldSource } from './address.js';
import { clientSlot, fill, inTableOrder, turnsOf } from './maglev.js';
import {
  type Flow,
  type MakeScheduler,
  type Pool,
  type Scheduler,
  type SchedulerFlags,
  usable,
} from './scheduler.js';

class MaglevHashing implements Scheduler {
  #flags: SchedulerFlags;
  /** in the table's order; its slots hold places of it */
  #destinations: readonly Destination[] = [];
  #turns: readonly number[] = [];
  #slots = new Int32Array(0);
  #empty = true;

  constructor(pool: Pool) {
    this.#flags = pool.flags;
    this.update(pool);
  }

  pick(flow: Flow): Destination | undefined {
    if (this.#empty) return undefined;
    const slots = this.#slots;
    const address = foldSource(flow);
    const port = this.#flags.port ? flow.sourcePort : 0;
    const first = clientSlot(address, port, 0, slots.length);
    const chosen = this.#destinations[slots[first]!]!;
    if (usable(chosen)) return chosen;
    if (!this.#flags.fallback || !this.#anyUsable()) return undefined;
    for (let tries = 0; tries < slots.length; tries++) {
      const slot = clientSlot(address, port, (first + tries) % slots.length, slots.length);
      const destination = this.#destinations[slots[slot]!]!;
      if (usable(destination)) return destination;
    }
    return undefined;
  }

  /** Fills anew only where turns changed: not at a drain, which leaves the last weight. */
  update(pool: Pool): void {
    this.#flags = pool.flags;
    const destinations = inTableOrder(pool.destinations);
    const turns = turnsOf(destinations, pool.flags.tableSize);
    const same =
      this.#slots.length === pool.flags.tableSize &&
      destinations.length === this.#destinations.length &&
      destinations.every((each, i) => each === this.#destinations[i] && turns[i] === this.#turns[i]);
    if (same) return;
    this.#destinations = destinations;
    this.#turns = turns;
    this.#empty = turns.every((turn) => turn === 0);
    if (this.#slots.length !== pool.flags.tableSize) this.#slots = new Int32Array(pool.flags.tableSize);
    fill(this.#slots, destinations, turns);
  }

  /** Asked before the whole table is searched in vain (65537 slots: 3.6 ms a connection, when all are down). */
  #anyUsable(): boolean {
    for (let i = 0; i < this.#destinations.length; i++) if (usable(this.#destinations[i]!)) return true;
    return false;
  }
}

export const mh: MakeScheduler = (pool) => new MaglevHashing(pool);
