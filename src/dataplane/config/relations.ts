/**
 * Faults between values: duplicates, families, capacities. It reads the file as written, also where the schema
 * found faults, so that one attempt shows them all; a value that is itself faulty takes part in no relation.
 */
import { canonicalAddress, canonicalMac, defaultMac, familyOf, networkOf, parsePrefix } from './address.js';
import { type Loose, list, record, text, wholeNumber } from './loose.js';
import { netnsPath } from './netns.js';
import { TABLE_DEFAULTS } from './schema.js';
import { serviceFaults } from './service-relations.js';

const ANY_OF = ['underlay', 'networks', 'services', 'virtualServer'];

export function relationFaults(config: unknown): string[] {
  const written = record(config);
  // A file that was cut off, or never written, must not take down what runs.
  if (config === written && !ANY_OF.some((key) => key in written))
    return [`has none of ${ANY_OF.join(', ')}`];
  return new Relations(written).faults;
}

class Relations {
  readonly faults: string[] = [];
  readonly #own: string[] = [];
  readonly #names = new Map<string, string>();
  readonly #vnis = new Map<number, string>();
  readonly #interfaces = new Map<string, string>();
  readonly #vteps = new Map<string, string | undefined>();
  readonly #used = { fdb: 0, neighbours: 0, networks: 0, endpoints: 0, vteps: 0 };

  constructor(config: Loose) {
    this.#underlay(record(config.underlay));
    this.#engine(record(config.engine));
    const networks = list(config.networks);
    if (networks.length > 0 && (config.underlay === undefined || config.underlay === null)) {
      this.#fault('underlay', 'is required where there are networks');
    }
    for (let i = 0; i < networks.length; i++) this.#network(record(networks[i]), `networks[${i}]`);
    this.#used.networks = networks.length;
    this.#used.vteps = this.#vteps.size;
    this.#tables(record(config.tables));
    this.faults.push(...serviceFaults(config.services, new Set(this.#names.keys())));
  }

  #fault(path: string, sentence: string): void {
    this.faults.push(`${path}: ${sentence}`);
  }

  /** Notes that `key` is used at `path`; a fault when it is already. */
  #once<K extends string | number>(seen: Map<K, string>, key: K | undefined, path: string): void {
    if (key === undefined) return;
    const before = seen.get(key);
    if (before !== undefined) this.#fault(path, `${key} is already used by ${before}`);
    else seen.set(key, path);
  }

  #underlay(underlay: Loose): void {
    const written = Array.isArray(underlay.address) ? underlay.address : [underlay.address];
    for (const item of written) {
      const address = canonicalAddress(text(item) ?? '');
      if (address === undefined) continue;
      if (this.#own.some((other) => familyOf(other) === familyOf(address))) {
        this.#fault('underlay.address', `has two IPv${familyOf(address)} addresses; give one of each family`);
      }
      this.#own.push(address);
    }
  }

  #engine(engine: Loose): void {
    const batch = wholeNumber(engine.batch) ?? 64;
    const slots = wholeNumber(engine.slots) ?? 256;
    if (slots < batch) this.#fault('engine.slots', `must be at least engine.batch (${batch}), got ${slots}`);
  }

  #network(network: Loose, at: string): void {
    this.#once(this.#names, text(network.name), `${at}.name`);
    this.#once(this.#vnis, wholeNumber(network.vni), `${at}.vni`);
    const flooded = new Map<string, string>();
    list(network.vteps).forEach((vtep, i) => {
      const path = `${at}.vteps[${i}]`;
      this.#once(flooded, this.#vtep(vtep, path), path);
    });

    const macs = new Map<string, string>();
    const addresses = new Map<string, string>();
    const endpoints = list(network.endpoints);
    for (let i = 0; i < endpoints.length; i++) {
      this.#endpoint(record(endpoints[i]), network, `${at}.endpoints[${i}]`, macs, addresses);
    }
    const remotes = list(network.remotes);
    for (let i = 0; i < remotes.length; i++) {
      const remote = record(remotes[i]);
      const path = `${at}.remotes[${i}]`;
      this.#once(macs, canonicalMac(text(remote.mac) ?? ''), `${path}.mac`);
      const itsAddresses = list(remote.addresses);
      for (let j = 0; j < itsAddresses.length; j++) {
        this.#once(addresses, canonicalAddress(text(itsAddresses[j]) ?? ''), `${path}.addresses[${j}]`);
      }
      this.#vtep(remote.vtep, `${path}.vtep`);
    }
    this.#used.fdb += endpoints.length + remotes.length;
    this.#used.endpoints += endpoints.length;
    this.#used.neighbours += addresses.size;
  }

  /** The canonical address; its fault, found once, goes to every place that names it. */
  #vtep(written: unknown, path: string): string | undefined {
    const vtep = canonicalAddress(text(written) ?? '');
    if (vtep === undefined) return undefined;
    if (!this.#vteps.has(vtep)) this.#vteps.set(vtep, this.#vtepFault(vtep));
    const fault = this.#vteps.get(vtep);
    if (fault !== undefined) this.#fault(path, fault);
    return vtep;
  }

  #vtepFault(vtep: string): string | undefined {
    if (this.#own.includes(vtep)) return `${vtep} is this host's own underlay address`;
    if (this.#own.length === 0 || this.#own.some((own) => familyOf(own) === familyOf(vtep))) return undefined;
    return `${vtep} is IPv${familyOf(vtep)}, and the underlay has no IPv${familyOf(vtep)} address`;
  }

  #endpoint(
    endpoint: Loose,
    network: Loose,
    at: string,
    macs: Map<string, string>,
    addresses: Map<string, string>,
  ): void {
    const netns = text(endpoint.netns);
    const device = text(endpoint.interface);
    if (netns !== undefined && device !== undefined) {
      const place = `interface ${device} in ${netnsPath(netns)}`;
      this.#once(this.#interfaces, place, at);
    }
    const prefixes = list(endpoint.addresses).flatMap((written, i) => {
      const prefix = parsePrefix(text(written) ?? '');
      this.#once(addresses, prefix?.address, `${at}.addresses[${i}]`);
      return prefix ?? [];
    });
    const mac =
      endpoint.mac === undefined
        ? defaultMac(
            text(network.name) ?? '',
            netns ?? '',
            device ?? '',
            prefixes.map((prefix) => prefix.address),
          )
        : canonicalMac(text(endpoint.mac) ?? '');
    this.#once(macs, mac, `${at}.mac`);
    this.#endpointMtu(
      endpoint,
      network,
      at,
      prefixes.some((prefix) => prefix.family === 6),
    );
    const routes = list(endpoint.routes);
    for (let i = 0; i < routes.length; i++) this.#route(record(routes[i]), `${at}.routes[${i}]`, prefixes);
  }

  #endpointMtu(endpoint: Loose, network: Loose, at: string, ipv6: boolean): void {
    const mtu = wholeNumber(endpoint.mtu);
    const limit = wholeNumber(network.mtu);
    if (mtu !== undefined && limit !== undefined && mtu > limit) {
      this.#fault(`${at}.mtu`, `must not exceed its network's (${limit}), got ${mtu}`);
    }
    const effective = mtu ?? limit;
    if (ipv6 && effective !== undefined && effective < 1280) {
      this.#fault(`${at}.mtu`, `must be at least 1280 for the endpoint's IPv6 addresses, is ${effective}`);
    }
  }

  #route(route: Loose, at: string, prefixes: readonly { address: string; bits: number }[]): void {
    const via = canonicalAddress(text(route.via) ?? '');
    const to = parsePrefix(text(route.to) ?? '');
    if (to !== undefined) {
      const network = networkOf(to.address, to.bits);
      if (network !== to.address) this.#fault(`${at}.to`, `has host bits set; write ${network}/${to.bits}`);
    }
    if (via === undefined) return;
    if (to !== undefined && to.family !== familyOf(via)) this.#fault(at, 'mixes IPv4 and IPv6');
    const near = prefixes.some(
      ({ address, bits }) =>
        familyOf(address) === familyOf(via) && networkOf(address, bits) === networkOf(via, bits),
    );
    if (!near && !/^fe[89ab]/.test(via)) {
      this.#fault(`${at}.via`, `${via} is in none of the endpoint's subnets`);
    }
  }

  #tables(tables: Loose): void {
    for (const [table, preset] of Object.entries(TABLE_DEFAULTS)) {
      const capacity = wholeNumber(tables[table]) ?? preset;
      const used = this.#used[table as keyof typeof TABLE_DEFAULTS];
      if (used > capacity) this.#fault(`tables.${table}`, `must be at least ${used}, is ${capacity}`);
    }
  }
}
