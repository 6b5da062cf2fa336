/**
 * Turns the wanted services into what engines and the host take: numbers that stay while a service or a destination
 * does, and what is to be led to the director. What can't be had is refused by name.
 */
import { isDeepStrictEqual } from 'node:util';
import { parsePrefix } from '../config/address.js';
import { parseListen, parseSocket } from '../config/service-address.js';
import type { Destination, Service, VirtualServer } from '../config/service-types.js';
import { NOTHING, type Settled } from '../config/settled.js';
import { ApplyError } from '../face.js';
import type { DefenceSpec } from '../ipvs/defence/spec.js';
import { DestinationCounts, type DestinationSpec } from '../ipvs/destination.js';
import type { ServiceSpec } from '../ipvs/service.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import type { Catch } from './host-rules.js';

const PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const;

/** What engines shall do. */
export interface ServiceOrders {
  set: readonly ServiceSpec[];
  gone: readonly number[];
  /** seconds, of all services that say nothing; null: as they are */
  timeouts: { tcp: number; tcpFin: number; udp: number } | null;
  /** indexes of the networks that have services, or connections of some */
  directed: readonly number[];
}

/** And what the host shall lead to them, or answer for inside networks. */
export interface ServiceChange extends ServiceOrders {
  services: Catch[];
  destinations: Catch[];
  virtual: VirtualAddress[];
}

/** The address of a service inside a network. */
export interface VirtualAddress {
  /** index of the network */
  network: number;
  family: 4 | 6;
  /** IPv4 in the first word */
  address: ipv6.Words;
}

/** Index of the network with the name; undefined: there is none. */
export type IndexOf = (network: string) => number | undefined;

const NO_NETWORKS: IndexOf = () => undefined;

/** What is in force, as the configuration says it. */
type Wanted = Pick<Settled, 'services' | 'virtualServer'>;

/** A destination that left while it had connections: they are led here until they have ended. */
interface Leaving {
  row: number;
  /** its service's, and its own address and port */
  key: string;
  at: string;
  service: ServiceSpec;
  destination: DestinationSpec;
}

interface Known {
  spec: ServiceSpec;
  /** by address and port */
  rows: Map<string, number>;
}

export class ServiceKeeper {
  readonly #counts: DestinationCounts;
  /** what a wanted service comes to by the health of its destinations */
  readonly #usable: (service: Service) => Service;
  /** in force, by network and where they listen */
  readonly #known = new Map<string, Known>();
  readonly #indexes = new Set<number>();
  readonly #rows = new Set<number>();
  #leaving: Leaving[] = [];
  #wanted: Wanted = NOTHING;
  /** the same, by the health of the destinations */
  #inForce: Wanted = NOTHING;

  constructor(destinations: SharedArrayBuffer, usable = (service: Service): Service => service) {
    this.#counts = new DestinationCounts(destinations);
    this.#usable = usable;
  }

  /** The numbers of a destination in force, as schedulers count. */
  counts(of: Of, address: string): { active: number; inactive: number; persistent: number } {
    const row = this.#known.get(keyOf(of))?.rows.get(address);
    if (row === undefined) return { active: 0, inactive: 0, persistent: 0 };
    return {
      active: this.#counts.active(row),
      inactive: this.#counts.inactive(row),
      persistent: this.#counts.persistent(row),
    };
  }

  /** Faults of the data path at a destination in force, counted up. */
  failures(of: Of, address: string): number {
    const row = this.#known.get(keyOf(of))?.rows.get(address);
    return row === undefined ? 0 : this.#counts.failures(row);
  }

  /** Everything in force, for an engine that takes another's place. */
  whole(): ServiceOrders {
    const set = [...this.#known.values()].map(({ spec }) => spec);
    return { set, gone: [], timeouts: secondsOf(this.#wanted.virtualServer), directed: this.#directed };
  }

  get wanted(): Wanted {
    return this.#wanted;
  }

  /**
   * The difference to what is in force, which is `wanted` afterwards; undefined when there is none. Throws ApplyError,
   * and nothing has changed.
   */
  change({ services: asked, virtualServer }: Wanted, indexOf = NO_NETWORKS): ServiceChange | undefined {
    for (const service of asked) refuse(service, indexOf);
    const services = asked.map(this.#usable);
    const before = this.#inForce;
    this.#wanted = { services: asked, virtualServer };
    if (isDeepStrictEqual(before, { services, virtualServer })) return undefined;
    this.#inForce = { services, virtualServer };
    const timed = !isDeepStrictEqual(before.virtualServer, virtualServer);
    const keys = new Set(services.map(keyOf));
    const gone: number[] = [];
    for (const [key, { spec, rows }] of this.#known) {
      if (keys.has(key)) continue;
      gone.push(spec.index);
      this.#indexes.delete(spec.index);
      this.#leave(key, spec, rows);
      this.#known.delete(key);
    }
    const set: ServiceSpec[] = [];
    for (const service of services) {
      const key = keyOf(service);
      const before = this.#known.get(key);
      const rows = new Map<string, number>();
      const spec = this.#spec(service, before, rows, indexOf);
      if (before !== undefined) {
        const left = [...before.rows].filter(([address]) => !rows.has(address));
        this.#leave(key, before.spec, new Map(left));
      }
      this.#known.set(key, { spec, rows });
      if (timed || !isDeepStrictEqual(before?.spec, spec)) set.push(spec);
    }
    const timeouts = timed ? secondsOf(virtualServer) : null;
    return { set, gone, ...this.#catches(), timeouts, directed: this.#directed };
  }

  /** The difference that the health of destinations has made; undefined: none. */
  refresh(indexOf: IndexOf): ServiceChange | undefined {
    return this.change(this.#wanted, indexOf);
  }

  /** All of what is in force, as one change. */
  everything(): ServiceChange {
    return { ...this.whole(), ...this.#catches() };
  }

  /** What is to be led here when the last connection of a destination that left has ended; undefined while none has. */
  settle(): ServiceChange | undefined {
    const { length } = this.#leaving;
    if (length === 0) return undefined;
    const catches = this.#catches();
    if (this.#leaving.length === length) return undefined;
    return { set: [], gone: [], timeouts: null, ...catches, directed: this.#directed };
  }

  /** The rows' destinations are no longer in the service. */
  #leave(key: string, service: ServiceSpec, rows: ReadonlyMap<string, number>): void {
    for (const [at, row] of rows) {
      const destination = service.destinations.find((each) => each.row === row);
      if (destination === undefined) continue;
      this.#rows.delete(row);
      this.#leaving.push({ row, key, at, service, destination });
    }
  }

  /** Services inside networks have an address there; those of the host's side are led here. */
  #catches(): Pick<ServiceChange, 'services' | 'destinations' | 'virtual'> {
    const services: Catch[] = [];
    const destinations: Catch[] = [];
    const virtual: VirtualAddress[] = [];
    const add = (spec: ServiceSpec, of: readonly DestinationSpec[]) => {
      const { network, family, address, protocol } = spec;
      if (network !== HOST_SIDE) {
        virtual.push({ network, family, address });
        return;
      }
      services.push(catchOf(spec, protocol));
      for (const each of of) destinations.push(catchOf(each, protocol));
    };
    for (const { spec } of this.#known.values()) add(spec, spec.destinations);
    this.#leaving = this.#leaving.filter(({ row }) => this.#busy(row));
    for (const { service, destination } of this.#leaving) add(service, [destination]);
    return { services, destinations, virtual };
  }

  get #directed(): number[] {
    const networks = new Set<number>();
    for (const { spec } of this.#known.values()) networks.add(spec.network);
    for (const { service } of this.#leaving) networks.add(service.network);
    networks.delete(HOST_SIDE);
    return [...networks];
  }

  #busy(row: number): boolean {
    return this.#counts.active(row) + this.#counts.inactive(row) !== 0;
  }

  #spec(
    service: Service,
    before: Known | undefined,
    rows: Map<string, number>,
    indexOf: IndexOf,
  ): ServiceSpec {
    const listen = parseListen(service.listen);
    if (listen === undefined || listen.protocol === 'mark')
      throw new ApplyError(`${service.listen}: no address`);
    const { timeouts, scheduler, schedulerFlags } = service;
    return {
      index: before?.spec.index ?? free(this.#indexes),
      network: service.network === null ? HOST_SIDE : indexOf(service.network)!,
      family: listen.family,
      protocol: PROTOCOL[listen.protocol],
      address: wordsOf(listen.address),
      port: listen.port,
      scheduler,
      slowStartSeconds: service.slowStartSeconds,
      preferNear: service.preferNear,
      flags: {
        fallback: schedulerFlags.includes(`${scheduler as 'sh' | 'mh'}-fallback`),
        port: schedulerFlags.includes(`${scheduler as 'sh' | 'mh'}-port`),
        tableSize: service.maglevTableSize,
        expirationSeconds: 24 * 3600,
      },
      timeouts: {
        tcp: timeouts.tcpSeconds ?? 0,
        tcpFin: timeouts.tcpFinSeconds ?? 0,
        udp: timeouts.udpSeconds ?? 0,
      },
      ...defenceOf(service),
      ...persistenceOf(service, this.#wanted.virtualServer),
      destinations: service.destinations.map((each) => this.#destination(each, service, before, rows)),
    };
  }

  #destination(
    wanted: Destination,
    service: Service,
    before: Known | undefined,
    rows: Map<string, number>,
  ): DestinationSpec {
    const { address } = wanted;
    const socket = parseSocket(address);
    if (socket === undefined) throw new ApplyError(`${address}: no address`);
    const row = before?.rows.get(address) ?? this.#returning(keyOf(service), address) ?? this.#freeRow();
    rows.set(address, row);
    return {
      row,
      family: socket.family,
      address: wordsOf(socket.address),
      port: socket.port ?? 0,
      weight: wanted.weight,
      forward: 'nat',
      tunnel: { ...wanted.tunnel },
      upperThreshold: wanted.upperThreshold,
      lowerThreshold: wanted.lowerThreshold,
      near: wanted.near,
    };
  }

  /** The row of a destination that comes back while it still has connections (ip_vs_trash_get_dest). */
  #returning(key: string, address: string): number | undefined {
    const back = this.#leaving.findIndex((each) => each.key === key && each.at === address);
    if (back < 0) return undefined;
    const [{ row }] = this.#leaving.splice(back, 1) as [Leaving];
    this.#rows.add(row);
    return row;
  }

  /** A row to which no connection or template of an earlier destination refers. */
  #freeRow(): number {
    for (let row = 0; row < this.#counts.capacity; row++) {
      if (this.#rows.has(row) || this.#busy(row) || this.#counts.persistent(row) !== 0) continue;
      this.#rows.add(row);
      this.#counts.clear(row);
      return row;
    }
    throw new ApplyError(
      `there are more than ${this.#counts.capacity} destinations, those draining included`,
    );
  }
}

/** No network has this index: the host's own side. */
const HOST_SIDE = 0;

type Of = Pick<Service, 'network' | 'listen'>;

const keyOf = ({ network, listen }: Of): string => `${network ?? ''}\0${listen}`;

function secondsOf({ tcpSeconds, tcpFinSeconds, udpSeconds }: VirtualServer): ServiceOrders['timeouts'] {
  return { tcp: tcpSeconds, tcpFin: tcpFinSeconds, udp: udpSeconds };
}

function persistenceOf({ persistence }: Service, { expireQuiescentTemplate }: VirtualServer) {
  return persistence === null
    ? {}
    : { persistence: { ...persistence, expireQuiescent: expireQuiescentTemplate } };
}

type Place = Pick<ServiceSpec | DestinationSpec, 'family' | 'address' | 'port'>;

function catchOf({ family, address, port }: Place, protocol: number): Catch {
  const text = family === 4 ? ipv4.format(address[0]) : ipv6.format(...address);
  return { family, protocol, address: text, port };
}

/** Nothing where it has none: then nobody asks. */
function defenceOf({ allow, sourceRate, synProxy }: Service): { defence?: DefenceSpec } {
  if (allow.length === 0 && sourceRate === null && !synProxy) return {};
  const prefixes = allow.map((each) => {
    const { address, bits } = parsePrefix(each)!;
    return { address: wordsOf(address), bits };
  });
  return { defence: { allow: prefixes, sourceRate: sourceRate && { ...sourceRate }, synProxy } };
}

/** A connection's record has 16 bits for its service. */
const SERVICES = 65_536;

function free(used: Set<number>): number {
  for (let index = 0; index < SERVICES; index++) {
    if (used.has(index)) continue;
    used.add(index);
    return index;
  }
  throw new ApplyError(`there are more than ${SERVICES} services`);
}

/** What the director doesn't do is refused by name, never ignored. */
function refuse(service: Service, indexOf: IndexOf): void {
  const { network } = service;
  if (network !== null && indexOf(network) === undefined) {
    throw new ApplyError(`service ${service.listen}: there is no network ${network}`);
  }
  const faults: string[] = [];
  const no = (fault: boolean, name: string) => {
    if (fault) faults.push(name);
  };
  no(service.listen.startsWith('mark'), 'a mark');
  no(service.onePacket, 'onePacket');
  no(service.resetOnExpiry, 'resetOnExpiry');
  no(service.rescheduleRemoved, 'rescheduleRemoved');
  no(service.synProxy, 'synProxy');
  // Checks go out on the host's own side.
  no(service.health !== null && service.network !== null, 'health in a network');
  no(
    [...service.destinations, service.sorryServer].some((each) => each !== null && each.forward !== 'nat'),
    'forward other than nat',
  );
  if (faults.length === 0) return;
  throw new ApplyError(`service ${service.listen}: not supported yet: ${faults.join(', ')}; leave it out`);
}

const wordsOf = (address: string): ipv6.Words =>
  address.includes(':') ? ipv6.parse(address) : [ipv4.parse(address), 0, 0, 0];
