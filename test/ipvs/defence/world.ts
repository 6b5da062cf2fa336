/** A director with one service, packets in and out of it read into plain values. */

import type { ExecutionContext } from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Connections } from '../../../src/dataplane/ipvs/connections.js';
import type { DefenceSpec } from '../../../src/dataplane/ipvs/defence/spec.js';
import { readOptions, TcpOptions, writeOptions } from '../../../src/dataplane/ipvs/defence/tcp-options.js';
import { DestinationCounts, type DestinationSpec } from '../../../src/dataplane/ipvs/destination.js';
import { Director } from '../../../src/dataplane/ipvs/director.js';
import { Extras } from '../../../src/dataplane/ipvs/extras.js';
import { writeTooBig } from '../../../src/dataplane/ipvs/icmp.js';
import { Parsed, parse, parseQuoted } from '../../../src/dataplane/ipvs/packet.js';
import { STATE } from '../../../src/dataplane/ipvs/record.js';
import { type ServiceSpec, Services } from '../../../src/dataplane/ipvs/service.js';
import { stateName, Timeouts } from '../../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../../src/dataplane/ipvs/traffic.js';
import { DROPPED, PASS, SEND, TAKEN, type Verdict } from '../../../src/dataplane/ipvs/verdict.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../../src/dataplane/wire/ipv6.js';
import { testDefence } from '../defence-memory.js';
import {
  build,
  CLIENT,
  CLIENT6,
  memoryOf,
  parsedOf,
  SERVER,
  SERVER6,
  sound,
  stage,
  TCP,
  VIRTUAL,
  VIRTUAL6,
} from '../packets.js';
import { wordsOf } from '../specs.js';

export const [FIN, SYN, RST, PSH, ACK] = [0x01, 0x02, 0x04, 0x08, 0x10] as const;
export type Family = 4 | 6;
export const CLIENTS = { 4: CLIENT, 6: CLIENT6 } as const;
export const VIRTUALS = { 4: VIRTUAL, 6: VIRTUAL6 } as const;
export const SERVERS = { 4: SERVER, 6: SERVER6 } as const;

/** A TCP segment in plain values; numbers unsigned. */
export interface Said {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  payload: Uint8Array;
  mss: number;
  scale: number;
  sack: boolean;
  timestamps: boolean;
  value: number;
  echo: number;
  /** edges of SACK blocks */
  blocks: number[];
  /** checksums are right */
  sound: boolean;
  /** as sent with checksum offload */
  unfinished?: boolean;
}

/** The segment's bytes. */
export function speak(said: Partial<Said>): Uint8Array {
  const options = Object.assign(new TcpOptions(), {
    ...{ mss: said.mss ?? 0, scale: said.scale ?? -1, sack: said.sack ?? false },
    ...{ timestamps: said.timestamps ?? said.value !== undefined },
    ...{ value: said.value ?? 0, echo: said.echo ?? 0 },
  });
  const room = new Uint8Array(60);
  const view = new DataView(room.buffer);
  let length = writeOptions(memoryOf(room), 0, options);
  const { blocks = [] } = said;
  if (blocks.length > 0) {
    view.setUint32(length, 0x01010500 | (2 + 4 * blocks.length));
    blocks.forEach((edge, i) => {
      view.setUint32(length + 4 + 4 * i, edge);
    });
    length += 4 + 4 * blocks.length;
  }
  const { source, destination, sourcePort, destinationPort, sequence, acknowledgment, flags, payload } = {
    ...{ source: CLIENT, destination: VIRTUAL, sourcePort: 40000, destinationPort: 80 },
    ...{ sequence: 0, acknowledgment: 0, flags: 0, payload: new Uint8Array(0) },
    ...said,
  };
  const bytes = build({
    ...{ protocol: TCP, source, destination, sourcePort, destinationPort, flags, payload },
    ...{ sequence: sequence >>> 0, acknowledgment: acknowledgment >>> 0, options: room.slice(0, length) },
  });
  // The window, and the checksum for it.
  const { transport } = parsedOf(bytes);
  const packet = new DataView(bytes.buffer);
  const sum = (~packet.getUint16(transport + 16) & 0xffff) + (~packet.getUint16(transport + 14) & 0xffff);
  packet.setUint16(transport + 14, said.window ?? 0);
  let all = sum + (said.window ?? 0);
  while (all > 0xffff) all = (all & 0xffff) + (all >>> 16);
  packet.setUint16(transport + 16, ~all & 0xffff);
  return bytes;
}

/** What a packet says. */
export function hear(bytes: Uint8Array): Said {
  const parsed = parsedOf(bytes);
  const options = new TcpOptions();
  readOptions(memoryOf(bytes), parsed, options);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { transport: at, family } = parsed;
  const text = (a: number, b: number, c: number, d: number) =>
    family === 6 ? ipv6.format(a, b, c, d) : ipv4.format(a);
  const head = at + (bytes[at + 12]! >>> 4) * 4;
  const blocks: number[] = [];
  for (let option = at + 20; option < head; ) {
    const kind = bytes[option]!;
    if (kind === 0) break;
    if (kind === 5) {
      for (let edge = option + 2; edge < option + bytes[option + 1]!; edge += 4)
        blocks.push(view.getUint32(edge));
    }
    option += kind === 1 ? 1 : bytes[option + 1]!;
  }
  return {
    source: text(parsed.source0, parsed.source1, parsed.source2, parsed.source3),
    destination: text(parsed.destination0, parsed.destination1, parsed.destination2, parsed.destination3),
    ...{ sourcePort: parsed.sourcePort, destinationPort: parsed.destinationPort, flags: parsed.flags },
    ...{ sequence: view.getUint32(at + 4), acknowledgment: view.getUint32(at + 8) },
    ...{ window: view.getUint16(at + 14), payload: bytes.slice(head) },
    ...{ mss: options.mss, scale: options.scale, sack: options.sack, timestamps: options.timestamps },
    ...{ value: options.value >>> 0, echo: options.echo >>> 0, blocks, sound: sound(bytes) },
  };
}

interface Options {
  defence: DefenceSpec;
  /** what else control says of the service */
  change?: Partial<ServiceSpec>;
  /** engines, which share all but their pool's packets */
  engines?: number;
}

export function world(family: Family, { defence, change = {}, engines = 1 }: Options) {
  const at = stage(16);
  const { path, pool, put, parsed } = at;
  const counts = new DestinationCounts(DestinationCounts.allocate(4));
  const timeouts = new Timeouts();
  const services = new Services(counts, new Random(1), timeouts);
  const connections = new Connections(Connections.allocate(64));
  const extras = new Extras(Extras.allocate(4));
  const parts = {
    path,
    services,
    connections,
    extras,
    counts,
    timeouts,
    traffic: new Traffic(Traffic.allocate(4)),
    defence: testDefence(64),
  };
  const directors = Array.from({ length: engines }, () => new Director(parts));
  const [director] = directors as [Director];
  let turn = 0;
  const destination: DestinationSpec = {
    ...{ row: 0, family, address: wordsOf(SERVERS[family]), port: 8080, weight: 1, forward: 'nat' },
    ...{ tunnel: { type: 'ipip', port: 0, checksum: 'none' }, near: false },
    ...{ upperThreshold: 0, lowerThreshold: 0 },
  };
  const spec: ServiceSpec = {
    ...{ index: 0, network: 0, family, protocol: TCP, address: wordsOf(VIRTUALS[family]), port: 80 },
    ...{ scheduler: 'rr', slowStartSeconds: 0, preferNear: false, timeouts: { tcp: 0, tcpFin: 0, udp: 0 } },
    flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 60 },
    defence,
    destinations: [destination],
    ...change,
  };
  services.set(spec, 0);
  /** The IP packets that the director made itself. */
  const takeMade = (of = director) => {
    const made = of.resets.answers;
    const all: Uint8Array[] = [];
    for (let i = 0; i < made.count; i++) {
      all.push(at.bytes(made.packets[i]!));
      pool.free(made.packets[i]!);
    }
    made.count = 0;
    return all;
  };
  return {
    ...{ director, connections, drops: at.drops },
    made: () => takeMade().map(hear),
    setDestinations: (destinations: DestinationSpec[]) => services.set({ ...spec, destinations }, 0),
    send(said: Partial<Said>): { verdict: Verdict; said: Said[]; bytes: Uint8Array | undefined } {
      const content = speak(said);
      const packet = put(content, { unfinished: said.unfinished ?? false });
      // Each packet arrives at the next engine.
      const engine = directors[turn++ % engines]!;
      engine.nowMs = director.nowMs;
      const verdict = engine.balance(packet, parsed(packet));
      const out = takeMade(engine);
      const bytes = verdict === SEND ? at.bytes(packet) : undefined;
      if (bytes !== undefined) out.push(bytes);
      if (verdict !== DROPPED) pool.free(packet);
      return { verdict, said: out.map(hear), bytes };
    },
    /** A router tells the virtual address that the packet is too big, and quotes so much of it behind its IP header. */
    error(about: Uint8Array, quotes: number) {
      const room = new Uint8Array(4000);
      room.set(about);
      const length = writeTooBig(memoryOf(room), parsedOf(about), 1300, 1400);
      let error: Uint8Array = room.slice(1300, 1300 + length);
      if (family === 4) error = cut(error, quotes);
      const packet = put(error);
      const outer = parsed(packet);
      const quoted = new Parsed();
      if (!parseQuoted(pool, outer, quoted)) throw new Error('nothing quoted');
      const verdict = director.translate(packet, outer, quoted);
      const bytes = at.bytes(packet);
      const sequence = pool.view.getUint32(quoted.transport + 4);
      pool.free(packet);
      return { verdict, quoted: { sequence }, sound: sound(bytes) };
    },
    /** Bytes as they are, perhaps malformed. */
    throw(content: Uint8Array): void {
      const packet = put(content);
      const read = new Parsed();
      const ip = pool.offset[packet]! + 14;
      const malformed = parse(pool, ip, ip + content.length, read) !== 0;
      const verdict = malformed ? PASS : director.balance(packet, read);
      takeMade();
      if (verdict !== DROPPED && verdict !== TAKEN) pool.free(packet);
    },
    busy: () => [counts.active(0), counts.inactive(0)],
    /** of the only connection */
    state: () => stateName(TCP, connections.records[STATE]! & 0xff, false),
    end: (t: ExecutionContext) => t.is(pool.allocated, 0),
  };
}

/** The ICMP error with no more of the quoted packet than so many bytes behind its header. */
function cut(error: Uint8Array, quotes: number): Uint8Array {
  const length = Math.min(error.length, 20 + 8 + 20 + quotes);
  const quoted = error.slice(28, length);
  const rest = error.slice(24, 28);
  const body = Uint8Array.of(error[20]!, error[21]!, 0, 0, ...rest, ...quoted);
  const parsed = parsedOf(error);
  return build({
    ...{ protocol: 1, payload: body },
    ...{ source: ipv4.format(parsed.source0), destination: ipv4.format(parsed.destination0) },
  });
}
