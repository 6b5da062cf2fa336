/** What a data plane says of itself: the rows of `viaduct show`, the same over the control socket and in the library. */
import type { EngineCounter } from './core/counters.js';
import type { DropReason } from './core/drops.js';
import type { Hop } from './core/tracer.js';

export type { EngineCounter } from './core/counters.js';
export { DROPS, type DropReason, dropSentence } from './core/drops.js';
export type { Hop } from './core/tracer.js';
export { pcapHeader, pcapRecord } from './io/pcap.js';

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
  underlay: 'tunnel' | 'udp' | 'dgram' | 'pair';
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
    offloads: Record<string, boolean>;
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

/** One hop of one traced packet. */
export interface TraceEvent {
  /** id that all hops of the packet share */
  packet: number;
  /** seconds since the epoch, with microseconds */
  time: number;
  hop: Hop | 'drop';
  /** where: interface, VTEP, VNI, source port or drop reason, as the hop has it */
  detail: string;
  /** first bytes of the frame, for decoding */
  frame: Uint8Array;
  length: number;
}

/** One instruction of a classic BPF program, as `tcpdump -ddd` prints it. */
export interface FilterInstruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

export interface WatchOptions {
  /** compiled pcap filter over Ethernet frames; empty: everything */
  filter: FilterInstruction[];
  /** bytes of each frame to keep */
  snapLength: number;
}

/** A captured frame: as the workload sent or receives it (super-packets whole). */
export interface CapturedFrame {
  time: number;
  frame: Uint8Array;
  length: number;
}
