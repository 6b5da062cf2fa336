/** How a connection ends: its time is over, and nobody finds it any more. */
import { type Connections, EXTRA, FLAG_ACTIVE, rowOf, STATE } from './connections.js';
import type { DestinationCounts } from './destination.js';
import type { Extras } from './extras.js';
import type { Services } from './service.js';

export class Ending {
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #services: Services;
  readonly #counts: DestinationCounts;

  constructor(connections: Connections, extras: Extras, services: Services, counts: DestinationCounts) {
    this.#connections = connections;
    this.#extras = extras;
    this.#services = services;
    this.#counts = counts;
  }

  /** Ends the connections that have run out; the engine calls it once a second, on one engine. Returns how many. */
  expire(now: number): number {
    const connections = this.#connections;
    let ended = 0;
    for (let at = connections.nextExpired(0, now); at >= 0; at = connections.nextExpired(at + 1, now)) {
      connections.locked(() => {
        // A packet may have come in between.
        if (connections.nextExpired(at, now) !== at) return;
        this.end(at);
        ended++;
      });
    }
    return ended;
  }

  /** Under the lock. */
  end(connection: number): void {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const row = rowOf(records, at);
    if ((records[at + STATE]! & FLAG_ACTIVE) !== 0) this.#counts.addActive(row, -1);
    else this.#counts.addInactive(row, -1);
    this.#services.destinationAt(row)?.weigh();
    const extra = records[at + EXTRA]!;
    this.#connections.remove(connection);
    if (extra !== 0) this.#extras.free(extra - 1);
  }
}
