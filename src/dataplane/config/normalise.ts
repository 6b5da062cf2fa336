/** The one spelling of a valid configuration: addresses and MACs canonical, derived MACs filled in. */
import { canonicalAddress, canonicalMac, defaultMac, familyOf, parsePrefix } from './address.js';
import type { Parsed } from './schema.js';
import { normaliseService, normaliseVirtualServer } from './service-normalise.js';
import { VIRTUAL_SERVER_DEFAULTS } from './service-schema.js';
import type { Config, Endpoint, Network, Remote, Route, Underlay } from './types.js';

type ParsedNetwork = NonNullable<Parsed['networks']>[number];
type ParsedEndpoint = NonNullable<ParsedNetwork['endpoints']>[number];
type ParsedRemote = NonNullable<ParsedNetwork['remotes']>[number];

export function normalise(parsed: Parsed): Config {
  return {
    underlay: parsed.underlay === null ? null : underlay(parsed.underlay),
    offload: parsed.offload,
    engine: parsed.engine,
    tables: parsed.tables,
    networks: (parsed.networks ?? []).map(network),
    ...(parsed.services === undefined ? {} : { services: (parsed.services ?? []).map(normaliseService) }),
    ...(parsed.virtualServer === undefined
      ? {}
      : { virtualServer: normaliseVirtualServer(parsed.virtualServer ?? VIRTUAL_SERVER_DEFAULTS) }),
  };
}

function underlay(parsed: NonNullable<Parsed['underlay']>): Underlay {
  const { address } = parsed;
  const own = (Array.isArray(address) ? address : [address]).map(canonical);
  return { ...parsed, address: own.sort((a, b) => familyOf(a) - familyOf(b)) };
}

/** Addresses that come here are valid. */
function canonical(address: string): string {
  return canonicalAddress(address) ?? address;
}

function cidr(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined ? text : `${prefix.address}/${prefix.bits}`;
}

function network(parsed: ParsedNetwork): Network {
  return {
    ...parsed,
    vteps: (parsed.vteps ?? []).map(canonical),
    endpoints: (parsed.endpoints ?? []).map((item) => endpoint(item, parsed.name)),
    remotes: (parsed.remotes ?? []).map(remote),
  };
}

function endpoint(parsed: ParsedEndpoint, networkName: string): Endpoint {
  const addresses = (parsed.addresses ?? []).map(cidr);
  return {
    ...parsed,
    mac: canonicalMac(parsed.mac ?? '') ?? defaultMac(networkName, parsed.netns, parsed.interface, addresses),
    addresses,
    routes: (parsed.routes ?? []).map(route),
  };
}

function route({ to, via }: { to: string; via: string }): Route {
  const prefix = cidr(to);
  return { to: prefix.endsWith('/0') ? 'default' : prefix, via: canonical(via) };
}

function remote(parsed: ParsedRemote): Remote {
  return {
    mac: parsed.mac.toLowerCase(),
    addresses: (parsed.addresses ?? []).map(canonical),
    vtep: canonical(parsed.vtep),
  };
}
