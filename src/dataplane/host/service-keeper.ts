/**
 * Turns the wanted services into what engines and the host take: numbers that stay while a service or a destination
 * does, and what is to be led to the director. What can't be had is refused by name.
 */
import { isDeepStrictEqual } from 'node:util';
import { parsePrefix } from '../config/address.js';
import { type Listen, parseListen, parseSocket } from '../config/service-address.js';
import type { Destination, Service } from '../config/service-types.js';
import { NOTHING, type Settled } from '../config/settled.js';
import { ApplyError } from '../face.js';
import type { DefenceSpec } from '../ipvs/defence/spec.js';
import { DestinationCounts, type DestinationSpec } from '../ipvs/destination.js';
import type { ServiceKey, ServiceSpec } from '../ipvs/service.js';
import { NOTHING_CARRIED, type Statement } from '../ipvs/service-report.js';
import type { Settings } from '../ipvs/settings.js';
import { UNBOUND } from '../ipvs/sync/binding.js';
import { Accounts } from './accounts.js';
import { addressWords } from './addresses.js';
import { settingsOf } from './director-settings.js';
import { Leaving, sameWay } from './leaving.js';
import { addCatches, type Catches, HOST_SIDE, noCatches } from './service-catches.js';
import { type IndexOf, refuse } from './service-refusals.js';

const PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const;

/** What engines shall do. */
export interface ServiceOrders {
  set: readonly ServiceSpec[];
  gone: readonly number[];
  /** what holds for all services; null: as it was */
  settings: Settings | null;
  /** indexes of the networks that have services, or connections of some */
  directed: readonly number[];
}

/** And what the host shall lead to them, or answer for inside networks. */
export interface ServiceChange extends ServiceOrders, Catches {}

const NO_NETWORKS: IndexOf = () => undefined;

/** What is in force, as the configuration says it. */
type Wanted = Pick<Settled, 'services' | 'virtualServer'>;

interface Known {
  spec: ServiceSpec;
  /** by address and port */
  rows: Map<string, number>;
}

export class ServiceKeeper {
  readonly #counts: DestinationCounts;
  /** what a wanted service comes to by the health of its destinations */
  readonly #usable: (service: Service) => Service;
  readonly #accounts: Accounts;
  /** in force, by network and where they listen */
  readonly #known = new Map<string, Known>();
  readonly #indexes = new Set<number>();
  readonly #rows = new Set<number>();
  readonly #leaving = new Leaving((row) => this.#busy(row));
  #wanted: Wanted = NOTHING;
  /** the same, by the health of the destinations */
  #inForce: Wanted = NOTHING;

  constructor(
    destinations: SharedArrayBuffer,
    usable = (service: Service): Service => service,
    accounts = new Accounts(),
  ) {
    this.#counts = new DestinationCounts(destinations);
    this.#usable = usable;
    this.#accounts = accounts;
  }

  /** The numbers of a destination in force, as schedulers count. */
  counts(of: Of, address: string): { active: number; inactive: number; persistent: number } {
    const row = this.row(of, address);
    if (row === undefined) return { active: 0, inactive: 0, persistent: 0 };
    return {
      active: this.#counts.active(row),
      inactive: this.#counts.inactive(row),
      persistent: this.#counts.persistent(row),
    };
  }

  /** Faults of the data path at a destination in force, counted up. */
  failures(of: Of, address: string): number {
    const row = this.row(of, address);
    return row === undefined ? 0 : this.#counts.failures(row);
  }

  /** The number of a destination in force. */
  row(of: Of, address: string): number | undefined {
    return this.#known.get(keyOf(of))?.rows.get(address);
  }

  /** What a service in force has carried, or one of its destinations. */
  carried(of: Of, address?: string): Statement {
    const known = this.#known.get(keyOf(of));
    if (known === undefined) return NOTHING_CARRIED;
    if (address === undefined) return this.#accounts.service(known.spec.index);
    const row = known.rows.get(address);
    return (row === undefined ? undefined : this.#accounts.destination(row)) ?? NOTHING_CARRIED;
  }

  /** Sets what a service and its destinations have carried to zero; all of it when none is named. */
  zero(of?: Of): void {
    if (of === undefined) this.#accounts.zeroAll();
    const known = of === undefined ? undefined : this.#known.get(keyOf(of));
    if (known !== undefined) this.#accounts.zero(known.spec.index, known.rows.values());
  }

  /** Everything in force, for an engine that takes another's place. */
  whole(): ServiceOrders {
    return {
      set: this.specs,
      gone: [],
      settings: settingsOf(this.#wanted.virtualServer),
      directed: this.#directed,
    };
  }

  /** The services in force, by health. */
  get specs(): ServiceSpec[] {
    return [...this.#known.values()].map(({ spec }) => spec);
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
      this.#leave(spec, rows);
      this.#accounts.close(spec.index);
      this.#known.delete(key);
    }
    this.#leaving.settle();
    const set: ServiceSpec[] = [];
    for (const service of services) {
      const key = keyOf(service);
      const before = this.#known.get(key);
      const rows = new Map<string, number>();
      const spec = this.#spec(service, before, rows, indexOf);
      for (const [address, row] of rows) {
        if (before?.rows.get(address) !== row) this.#accounts.enter(spec.index, row);
      }
      if (before !== undefined) {
        const left = [...before.rows].filter(([address, row]) => rows.get(address) !== row);
        this.#leave(before.spec, new Map(left));
      }
      this.#known.set(key, { spec, rows });
      if (timed || !isDeepStrictEqual(before?.spec, spec)) set.push(spec);
    }
    const settings = timed ? settingsOf(virtualServer) : null;
    return { set, gone, ...this.#catches(), settings, directed: this.#directed };
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
    if (!this.#leaving.settle()) return undefined;
    return { set: [], gone: [], settings: null, ...this.#catches(), directed: this.#directed };
  }

  /** The rows' destinations are no longer in the service. */
  #leave(service: ServiceSpec, rows: ReadonlyMap<string, number>): void {
    for (const row of rows.values()) {
      const destination = service.destinations.find((each) => each.row === row);
      if (destination === undefined) continue;
      this.#rows.delete(row);
      this.#accounts.leave(service.index, row);
      this.#leaving.add(service, destination);
    }
  }

  #catches(): Catches {
    const catches = noCatches();
    for (const { spec } of this.#known.values()) addCatches(catches, spec, spec.destinations);
    this.#leaving.settle();
    for (const { service, destination } of this.#leaving.list) addCatches(catches, service, [destination]);
    return catches;
  }

  get #directed(): number[] {
    const networks = new Set<number>();
    for (const { spec } of this.#known.values()) networks.add(spec.network);
    for (const { service } of this.#leaving.list) networks.add(service.network);
    networks.delete(HOST_SIDE);
    return [...networks];
  }

  #busy(row: number): boolean {
    const counts = this.#counts;
    return counts.active(row) + counts.inactive(row) + counts.persistent(row) !== 0;
  }

  #spec(
    service: Service,
    before: Known | undefined,
    rows: Map<string, number>,
    indexOf: IndexOf,
  ): ServiceSpec {
    const listen = parseListen(service.listen);
    if (listen === undefined) throw new ApplyError(`${service.listen}: no address`);
    const { timeouts, scheduler, schedulerFlags } = service;
    const place: ServiceKey = {
      network: service.network === null ? HOST_SIDE : indexOf(service.network)!,
      ...placeOf(listen),
    };
    return {
      index: before?.spec.index ?? this.#index(place),
      ...place,
      scheduler,
      slowStartSeconds: service.slowStartSeconds,
      preferNear: service.preferNear,
      flags: {
        fallback: schedulerFlags.includes(`${scheduler as 'sh' | 'mh'}-fallback`),
        port: schedulerFlags.includes(`${scheduler as 'sh' | 'mh'}-port`),
        tableSize: service.maglevTableSize,
        expirationSeconds: 24 * 3600,
      },
      onePacket: service.onePacket,
      resetOnExpiry: service.resetOnExpiry,
      rescheduleRemoved: service.rescheduleRemoved,
      timeouts: {
        tcp: timeouts.tcpSeconds ?? 0,
        tcpFin: timeouts.tcpFinSeconds ?? 0,
        udp: timeouts.udpSeconds ?? 0,
      },
      ...defenceOf(service),
      ...(service.persistence && { persistence: { ...service.persistence } }),
      destinations: service.destinations.map((each) => this.#destination(each, before, rows, place)),
    };
  }

  #destination(
    wanted: Destination,
    before: Known | undefined,
    rows: Map<string, number>,
    service: ServiceKey,
  ): DestinationSpec {
    const socket = parseSocket(wanted.address);
    if (socket === undefined) throw new ApplyError(`${wanted.address}: no address`);
    const way = { forward: wanted.forward, tunnel: { ...wanted.tunnel } };
    const end = {
      family: socket.family,
      address: addressWords(socket.address),
      port: socket.port ?? 0,
      ...way,
    };
    const known = before?.spec.destinations.find(({ row }) => row === before.rows.get(wanted.address));
    // One that is forwarded to in another way is another one: its connections go on as they began.
    const same = known !== undefined && sameWay(known, way);
    const row = (same ? known.row : this.#leaving.takeBack(service, end)) ?? this.#freeRow();
    this.#rows.add(row);
    rows.set(wanted.address, row);
    return {
      row,
      ...end,
      weight: wanted.weight,
      upperThreshold: wanted.upperThreshold,
      lowerThreshold: wanted.lowerThreshold,
      near: wanted.near,
    };
  }

  /** One to which no connection of an earlier service refers. */
  #index(place: ServiceKey): number {
    const known = this.#leaving.index(place);
    let index = known ?? 0;
    if (known === undefined) while (this.#indexes.has(index) || this.#leaving.holds(index)) index++;
    if (index >= SERVICES) throw new ApplyError(`there are more than ${SERVICES} services`);
    this.#indexes.add(index);
    return index;
  }

  /** A row to which no connection or template of an earlier destination refers. */
  #freeRow(): number {
    for (let row = 0; row < this.#counts.capacity && row < UNBOUND; row++) {
      if (this.#rows.has(row) || this.#busy(row)) continue;
      this.#counts.clear(row);
      return row;
    }
    throw new ApplyError(
      `there are more than ${this.#counts.capacity} destinations, those draining included`,
    );
  }
}

/** What a mark stands for has any protocol, address and port. */
function placeOf(listen: Listen): Omit<ServiceKey, 'network'> {
  const { family } = listen;
  if (listen.protocol === 'mark') {
    return { family, protocol: 0, address: [0, 0, 0, 0], port: 0, mark: listen.mark };
  }
  return {
    family,
    protocol: PROTOCOL[listen.protocol],
    address: addressWords(listen.address),
    port: listen.port,
  };
}

type Of = Pick<Service, 'network' | 'listen'>;

const keyOf = ({ network, listen }: Of): string => `${network ?? ''}\0${listen}`;

/** Nothing where it has none: then nobody asks. */
function defenceOf({ allow, sourceRate, synProxy }: Service): { defence?: DefenceSpec } {
  if (allow.length === 0 && sourceRate === null && !synProxy) return {};
  const prefixes = allow.map((each) => {
    const { address, bits } = parsePrefix(each)!;
    return { address: addressWords(address), bits };
  });
  return { defence: { allow: prefixes, sourceRate: sourceRate && { ...sourceRate }, synProxy } };
}

/** A connection's record has 16 bits for its service; the last number is of connections that have none. */
const SERVICES = UNBOUND;
