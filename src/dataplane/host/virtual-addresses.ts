/**
 * The addresses of services inside networks, as the main thread has them: refuses those that somebody else has there,
 * puts them among the neighbours so that workloads who ask are answered, and ends the connections of a network that
 * goes, whose index another one may get.
 */

import { parseListen } from '../config/service-address.js';
import type { Settled } from '../config/settled.js';
import type { Network } from '../config.js';
import { Random } from '../core/random.js';
import { ApplyError } from '../face.js';
import { Connections } from '../ipvs/connections.js';
import { DestinationCounts } from '../ipvs/destination.js';
import { Ending } from '../ipvs/ending.js';
import { Extras } from '../ipvs/extras.js';
import { KIND, KIND_TEMPLATE, NETWORK } from '../ipvs/record.js';
import { Services } from '../ipvs/service.js';
import { Timeouts } from '../ipvs/states.js';
import { forgetHeard } from '../neighbour-search.js';
import type { Neighbours } from '../overlay/neighbour.js';
import { isVirtualHigh, virtualMac } from '../virtual-mac.js';
import type { VirtualServerMemory } from '../virtual-server.js';
import * as ipv6 from '../wire/ipv6.js';
import { macHigh, macNumber } from './addresses.js';
import type { VirtualAddress } from './service-catches.js';

export class VirtualAddresses {
  readonly #neighbours: Neighbours;
  readonly #known = new Map<string, VirtualAddress>();

  constructor(neighbours: Neighbours) {
    this.#neighbours = neighbours;
  }

  /**
   * These, and no others, are answered from now on. Throws ApplyError when the table is full.
   * @param nowMs on the engines' clock
   */
  answer(virtual: readonly VirtualAddress[], nowMs: number): void {
    forgetHeard(this.#neighbours, nowMs);
    const wanted = new Map(virtual.map((each) => [`${each.network} ${each.address.join(' ')}`, each]));
    for (const [key, { network, family, address }] of this.#known) {
      if (wanted.has(key)) continue;
      const words = neighbourWordsOf(family, address);
      // By now an endpoint may have it.
      const known = this.#neighbours.find6(network, ...words);
      if (known && isVirtualHigh(this.#neighbours.macHigh)) this.#neighbours.remove(network, words);
      this.#known.delete(key);
    }
    for (const [key, each] of wanted) {
      if (this.#known.has(key)) continue;
      const { high, low } = virtualMac(each.family, each.address);
      const words = neighbourWordsOf(each.family, each.address);
      if (!this.#neighbours.set(each.network, words, high, low)) {
        throw new ApplyError('services: the neighbour table is full; raise tables.neighbours');
      }
      this.#known.set(key, each);
    }
  }
}

function neighbourWordsOf(family: 4 | 6, address: ipv6.Words): ipv6.Words {
  return family === 4 ? ipv6.mapped(address[0]) : address;
}

/** Throws ApplyError: a service's network isn't there, or somebody in it has its address or a MAC of those kept for such. */
export function refuseTakenAddresses({ services, networks }: Settled): void {
  const taken = new Map<string, Map<string, string>>();
  for (const { listen, network: name } of services) {
    if (name === null) continue;
    const network = networks.find((each) => each.name === name);
    if (network === undefined) {
      throw new ApplyError(`service ${listen}: there is no network ${name}; remove the service with it`);
    }
    if (!taken.has(name)) taken.set(name, macsOf(network));
    const found = parseListen(listen);
    if (found === undefined || found.protocol === 'mark') continue;
    const mac = taken.get(name)!.get(found.address);
    if (mac === undefined) continue;
    throw new ApplyError(
      `service ${listen}: ${found.address} is the address of ${mac} in network ${name}; choose another`,
    );
  }
}

/** Who has which address in the network. */
function macsOf({ name, endpoints, remotes }: Network): Map<string, string> {
  const macs = new Map<string, string>();
  const add = (mac: string, addresses: readonly string[]) => {
    if (isVirtualHigh(macHigh(macNumber(mac)))) {
      throw new ApplyError(
        `network ${name}: the MAC ${mac} is of those kept for its services (0a:56, 0e:56); choose another`,
      );
    }
    for (const address of addresses) macs.set(address.replace(/\/.*/, ''), mac);
  };
  for (const { mac, addresses } of endpoints) add(mac, addresses);
  for (const { mac, addresses } of remotes) add(mac, addresses);
  return macs;
}

/** Ends the connections of networks that no engine has any more. */
export function endConnectionsOf(gone: ReadonlySet<number>, memory: VirtualServerMemory): void {
  const connections = new Connections(memory.connections);
  const counts = new DestinationCounts(memory.destinations);
  const services = new Services(counts, new Random(1), new Timeouts());
  const ending = new Ending(connections, new Extras(memory.extras), services, counts);
  const { records, expires, highWater } = connections;
  const isGone = (connection: number, template: boolean) => {
    const at = connections.at(connection);
    if (expires[connection] === 0 || !gone.has(records[at + NETWORK]!)) return false;
    return ((records[at + KIND]! & KIND_TEMPLATE) !== 0) === template;
  };
  // A template ends after the connections that belong to it.
  for (const template of [false, true]) {
    for (let connection = 0; connection < highWater; connection++) {
      if (!isGone(connection, template)) continue;
      // An engine may end it in between.
      connections.locked(() => {
        if (isGone(connection, template)) ending.end(connection);
      });
    }
  }
}
