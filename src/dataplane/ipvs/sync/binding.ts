/**
 * Which service and destination a connection belongs to that another director told of (ip_vs_find_dest). One whose
 * service isn't here is kept all the same, under a row that no destination has, and bound when its service comes.
 */
import type { Words } from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import { Destination, type DestinationCounts, FORWARD } from '../destination.js';
import { kindOfForward } from '../record.js';
import { FTP_PORT, type ServiceSpec } from '../service.js';
import { FLAG } from '../sync-message.js';

/** What no service and no destination has. */
export const UNBOUND = 65_535;

export interface Binding {
  service: ServiceSpec;
  destination: Destination;
}

/** Of whom it is asked. */
export interface Bound {
  family: 4 | 6;
  protocol: number;
  fwmark: number;
  /** the low bits are the way to forward */
  flags: number;
  virtual: Words;
  virtualPort: number;
  destination: Words;
  destinationPort: number;
}

export class Bindings {
  readonly #byKey = new Map<string, ServiceSpec>();
  readonly #destinations = new Map<number, Destination>();
  readonly #timeouts = new Map<number, ServiceSpec['timeouts']>();

  constructor(services: readonly ServiceSpec[], counts: DestinationCounts) {
    for (const service of services) {
      if (service.network !== 0) continue;
      const { mark, family, protocol, address, port } = service;
      this.#byKey.set(
        mark === undefined ? keyOf(family, protocol, address, port) : markKey(family, mark),
        service,
      );
      this.#timeouts.set(service.index, service.timeouts);
      for (const spec of service.destinations)
        this.#destinations.set(spec.row, new Destination(spec, counts));
    }
  }

  /** The destination in a service that is here. */
  find(of: Bound): Binding | undefined {
    const service = this.#service(of);
    if (service === undefined) return undefined;
    const { fwmark, flags, destinationPort } = of;
    const first = fwmark !== 0 && (flags & FLAG.forward) !== FORWARD.nat ? 0 : destinationPort;
    return this.#destination(service, of, first) ?? this.#destination(service, of, first ^ destinationPort);
  }

  at(row: number): Destination | undefined {
    return this.#destinations.get(row);
  }

  /** Seconds that the service with the index has of its own. */
  timeouts(index: number): ServiceSpec['timeouts'] | undefined {
    return this.#timeouts.get(index);
  }

  /** In the order of ip_vs_service_find. */
  #service({ fwmark, family, protocol, virtual, virtualPort }: Bound): ServiceSpec | undefined {
    const at = (port: number) => this.#byKey.get(keyOf(family, protocol, virtual, port));
    const isData = protocol === tcp.PROTOCOL && (virtualPort === FTP_PORT - 1 || virtualPort >= 1024);
    return (
      (fwmark === 0 ? undefined : this.#byKey.get(markKey(family, fwmark))) ??
      at(virtualPort) ??
      (isData || virtualPort === 0 ? at(FTP_PORT) : undefined) ??
      at(0)
    );
  }

  #destination(service: ServiceSpec, of: Bound, port: number): Binding | undefined {
    const spec = service.destinations.find(
      (each) =>
        each.family === of.family &&
        // A template of all ports has none of its own; nor has a destination that takes them all.
        (each.port === port || each.port === 0 || port === 0) &&
        each.address.every((word, i) => word === of.destination[i]),
    );
    const destination = spec && this.#destinations.get(spec.row);
    return destination && { service, destination };
  }
}

/** The bits of a record's kind for the way that the destination has, or the message says where there is none. */
export function wayOf(binding: Binding | undefined, flags: number): number {
  return kindOfForward(binding === undefined ? flags & 3 : FORWARD[binding.destination.spec.forward]);
}

const keyOf = (family: number, protocol: number, address: Words, port: number): string =>
  `${family} ${protocol} ${address.join(' ')} ${port}`;
const markKey = (family: number, mark: number): string => `${family} mark ${mark >>> 0}`;
