/** The virtual server's way in and out of one engine, in memory: IP packets go in, and come out in order. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { Director } from '../../src/dataplane/ipvs/director.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import { Ingress } from '../../src/dataplane/ipvs/ingress.js';
import { type ServiceSpec, Services } from '../../src/dataplane/ipvs/service.js';
import { Timeouts } from '../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import { Ways } from '../../src/dataplane/ipvs/ways.js';
import { testDefence } from './defence-memory.js';
import { stage } from './packets.js';
import { destination, serviceAt } from './specs.js';

/** A service `rr`; its port is its destinations' as well unless `to` says another. */
export function serviceOf(
  protocol: number,
  virtual: string,
  port: number,
  servers: readonly string[],
  to: number = port,
  index = 0,
): ServiceSpec {
  const destinations = servers.map((address, row) => destination(row, address, to));
  return serviceAt(virtual, destinations, { index, protocol, port });
}

export function ingressWorld(connections = 64, extraRows = 16) {
  const at = stage(32);
  const { path, pool } = at;
  const counts = new DestinationCounts(DestinationCounts.allocate(16));
  const timeouts = new Timeouts();
  const services = new Services(counts, new Random(1), timeouts);
  const table = new Connections(Connections.allocate(connections));
  const extras = new Extras(Extras.allocate(extraRows));
  const defence = testDefence(connections);
  const traffic = new Traffic(Traffic.allocate(16));
  const ways = new Ways();
  const director = new Director({
    path,
    services,
    connections: table,
    extras,
    ways,
    counts,
    traffic,
    defence,
    timeouts,
  });
  const ingress = new Ingress(path, director);
  const frames = new Batch(pool.packets);
  const out = new Batch(pool.packets);
  /** A batch of packets that lie in the pool; what came out of it, each from its IP header on. */
  const run = (...packets: readonly number[]): Uint8Array[] => {
    for (const packet of packets) {
      pool.network[packet] = 0;
      frames.push(packet);
    }
    ingress.direct(frames, out);
    const all = Array.from(out.packets.slice(0, out.count), (packet) => at.bytes(packet));
    out.release(pool);
    return all;
  };
  return {
    ...at,
    ...{ counts, services, table, extras, ways, director, run },
    /** The same for packets that are put there. */
    direct: (...packets: readonly Uint8Array[]): Uint8Array[] =>
      run(...packets.map((bytes) => at.put(bytes))),
  };
}
