/** Names of hosts and services, as the system knows them: /etc/hosts and DNS by the resolver, /etc/services. */
import { lookup, lookupService } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { type Protocol, parseSocket } from '../../dataplane/config/service-address.js';

export interface Names {
  /** the first IPv4 address of a host */
  address(host: string): Promise<string | undefined>;
  /** the port of a service */
  port(service: string, protocol: Protocol): number | undefined;
  /** the name of the host that has the address */
  host(address: string): Promise<string | undefined>;
  /** the name of a port's service */
  service(port: number, protocol: Protocol): string | undefined;
}

/** Spells `10.0.0.1:80`, for a protocol, as it is to be printed. */
export type Spell = (socket: string, protocol: Protocol | null) => string;

export const numeric: Spell = (socket) => socket;

/** Asks for the names of all addresses at once; what has none is spelled as a number. */
export async function spelledBy(names: Names, sockets: readonly string[]): Promise<Spell> {
  const addresses = [...new Set(sockets.map((socket) => parseSocket(socket)?.address ?? ''))];
  const hosts = new Map(
    await Promise.all(addresses.map(async (each) => [each, await names.host(each)] as const)),
  );
  return (socket, protocol) => {
    const found = parseSocket(socket);
    if (found === undefined) return socket;
    const { address } = found;
    const port = found.port ?? 0;
    const host = hosts.get(address) ?? address;
    const service = (protocol === null ? undefined : names.service(port, protocol)) ?? port;
    return address.includes(':') ? `[${host}]:${service}` : `${host}:${service}`;
  };
}

export class SystemNames implements Names {
  #services: { name: string; port: number; protocol: string; aliases: readonly string[] }[] | undefined;

  async address(host: string): Promise<string | undefined> {
    return (await lookup(host, { family: 4 }).catch(() => undefined))?.address;
  }

  async host(address: string): Promise<string | undefined> {
    return (await lookupService(address, 0).catch(() => undefined))?.hostname;
  }

  port(service: string, protocol: Protocol): number | undefined {
    return this.#all().find(
      (each) => each.protocol === protocol && (each.name === service || each.aliases.includes(service)),
    )?.port;
  }

  service(port: number, protocol: Protocol): string | undefined {
    return this.#all().find((each) => each.protocol === protocol && each.port === port)?.name;
  }

  #all() {
    this.#services ??= services();
    return this.#services;
  }
}

/** services(5): `http  80/tcp  www  # comment`. A host may have no such file. */
function services() {
  let text = '';
  try {
    text = readFileSync('/etc/services', 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const [name, place, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const found = /^(\d+)\/([a-z]+)$/.exec(place ?? '');
    if (name === undefined || found === null) return [];
    return [{ name, port: Number(found[1]), protocol: found[2]!, aliases }];
  });
}
