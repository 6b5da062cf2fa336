/**
 * Where packets with a mark come in. A packet's mark doesn't pass a TUN, so each mark that has a service gets a device of
 * its own: what comes in there has that mark. Rules of policy routing lead there (host-rules.ts), of each family that has
 * a service.
 */
import { ApplyError } from '../face.js';
import { need } from '../io/native.js';
import { addRoute } from '../io/rtnetlink/route.js';
import { addRule, type Rule, removeRule } from '../io/rtnetlink/rule.js';
import type { TapOffloads } from '../io/tap.js';
import { byMark, fromTun } from './host-rules.js';
import { type HostTun, openHostTun } from './host-tun.js';

/** Marks that can have services at the same time. */
export const MARKS_MAX = 256;

/** What is to be led here. */
export interface MarkCatch {
  family: 4 | 6;
  mark: number;
}

/** The device of a mark. */
export interface MarkPlace {
  readonly mark: number;
  /** of the engines */
  readonly port: number;
  readonly device: HostTun;
  readonly offloads: TapOffloads;
  /** those that are set, by family */
  readonly rules: Map<4 | 6, readonly Rule[]>;
}

export class MarkPlaces {
  readonly #queues: number;
  readonly #offloads: TapOffloads;
  readonly #firstPort: number;
  readonly #places = new Map<number, MarkPlace>();

  /** @param firstPort the first of MARKS_MAX ports of the engines that are kept for marks */
  constructor(queues: number, offloads: TapOffloads, firstPort: number) {
    this.#queues = queues;
    this.#offloads = { ...offloads };
    this.#firstPort = firstPort;
  }

  get all(): readonly MarkPlace[] {
    return [...this.#places.values()];
  }

  /** Opens devices for marks that have none, and returns these: engines attach them before `lead`. Throws ApplyError. */
  open(wanted: readonly MarkCatch[]): MarkPlace[] {
    const opened: MarkPlace[] = [];
    for (const { mark } of wanted) {
      if (this.#places.has(mark)) continue;
      const port = this.#freePort();
      try {
        const device = openHostTun(this.#queues, this.#offloads);
        const place = { mark, port, device, offloads: { ...this.#offloads }, rules: new Map() };
        this.#places.set(mark, place);
        opened.push(place);
        const { index, table } = device;
        for (const to of ['0.0.0.0/0', '::/0']) addRoute('', { to, via: null, index, table });
      } catch (error) {
        this.close(opened);
        throw new ApplyError(`the TUN device for mark ${mark}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
    return opened;
  }

  /** What has these marks comes here from now on. Returns the places of no mark any more, for `close`. */
  lead(wanted: readonly MarkCatch[]): MarkPlace[] {
    for (const { family, mark } of wanted) {
      const place = this.#places.get(mark)!;
      if (!place.rules.has(family)) this.#addRules(place, family);
    }
    const idle: MarkPlace[] = [];
    for (const place of this.#places.values()) {
      for (const family of [...place.rules.keys()]) {
        if (!wanted.some((each) => each.mark === place.mark && each.family === family)) {
          removeRules(place, family);
        }
      }
      if (place.rules.size === 0) idle.push(place);
    }
    return idle;
  }

  /** Engines have let go of them. */
  close(places: readonly MarkPlace[]): void {
    for (const place of places) {
      for (const family of [...place.rules.keys()]) {
        try {
          removeRules(place, family);
        } catch {} // the namespace is going
      }
      for (const fd of place.device.fds.splice(0)) need().close(fd);
      this.#places.delete(place.mark);
    }
  }

  #addRules(place: MarkPlace, family: 4 | 6): void {
    const { mark, device } = place;
    const rules = [fromTun(family, device.name), byMark(family, mark, device.table)];
    place.rules.set(family, rules);
    for (const rule of rules) addRule('', rule);
  }

  #freePort(): number {
    const taken = new Set(this.all.map(({ port }) => port));
    for (let port = this.#firstPort; port < this.#firstPort + MARKS_MAX; port++) {
      if (!taken.has(port)) return port;
    }
    throw new ApplyError(`there are more than ${MARKS_MAX} marks with services, those draining included`);
  }
}

function removeRules(place: MarkPlace, family: 4 | 6): void {
  for (const rule of [...place.rules.get(family)!].reverse()) removeRule('', rule);
  place.rules.delete(family);
}
