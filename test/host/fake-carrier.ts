/** A carrier that carries nothing: interfaces and engines are values, and it fails when it is told to. */
import { type Config, type Endpoint, parseConfig } from '../../src/dataplane/config.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { watchMemory } from '../../src/dataplane/core/watch/ring-tracer.js';
import { ApplyError, type Logger } from '../../src/dataplane/face.js';
import { addressText } from '../../src/dataplane/host/addresses.js';
import { Applier } from '../../src/dataplane/host/apply.js';
import type {
  Carrier,
  Change,
  OpenEndpoint,
  Shared,
  UnderlayFacts,
} from '../../src/dataplane/host/carrier.js';
import { endpointKey } from '../../src/dataplane/host/endpoints.js';
import * as reports from '../../src/dataplane/host/reports.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { Fdb } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import type { Network } from '../../src/dataplane/overlay/network.js';
import { testDefence } from '../ipvs/defence-memory.js';

export const QUIET: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** What a host's interface is set to. */
interface Interface {
  endpoint: Endpoint;
  mtu: number;
}

export class FakeCarrier implements Carrier {
  readonly engines = 1;
  readonly offloads = parseConfig({ underlay: { address: '10.0.0.1' } }, 'the test').offload;
  underlay: UnderlayFacts = { kind: 'udp', mtu: 1500, port: 4789 };
  readonly interfaces = new Map<string, Interface>();
  /** what the engines have been told */
  readonly attached = new Map<number, string>();
  readonly networks = new Map<number, Network>();
  readonly changes: Change[] = [];
  reopened: number[] = [];
  /** calls of openEndpoint and changeEndpoint until one fails, once */
  failAfter = Number.POSITIVE_INFINITY;

  async reopenUnderlay(_before: Config, next: Config): Promise<void> {
    const { port, mtu } = next.underlay!;
    this.reopened.push(port);
    this.underlay = { kind: 'udp', mtu: mtu ?? 1500, port };
  }

  openEndpoint(endpoint: Endpoint, network: string, port: number, mtu: number): OpenEndpoint {
    this.#mayFail();
    this.interfaces.set(endpointKey(endpoint), { endpoint, mtu });
    return { endpoint, network, port, mtu };
  }

  changeEndpoint(open: OpenEndpoint, endpoint: Endpoint, mtu: number): void {
    this.#mayFail();
    this.interfaces.set(endpointKey(endpoint), { endpoint, mtu });
    open.endpoint = endpoint;
    open.mtu = mtu;
  }

  closeEndpoint(open: OpenEndpoint): void {
    this.interfaces.delete(endpointKey(open.endpoint));
  }

  isForsaken(): boolean {
    return false;
  }

  async perform(change: Change): Promise<void> {
    this.changes.push(change);
    for (const { port } of change.detach ?? []) this.attached.delete(port);
    for (const { port, endpoint } of change.attach ?? []) this.attached.set(port, endpointKey(endpoint));
    for (const index of change.gone ?? []) this.networks.delete(index);
    for (const network of change.networks ?? []) this.networks.set(network.index, network);
  }

  async serve(): Promise<void> {
    this.#mayFail();
  }

  isLocal(): boolean {
    return false;
  }

  vtepsChanged(): void {}

  interfaceMtu(): undefined {}

  async stop(): Promise<void> {}

  #mayFail(): void {
    if (this.failAfter-- === 0) throw new ApplyError('told to fail');
  }
}

/** A data plane's control, its carrier a fake. */
export class Control {
  readonly carrier = new FakeCarrier();
  readonly shared: Shared;
  readonly applier: Applier;

  constructor(sizes: Partial<Config['tables']> = {}) {
    const { fdb = 1024, neighbours = 1024, vteps = 64, endpoints = 64 } = sizes;
    const memory = {
      fdb: Fdb.allocate(fdb),
      neighbours: Neighbours.allocate(neighbours),
      vteps: Vteps.allocate(vteps, vteps),
      virtualServer: {
        connections: Connections.allocate(64),
        destinations: DestinationCounts.allocate(16),
        extras: new SharedArrayBuffer(64),
        defence: testDefence(64),
        traffic: [],
        seed: 1,
      },
      watch: watchMemory(1, 64),
    };
    this.shared = {
      memory,
      tables: {
        fdb: new Fdb(memory.fdb),
        neighbours: new Neighbours(memory.neighbours),
        vteps: new Vteps(memory.vteps),
      },
      counters: [new Counters(2 * endpoints, 2 * vteps)],
    };
    this.shared.tables.vteps.setDefaults(4789, 1500);
    this.applier = new Applier(this.carrier, this.shared, QUIET);
  }

  /** All that can be seen of it by names and addresses, whatever the numbers are. */
  seen() {
    const { tables, counters } = this.shared;
    const { networks, endpoints } = this.applier;
    const all = { tables, counters, networks, endpoints, underlay: 'udp', nowSeconds: 0 } as const;
    const vtep = (number: number) =>
      addressText(tables.vteps.family(number), tables.vteps.addressWords(number));
    return {
      fdb: reports.fdbRows(all),
      neighbours: reports.neighbourRows(all).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
      networks: byName(reports.networkRows(all)),
      endpoints: reports
        .endpointRows(all)
        .map(({ network, netns, interface: device, mac, addresses, mtu }) =>
          JSON.stringify({ network, netns, device, mac, addresses, mtu }),
        )
        .sort(),
      vteps: [...tables.vteps.used()].map(vtep).sort(),
      entries: [tables.fdb.table.size, tables.neighbours.table.size],
      interfaces: [...this.carrier.interfaces].sort(([a], [b]) => (a < b ? -1 : 1)),
      engines: [...this.carrier.networks.values()]
        .map(({ index: _, ports, vteps, ...rest }) => ({
          ...rest,
          ports: ports.map((port) => this.carrier.attached.get(port)),
          vteps: vteps.map(vtep),
        }))
        .sort((a, b) => a.vni - b.vni),
      attached: [...this.carrier.attached.values()].sort(),
      underlay: this.carrier.underlay,
    };
  }

  /** The same with the numbers: what must be left as it was when an apply fails. */
  exactly() {
    const { fdb, neighbours, vteps } = this.shared.tables;
    return {
      ...this.seen(),
      fdb: [...fdb.entries()].map((entry) => JSON.stringify(entry)).sort(),
      neighbours: [...neighbours.entries()].map((entry) => JSON.stringify(entry)).sort(),
      vteps: [...vteps.used()].map((vtep) => [vtep, ...vteps.addressWords(vtep)]),
      networks: [...this.carrier.networks.values()],
      attached: [...this.carrier.attached],
      endpoints: [...this.applier.endpoints].map(([key, { network, port, mtu, endpoint }]) => ({
        key,
        network,
        port,
        mtu,
        endpoint,
      })),
    };
  }
}

const byName = <T extends { name: string }>(rows: T[]): T[] =>
  rows.sort((a, b) => (a.name < b.name ? -1 : 1));

export const config = (written: object): Config => parseConfig(written, 'the test');
