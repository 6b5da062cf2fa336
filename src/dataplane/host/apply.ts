/**
 * Turns a wanted configuration into the difference from what is, and performs it, so that what doesn't change loses
 * no frame and a failure leaves what was. It owns what is in force: networks, their entries, and the endpoints.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Config, Network as NetworkConfig } from '../config.js';
import { ApplyError, type Logger } from '../face.js';
import type { Applied } from '../report.js';
import { addressText, vtepWords } from './addresses.js';
import { removeVteps } from './ageing.js';
import type { Carrier, OpenEndpoint, Shared } from './carrier.js';
import { endpointKey } from './endpoints.js';
import {
  addEntries,
  findOrAddVtep,
  type NetworkState,
  networkMtu,
  removeEntries,
  wantedState,
} from './network-state.js';
import { makeRoomForEntries, makeRoomForVteps, vtepsOf } from './room.js';

/** The index is the upper half of a key's first word in the forwarding database. */
const INDEX_MAX = 65_535;

export type Difference = Pick<Applied, 'changed' | 'networks' | 'endpoints' | 'fdb'>;

/** Endpoints as wanted: those opened for it, and every port by key. */
interface WantedEndpoints {
  opened: OpenEndpoint[];
  open: Map<string, OpenEndpoint>;
  undo: (() => void)[];
}

export class Applier {
  readonly networks = new Map<string, NetworkState>();
  readonly endpoints = new Map<string, OpenEndpoint>();
  /** keys of endpoints whose interface is gone */
  readonly lost = new Set<string>();
  config: Config | undefined;

  readonly #carrier: Carrier;
  readonly #shared: Shared;
  readonly #logger: Logger;

  constructor(carrier: Carrier, shared: Shared, logger: Logger) {
    this.#carrier = carrier;
    this.#shared = shared;
    this.#logger = logger;
  }

  async apply(config: Config): Promise<Difference> {
    const before = this.config;
    if (before === undefined) return this.#change(before, config);
    refuseImmutable(before, config);
    if (sameUnderlay(before, config)) return this.#change(before, config);
    await this.#carrier.reopenUnderlay(before, config);
    try {
      return await this.#change(before, config);
    } catch (error) {
      await this.#carrier.reopenUnderlay(config, before).catch((fault: Error) => {
        this.#logger.error({ error: fault.message }, 'the underlay could not be changed back');
      });
      throw error;
    }
  }

  async #change(before: Config | undefined, config: Config): Promise<Difference> {
    // 1. What can fail, with the way back: interfaces, then table entries. New ones come before any old one goes.
    await makeRoomForVteps(this.#carrier, this.#shared, config, this.networks);
    const vtepsBefore = new Set(this.#shared.tables.vteps.used());
    const endpoints = this.#openEndpoints(config);
    const next = new Map<string, NetworkState>();
    const changed: NetworkState[] = [];
    let added = 0;
    let cleared = false;
    try {
      for (const network of config.networks) {
        const state = this.#wanted(network, config, endpoints.open, next);
        next.set(network.name, state);
        if (state !== this.networks.get(network.name)) changed.push(state);
      }
      cleared = makeRoomForEntries(this.#shared.tables, this.networks, next);
      for (const state of changed) {
        added += addEntries(this.#shared.tables, this.networks.get(state.config.name), state);
      }
    } catch (error) {
      this.#takeBack(endpoints, changed, cleared ? next : undefined);
      await this.#takeBackVteps(config, vtepsBefore);
      throw error;
    }

    // 2. The engines learn of it between two batches; from then on the new is in force.
    const gone = [...this.networks.values()].filter(({ config: { name } }) => !next.has(name));
    const opened = new Set(endpoints.opened);
    const closing = [...this.endpoints.values()].filter(
      (each) => endpoints.open.get(endpointKey(each.endpoint)) !== each,
    );
    await this.#carrier.perform({
      attach: endpoints.opened,
      detach: closing,
      networks: changed
        .filter(
          ({ config: { name }, network }) => !isDeepStrictEqual(network, this.networks.get(name)?.network),
        )
        .map(({ network }) => network),
      gone: gone.map(({ network }) => network.index),
    });

    // 3. What nothing refers to any more goes.
    let removed = 0;
    for (const state of [...changed, ...gone]) {
      const { name } = state.config;
      const old = this.networks.get(name);
      if (old !== undefined) removed += removeEntries(this.#shared.tables, old, next.get(name));
    }
    for (const each of closing) this.#carrier.closeEndpoint(each);
    for (const { endpoint } of [...closing, ...opened]) this.lost.delete(endpointKey(endpoint));
    const existed = this.networks.size - gone.length;
    const unlearned = changed.filter(
      ({ config: { name, learning } }) => !learning && this.networks.get(name)?.config.learning === true,
    );
    replace(this.networks, next);
    replace(this.endpoints, endpoints.open);
    this.config = config;
    this.#sweepNetworks([...gone, ...unlearned]);
    if (before !== undefined) await this.#forgetVteps(before, config);
    this.#carrier.vtepsChanged();

    const fresh = next.size - existed;
    const counts = [fresh, gone.length, changed.length - fresh, opened.size, closing.length, added, removed];
    return {
      changed: counts.some((count) => count > 0),
      networks: { added: fresh, removed: gone.length, changed: changed.length - fresh },
      endpoints: { added: opened.size, removed: closing.length },
      fdb: { added, removed },
    };
  }

  /** Lets go of interfaces whose namespace was deleted, so that it can end. */
  async closeForsaken(): Promise<void> {
    const forsaken = [...this.endpoints].filter(
      ([key, open]) => !this.lost.has(key) && this.#carrier.isForsaken(open),
    );
    if (forsaken.length === 0) return;
    await this.#carrier.perform({ detach: forsaken.map(([, open]) => open) });
    for (const [key, open] of forsaken) {
      this.#carrier.closeEndpoint(open);
      this.lost.add(key);
      this.#logger.warn({ endpoint: key }, 'a namespace is gone; its interface is tried again each second');
    }
  }

  /** Tries those whose interface is gone. */
  async reopenLost(): Promise<void> {
    for (const key of this.lost) {
      const old = this.endpoints.get(key);
      if (old === undefined) {
        this.lost.delete(key);
        continue;
      }
      try {
        const open = this.#carrier.openEndpoint(old.endpoint, old.network, old.port, old.mtu);
        await this.#carrier.perform({ detach: [old], attach: [open] });
        this.#carrier.closeEndpoint(old);
        this.endpoints.set(key, open);
        this.lost.delete(key);
        this.#logger.info({ endpoint: key }, 'the interface is back');
      } catch (error) {
        this.#logger.debug({ endpoint: key, error: (error as Error).message }, 'the interface is still gone');
      }
    }
  }

  /** Opens what isn't open, changes what is; on failure all that is taken back, and the error thrown on. */
  #openEndpoints(config: Config): WantedEndpoints {
    const wanted: WantedEndpoints = { opened: [], open: new Map(), undo: [] };
    const used = new Set([...this.endpoints.values()].map(({ port }) => port));
    try {
      for (const network of config.networks) {
        const mtu = networkMtu(network, config, this.#carrier.underlay.mtu);
        for (const endpoint of network.endpoints) {
          const key = endpointKey(endpoint);
          let open = this.endpoints.get(key);
          if (open === undefined || this.lost.has(key)) {
            const port = this.#freePort(used);
            open = this.#carrier.openEndpoint(endpoint, network.name, port, endpoint.mtu ?? mtu);
            wanted.opened.push(open);
          } else {
            const { endpoint: old, mtu: oldMtu, network: oldNetwork } = open;
            const same = open;
            wanted.undo.push(() => {
              this.#carrier.changeEndpoint(same, old, oldMtu);
              same.network = oldNetwork;
            });
            this.#carrier.changeEndpoint(open, endpoint, endpoint.mtu ?? mtu);
            open.network = network.name;
          }
          wanted.open.set(key, open);
        }
      }
    } catch (error) {
      this.#takeBack(wanted, []);
      throw error;
    }
    return wanted;
  }

  /** @param cleared networks that were wanted, when those in force have made room for them */
  #takeBack(
    { opened, undo }: WantedEndpoints,
    states: readonly NetworkState[],
    cleared?: ReadonlyMap<string, NetworkState>,
  ): void {
    for (const open of opened) this.#carrier.closeEndpoint(open);
    for (const step of undo.reverse()) {
      try {
        step();
      } catch (error) {
        this.#logger.warn({ error: (error as Error).message }, 'an interface could not be changed back');
      }
    }
    // All go before any come back: the tables may have room for one of the two only.
    const { tables } = this.#shared;
    for (const state of states) removeEntries(tables, state, this.networks.get(state.config.name));
    for (const state of states) {
      const old = this.networks.get(state.config.name);
      if (old !== undefined) addEntries(tables, state, old);
    }
    if (cleared === undefined) return;
    for (const [name, old] of this.networks) if (!cleared.has(name)) addEntries(tables, undefined, old);
  }

  /** VTEPs that were added for a configuration which couldn't be had; not those that were learned meanwhile. */
  #takeBackVteps(config: Config, before: ReadonlySet<number>): Promise<void> {
    const { vteps } = this.#shared.tables;
    const added = [...vtepsOf(config)].map((address) => vteps.find(...vtepWords(address)));
    const numbers = new Set(added.filter((vtep) => vtep >= 0 && !before.has(vtep)));
    return removeVteps(this.#carrier, this.#shared, numbers);
  }

  /** The lowest number that no endpoint has, its counters at 0. */
  #freePort(used: Set<number>): number {
    let port = 0;
    while (used.has(port)) port++;
    used.add(port);
    for (const counters of this.#shared.counters) counters.clearRow(counters.portRow(port));
    return port;
  }

  /** The state of one network; the very one that is in force when nothing changed. */
  #wanted(
    network: NetworkConfig,
    config: Config,
    open: ReadonlyMap<string, OpenEndpoint>,
    next: ReadonlyMap<string, NetworkState>,
  ): NetworkState {
    const before = this.networks.get(network.name);
    const mtu = networkMtu(network, config, this.#carrier.underlay.mtu);
    const ports = network.endpoints.map((endpoint) => open.get(endpointKey(endpoint))!.port);
    if (
      before?.network.mtu === mtu &&
      isDeepStrictEqual(before.network.ports, ports) &&
      isDeepStrictEqual(before.config, network)
    ) {
      return before;
    }
    const index = before?.network.index ?? this.#freeIndex(next);
    const { vteps } = this.#shared.tables;
    return wantedState(network, index, mtu, ports, (address) => findOrAddVtep(vteps, address));
  }

  #freeIndex(next: ReadonlyMap<string, NetworkState>): number {
    const taken = new Set([...this.networks.values(), ...next.values()].map(({ network }) => network.index));
    // Most often the next one is free; the search from 1 is for those that were given back.
    let index = taken.size + 1;
    if (taken.has(index)) index = 1;
    while (taken.has(index)) index++;
    if (index > INDEX_MAX) throw new ApplyError(`there are more networks than ${INDEX_MAX}`);
    return index;
  }

  /** Entries that were learned in networks that are gone, or learn no more. */
  #sweepNetworks(states: readonly NetworkState[]): void {
    if (states.length === 0) return;
    const indexes = new Set(states.map(({ network }) => network.index));
    this.#shared.tables.fdb.sweep((entry) => indexes.has(entry.network));
  }

  /** VTEPs that the configuration named and names no more; learned entries that lead there go with them. */
  async #forgetVteps(before: Config, config: Config): Promise<void> {
    const { vteps } = this.#shared.tables;
    const wanted = vtepsOf(config);
    const gone = new Set([...vtepsOf(before)].filter((address) => !wanted.has(address)));
    if (gone.size === 0) return;
    const numbers = new Set<number>();
    for (const vtep of vteps.used()) {
      if (gone.has(addressText(vteps.family(vtep), vteps.addressWords(vtep)))) numbers.add(vtep);
    }
    await removeVteps(this.#carrier, this.#shared, numbers);
  }
}

function replace<K, V>(map: Map<K, V>, by: ReadonlyMap<K, V>): void {
  map.clear();
  for (const [key, value] of by) map.set(key, value);
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
