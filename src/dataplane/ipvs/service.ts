/**
 * The virtual services as one engine knows them: what control says of each, its scheduler, and its destinations.
 * Found by protocol, address and port; a service of port 0 takes what no other of its address does.
 */
import type { Random } from '../core/random.js';
import type { Words } from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { AllowList } from './defence/allow-list.js';
import type { DefenceSpec } from './defence/spec.js';
import { Destination, type DestinationCounts, type DestinationSpec, samePlace } from './destination.js';
import type { Parsed } from './packet.js';
import { schedulerFor, type Wish } from './schedulers/index.js';
import type { Scheduler, SchedulerFlags } from './schedulers/scheduler.js';
import { Timeouts } from './states.js';

/** Where the clients that FTP's server and helper know of come to. */
export const FTP_PORT = 21;
const FTP_DATA_PORT = 20;
const FREE_PORTS = 1024;

export interface PersistenceSpec {
  timeoutSeconds: number;
  /** prefix length of what counts as one client */
  mask: number;
  engine: 'sip' | null;
}

/** What packets are told apart by. */
export type ServiceKey = Pick<ServiceSpec, 'family' | 'address' | 'port' | 'network' | 'protocol' | 'mark'>;

/** What control says of a service. Cloned into each engine; an engine never writes it. */
export interface ServiceSpec extends Wish {
  /** stable while the service exists */
  index: number;
  /** index of the overlay network whose clients it serves; 0: the host's own side */
  network: number;
  family: 4 | 6;
  protocol: number;
  /** IPv4 in the first word */
  address: Words;
  /** 0: every port that has no service of its own */
  port: number;
  flags: SchedulerFlags;
  /** seconds; 0: as the virtual server's own */
  timeouts: { tcp: number; tcpFin: number; udp: number };
  /** absent: none */
  defence?: DefenceSpec;
  persistence?: PersistenceSpec;
  /** packets with this mark are for it, whatever their address and port */
  mark?: number;
  /** UDP: each datagram is scheduled for itself, and no connection is kept */
  onePacket?: boolean;
  /** TCP: both ends of a connection that expires are told */
  resetOnExpiry?: boolean;
  /** connections of a removed destination end at their next packet: TCP is reset, UDP scheduled again */
  rescheduleRemoved?: boolean;
  destinations: readonly DestinationSpec[];
}

export class Service {
  spec: ServiceSpec;
  destinations: Destination[] = [];
  /** sources that may connect; undefined: all */
  allow: AllowList | undefined;
  /** what the SYN proxy has found out about its servers: their smallest MSS, 0 for none yet; whether all have timestamps */
  readonly learned = { mss: 0, timestamps: true };
  readonly timeouts = new Timeouts();
  readonly scheduler: Scheduler;

  constructor(spec: ServiceSpec, destinations: Destination[], random: Random) {
    this.spec = spec;
    this.destinations = destinations;
    this.scheduler = schedulerFor(spec)({ destinations, flags: spec.flags }, random);
  }
}

export class Services {
  readonly #counts: DestinationCounts;
  readonly #random: Random;
  readonly #timeouts: Timeouts;
  readonly #byIndex: (Service | undefined)[] = [];
  readonly #byKey = new Map<number, Service[]>();
  readonly #byMark = new Map<number, Service>();
  /** services of FTP that there are */
  #ftp = 0;
  /** another after each change */
  version = 0;
  /** services whose servers may begin calls (calls-out.ts) */
  calling: readonly Service[] = [];
  /** Destination of each row. One that was removed stays until its row is given anew: connections refer to it. */
  readonly #byRow: (Destination | undefined)[] = [];

  /** @param timeouts the virtual server's own (`ipvsadm --set`), which a service's take precedence over */
  constructor(counts: DestinationCounts, random: Random, timeouts: Timeouts) {
    this.#counts = counts;
    this.#random = random;
    this.#timeouts = timeouts;
  }

  /** Adds or changes a service; a scheduler that stays keeps its place among the destinations. */
  set(spec: ServiceSpec, nowMs: number): void {
    this.version++;
    const before = this.#byIndex[spec.index];
    const destinations = spec.destinations.map((each) => this.#destination(each, nowMs));
    const kept = new Set(destinations);
    for (const old of before?.destinations ?? []) if (!kept.has(old)) old.removed = true;
    let service = before;
    if (before !== undefined && sameKey(before.spec, spec) && sameScheduler(before.spec, spec)) {
      before.spec = spec;
      before.destinations = destinations;
      before.scheduler.update({ destinations, flags: spec.flags });
    } else {
      if (before !== undefined) this.#leave(before);
      service = new Service(spec, destinations, this.#random);
      this.#byIndex[spec.index] = service;
      this.#enter(service);
    }
    const sources = spec.defence?.allow ?? [];
    service!.allow = sources.length === 0 ? undefined : new AllowList(sources);
    this.#noteCalling();
    const { tcp, tcpFin, udp } = spec.timeouts;
    service!.timeouts.take(this.#timeouts);
    service!.timeouts.setOwn(tcp, tcpFin, udp);
  }

  /** Its connections go on to their destinations until they end. */
  remove(index: number): void {
    const service = this.#byIndex[index];
    if (service === undefined) return;
    this.version++;
    for (const destination of service.destinations) destination.removed = true;
    this.#leave(service);
    this.#byIndex[index] = undefined;
    this.#noteCalling();
  }

  all(): Service[] {
    return this.#byIndex.filter((service) => service !== undefined);
  }

  at(index: number): Service | undefined {
    return this.#byIndex[index];
  }

  destinationAt(row: number): Destination | undefined {
    return this.#byRow[row];
  }

  /**
   * The service that the packet is for, in the order of ip_vs_service_find: by its mark; by its port; as a data connection
   * to a service of FTP; by a service of every port.
   */
  find(parsed: Parsed, network = 0): Service | undefined {
    const { mark, destinationPort: port } = parsed;
    return (
      (mark === 0 ? undefined : this.#byMark.get(markKey(mark, parsed.family))) ??
      this.#find(parsed, network, port) ??
      (this.#ftp > 0 && isFtpData(parsed) ? this.#find(parsed, network, FTP_PORT) : undefined) ??
      this.#find(parsed, network, 0)
    );
  }

  #find(parsed: Parsed, network: number, port: number): Service | undefined {
    const { protocol, destination0, destination1, destination2, destination3 } = parsed;
    const list = this.#byKey.get(keyOf(network, protocol, destination0, destination3, port));
    if (list === undefined) return undefined;
    for (const service of list) {
      const { spec } = service;
      const [a, b, c, d] = spec.address;
      if (spec.protocol !== protocol || spec.family !== parsed.family || spec.port !== port) continue;
      if (spec.network !== network) continue;
      if (a === destination0 && b === destination1 && c === destination2 && d === destination3)
        return service;
    }
    return undefined;
  }

  #destination(spec: DestinationSpec, nowMs: number): Destination {
    const known = this.#byRow[spec.row];
    if (known !== undefined && samePlace(known.spec, spec)) {
      // Back from removal or from weight 0 it starts slowly.
      if (known.removed || (known.spec.weight === 0 && spec.weight > 0)) known.sinceMs = nowMs;
      known.removed = false;
      known.spec = spec;
      known.weigh();
      return known;
    }
    const destination = new Destination(spec, this.#counts);
    destination.sinceMs = nowMs;
    this.#byRow[spec.row] = destination;
    return destination;
  }

  #noteCalling(): void {
    this.calling = this.#byIndex.filter((each) => each !== undefined).filter(mayCall);
  }

  #enter(service: Service): void {
    const { spec } = service;
    if (spec.mark !== undefined) {
      this.#byMark.set(markKey(spec.mark, spec.family), service);
      return;
    }
    if (spec.port === FTP_PORT) this.#ftp++;
    const key = keyOf(spec.network, spec.protocol, spec.address[0], spec.address[3], spec.port);
    const list = this.#byKey.get(key);
    if (list === undefined) this.#byKey.set(key, [service]);
    else list.push(service);
  }

  #leave(service: Service): void {
    const { network, mark, family, protocol, address, port } = service.spec;
    if (mark !== undefined) {
      this.#byMark.delete(markKey(mark, family));
      return;
    }
    if (port === FTP_PORT) this.#ftp--;
    const key = keyOf(network, protocol, address[0], address[3], port);
    const rest = (this.#byKey.get(key) ?? []).filter((each) => each !== service);
    if (rest.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, rest);
  }
}

function keyOf(network: number, protocol: number, first: number, last: number, port: number): number {
  const address = Math.imul(first ^ Math.imul(last ^ network, 0x9e3779b1), 0x85ebca6b);
  return address ^ ((protocol << 16) | port);
}

function mayCall({ spec: { persistence, protocol, mark, port } }: Service): boolean {
  return persistence?.engine === 'sip' && protocol === udp.PROTOCOL && mark === undefined && port !== 0;
}

const markKey = (mark: number, family: 4 | 6): number => mark * 2 + (family === 6 ? 1 : 0);

/** Where FTP's data may come to: its own port, or one that anybody may listen at (inet_port_requires_bind_service). */
function isFtpData({ protocol, destinationPort }: Parsed): boolean {
  return protocol === tcp.PROTOCOL && (destinationPort === FTP_DATA_PORT || destinationPort >= FREE_PORTS);
}

/** Whether packets for the one are for the other. */
export function sameKey(a: ServiceKey, b: ServiceKey): boolean {
  return samePlace(a, b) && a.network === b.network && a.protocol === b.protocol && a.mark === b.mark;
}

function sameScheduler(a: ServiceSpec, b: ServiceSpec): boolean {
  return (
    a.scheduler === b.scheduler && a.slowStartSeconds === b.slowStartSeconds && a.preferNear === b.preferNear
  );
}
