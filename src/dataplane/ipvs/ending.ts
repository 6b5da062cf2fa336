/** How a connection ends: its time is over, and nobody finds it any more. */
import type { Connections } from './connections.js';
import type { Opening } from './defence/opening.js';
import type { DestinationCounts } from './destination.js';
import type { Extras } from './extras.js';
import { Faults } from './faults.js';
import { held, leave } from './persistence.js';
import { EXTRA, FLAG_ACTIVE, KIND, KIND_TEMPLATE, rowOf, STATE, TEMPLATE, TIMEOUT } from './record.js';
import type { Resets } from './resets.js';
import type { Services } from './service.js';

export class Ending {
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #services: Services;
  readonly #counts: DestinationCounts;
  readonly #faults: Faults;
  readonly #resets: Resets | undefined;
  /** where the search for those that have run out goes on, after it stopped for want of room for answers */
  #from = 0;

  /** @param resets who tells both ends of a connection that expires; not needed where none expires */
  constructor(
    connections: Connections,
    extras: Extras,
    services: Services,
    counts: DestinationCounts,
    resets?: Resets,
  ) {
    this.#connections = connections;
    this.#extras = extras;
    this.#services = services;
    this.#counts = counts;
    this.#faults = new Faults(connections, counts);
    this.#resets = resets;
  }

  /**
   * Ends the connections that have run out; the engine calls it once a second, on one engine. Returns how many. It stops
   * where there is no more room for answers, and goes on there the next time: true `hasMore`.
   * @param opening whose connections may go on
   */
  expire(now: number, opening: Opening): number {
    const connections = this.#connections;
    let ended = 0;
    let at = connections.nextExpired(this.#from, now);
    for (; at >= 0 && this.#resets?.room !== false; at = connections.nextExpired(at + 1, now)) {
      connections.locked(() => {
        // A packet may have come in between.
        if (connections.nextExpired(at, now) !== at) return;
        if (held(connections, at, now) || opening.again(at, now)) return;
        this.#faults.expired(connections.at(at));
        this.#resets?.expired(connections.at(at));
        this.end(at);
        ended++;
      });
    }
    this.#from = Math.max(0, at);
    return ended;
  }

  get hasMore(): boolean {
    return this.#from !== 0;
  }

  /** Under the lock. */
  end(connection: number): void {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const row = rowOf(records, at);
    const isTemplate = (records[at + KIND]! & KIND_TEMPLATE) !== 0;
    const template = isTemplate ? 0 : records[at + TEMPLATE]!;
    const early = records[at + TIMEOUT] === 0;
    if (isTemplate) this.#counts.addPersistent(row, -1);
    else if ((records[at + STATE]! & FLAG_ACTIVE) !== 0) this.#counts.addActive(row, -1);
    else this.#counts.addInactive(row, -1);
    this.#services.destinationAt(row)?.weigh();
    const extra = records[at + EXTRA]!;
    this.#connections.remove(connection);
    if (extra !== 0) this.#extras.free(extra - 1);
    const along = template === 0 ? -1 : leave(this.#connections, template - 1, early);
    if (along >= 0) this.end(along);
  }
}
