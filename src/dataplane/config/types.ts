/**
 * The wanted data plane as a passive value: every default filled in, addresses and MACs in their one canonical
 * spelling (lower case, RFC 5952). It is itself a valid configuration file.
 */
import type { Service, VirtualServer } from './service-types.js';

export interface Config {
  /** null: there are no networks, so nothing is carried to other hosts */
  readonly underlay: Underlay | null;
  readonly offload: Offload;
  readonly engine: Engine;
  readonly tables: Tables;
  readonly networks: readonly Network[];
  /** absent: those that run are left alone */
  readonly services?: readonly Service[];
  /** absent: likewise */
  readonly virtualServer?: VirtualServer;
}

export const UNDERLAY_DEVICES = ['auto', 'tunnel', 'udp', 'dgram'] as const;
export type UnderlayDevice = (typeof UNDERLAY_DEVICES)[number];

export interface Underlay {
  /** this host's VTEP addresses: at most one of a family, IPv4 first */
  readonly address: readonly string[];
  readonly port: number;
  readonly device: UnderlayDevice;
  /** bytes of IP packet; null: as the interface that has the address */
  readonly mtu: number | null;
  /** bytes */
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
  /** source ports that flows are spread over by their hash: more use more links and queues, fewer make larger bundles */
  readonly sourcePorts: number;
}

export const OFFLOADS = ['tso', 'uso', 'checksum', 'tunnel', 'segment', 'gro', 'bundle', 'coalesce'] as const;
export type OffloadName = (typeof OFFLOADS)[number];

/** What may be used where the host has it. `segment` is UDP_SEGMENT, `gro` UDP_GRO. */
export type Offload = { readonly [N in OffloadName]: boolean };

export interface Engine {
  readonly count: number;
  /** packet slots of an engine's pool */
  readonly slots: number;
  /** among lone packets: how long to poll for the next one before sleeping, letting whoever is runnable go first */
  readonly spinMicros: number;
  /** packets per receive */
  readonly batch: number;
}

/** Capacities. */
export interface Tables {
  readonly fdb: number;
  readonly neighbours: number;
  readonly networks: number;
  readonly endpoints: number;
  readonly vteps: number;
}

export interface Network {
  readonly name: string;
  readonly vni: number;
  /** who gets flooded frames */
  readonly vteps: readonly string[];
  readonly learning: boolean;
  readonly ageingSeconds: number;
  /** bytes of IP packet; null: what the underlay leaves */
  readonly mtu: number | null;
  readonly mssClamp: boolean;
  readonly floodUnknown: boolean;
  /** VXLAN-GBP id to set on the way out; null: none */
  readonly groupPolicy: number | null;
  readonly endpoints: readonly Endpoint[];
  readonly remotes: readonly Remote[];
}

/** A workload on this host. */
export interface Endpoint {
  /** as written: a name under /run/netns or an absolute path; `netnsPath` makes a path of it */
  readonly netns: string;
  readonly interface: string;
  readonly mac: string;
  /** each with its prefix length */
  readonly addresses: readonly string[];
  /** null: as the network */
  readonly mtu: number | null;
  readonly routes: readonly Route[];
}

export interface Route {
  /** with prefix length, or 'default' (of the family of `via`) */
  readonly to: string;
  readonly via: string;
}

/** A workload elsewhere. */
export interface Remote {
  readonly mac: string;
  /** without prefix length */
  readonly addresses: readonly string[];
  readonly vtep: string;
}
