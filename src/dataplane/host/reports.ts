/** The rows of `viaduct show`, read out of the shared tables and counters without stopping an engine. */
import type { Offload } from '../config.js';
import {
  type Counters,
  ENGINE_COUNTERS,
  type EngineCounter,
  RX_BYTES,
  RX_PACKETS,
  TX_BYTES,
  TX_PACKETS,
} from '../core/counters.js';
import { DROPS, type DropReason } from '../core/drops.js';
import type { RawHop } from '../core/watch/watch.js';
import type { TapOffloads } from '../io/tap.js';
import { indexOf, isLocal, isStatic } from '../overlay/fdb.js';
import type { EndpointRow, FdbRow, NeighbourRow, NetworkRow, Traffic, VtepRow } from '../report.js';
import * as ethernet from '../wire/ethernet.js';
import { addressText, macText, neighbourText } from './addresses.js';
import type { OpenEndpoint, UnderlayFacts } from './carrier.js';
import type { NetworkState, Tables } from './network-state.js';

/** What the reports are made of. */
export interface Reported {
  tables: Tables;
  counters: readonly Counters[];
  networks: ReadonlyMap<string, NetworkState>;
  endpoints: ReadonlyMap<string, OpenEndpoint>;
  underlay: UnderlayFacts['kind'];
  nowSeconds: number;
}

/** What is in use of the wanted offloads: what was refused is off, and so is what builds on it. */
export function offloadsInUse(
  wanted: Offload,
  had: {
    kind: 'tunnel' | 'udp' | 'none';
    /** UDP_SEGMENT and UDP_GRO were not refused */
    segment: boolean;
    gro: boolean;
    /** what each workload's interface took; before the first one nothing is refused */
    taps: readonly TapOffloads[];
  },
): Offload {
  const tunnel = had.kind === 'tunnel';
  const tso = wanted.tso && wanted.checksum && had.taps.every((tap) => tap.tso);
  const uso = wanted.uso && wanted.checksum && had.taps.every((tap) => tap.uso);
  const segment = wanted.segment && had.segment;
  return {
    tso,
    uso,
    checksum: wanted.checksum,
    tunnel,
    segment,
    gro: wanted.gro && had.gro,
    bundle: wanted.bundle && (tunnel || segment),
    coalesce: wanted.coalesce && (tso || uso),
  };
}

export function drops(counters: readonly Counters[]): Record<DropReason, number> {
  const all = counters.map((each) => each.drops());
  return Object.fromEntries(
    DROPS.map(([reason]) => [reason, sum(all.map((each) => each[reason]))]),
  ) as Record<DropReason, number>;
}

export function engineCounters(counters: readonly Counters[]): Record<EngineCounter, number> {
  const all = counters.map((each) => each.engine());
  return Object.fromEntries(
    ENGINE_COUNTERS.map((name) => [name, sum(all.map((each) => each[name]))]),
  ) as Record<EngineCounter, number>;
}

export function networkRows({ networks }: Reported): NetworkRow[] {
  return [...networks.values()].map(({ config, network }) => ({
    name: config.name,
    vni: config.vni,
    mtu: network.mtu,
    learning: config.learning,
    vteps: [...config.vteps],
    endpoints: config.endpoints.length,
    remotes: config.remotes.length,
  }));
}

export function endpointRows({ endpoints, counters }: Reported): EndpointRow[] {
  return [...endpoints.values()].map(({ endpoint, network, port, mtu }) => ({
    network,
    netns: endpoint.netns,
    interface: endpoint.interface,
    mac: endpoint.mac,
    addresses: [...endpoint.addresses],
    mtu,
    ...traffic(counters, (each) => each.portRow(port)),
  }));
}

export function fdbRows({ tables, networks, endpoints, nowSeconds }: Reported): FdbRow[] {
  const names = byIndex(networks);
  const interfaces = new Map([...endpoints.values()].map((each) => [each.port, each.endpoint.interface]));
  const rows: FdbRow[] = [];
  for (const entry of tables.fdb.entries()) {
    const state = names.get(entry.network);
    if (state === undefined) continue;
    const index = indexOf(entry.target);
    const local = isLocal(entry.target);
    rows.push({
      network: state.config.name,
      vni: state.config.vni,
      mac: macText(entry.macHigh, entry.macLow),
      via: local ? (interfaces.get(index) ?? `port ${index}`) : vtepAddress(tables, index),
      kind: local ? 'local' : 'remote',
      origin: isStatic(entry.target) ? 'static' : 'learned',
      ageSeconds: isStatic(entry.target) ? null : Math.max(0, nowSeconds - entry.seenSeconds),
    });
  }
  return rows.sort((a, b) => a.vni - b.vni || (a.mac < b.mac ? -1 : 1));
}

export function neighbourRows({ tables, networks }: Reported): NeighbourRow[] {
  const names = byIndex(networks);
  const rows: NeighbourRow[] = [];
  for (const entry of tables.neighbours.entries()) {
    const state = names.get(entry.network);
    if (state === undefined) continue;
    rows.push({
      network: state.config.name,
      address: neighbourText(entry.address),
      mac: macText(entry.macHigh, entry.macLow),
    });
  }
  return rows.sort((a, b) => (a.network === b.network ? 0 : a.network < b.network ? -1 : 1));
}

export function vtepRows({ tables, counters, underlay }: Reported): VtepRow[] {
  const { vteps } = tables;
  return [...vteps.used()].map((vtep) => {
    const hop = vteps.nextHop(vtep);
    return {
      address: vtepAddress(tables, vtep),
      underlay: underlay === 'tunnel' && hop === null ? 'udp' : underlay,
      nextHop: hop && macText(ethernet.macHigh(hop, 0), ethernet.macLow(hop, 0)),
      pathMtu: vteps.pathMtu(vtep),
      ...traffic(counters, (each) => each.vtepRow(vtep)),
    };
  });
}

/** The text of a traced hop's value (core/tracer.ts). */
export function describeHop({ tables, endpoints }: Reported, { hop, value, reason }: RawHop): string {
  const port = () => {
    const open = [...endpoints.values()].find((each) => each.port === value);
    return open ? `${open.endpoint.netns} ${open.endpoint.interface}` : `port ${value}`;
  };
  switch (hop) {
    case 'tap.receive':
    case 'tap.transmit':
    case 'bridge.local':
      return port();
    case 'underlay.transmit':
    case 'bridge.remote':
      return vtepAddress(tables, value);
    case 'bridge.flood':
      return `${value} ${value === 1 ? 'copy' : 'copies'}`;
    case 'bridge.answer':
      return ['ARP reply', 'neighbour advertisement', 'ICMP too big'][value]!;
    case 'encap':
      return `flow ${value}`;
    case 'decap':
      return `VNI ${value}`;
    case 'drop':
      return reason ?? '';
  }
}

function vtepAddress({ vteps }: Tables, vtep: number): string {
  return vtep < 0 ? 'unknown' : addressText(vteps.family(vtep), vteps.addressWords(vtep));
}

function byIndex(networks: ReadonlyMap<string, NetworkState>): Map<number, NetworkState> {
  return new Map([...networks.values()].map((state) => [state.network.index, state]));
}

function traffic(counters: readonly Counters[], rowOf: (counters: Counters) => number): Traffic {
  const cell = (field: number) => sum(counters.map((each) => each.cells[rowOf(each) + field]!));
  return {
    rxPackets: cell(RX_PACKETS),
    rxBytes: cell(RX_BYTES),
    txPackets: cell(TX_PACKETS),
    txBytes: cell(TX_BYTES),
  };
}

const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
