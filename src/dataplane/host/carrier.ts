/**
 * What carries a data plane's packets on this host: engines, the underlay and the workloads' interfaces. With the
 * addon that is threads, sockets and TAPs (native-carrier.ts); without it the event loop, node:dgram and devices
 * in memory (portable-carrier.ts). What shall be carried is decided above it (apply.ts).
 */
import type { Config, Endpoint, Offload } from '../config.js';
import type { Counters } from '../core/counters.js';
import type { TableMemory } from '../core/table.js';
import type { VtepsMemory } from '../core/vteps.js';
import type { WatchMemory } from '../core/watch/ring-tracer.js';
import type { Logger } from '../face.js';
import type { Network } from '../overlay/network.js';
import type { VirtualServerMemory } from '../virtual-server.js';
import type { Tables } from './network-state.js';
import type { ServiceChange, ServiceOrders } from './service-keeper.js';

/** The shared memory of a data plane, and the main thread's view of it. */
export interface Shared {
  memory: {
    fdb: TableMemory;
    neighbours: TableMemory;
    vteps: VtepsMemory;
    virtualServer: VirtualServerMemory;
    watch: WatchMemory;
  };
  tables: Tables;
  /** one block an engine */
  counters: readonly Counters[];
}

/** An endpoint whose interface is there. */
export interface OpenEndpoint {
  endpoint: Endpoint;
  /** name of its network */
  network: string;
  readonly port: number;
  /** bytes of IP packet */
  mtu: number;
}

/** What engines take over as a whole, between two batches. */
export interface Change {
  attach?: readonly OpenEndpoint[];
  detach?: readonly OpenEndpoint[];
  networks?: readonly Network[];
  /** indexes of networks that are gone */
  gone?: readonly number[];
}

export interface UnderlayFacts {
  /** none: the configuration has no underlay */
  kind: 'tunnel' | 'udp' | 'dgram' | 'none';
  /** bytes of IP packet */
  mtu: number;
  port: number;
}

export interface CarrierEvents {
  logger: Logger;
  /** the endpoint's interface is gone, for instance with its namespace; engines have let go of it */
  onLost(port: number): void;
  /** interfaces, addresses, routes or neighbours of the host changed */
  onHostChanged(): void;
  /** what a new engine must be told to take the place of one that failed */
  whole(): {
    endpoints: readonly OpenEndpoint[];
    networks: readonly Network[];
    services: ServiceOrders;
  };
}

export interface Carrier {
  readonly engines: number;
  readonly underlay: UnderlayFacts;
  /** What is in use of what is wanted, as of now. */
  readonly offloads: Offload;
  /** Replaces sockets and devices; when the new ones can't be had the old ones are back, and it throws ApplyError. */
  reopenUnderlay(before: Config, next: Config): Promise<void>;
  /** When this returns, the interface is up and has its addresses. Throws ApplyError, and leaves nothing behind. */
  openEndpoint(endpoint: Endpoint, network: string, port: number, mtu: number): OpenEndpoint;
  /** Another MAC, addresses, routes or MTU for an open interface. Throws ApplyError, and leaves all as it was. */
  changeEndpoint(open: OpenEndpoint, endpoint: Endpoint, mtu: number): void;
  /** Closing twice is fine. */
  closeEndpoint(open: OpenEndpoint): void;
  /** Whether the workload's namespace is gone, or another one has its name. */
  isForsaken(open: OpenEndpoint): boolean;
  /** Resolves when every engine has taken it over; one without content, when each has finished what it was at. */
  perform(change: Change): Promise<void>;
  /** Virtual services, and the host's side of them. Throws ApplyError where the host doesn't let us. */
  serve(change: ServiceChange): Promise<void>;
  /** Whether the destination of that row, which isn't masqueraded, is this host itself. */
  isLocal(row: number): boolean;
  /** VTEPs were added or removed. */
  vtepsChanged(): void;
  /** What the underlay's interface has by now; undefined when that can't be said. */
  interfaceMtu(): number | undefined;
  stop(): Promise<void>;
}
