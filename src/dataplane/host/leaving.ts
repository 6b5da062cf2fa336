/**
 * Destinations that left their services while they had connections. Until the last of those has ended, they are led to
 * the director as before, and nobody else gets their row or their service's index: connections are known by both. What
 * comes back meanwhile has its connections again (ip_vs_trash_get_dest).
 */
import { type DestinationSpec, type Place, samePlace } from '../ipvs/destination.js';
import { type ServiceKey, type ServiceSpec, sameKey } from '../ipvs/service.js';

interface Left {
  service: ServiceSpec;
  destination: DestinationSpec;
}

type Way = Pick<DestinationSpec, 'forward' | 'tunnel'>;

export class Leaving {
  #list: Left[] = [];
  readonly #busy: (row: number) => boolean;

  /** @param busy whether the row's destination has connections */
  constructor(busy: (row: number) => boolean) {
    this.#busy = busy;
  }

  /** As of the last `settle`. */
  get list(): readonly Left[] {
    return this.#list;
  }

  add(service: ServiceSpec, destination: DestinationSpec): void {
    this.#list.push({ service, destination });
  }

  /** Forgets those whose last connection has ended; true if there were some. */
  settle(): boolean {
    const { length } = this.#list;
    this.#list = this.#list.filter(({ destination }) => this.#busy(destination.row));
    return this.#list.length !== length;
  }

  holds(index: number): boolean {
    return this.#list.some(({ service }) => service.index === index);
  }

  /** The index under which connections know the service that was there. */
  index(place: ServiceKey): number | undefined {
    return this.#list.find(({ service }) => sameKey(service, place))?.service.index;
  }

  /** The row under which they know its destination, which from now on no longer leaves. */
  takeBack(place: ServiceKey, end: Place & Way): number | undefined {
    const found = this.#list.find(
      ({ service, destination }) =>
        sameKey(service, place) && samePlace(destination, end) && sameWay(destination, end),
    );
    this.#list = this.#list.filter((each) => each !== found);
    return found?.destination.row;
  }
}

/** Whether packets go on in the same way, as those of a connection do to its end. */
export const sameWay = (a: Way, b: Way): boolean =>
  a.forward === b.forward &&
  a.tunnel.type === b.tunnel.type &&
  a.tunnel.port === b.tunnel.port &&
  a.tunnel.checksum === b.tunnel.checksum;
