/** A director with a clock in memory, and what its tests of lives and ends ask of it. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { Director } from '../../src/dataplane/ipvs/director.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import { Ingress } from '../../src/dataplane/ipvs/ingress.js';
import { type ServiceSpec, Services } from '../../src/dataplane/ipvs/service.js';
import { DEFAULTS, type Settings } from '../../src/dataplane/ipvs/settings.js';
import { Timeouts } from '../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { testDefence } from './defence-memory.js';
import { build, parsedOf, type Stage, sound, stage, TCP, VIRTUAL, type Wanted } from './packets.js';
import { destination, serviceAt } from './specs.js';

export { destination } from './specs.js';

export const SYN = 0x02;
export const ACK = 0x10;
export const FIN = 0x11;
export const RST = 0x04;
export const SERVERS = ['10.1.2.1', '10.1.2.2', '10.1.2.3'];

export const service = (
  change: Partial<ServiceSpec> = {},
  virtual = VIRTUAL,
  servers = SERVERS,
): ServiceSpec =>
  serviceAt(
    virtual,
    servers.map((address, row) => destination(row, address)),
    change,
  );

/** What came out of the director. */
export interface Sent {
  from: string;
  to: string;
  flags: number;
  sequence: number;
  acknowledgment: number;
  good: boolean;
}

export interface World extends Stage {
  services: Services;
  table: Connections;
  counts: DestinationCounts;
  director: Director;
  ingress: Ingress;
  /** all that leaves because of the packet, the director's own included */
  send(wanted: Wanted): Sent[];
  /** where it went; the name of why it was dropped */
  way(wanted: Wanted): string;
  configure(change: Partial<Settings>): void;
  /** at so many seconds: what the director does each second, and what it sends then */
  second(at: number): { ended: number; sent: Sent[] };
}

export interface Shared {
  connections: SharedArrayBuffer;
  destinations: SharedArrayBuffer;
  extras: SharedArrayBuffer;
}

export const share = (connections: number): Shared => ({
  connections: Connections.allocate(connections),
  destinations: DestinationCounts.allocate(64),
  extras: Extras.allocate(16),
});

export function world(connections = 64, shared = share(connections)): World {
  const made = stage(256);
  const { path, pool } = made;
  const counts = new DestinationCounts(shared.destinations);
  const timeouts = new Timeouts();
  const services = new Services(counts, new Random(1), timeouts);
  const table = new Connections(shared.connections);
  const extras = new Extras(shared.extras);
  const defence = testDefence(connections);
  const traffic = new Traffic(Traffic.allocate(16));
  const director = new Director({
    path,
    services,
    connections: table,
    extras,
    counts,
    traffic,
    defence,
    timeouts,
  });
  const ingress = new Ingress(path, director);
  const [frames, out] = [new Batch(pool.packets), new Batch(pool.packets)];
  const leave = (): Sent[] => {
    const sent = Array.from(out.packets.slice(0, out.count), (packet) => read(made.bytes(packet)));
    out.release(pool);
    return sent;
  };
  const send = (wanted: Wanted) => {
    frames.push(made.put(build(wanted)));
    ingress.direct(frames, out);
    return leave();
  };
  return {
    ...{ ...made, services, table, counts, director, ingress, send },
    way: (wanted) => {
      const before = { ...made.drops() };
      const sent = send(wanted);
      const dropped = Object.entries(made.drops()).find(([name, count]) => count !== (before[name] ?? 0));
      return dropped?.[0] ?? sent[0]!.to;
    },
    configure: (change) => director.configure({ ...DEFAULTS, ...change }),
    second: (at) => {
      director.beginTurn(at * 1000);
      let ended = 0;
      const sent: Sent[] = [];
      do {
        ended += director.expire();
        ingress.takeAnswers(out);
        sent.push(...leave());
      } while (director.hasMore);
      return { ended, sent };
    },
  };
}

function read(bytes: Uint8Array): Sent {
  const parsed = parsedOf(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const text = (words: ipv6.Words) => (parsed.family === 6 ? ipv6.format(...words) : ipv4.format(words[0]));
  const { source0, source1, source2, source3, destination0, destination1, destination2, destination3 } =
    parsed;
  const tcp = parsed.protocol === TCP;
  return {
    from: `${text([source0, source1, source2, source3])} ${parsed.sourcePort}`,
    to: `${text([destination0, destination1, destination2, destination3])} ${parsed.destinationPort}`,
    flags: parsed.flags,
    sequence: tcp ? view.getUint32(parsed.transport + 4) : 0,
    acknowledgment: tcp ? view.getUint32(parsed.transport + 8) : 0,
    good: sound(bytes),
  };
}
