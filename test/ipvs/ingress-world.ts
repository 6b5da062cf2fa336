/** The virtual server's way in and out of one engine, in memory: IP packets go in, and come out in order. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts, type DestinationSpec } from '../../src/dataplane/ipvs/destination.js';
import { Director } from '../../src/dataplane/ipvs/director.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import { Ingress } from '../../src/dataplane/ipvs/ingress.js';
import { type ServiceSpec, Services } from '../../src/dataplane/ipvs/service.js';
import { Timeouts } from '../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import { Ways } from '../../src/dataplane/ipvs/ways.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { testDefence } from './defence-memory.js';
import { stage } from './packets.js';

export const addressOf = (text: string): ipv6.Words =>
  text.includes(':') ? ipv6.parse(text) : [ipv4.parse(text), 0, 0, 0];

function destination(row: number, address: string, port: number): DestinationSpec {
  return {
    ...{ row, family: address.includes(':') ? 6 : 4, address: addressOf(address), port, weight: 1 },
    ...{ forward: 'nat', tunnel: { type: 'ipip', port: 0, checksum: 'none' }, near: false },
    ...{ upperThreshold: 0, lowerThreshold: 0 },
  };
}

/** A service `rr`; its port is its destinations' as well unless `to` says another. */
export function serviceOf(
  protocol: number,
  virtual: string,
  port: number,
  servers: readonly string[],
  to: number = port,
  index = 0,
): ServiceSpec {
  return {
    ...{
      index,
      network: 0,
      family: virtual.includes(':') ? 6 : 4,
      protocol,
      address: addressOf(virtual),
      port,
    },
    ...{ scheduler: 'rr', slowStartSeconds: 0, preferNear: false, timeouts: { tcp: 0, tcpFin: 0, udp: 0 } },
    flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 60 },
    destinations: servers.map((address, row) => destination(row, address, to)),
  };
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
