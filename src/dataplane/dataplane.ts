/**
 * The face of the data plane: takes whole wanted configurations, performs the difference, and says what is.
 * It runs on the main thread; packets are the engines' (engine-thread.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import type { Config, Network as NetworkConfig } from './config.js';
import { Counters } from './core/counters.js';
import { watchMemory } from './core/ring-tracer.js';
import { Vteps } from './core/vteps.js';
import { Watchers } from './core/watch.js';
import { ApplyError, type Dataplane, type Logger } from './face.js';
import { vtepText } from './host/addresses.js';
import {
  closeEndpoint,
  endpointKey,
  type OpenEndpoint,
  openEndpoint,
  sameInterface,
  setEndpointMtu,
  wantedOffloads,
} from './host/endpoints.js';
import { Engines } from './host/engines.js';
import {
  addEntries,
  findOrAddVtep,
  type NetworkState,
  networkMtu,
  removeEntries,
  type Tables,
  wantedState,
} from './host/network-state.js';
import * as reports from './host/reports.js';
import { type OpenUnderlay, openUnderlay } from './host/underlay.js';
import { VtepKeeper } from './host/vtep-keeper.js';
import { need } from './io/native.js';
import { linkByIndex } from './io/rtnetlink/link.js';
import { tapOffloadBits } from './io/tap.js';
import type { Notice, Order } from './orders.js';
import { Fdb } from './overlay/fdb.js';
import { Neighbours } from './overlay/neighbour.js';
import type { Applied, CapturedFrame, Stats, TraceEvent, WatchOptions } from './report.js';

export { type Config, ConfigError, parseConfig } from './config.js';
export { ApplyError, type Dataplane, type Logger } from './face.js';
export type * from './report.js';

export function createDataplane(options: { logger: Logger }): Dataplane {
  return new HostDataplane(options.logger);
}

/** Ageing, lost interfaces, the underlay's MTU. */
const TICK_MS = 1000;

const NETLINK_ROUTE = 0;
/** RTMGRP_*: links, neighbours, IPv4 and IPv6 addresses and routes (linux/rtnetlink.h). */
const HOST_CHANGES = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/** What exists from the first configuration on. */
interface Running {
  tables: Tables;
  counters: Counters[];
  watchers: Watchers;
  engines: Engines;
  underlay: OpenUnderlay;
  keeper: VtepKeeper;
  /** netlink socket that hears of changes on the host */
  changes: number;
}

class HostDataplane implements Dataplane {
  readonly #logger: Logger;
  readonly #startedAt = new Date();
  readonly #networks = new Map<string, NetworkState>();
  readonly #endpoints = new Map<string, OpenEndpoint>();
  /** endpoints whose interface is gone (its namespace was removed); tried again each second */
  readonly #lost = new Set<string>();
  #config: Config | undefined;
  #running: Running | undefined;
  #generation = 0;
  #applying: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  async start(): Promise<void> {
    need();
    this.#timer ??= setInterval(() => this.#enqueue(() => this.#tick()).catch(() => {}), TICK_MS);
  }

  /** One apply at a time, in the order in which they were asked for. */
  apply(config: Config): Promise<Applied> {
    return this.#enqueue(() => this.#apply(config));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#enqueue(async () => {
      const running = this.#running;
      if (running === undefined) return;
      await running.engines.stop();
      for (const open of this.#endpoints.values()) closeEndpoint(open);
      running.keeper.close();
      running.underlay.close();
      need().close(running.changes);
      this.#endpoints.clear();
      this.#networks.clear();
      this.#running = undefined;
      this.#config = undefined;
    });
  }

  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#applying.then(task);
    this.#applying = done.catch(() => {});
    return done;
  }

  // ── applying ────────────────────────────────────────────────────────────────────────────────────────────

  async #apply(config: Config): Promise<Applied> {
    const began = performance.now();
    const before = this.#config;
    if (before !== undefined) refuseImmutable(before, config);
    if (before !== undefined && isDeepStrictEqual(before, config) && this.#lost.size === 0) {
      return this.#applied(began, { networks: [0, 0, 0], endpoints: [0, 0], fdb: [0, 0] });
    }
    const running = this.#running ?? this.#birth(config);
    if (before !== undefined && !sameUnderlay(before, config)) await this.#reopenUnderlay(running, before, config);

    // 1. What can fail: interfaces. Those that are new are opened before any that is not wanted is closed.
    const { opened, ports } = this.#openEndpoints(config, running);

    // 2. What changes, and what stands in the tables for it.
    const next = new Map<string, NetworkState>();
    const changed: NetworkState[] = [];
    let added = 0;
    let removed = 0;
    try {
      for (const network of config.networks) {
        const state = this.#wanted(network, config, running, ports, next);
        next.set(network.name, state);
        if (state !== this.#networks.get(network.name)) changed.push(state);
      }
      for (const state of changed) added += addEntries(running.tables, this.#networks.get(state.config.name), state);
    } catch (error) {
      for (const open of opened) closeEndpoint(open);
      for (const state of changed) removeEntries(running.tables, state, this.#networks.get(state.config.name));
      throw error;
    }

    // 3. The engines learn of it between two batches; from then on the new is in force.
    const gone = [...this.#networks.values()].filter((state) => next.get(state.config.name) === undefined);
    const kept = new Set(config.networks.flatMap((network) => network.endpoints.map(endpointKey)));
    const openedKeys = new Set(opened.map((open) => endpointKey(open.endpoint)));
    const closing = [...this.#endpoints].filter(([key]) => !kept.has(key) || openedKeys.has(key));
    await running.engines.order((engine) => [
      ...opened.map((open) => attachOrder(open, engine)),
      ...gone.map(({ network }): Order => ({ kind: 'network-gone', index: network.index })),
      ...changed.map(({ network }): Order => ({ kind: 'network', network })),
      ...closing.map(([, { port }]): Order => ({ kind: 'detach', port })),
    ]);

    // 4. What nothing refers to any more goes.
    for (const state of [...changed, ...gone]) {
      const old = this.#networks.get(state.config.name);
      if (old !== undefined) removed += removeEntries(running.tables, old, next.get(state.config.name));
    }
    for (const [key, open] of closing) {
      closeEndpoint(open);
      this.#endpoints.delete(key);
      this.#lost.delete(key);
    }
    for (const open of opened) this.#endpoints.set(endpointKey(open.endpoint), open);
    const counts = { before: this.#networks.size, gone: gone.length, changed: changed.length };
    this.#networks.clear();
    for (const [name, state] of next) this.#networks.set(name, state);
    this.#config = config;
    this.#sweepGone(running, gone);
    this.#forgetVteps(running, before, config);
    running.keeper.refresh();

    const fresh = next.size - (counts.before - counts.gone);
    this.#generation++;
    return this.#applied(began, {
      networks: [fresh, counts.gone, counts.changed - fresh],
      endpoints: [opened.length, closing.length],
      fdb: [added, removed],
    });
  }

  #applied(
    began: number,
    counts: { networks: number[]; endpoints: number[]; fdb: number[] },
  ): Applied {
    const { networks, endpoints, fdb } = counts;
    return {
      generation: this.#generation,
      changed: [...networks, ...endpoints, ...fdb].some((count) => count > 0),
      networks: { added: networks[0]!, removed: networks[1]!, changed: networks[2]! },
      endpoints: { added: endpoints[0]!, removed: endpoints[1]! },
      fdb: { added: fdb[0]!, removed: fdb[1]! },
      milliseconds: Math.round(performance.now() - began),
    };
  }

  /** Tables, underlay and engines, as the first configuration wants them. */
  #birth(config: Config): Running {
    const { engine, tables: sizes } = config;
    const underlay = openUnderlay(config, engine.count, this.#logger);
    const memory = {
      fdb: Fdb.allocate(sizes.fdb),
      neighbours: Neighbours.allocate(sizes.neighbours),
      vteps: Vteps.allocate(sizes.vteps),
      watch: watchMemory(engine.count),
    };
    const tables: Tables = {
      fdb: new Fdb(memory.fdb),
      neighbours: new Neighbours(memory.neighbours),
      vteps: new Vteps(memory.vteps),
    };
    tables.vteps.setDefaults(underlay.port, underlay.mtu);
    const counters = Array.from({ length: engine.count }, () => new Counters(sizes.endpoints, sizes.vteps));
    const engines = new Engines({
      count: engine.count,
      birth: (index) => ({
        slots: engine.slots,
        batch: engine.batch,
        spinMicros: engine.spinMicros,
        counters: { ports: sizes.endpoints, vteps: sizes.vteps, memory: counters[index]!.memory },
        ...memory,
        timeOrigin: performance.timeOrigin,
      }),
      logger: this.#logger,
      onNotice: (_engine, notice) => this.#heard(notice),
      rebuild: (engineIndex) => this.#rebuild(engineIndex),
    });
    const keeper = new VtepKeeper(tables.vteps, underlay, this.#logger);
    const watchers = new Watchers(memory.watch);
    const changes = need().netlinkSubscribe('', NETLINK_ROUTE, HOST_CHANGES);
    this.#running = { tables, counters, watchers, engines, underlay, keeper, changes };
    void engines.order((index) => this.#rebuild(index));
    return this.#running;
  }

  /** Everything that an engine must know, for one that takes the place of one that failed. */
  #rebuild(engine: number): Order[] {
    const { underlay, changes } = this.#running!;
    return [
      { kind: 'underlay', spec: underlay.specs[engine]! },
      ...(engine === 0 ? [{ kind: 'listen', fd: changes } as const] : []),
      ...[...this.#endpoints.values()].map((open) => attachOrder(open, engine)),
      ...[...this.#networks.values()].map(({ network }): Order => ({ kind: 'network', network })),
    ];
  }

  /** The port may be bound already by ourselves, so the old one is closed first; if the new one fails it comes back. */
  async #reopenUnderlay(running: Running, before: Config, config: Config): Promise<void> {
    const { engines, tables } = running;
    await engines.order(() => [{ kind: 'underlay', spec: null }]);
    running.keeper.close();
    running.underlay.close();
    const open = (wanted: Config) => {
      running.underlay = openUnderlay(wanted, engines.count, this.#logger);
      tables.vteps.setDefaults(running.underlay.port, running.underlay.mtu);
      running.keeper = new VtepKeeper(tables.vteps, running.underlay, this.#logger);
    };
    try {
      open(config);
    } catch (error) {
      open(before);
      throw error;
    } finally {
      await engines.order((index) => [{ kind: 'underlay', spec: running.underlay.specs[index]! }]);
    }
    if (isDeepStrictEqual(before.offload, config.offload)) return;
    for (const each of this.#endpoints.values()) {
      each.offloads = wantedOffloads(config);
      for (const fd of each.fds) need().setTapOffloads(fd, tapOffloadBits(each.offloads));
    }
    await engines.order((index) =>
      [...this.#endpoints.values()].flatMap((each): Order[] => [
        { kind: 'detach', port: each.port },
        attachOrder(each, index),
      ]),
    );
  }

  /** Opens what isn't open; `ports` has the port of each wanted endpoint by key. On failure what was opened is closed again. */
  #openEndpoints(config: Config, running: Running): { opened: OpenEndpoint[]; ports: Map<string, number> } {
    const opened: OpenEndpoint[] = [];
    const ports = new Map<string, number>();
    const used = new Set([...this.#endpoints.values()].map(({ port }) => port));
    let candidate = 0;
    const freePort = () => {
      while (used.has(candidate)) candidate++;
      if (candidate >= config.tables.endpoints) {
        throw new ApplyError(`there are more endpoints than tables.endpoints (${config.tables.endpoints}); raise it`);
      }
      used.add(candidate);
      for (const counters of running.counters) {
        const row = counters.portRow(candidate);
        counters.cells.fill(0, row, row + 4);
      }
      return candidate;
    };
    try {
      for (const network of config.networks) {
        const mtu = networkMtu(network, config, running.underlay.mtu);
        for (const endpoint of network.endpoints) {
          const key = endpointKey(endpoint);
          const open = this.#endpoints.get(key);
          if (open !== undefined && !this.#lost.has(key) && sameInterface(open.endpoint, endpoint)) {
            setEndpointMtu(open, endpoint.mtu ?? mtu);
            this.#endpoints.set(key, Object.assign(open, { endpoint, network: network.name }));
            ports.set(key, open.port);
            continue;
          }
          // The same interface can't be opened twice: the old one goes first when its addresses change.
          if (open !== undefined && !this.#lost.has(key)) closeEndpoint(open);
          const port = freePort();
          const offloads = wantedOffloads(config);
          const queues = running.engines.count;
          opened.push(openEndpoint(endpoint, network.name, port, mtu, queues, offloads, this.#logger));
          ports.set(key, port);
        }
      }
    } catch (error) {
      for (const open of opened) closeEndpoint(open);
      throw error;
    }
    return { opened, ports };
  }

  /** The state of one network; the very one that is in force when nothing changed. */
  #wanted(
    network: NetworkConfig,
    config: Config,
    running: Running,
    ports: ReadonlyMap<string, number>,
    next: ReadonlyMap<string, NetworkState>,
  ): NetworkState {
    const before = this.#networks.get(network.name);
    const mtu = networkMtu(network, config, running.underlay.mtu);
    const portOf = network.endpoints.map((endpoint) => ports.get(endpointKey(endpoint))!);
    if (
      before !== undefined &&
      before.network.mtu === mtu &&
      isDeepStrictEqual(before.network.ports, portOf) &&
      isDeepStrictEqual(before.config, network)
    ) {
      return before;
    }
    const taken = new Set([...this.#networks.values(), ...next.values()].map((state) => state.network.index));
    let index = before?.network.index ?? 1;
    if (before === undefined) while (taken.has(index)) index++;
    return wantedState(network, index, mtu, portOf, (address) =>
      findOrAddVtep(running.tables.vteps, address),
    );
  }

  /** Entries that were learned in networks that are gone. */
  #sweepGone({ tables }: Running, gone: readonly NetworkState[]): void {
    if (gone.length === 0) return;
    const indexes = new Set(gone.map(({ network }) => network.index));
    tables.fdb.sweep((entry) => indexes.has(entry.network));
  }

  /** VTEPs that the configuration named and names no more; learned entries that lead there go with them. */
  #forgetVteps({ tables, keeper }: Running, before: Config | undefined, config: Config): void {
    if (before === undefined) return;
    const wanted = vtepsOf(config);
    const gone = [...vtepsOf(before)].filter((address) => !wanted.has(address));
    if (gone.length === 0) return;
    const addresses = new Set(gone);
    const numbers = new Set<number>();
    for (const vtep of tables.vteps.used()) {
      const address = vtepText(tables.vteps.family(vtep), tables.vteps.addressWords(vtep));
      if (!addresses.has(address)) continue;
      numbers.add(vtep);
      keeper.forget(vtep, address);
    }
    tables.fdb.sweep(({ target }) => numbers.has(target));
    for (const vtep of numbers) tables.vteps.remove(vtep);
  }

  // ── what happens by itself ──────────────────────────────────────────────────────────────────────────────

  #heard(notice: Notice): void {
    const open = 'port' in notice && [...this.#endpoints].find(([, each]) => each.port === notice.port);
    switch (notice.kind) {
      case 'device-error':
        this.#logger.warn(
          { device: notice.device, errno: notice.errno, endpoint: open ? open[0] : undefined },
          'a device refused packets (further ones with this errno are only counted)',
        );
        break;
      case 'device-lost':
        if (open) this.#lost.add(open[0]);
        this.#logger.warn(
          { device: notice.device, errno: notice.errno, endpoint: open ? open[0] : undefined },
          notice.device === 'tap'
            ? 'an interface is gone; it is tried again each second'
            : 'the tunnel device is gone; UDP sockets carry',
        );
        break;
      case 'no-segment':
        this.#logger.info({}, 'UDP_SEGMENT was refused and is off; datagrams leave one by one');
        break;
      case 'host-changed':
        this.#running?.keeper.hostChanged();
        break;
      case 'done':
        break;
    }
  }

  async #tick(): Promise<void> {
    const running = this.#running;
    const config = this.#config;
    if (running === undefined || config === undefined) return;
    this.#age(running, config);
    if (this.#lost.size > 0) await this.#reopenLost(running, config);
    await this.#followMtu(running, config);
  }

  #age({ tables }: Running, config: Config): void {
    if (!config.networks.some((network) => network.learning)) return;
    const ageing = new Map(
      [...this.#networks.values()].map((state) => [state.network.index, state.config.ageingSeconds]),
    );
    const now = nowSeconds();
    tables.fdb.sweep((entry) => now - entry.seenSeconds > (ageing.get(entry.network) ?? 0));
  }

  async #reopenLost(running: Running, config: Config): Promise<void> {
    for (const key of this.#lost) {
      const old = this.#endpoints.get(key);
      if (old === undefined) {
        this.#lost.delete(key);
        continue;
      }
      try {
        const { endpoint, network, port } = old;
        const { mtu } = this.#networks.get(network)!.network;
        const open = openEndpoint(
          endpoint,
          network,
          port,
          mtu,
          running.engines.count,
          wantedOffloads(config),
          this.#logger,
        );
        await running.engines.order((engine) => [{ kind: 'detach', port }, attachOrder(open, engine)]);
        closeEndpoint(old);
        this.#endpoints.set(key, open);
        this.#lost.delete(key);
        this.#logger.info({ endpoint: key }, 'the interface is back');
      } catch (error) {
        this.#logger.debug({ endpoint: key, error: (error as Error).message }, 'the interface is still gone');
      }
    }
  }

  /** The underlay interface got another MTU: networks that take theirs from it follow. */
  async #followMtu(running: Running, config: Config): Promise<void> {
    if (config.underlay.mtu !== null) return;
    const link = linkByIndex('', running.underlay.link.index);
    if (link === undefined || link.mtu === running.underlay.link.mtu) return;
    this.#logger.info({ interface: link.name, mtu: link.mtu }, 'the underlay interface has another MTU');
    await this.#reopenUnderlay(running, config, config);
    await this.#apply({ ...config });
  }

  // ── reports ─────────────────────────────────────────────────────────────────────────────────────────────

  #reported(): reports.Reported | undefined {
    if (this.#running === undefined || this.#config === undefined) return undefined;
    const { tables, counters, underlay } = this.#running;
    return {
      config: this.#config,
      tables,
      counters,
      networks: this.#networks,
      endpoints: this.#endpoints,
      underlay: underlay.kind,
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
  drops = () => reports.drops(this.#running?.counters ?? []);
  counters = () => reports.engineCounters(this.#running?.counters ?? []);

  stats(): Stats {
    const underlay = this.#running?.underlay;
    return {
      startedAt: this.#startedAt.toISOString(),
      underlay: {
        kind: underlay?.kind ?? 'none',
        addresses: [...(this.#config?.underlay.address ?? [])],
        port: underlay?.port ?? 0,
        mtu: underlay?.mtu ?? 0,
        offloads: { ...this.#config?.offload, tunnel: underlay?.kind === 'tunnel' },
      },
      engines: this.#running?.engines.count ?? 0,
      generation: this.#generation,
      counters: this.counters(),
      drops: this.drops(),
      endpoints: this.endpoints(),
      vteps: this.vteps(),
    };
  }

  trace(options: WatchOptions, signal: AbortSignal): AsyncIterable<TraceEvent> {
    const describe = (raw: Parameters<typeof reports.describeHop>[1]) => {
      const reported = this.#reported();
      return reported === undefined ? '' : reports.describeHop(reported, raw);
    };
    return this.#watchers().trace(options, describe, signal);
  }

  capture(options: WatchOptions, signal: AbortSignal): AsyncIterable<CapturedFrame> {
    return this.#watchers().capture(options, signal);
  }

  #watchers(): Watchers {
    if (this.#running === undefined) throw new ApplyError('nothing is configured yet, so there is nothing to see');
    return this.#running.watchers;
  }
}

function attachOrder(open: OpenEndpoint, engine: number): Order {
  return { kind: 'attach', port: open.port, fd: open.fds[engine]!, offloads: open.offloads };
}

function vtepsOf({ networks }: Config): Set<string> {
  return new Set(
    networks.flatMap((network) => [...network.vteps, ...network.remotes.map((remote) => remote.vtep)]),
  );
}

/** Whether the sockets and devices can stay. */
function sameUnderlay(a: Config, b: Config): boolean {
  return isDeepStrictEqual(a.underlay, b.underlay) && isDeepStrictEqual(a.offload, b.offload);
}

/** Shared memory and threads have their size from the first configuration on. */
function refuseImmutable(before: Config, next: Config): void {
  for (const section of ['engine', 'tables'] as const) {
    if (!isDeepStrictEqual(before[section], next[section])) {
      throw new ApplyError(`${section}: can't be changed while the data plane runs; restart it`);
    }
  }
}

/** The seconds that learned entries carry: monotonic, the same on every thread. */
function nowSeconds(): number {
  return Math.floor(performance.now() / 1000);
}
