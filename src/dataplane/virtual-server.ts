/** The virtual server as one engine has it, and the memory that those of all engines share. */
import { randomBytes, randomInt } from 'node:crypto';
import type { Path } from './core/path.js';
import { Random } from './core/random.js';
import { Connections } from './ipvs/connections.js';
import { allocateDefence, type DefenceMemory, SECRET_BYTES } from './ipvs/defence/memory.js';
import { DestinationCounts } from './ipvs/destination.js';
import { Director } from './ipvs/director.js';
import { Extras } from './ipvs/extras.js';
import { Ingress } from './ipvs/ingress.js';
import { Services } from './ipvs/service.js';
import { Timeouts } from './ipvs/states.js';
import { Traffic } from './ipvs/traffic.js';
import { Ways } from './ipvs/ways.js';
import { NetworkDirector } from './network-director.js';
import type { Answerer } from './overlay/answer.js';
import type { Neighbours } from './overlay/neighbour.js';

export interface VirtualServerMemory {
  connections: SharedArrayBuffer;
  destinations: SharedArrayBuffer;
  extras: SharedArrayBuffer;
  defence: DefenceMemory;
  /** a block an engine, which it alone writes */
  traffic: readonly SharedArrayBuffer[];
  /** of what schedulers draw */
  seed: number;
}

/** Destinations that count connections, those draining included. */
const DESTINATIONS = 65_536;
/** Connections of which more must be kept than a record holds. */
const EXTRAS = 65_536;

/** @param connections that the table has room for */
export function allocateVirtualServer(connections: number, engines: number): VirtualServerMemory {
  return {
    connections: Connections.allocate(connections),
    destinations: DestinationCounts.allocate(DESTINATIONS),
    extras: Extras.allocate(EXTRAS),
    defence: allocateDefence(connections, randomBytes(SECRET_BYTES)),
    traffic: Array.from({ length: engines }, () => Traffic.allocate(DESTINATIONS)),
    seed: randomInt(2 ** 31),
  };
}

export class VirtualServer {
  readonly services: Services;
  readonly connections: Connections;
  readonly timeouts = new Timeouts();
  readonly ways = new Ways();
  readonly director: Director;
  readonly ingress: Ingress;
  readonly inNetworks: NetworkDirector;

  /** @param engine which of those that share the memory */
  constructor(
    path: Path,
    memory: VirtualServerMemory,
    engine: number,
    neighbours: Neighbours,
    answerer: Answerer,
  ) {
    const { timeouts, ways } = this;
    const { defence, seed } = memory;
    const counts = new DestinationCounts(memory.destinations);
    const connections = new Connections(memory.connections);
    const services = new Services(counts, new Random(seed), timeouts);
    const extras = new Extras(memory.extras);
    const traffic = new Traffic(memory.traffic[engine]!);
    const parts = { path, services, connections, extras, ways, counts, traffic, defence, timeouts, seed };
    this.services = services;
    this.connections = connections;
    this.director = new Director(parts);
    this.ingress = new Ingress(path, this.director);
    this.inNetworks = new NetworkDirector(path, this.director, services, neighbours, answerer);
  }
}
