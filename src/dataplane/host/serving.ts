/**
 * Brings the virtual server into force: what the configuration wants, as the health of the destinations lets it be.
 * Changes come from three sides, and each goes to the engines in its turn: a configuration, a check that turned, a
 * destination whose last connection has ended.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Settled } from '../config/settled.js';
import type { Logger } from '../face.js';
import type { Carrier } from './carrier.js';
import type { HealthKeeper } from './health/health-keeper.js';
import type { ServiceChange, ServiceKeeper } from './service-keeper.js';
import type { IndexOf } from './service-refusals.js';
import type { VirtualAddresses } from './virtual-addresses.js';

export interface ServingParts {
  readonly services: ServiceKeeper;
  readonly health: HealthKeeper;
  readonly carrier: Pick<Carrier, 'serve'>;
  readonly virtualAddresses: Pick<VirtualAddresses, 'answer'>;
  readonly indexOf: IndexOf;
  readonly logger: Logger;
  /** Runs one change after the other. */
  readonly inTurn: <T>(task: () => Promise<T>) => Promise<T>;
}

type Wanted = Pick<Settled, 'services' | 'virtualServer'>;

export class Serving {
  readonly #parts: ServingParts;
  #due = false;
  /** what the engines have may be another than what the keeper says */
  #behind = false;
  #stopped = false;

  constructor(parts: ServingParts) {
    this.#parts = parts;
  }

  /** True if it is another than before. Throws, and what was before is in force. */
  async want(wanted: Wanted): Promise<boolean> {
    const { services, health, indexOf, logger } = this.#parts;
    const before = services.wanted;
    health.allow(wanted.services);
    const change = services.change(wanted, indexOf);
    try {
      if (change !== undefined) await this.#enforce(change);
    } catch (error) {
      // Some of it may be in force.
      const back = services.change(before, indexOf);
      if (back !== undefined) {
        await this.#enforce(back).catch((fault: Error) => {
          logger.error({ error: fault.message }, 'the services could not be changed back');
        });
      }
      throw error;
    }
    health.follow(wanted.services);
    return change !== undefined || !isDeepStrictEqual(before.services, wanted.services);
  }

  /** A check has turned. Many may within a moment: they are one change. */
  healthChanged(): void {
    if (this.#due) return;
    this.#due = true;
    void this.#parts.inTurn(() => this.#refresh());
  }

  /** Each second. */
  async tick(): Promise<void> {
    if (this.#behind) await this.#refresh();
    const settled = this.#parts.services.settle();
    if (settled !== undefined) await this.#enforce(settled);
  }

  stop(): void {
    this.#stopped = true;
    this.#parts.health.stop();
  }

  /** Services first: who is told of an address finds them. */
  async #enforce(change: ServiceChange): Promise<void> {
    const { carrier, virtualAddresses } = this.#parts;
    await carrier.serve(change);
    virtualAddresses.answer(change.virtual, performance.now());
  }

  /** Where it fails, all of it is told again at the next tick. */
  async #refresh(): Promise<void> {
    const { services, indexOf, logger } = this.#parts;
    this.#due = false;
    if (this.#stopped) return;
    try {
      const change = services.refresh(indexOf);
      const due = this.#behind ? services.everything() : change;
      if (due === undefined) return;
      this.#behind = true;
      await this.#enforce(due);
      this.#behind = false;
    } catch (error) {
      const fault = { error: (error as Error).message };
      logger.error(fault, 'what health checks found could not be brought into force; it is tried again');
    }
  }
}
