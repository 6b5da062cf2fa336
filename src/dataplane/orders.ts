/** What control tells an engine and hears from it. Each list of orders is performed as a whole, between two batches. */

import type { MessagePort } from 'node:worker_threads';
import type { TableMemory } from './core/table.js';
import type { VtepsMemory } from './core/vteps.js';
import type { WatchMemory } from './core/watch/ring-tracer.js';
import type { Here } from './io/outer.js';
import type { TapOffloads } from './io/tap.js';
import type { UdpSockets } from './io/udp.js';
import type { ServiceSpec } from './ipvs/service.js';
import type { Settings } from './ipvs/settings.js';
import type { Way } from './ipvs/ways.js';
import type { Network } from './overlay/network.js';
import type { VirtualServerMemory } from './virtual-server.js';

/** What an engine is born with. */
export interface EngineBirth {
  index: number;
  slots: number;
  /** packets per receive */
  batch: number;
  spinMicros: number;
  /** event descriptor that ends the engine's wait when there are orders */
  wake: number;
  counters: { ports: number; vteps: number; memory: SharedArrayBuffer };
  fdb: TableMemory;
  neighbours: TableMemory;
  vteps: VtepsMemory;
  virtualServer: VirtualServerMemory;
  watch: WatchMemory;
  /** performance.timeOrigin of the clock that all engines share, ms */
  timeOrigin: number;
  orders: MessagePort;
}

/** The underlay of one engine. */
export interface UnderlaySpec {
  sockets: UdpSockets;
  /** UDP_SEGMENT may be used */
  segment: boolean;
  bundle: boolean;
  /** the tunnel TAP's queue for this engine; absent: sockets only */
  tunnel?: {
    fd: number;
    here: Here;
    /**
     * Source ports that flows are spread over by their hash. Flows that share one also share bundles: 32 HTTP
     * connections make 23 k requests/s with a port each, 30 k with 4, 39 k with 1; more ports spread better over
     * links and receive queues.
     */
    sourcePorts: number;
  };
}

export type Order =
  | { kind: 'underlay'; spec: UnderlaySpec | null }
  /** tell of what this netlink socket reports */
  | { kind: 'listen'; fd: number }
  | { kind: 'attach'; port: number; fd: number; offloads: TapOffloads }
  | { kind: 'detach'; port: number }
  /** the host's own side: a TUN, served by the director; what comes in there has the mark, 0: none */
  | { kind: 'attach-host'; port: number; fd: number; offloads: TapOffloads; mark: number }
  /** a TUN of direct routing, which is only written; `counted`: the port that it counts for */
  | { kind: 'attach-direct'; port: number; fd: number; offloads: TapOffloads; counted: number }
  | { kind: 'detach-direct'; port: number }
  | { kind: 'way'; way: Way }
  | { kind: 'way-gone'; row: number }
  | { kind: 'service'; service: ServiceSpec }
  | { kind: 'service-gone'; index: number }
  /** indexes of the networks whose frames the director looks at */
  | { kind: 'directed-networks'; networks: readonly number[] }
  /** what holds for all services; those that follow take the timeouts */
  | { kind: 'settings'; settings: Settings }
  | { kind: 'network'; network: Network }
  | { kind: 'network-gone'; index: number }
  | { kind: 'stop' };

export interface Orders {
  id: number;
  list: Order[];
}

export type Notice =
  | { kind: 'done'; id: number }
  /** first refusal with this errno on this device; `at` is the port of a TAP, or the VTEP that the datagram was for */
  | { kind: 'device-error'; device: 'tap' | 'underlay' | 'tunnel'; at: number; errno: number }
  /** the device is gone, and the engine has let go of it */
  | { kind: 'device-lost'; device: 'tap' | 'tunnel'; port: number; errno: number }
  /** UDP_SEGMENT was refused and is off */
  | { kind: 'no-segment' }
  /** neighbours, interfaces, addresses or routes of the host changed */
  | { kind: 'host-changed' };
