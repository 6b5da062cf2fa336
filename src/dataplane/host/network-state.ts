/**
 * What of a network stands in the tables: computed from the configuration, compared with what stands there, and
 * only the difference written. An unchanged network isn't touched.
 */
import type { Config, Network as NetworkConfig } from '../config.js';
import { OVERHEAD_IPV4, OVERHEAD_IPV6, type Vteps } from '../core/vteps.js';
import { ApplyError } from '../face.js';
import { type Fdb, localTarget, remoteTarget } from '../overlay/fdb.js';
import type { Neighbours } from '../overlay/neighbour.js';
import type { Network } from '../overlay/network.js';
import * as ethernet from '../wire/ethernet.js';
import { macHigh, macLow, macNumber, neighbourWords, vtepWords } from './addresses.js';

const EVICT = 64;

/** A network that is in the tables, or shall be. */
export interface NetworkState {
  readonly config: NetworkConfig;
  readonly network: Network;
  /** MAC → target */
  readonly fdb: Map<number, number>;
  /** address → MAC */
  readonly neighbours: Map<string, number>;
}

export interface Tables {
  fdb: Fdb;
  neighbours: Neighbours;
  vteps: Vteps;
}

/** Bytes of IP packet that an overlay network leaves of the underlay's. */
export function networkMtu(config: NetworkConfig, { underlay }: Config, underlayMtu: number): number {
  if (config.mtu !== null) return config.mtu;
  const ipv6 = (address: string) => address.includes(':');
  const six =
    config.vteps.some(ipv6) ||
    config.remotes.some(({ vtep }) => ipv6(vtep)) ||
    underlay?.address.every(ipv6) === true;
  return underlayMtu - (six ? OVERHEAD_IPV6 : OVERHEAD_IPV4) - ethernet.HEADER;
}

/**
 * @param portOf the port of each local endpoint, in the configuration's order
 * @param vtepOf number of the VTEP at an address; adds it when it is new
 */
export function wantedState(
  config: NetworkConfig,
  index: number,
  mtu: number,
  portOf: readonly number[],
  vtepOf: (address: string) => number,
): NetworkState {
  const fdb = new Map<number, number>();
  const neighbours = new Map<string, number>();
  config.endpoints.forEach((endpoint, i) => {
    const mac = macNumber(endpoint.mac);
    fdb.set(mac, localTarget(portOf[i]!));
    for (const address of endpoint.addresses) neighbours.set(address.slice(0, address.indexOf('/')), mac);
  });
  for (const remote of config.remotes) {
    const mac = macNumber(remote.mac);
    fdb.set(mac, remoteTarget(vtepOf(remote.vtep)));
    for (const address of remote.addresses) neighbours.set(address, mac);
  }
  return {
    config,
    network: {
      index,
      vni: config.vni,
      mtu,
      learning: config.learning,
      floodUnknown: config.floodUnknown,
      mssClamp: config.mssClamp,
      groupPolicy: config.groupPolicy ?? -1,
      ports: [...portOf],
      vteps: config.vteps.map(vtepOf),
    },
    fdb,
    neighbours,
  };
}

/** Writes what `next` has and `before` hasn't, or has otherwise. Throws ApplyError when a table is full. */
export function addEntries(tables: Tables, before: NetworkState | undefined, next: NetworkState): number {
  const { index } = next.network;
  let added = 0;
  for (const [mac, target] of next.fdb) {
    if (before?.fdb.get(mac) === target) continue;
    while (!tables.fdb.setStatic(index, macHigh(mac), macLow(mac), target)) {
      // Engines may have learned something in the meantime.
      if (tables.fdb.evict(EVICT) > 0) continue;
      throw new ApplyError(`network ${next.config.name}: the forwarding database is full; raise tables.fdb`);
    }
    added++;
  }
  for (const [address, mac] of next.neighbours) {
    if (before?.neighbours.get(address) === mac) continue;
    if (!tables.neighbours.set(index, neighbourWords(address), macHigh(mac), macLow(mac))) {
      throw new ApplyError(
        `network ${next.config.name}: the neighbour table is full; raise tables.neighbours`,
      );
    }
  }
  return added;
}

/** Removes what `before` has and `next` hasn't. */
export function removeEntries(tables: Tables, before: NetworkState, next: NetworkState | undefined): number {
  const { index } = before.network;
  let removed = 0;
  for (const mac of before.fdb.keys()) {
    if (next?.fdb.has(mac)) continue;
    tables.fdb.remove(index, macHigh(mac), macLow(mac));
    removed++;
  }
  for (const address of before.neighbours.keys()) {
    if (!next?.neighbours.has(address)) tables.neighbours.remove(index, neighbourWords(address));
  }
  return removed;
}

/** Finds or adds the VTEP at an address. Throws ApplyError when the table is full. */
export function findOrAddVtep(vteps: Vteps, address: string): number {
  const vtep = vteps.add(...vtepWords(address));
  if (vtep < 0) throw new ApplyError(`VTEP ${address}: the table of VTEPs is full; raise tables.vteps`);
  return vtep;
}
