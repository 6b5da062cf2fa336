/** What a data plane says of itself: the rows of `viaduct show`, the same over the control socket and in the library. */
import type { EngineCounter } from './core/counters.js';
import type { DropReason } from './core/drops.js';

export type { EngineCounter } from './core/counters.js';
export { DROPS, type DropReason, dropSentence } from './core/drops.js';
export type { Hop } from './core/tracer.js';
export type { FilterInstruction } from './core/watch/filter.js';
export type { CapturedFrame, TraceEvent, Watch, WatchOptions } from './core/watch/watch.js';
export { pcapHeader, pcapRecord } from './io/pcap.js';
export type * from './ipvs/service-report.js';

export interface Traffic {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
}

export interface NetworkRow {
  name: string;
  vni: number;
  mtu: number;
  learning: boolean;
  vteps: string[];
  endpoints: number;
  remotes: number;
}

export interface EndpointRow extends Traffic {
  network: string;
  netns: string;
  interface: string;
  mac: string;
  addresses: string[];
  mtu: number;
}

export interface FdbRow {
  network: string;
  vni: number;
  mac: string;
  /** interface of a local endpoint, or address of a VTEP */
  via: string;
  kind: 'local' | 'remote';
  origin: 'static' | 'learned';
  /** seconds since a learned entry was last seen; null for a static one */
  ageSeconds: number | null;
}

export interface NeighbourRow {
  network: string;
  address: string;
  mac: string;
}

export interface VtepRow extends Traffic {
  address: string;
  /** which underlay carries datagrams to it now */
  underlay: 'tunnel' | 'udp' | 'dgram' | 'pair' | 'none';
  /** MAC of the next hop, null while unknown or not needed */
  nextHop: string | null;
  /** bytes of IP packet the path takes */
  pathMtu: number;
}

export interface Stats {
  startedAt: string;
  underlay: {
    kind: string;
    addresses: string[];
    port: number;
    mtu: number;
    /** whether each is in use: what the kernel refused is off, and what builds on it too */
    offloads: Record<string, boolean>;
    /** whether the configuration wants it */
    offloadsWanted: Record<string, boolean>;
  };
  engines: number;
  generation: number;
  counters: Record<EngineCounter, number>;
  drops: Record<DropReason, number>;
  endpoints: EndpointRow[];
  vteps: VtepRow[];
}

/** What an apply did. */
export interface Applied {
  generation: number;
  changed: boolean;
  networks: { added: number; removed: number; changed: number };
  endpoints: { added: number; removed: number };
  fdb: { added: number; removed: number };
  milliseconds: number;
}
