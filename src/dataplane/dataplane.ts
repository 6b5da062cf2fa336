/**
 * The face of the data plane: takes whole wanted configurations, performs the difference, and says what is.
 * It runs on the main thread; packets are the engines' (engine-thread.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import { type Settled, settle } from './config/settled.js';
import type { Config } from './config.js';
import { Counters } from './core/counters.js';
import { Vteps } from './core/vteps.js';
import { watchMemory } from './core/watch/ring-tracer.js';
import { Watchers } from './core/watch/watch.js';
import { ApplyError, type Dataplane, type Logger } from './face.js';
import { Accounts } from './host/accounts.js';
import { Ageing } from './host/ageing.js';
import { Applier } from './host/apply.js';
import type { Carrier, CarrierEvents, Shared } from './host/carrier.js';
import { census } from './host/census.js';
import { refuseOtherSize } from './host/director-settings.js';
import { HealthKeeper } from './host/health/health-keeper.js';
import { shown, withHealth } from './host/health/rows.js';
import { MARKS_MAX } from './host/mark-places.js';
import { NativeCarrier } from './host/native-carrier.js';
import { type DeviceFor, PortableCarrier } from './host/portable-carrier.js';
import * as reports from './host/reports.js';
import { ServiceKeeper } from './host/service-keeper.js';
import { refuse } from './host/service-refusals.js';
import { Serving } from './host/serving.js';
import { SyncKeeper } from './host/sync/sync-keeper.js';
import { endConnectionsOf, refuseTakenAddresses, VirtualAddresses } from './host/virtual-addresses.js';
import { connectionRows, virtualServerRows } from './host/virtual-server.js';
import { addon } from './io/native.js';
import { Connections } from './ipvs/connections.js';
import { DestinationCounts } from './ipvs/destination.js';
import { ESTIMATE_MS } from './ipvs/estimator.js';
import { Extras } from './ipvs/extras.js';
import { NOTHING_CARRIED } from './ipvs/service-report.js';
import { Traffic } from './ipvs/traffic.js';
import { Fdb } from './overlay/fdb.js';
import { Neighbours } from './overlay/neighbour.js';
import type {
  Applied,
  CapturedFrame,
  ConnectionRow,
  ServiceKey,
  ServiceRow,
  Stats,
  TraceEvent,
  VirtualServerStats,
  Watch,
  WatchOptions,
} from './report.js';
import { allocateVirtualServer } from './virtual-server.js';

export { type Config, ConfigError, parseConfig } from './config.js';
// What a program needs that gives endpoints devices of its own (examples/embed.mjs).
export { Batch } from './core/batch.js';
export { drop } from './core/drops.js';
export type { Path } from './core/path.js';
export type { Pool } from './core/pool.js';
export { ApplyError, type Dataplane, type Logger } from './face.js';
export type { DeviceFor } from './host/portable-carrier.js';
export type { Device } from './io/device.js';
export { type PairDevice, type PairOptions, pair, type Sender } from './io/memory/pair.js';
export { MemoryWorkload } from './io/memory/workload.js';
export type * from './report.js';

export interface DataplaneOptions {
  logger: Logger;
  /**
   * Devices in memory for endpoints, where the portable underlay carries (underlay.device dgram, or no addon): a
   * `MemoryWorkload`, an end of a `pair`, or a `Device` of the program's own.
   */
  deviceFor?: DeviceFor;
}

export function createDataplane(options: DataplaneOptions): Dataplane {
  return new HostDataplane(options);
}

/** Ageing and lost interfaces; the underlay's MTU every so many ticks, or when the host has changed. */
const TICK_MS = 1000;
const MTU_TICKS = 10;

/** The last ports of an engine: one for each mark, and that of the host's side. */
const HOST_PORTS = MARKS_MAX + 1;

/** What exists from the first configuration on. */
interface Running {
  shared: Shared;
  carrier: Carrier;
  applier: Applier;
  ageing: Ageing;
  services: ServiceKeeper;
  health: HealthKeeper;
  accounts: Accounts;
  serving: Serving;
  sync: SyncKeeper;
  connections: Connections;
  extras: Extras;
  watchers: Watchers;
}

class HostDataplane implements Dataplane {
  readonly #logger: Logger;
  readonly #deviceFor: DeviceFor | undefined;
  readonly #startedAt = new Date();
  #running: Running | undefined;
  #generation = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #estimates: NodeJS.Timeout | undefined;
  #ticks = 0;

  constructor({ logger, deviceFor }: DataplaneOptions) {
    this.#logger = logger;
    this.#deviceFor = deviceFor;
  }

  async start(): Promise<void> {
    const tick = () =>
      this.#inTurn(() => this.#tick()).catch((error: Error) => {
        this.#logger.error({ error: error.message }, 'what is done each second failed; it is tried again');
      });
    this.#timer ??= setInterval(() => void tick(), TICK_MS);
    // Not in turn: a rate is over the time that it says, however long an apply takes.
    this.#estimates ??= setInterval(() => this.#running?.accounts.estimate(), ESTIMATE_MS);
  }

  apply(config: Config): Promise<Applied> {
    return this.#inTurn(() => this.#apply(config));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    clearInterval(this.#estimates);
    this.#timer = undefined;
    this.#estimates = undefined;
    await this.#inTurn(async () => {
      if (this.#running === undefined) return;
      const { carrier, applier, serving, sync } = this.#running;
      this.#running = undefined;
      sync.stop();
      serving.stop();
      await carrier.stop();
      for (const open of applier.endpoints.values()) carrier.closeEndpoint(open);
    });
  }

  /** One change at a time, in the order in which they were asked for. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(task);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #apply(config: Config): Promise<Applied> {
    const began = performance.now();
    const first = this.#running === undefined;
    const running = (this.#running ??= await this.#birth(config));
    const { applier, shared, services } = running;
    // One that says nothing of services leaves them as they are.
    const settled = settle(config, services.wanted);
    refuseOtherSize(settled.virtualServer, running.connections.capacity);
    refuseServices(settled);
    running.sync.refuse(settled.virtualServer.sync);
    const before = indexesOf(applier);
    const unchanged =
      applier.config !== undefined && isDeepStrictEqual(applier.config, config) && applier.lost.size === 0;
    try {
      const difference = unchanged ? NO_DIFFERENCE : await applier.apply(config);
      const after = indexesOf(applier);
      const gone = new Set([...before].filter((index) => !after.has(index)));
      if (gone.size > 0) endConnectionsOf(gone, shared.memory.virtualServer);
      const served = await running.serving.want(settled);
      const synced = await running.sync.want(settled.virtualServer.sync);
      const changed = difference.changed || served || synced;
      if (changed || first) this.#generation++;
      const milliseconds = Math.round(performance.now() - began);
      return { generation: this.#generation, ...difference, changed, milliseconds };
    } catch (error) {
      // Nothing ran before the first configuration, so nothing runs when it fails.
      if (first) {
        this.#running = undefined;
        running.sync.stop();
        running.serving.stop();
        await running.carrier.stop();
      }
      throw error;
    }
  }

  /** Shared memory, underlay and engines, as the first configuration wants them. */
  async #birth(config: Config): Promise<Running> {
    const { engine, tables: sizes, underlay } = config;
    const device = underlay?.device;
    const inMemory = device === undefined && this.#deviceFor !== undefined;
    const portable = addon === undefined || device === 'dgram' || inMemory;
    if (addon === undefined && (device === 'tunnel' || device === 'udp')) {
      throw new ApplyError(`underlay.device ${device} needs the native addon; use dgram, or build it`);
    }
    const engines = portable ? 1 : engine.count;
    const memory = {
      fdb: Fdb.allocate(sizes.fdb),
      neighbours: Neighbours.allocate(sizes.neighbours),
      vteps: Vteps.allocate(sizes.vteps, sizes.vteps),
      virtualServer: allocateVirtualServer(settle(config, null).virtualServer.connections, engines),
      watch: watchMemory(engines),
    };
    const shared: Shared = {
      memory,
      tables: {
        fdb: new Fdb(memory.fdb),
        neighbours: new Neighbours(memory.neighbours),
        vteps: new Vteps(memory.vteps),
      },
      // Numbers to spare, for what is wanted is opened before what is in force is closed.
      counters: Array.from(
        { length: engines },
        () => new Counters(2 * sizes.endpoints + HOST_PORTS, 2 * sizes.vteps),
      ),
    };
    const health: HealthKeeper = new HealthKeeper({
      logger: this.#logger,
      changed: () => serving.healthChanged(),
      failures: (service, address) => services.failures(service, address),
    });
    const accounts = new Accounts(memory.virtualServer.traffic.map((block) => new Traffic(block)));
    const services = new ServiceKeeper(memory.virtualServer.destinations, health.inForce, accounts);
    const events: CarrierEvents = {
      logger: this.#logger,
      onLost: (port) => this.#lost(port),
      onHostChanged: () => {
        this.#ticks = 0;
      },
      whole: () => ({
        endpoints: [...(this.#running?.applier.endpoints.values() ?? [])],
        networks: [...(this.#running?.applier.networks.values() ?? [])].map(({ network }) => network),
        services: services.whole(),
      }),
    };
    const carrier = portable
      ? await PortableCarrier.open(config, shared, events, this.#deviceFor)
      : new NativeCarrier(config, shared, events);
    const applier = new Applier(carrier, shared, this.#logger);
    const ageing = new Ageing(carrier, shared);
    const connections = new Connections(memory.virtualServer.connections);
    const virtualAddresses = new VirtualAddresses(shared.tables.neighbours);
    const extras = new Extras(memory.virtualServer.extras);
    const serving = new Serving({
      ...{ services, health, carrier, virtualAddresses, logger: this.#logger },
      indexOf: (name) => applier.networks.get(name)?.network.index,
      inTurn: (task) => this.#inTurn(task),
    });
    const counts = new DestinationCounts(memory.virtualServer.destinations);
    const sync = new SyncKeeper({
      connections,
      extras,
      counts,
      logger: this.#logger,
      services: () => services.specs,
    });
    const watchers = new Watchers(memory.watch);
    const served = { services, health, serving, sync, accounts, connections, extras };
    return { shared, carrier, applier, ageing, ...served, watchers };
  }

  // What happens by itself.

  #lost(port: number): void {
    const applier = this.#running?.applier;
    const found = [...(applier?.endpoints ?? [])].find(([, open]) => open.port === port);
    if (applier === undefined || found === undefined) return;
    applier.lost.add(found[0]);
    this.#logger.warn({ endpoint: found[0] }, 'an interface is gone; it is tried again each second');
  }

  async #tick(): Promise<void> {
    if (this.#running === undefined) return;
    const { carrier, applier, ageing, serving, sync } = this.#running;
    const { config, networks } = applier;
    if (config === undefined) return;
    await serving.tick();
    await sync.tick();
    await ageing.tick(config, networks, nowSeconds());
    await applier.closeForsaken();
    if (applier.lost.size > 0) await applier.reopenLost();
    if (config.underlay === null || config.underlay.mtu !== null || this.#ticks++ % MTU_TICKS !== 0) return;
    const mtu = carrier.interfaceMtu();
    if (mtu === undefined || mtu === carrier.underlay.mtu) return;
    this.#logger.info({ mtu }, 'the underlay interface has another MTU; the networks follow');
    try {
      await carrier.reopenUnderlay(config, config);
      await applier.apply(config);
    } catch (error) {
      this.#logger.error({ error: (error as Error).message }, 'the networks could not follow');
    }
  }

  // Reports.

  #reported(): reports.Reported | undefined {
    if (this.#running?.applier.config === undefined) return undefined;
    const { shared, carrier, applier } = this.#running;
    return {
      tables: shared.tables,
      counters: shared.counters,
      networks: applier.networks,
      endpoints: applier.endpoints,
      underlay: carrier.underlay.kind,
      nowSeconds: nowSeconds(),
    };
  }

  #rows<T>(of: (reported: reports.Reported) => T[]): T[] {
    const reported = this.#reported();
    return reported === undefined ? [] : of(reported);
  }

  networks = () => this.#rows(reports.networkRows);
  endpoints = () => this.#rows(reports.endpointRows);
  fdb = () => this.#rows(reports.fdbRows);
  neighbours = () => this.#rows(reports.neighbourRows);
  vteps = () => this.#rows(reports.vtepRows);
  drops = () => reports.drops(this.#running?.shared.counters ?? []);
  counters = () => reports.engineCounters(this.#running?.shared.counters ?? []);
  services(): ServiceRow[] {
    if (this.#running === undefined) return [];
    const { services: keeper, carrier, health } = this.#running;
    const { services } = keeper.wanted;
    const rows = virtualServerRows(
      services.map((each) => shown(each, health)),
      (service, address) => keeper.counts(service, address),
      (service, address) => carrier.isLocal(keeper.row(service, address) ?? -1),
      (service, address) => keeper.carried(service, address),
    );
    return rows.map((row, i) => withHealth(row, services[i]!, health));
  }

  connections(): ConnectionRow[] {
    return [...this.eachConnection()];
  }

  eachConnection(): Iterable<ConnectionRow> {
    if (this.#running === undefined) return [];
    const { connections, extras, applier } = this.#running;
    const names = new Map([...applier.networks].map(([name, { network }]) => [network.index, name]));
    const clock = () => performance.now();
    return connectionRows(connections, extras, clock, (index) => names.get(index) ?? null);
  }

  virtualServer(): VirtualServerStats {
    const { accounts, connections, sync } = this.#running ?? {};
    const daemons = sync?.counts() ?? [];
    return {
      ...(accounts?.total ?? NOTHING_CARRIED),
      connections: {
        size: connections?.size ?? 0,
        capacity: connections?.capacity ?? 0,
        states: connections === undefined ? [] : census(connections),
      },
      ...(daemons.length > 0 && { sync: daemons }),
    };
  }

  zero(service?: ServiceKey): void {
    this.#running?.services.zero(service);
  }

  stats(): Stats {
    const { carrier, applier } = this.#running ?? {};
    const { kind = 'none', port = 0, mtu = 0 } = carrier?.underlay ?? {};
    const addresses = [...(applier?.config?.underlay?.address ?? [])];
    return {
      startedAt: this.#startedAt.toISOString(),
      underlay: {
        kind,
        addresses,
        port,
        mtu,
        offloads: { ...(applier?.config && carrier?.offloads) },
        offloadsWanted: { ...applier?.config?.offload },
      },
      engines: carrier?.engines ?? 0,
      generation: this.#generation,
      counters: this.counters(),
      drops: this.drops(),
      endpoints: this.endpoints(),
      vteps: this.vteps(),
    };
  }

  trace(options: WatchOptions, signal: AbortSignal): Watch<TraceEvent> {
    return this.#watchers().trace(
      options,
      (raw) => {
        const reported = this.#reported();
        return reported === undefined ? '' : reports.describeHop(reported, raw);
      },
      signal,
    );
  }

  capture(options: WatchOptions, signal: AbortSignal): Watch<CapturedFrame> {
    return this.#watchers().capture(options, signal);
  }

  #watchers(): Watchers {
    if (this.#running === undefined)
      throw new ApplyError('nothing is configured yet, so nothing can be watched');
    return this.#running.watchers;
  }
}

/** What can't be served is refused before a network changes, or services would stay whose network has gone. */
function refuseServices(wanted: Settled): void {
  const names = new Set(wanted.networks.map(({ name }) => name));
  for (const service of wanted.services) refuse(service, (name) => (names.has(name) ? 1 : undefined));
  refuseTakenAddresses(wanted);
}

function indexesOf({ networks }: Applier): Set<number> {
  return new Set([...networks.values()].map(({ network }) => network.index));
}

const NO_DIFFERENCE = {
  changed: false,
  networks: { added: 0, removed: 0, changed: 0 },
  endpoints: { added: 0, removed: 0 },
  fdb: { added: 0, removed: 0 },
};

/** The seconds that learned entries carry: monotonic, the same on every thread. */
function nowSeconds(): number {
  return Math.floor(performance.now() / 1000);
}
