/**
 * Packets that go without a connection: each of a one-packet service (ipvsadm -o), and those for which the table has
 * no room. A record that no packet finds, one an engine, says for a moment what a connection would, so that everything
 * that forwards needs to know nothing of it.
 *
 * One packet: each datagram is scheduled for itself (IP_VS_CONN_F_ONE_PACKET). What a destination sends from its port comes
 * from the virtual address again; IPVS leaves that to others, so that masquerading is of no use with it there.
 *
 * Full table: the flow goes where Maglev hashing of the client's address and port says, over the destinations that have a weight, as
 * Katran does in a flood. All engines, and all directors with these destinations, say the same, so a flow keeps its destination for as
 * long as those stay. While such flows may live (the idle time of a connection, from the last such packet on)
 *
 *     a segment of no connection goes by the hash, for its flow may have begun so
 *     a new connection, where there is room again, goes by the hash as well: its flow may have begun before
 *     what comes from a destination's port and is of no connection comes from the virtual address
 *
 * An answer is known by where it comes from: by a destination, with its port, of exactly one service. So while this lasts, who
 * talks with the destination itself by way of this director, and not with the service, isn't understood.
 */
import type { Counters } from '../core/counters.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import type { Destination, DestinationCounts } from './destination.js';
import { FloodHash } from './flood-hash.js';
import { noFlow, type PacketFlow } from './flow.js';
import { OriginIndex } from './origin-index.js';
import { idleTicks } from './progress.js';
import {
  DESTINATION,
  KIND,
  KIND_DESTINATION_IPV6,
  kindOf,
  OWNER,
  ownerOf,
  setDestination,
  VIRTUAL,
} from './record.js';
import { FTP_PORT, type Service, type Services } from './service.js';

export class Stateless {
  readonly #services: Services;
  readonly #connections: Connections;
  readonly #counts: DestinationCounts;
  readonly #counters: Counters;
  readonly #spare: number;
  readonly #turned = noFlow();
  readonly #hash = new FloodHash();
  readonly #origins: OriginIndex;

  constructor(services: Services, connections: Connections, counts: DestinationCounts, counters: Counters) {
    this.#services = services;
    this.#connections = connections;
    this.#counts = counts;
    this.#counters = counters;
    this.#spare = connections.spare();
    this.#origins = new OriginIndex(services);
  }

  /** The packet of a client goes to the destination: reference of the record that says so, until the next packet. */
  to(service: Service, { spec }: Destination, flow: PacketFlow): number {
    const { records } = this.#connections;
    const at = this.#connections.at(this.#spare);
    this.#connections.describe(at, flow, kindOf(spec));
    setDestination(records, at, spec.address, spec.port === 0 ? flow.targetPort : spec.port);
    records[at + OWNER] = ownerOf(service.spec.index, spec.row);
    return this.#spare * 2;
  }

  /** There is no room for the packet's connection. NO_CONNECTION: nor can it go without. @param now ticks */
  bypass(service: Service, flow: PacketFlow, now: number): number {
    const destination = this.hashed(service, flow);
    if (destination === undefined) return NO_CONNECTION;
    this.#counts.noteBypass(destination.row, now);
    this.#connections.noteBypass(now);
    this.#counters.add('bypassed');
    return this.to(service, destination, flow);
  }

  /** Whether flows of the service may be under way without a connection. */
  isBypassed(service: Service, now: number): boolean {
    const idle = idleTicks(service.timeouts, service.spec.protocol);
    if (!recent(this.#connections.bypassed, now, idle)) return false;
    for (const { row } of service.destinations)
      if (recent(this.#counts.bypassed(row), now, idle)) return true;
    return false;
  }

  /** Where a flow of the service goes without a connection; undefined: nowhere. */
  hashed(service: Service, flow: PacketFlow): Destination | undefined {
    const { mark, defence, persistence, port } = service.spec;
    // Its answers couldn't be told; its Call-ID says where it goes; its numbers have to be shifted.
    if (mark !== undefined || (persistence !== undefined && persistence.engine !== null)) return undefined;
    if (defence?.synProxy === true || port === FTP_PORT) return undefined;
    return this.#hash.pick(service, flow, persistence === undefined, this.#services.version);
  }

  /** The packet may be the answer of a destination without a connection: reference of the record that says so. */
  from(flow: PacketFlow, now: number): number {
    const flooded = this.#connections.bypassed;
    if (flooded === 0 && !this.#origins.hasOnePacket) return NO_CONNECTION;
    let found: Service | undefined;
    let row = 0;
    for (const { service, destination } of this.#origins.find(flow)) {
      const { timeouts, spec } = service;
      const idle = idleTicks(timeouts, spec.protocol);
      if (spec.onePacket !== true && !recent(this.#counts.bypassed(destination.row), now, idle)) continue;
      if (found !== undefined && found !== service) return NO_CONNECTION;
      found = service;
      row = destination.row;
    }
    return found === undefined ? NO_CONNECTION : this.#back(found, row, flow);
  }

  /** The record as that of the connection that the answer would belong to. */
  #back({ spec }: Service, row: number, flow: PacketFlow): number {
    const { records } = this.#connections;
    const at = this.#connections.at(this.#spare);
    const turned = this.#turned;
    turned.source0 = flow.target0;
    turned.source1 = flow.target1;
    turned.source2 = flow.target2;
    turned.source3 = flow.target3;
    turned.ports = (flow.targetPort << 16) | (spec.port === 0 ? flow.sourcePort : spec.port);
    turned.protocol = flow.protocol;
    turned.network = flow.network;
    turned.family = spec.family;
    this.#connections.describe(at, turned, flow.family === 6 ? KIND_DESTINATION_IPV6 : 0);
    for (let i = 0; i < 4; i++) records[at + VIRTUAL + i] = spec.address[i]!;
    records[at + DESTINATION] = flow.source0;
    records[at + DESTINATION + 1] = flow.source1;
    records[at + DESTINATION + 2] = flow.source2;
    records[at + DESTINATION + 3] = flow.source3;
    records[at + KIND]! |= flow.sourcePort << 16;
    records[at + OWNER] = ownerOf(spec.index, row);
    return this.#spare * 2 + 1;
  }
}

/** Whether `when`, 0 for never, is no longer ago than so many ticks. */
const recent = (when: number, now: number, ticks: number): boolean =>
  when !== 0 && ((now - when) | 0) <= ticks;
