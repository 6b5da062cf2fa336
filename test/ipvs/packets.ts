/** What the virtual server's tests share: IP packets, built plainly with the slow checksum, in a pool or in filler. */
import { Counters } from '../../src/dataplane/core/counters.js';
import { DROPS } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import { CHECKSUM_UNFINISHED, Pool } from '../../src/dataplane/core/pool.js';
import { Parsed, parse } from '../../src/dataplane/ipvs/packet.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import * as sctp from '../../src/dataplane/wire/sctp.js';
import { slowSum } from '../wire/bytes.js';

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;

export interface Wanted {
  protocol: number;
  /** text; two IPv6 addresses make an IPv6 packet */
  source?: string;
  destination?: string;
  sourcePort?: number;
  destinationPort?: number;
  payload?: Uint8Array;
  /** TCP */
  flags?: number;
  sequence?: number;
  acknowledgment?: number;
  /** bytes of TCP options, a multiple of four */
  options?: Uint8Array;
  ttl?: number;
  tos?: number;
  id?: number;
  /** IPv4: field of flags and fragment offset */
  fragment?: number;
  /** IPv6: type of the first one, and the extension headers */
  extensions?: readonly [number, Uint8Array];
}

export const CLIENT = '192.0.2.7';
export const VIRTUAL = '203.0.113.80';
export const SERVER = '10.1.2.3';
export const CLIENT6 = '2001:db8::7';
export const VIRTUAL6 = '2001:db8:1::80';
export const SERVER6 = 'fd00:1::3';

const put16 = (bytes: Uint8Array, at: number, value: number) => {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
};
const put32 = (bytes: Uint8Array, at: number, value: number) => {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value);
};

const addressBytes = (text: string): Uint8Array => {
  const words = text.includes(':') ? ipv6.parse(text) : [ipv4.parse(text)];
  const bytes = new Uint8Array(4 * words.length);
  words.forEach((word, i) => {
    put32(bytes, 4 * i, word);
  });
  return bytes;
};

/** The sum over pseudo-header and message that ends at the packet's end, slowly. */
export function transportSum(packet: Uint8Array, transport: number, protocol: number): number {
  const v6 = packet[0] >>> 4 === 6;
  const length = packet.length - transport;
  const addresses = v6 ? packet.slice(8, 40) : packet.slice(12, 20);
  const tail = [0, protocol, length >>> 8, length & 255];
  return slowSum([...addresses, ...tail, ...packet.slice(transport)]);
}

/** The transport header and payload, its checksum 0. */
function message(wanted: Wanted): Uint8Array {
  const { protocol, payload = new Uint8Array(0), options = new Uint8Array(0) } = wanted;
  const head = protocol === TCP ? 20 + options.length : protocol === UDP ? 8 : protocol === SCTP ? 12 : 0;
  const bytes = new Uint8Array(head + payload.length);
  if (head > 0) {
    put16(bytes, 0, wanted.sourcePort ?? 40000);
    put16(bytes, 2, wanted.destinationPort ?? 80);
  }
  if (protocol === TCP) {
    put32(bytes, 4, wanted.sequence ?? 0x01020304);
    put32(bytes, 8, wanted.acknowledgment ?? 0x0a0b0c0d);
    bytes[12] = (head / 4) << 4;
    bytes[13] = wanted.flags ?? 0x10;
    put16(bytes, 14, 0xfaf0);
    bytes.set(options, 20);
  } else if (protocol === UDP) {
    put16(bytes, 4, bytes.length);
  } else if (protocol === SCTP) {
    put32(bytes, 4, 0xcafe0001);
  }
  bytes.set(payload, head);
  return bytes;
}

const CHECKSUM_AT: Record<number, number> = { [TCP]: 16, [UDP]: 6, 1: 2, 58: 2 };

/** The packet, all checksums right. ICMP and ICMPv6 messages come as `payload`. */
export function build(wanted: Wanted): Uint8Array {
  const { protocol, source = CLIENT, destination = VIRTUAL } = wanted;
  const upper = message(wanted);
  const v6 = source.includes(':');
  const extensions = wanted.extensions?.[1] ?? new Uint8Array(0);
  const head = v6 ? 40 + extensions.length : 20;
  const packet = new Uint8Array(head + upper.length);
  if (v6) {
    put32(packet, 0, 0x60000000 | ((wanted.tos ?? 0) << 20));
    put16(packet, 4, packet.length - 40);
    packet[6] = wanted.extensions?.[0] ?? protocol;
    packet[7] = wanted.ttl ?? 64;
    packet.set(addressBytes(source), 8);
    packet.set(addressBytes(destination), 24);
    packet.set(extensions, 40);
  } else {
    packet[0] = 0x45;
    packet[1] = wanted.tos ?? 0;
    put16(packet, 2, packet.length);
    put16(packet, 4, wanted.id ?? 0x1234);
    put16(packet, 6, wanted.fragment ?? 0x4000);
    packet[8] = wanted.ttl ?? 64;
    packet[9] = protocol;
    packet.set(addressBytes(source), 12);
    packet.set(addressBytes(destination), 16);
    put16(packet, 10, ~slowSum(packet.slice(0, 20)));
  }
  packet.set(upper, head);
  if (protocol === SCTP) {
    sctp.writeChecksum(packet, head, sctp.packetChecksum(packet, head, upper.length));
  } else if (protocol in CHECKSUM_AT) {
    const sum = protocol === 1 ? slowSum(upper) : transportSum(packet, head, protocol);
    const checksum = ~sum & 0xffff;
    put16(packet, head + CHECKSUM_AT[protocol], checksum === 0 && protocol === UDP ? 0xffff : checksum);
  }
  return packet;
}

/** Whether the IPv4 header's and the transport's checksums are right. */
export function sound(packet: Uint8Array): boolean {
  const memory = { bytes: packet, view: new DataView(packet.buffer, packet.byteOffset, packet.length) };
  const parsed = new Parsed();
  if (parse(memory, 0, packet.length, parsed) !== 0) return false;
  const { transport, protocol, family } = parsed;
  if (family === 4 && slowSum(packet.slice(0, (packet[0] & 15) * 4)) !== 0xffff) return false;
  if (protocol === SCTP) {
    return (
      sctp.checksum(packet, transport) === sctp.packetChecksum(packet, transport, packet.length - transport)
    );
  }
  if (protocol === 1) return slowSum(packet.slice(transport)) === 0xffff;
  if (protocol === UDP && packet[transport + 6] === 0 && packet[transport + 7] === 0) return true;
  return !(protocol in CHECKSUM_AT) || transportSum(packet, transport, protocol) === 0xffff;
}

/** The packet with only the pseudo-header's sum in its checksum field, as a workload with checksum offload sends it. */
export function unfinished(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const { transport, protocol } = parsedOf(copy);
  const at = transport + CHECKSUM_AT[protocol];
  const v6 = copy[0] >>> 4 === 6;
  const length = copy.length - transport;
  const addresses = v6 ? copy.slice(8, 40) : copy.slice(12, 20);
  put16(copy, at, slowSum([...addresses, 0, protocol, length >>> 8, length & 255]));
  return copy;
}

export function memoryOf(bytes: Uint8Array): { bytes: Uint8Array; view: DataView } {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
}

export function parsedOf(packet: Uint8Array): Parsed {
  const parsed = new Parsed();
  const reason = parse(memoryOf(packet), 0, packet.length, parsed);
  if (reason !== 0) throw new Error(DROPS[reason]![0]);
  return parsed;
}

export interface Stage {
  path: Path;
  pool: Pool;
  /** puts an IP packet into the pool, `link` bytes of other headers before it */
  put(bytes: Uint8Array, options?: { link?: number; unfinished?: boolean; segment?: number }): number;
  /** the bytes of a packet, or from its IP header on */
  bytes(packet: number, link?: number): Uint8Array;
  /** reads it */
  parsed(packet: number, link?: number): Parsed;
  /** names and counts of the reasons to drop so far */
  drops(): Record<string, number>;
}

export function stage(slots = 8): Stage {
  const pool = new Pool(slots);
  pool.bytes.fill(0xa5);
  const counters = new Counters(4, 4);
  const path = new Path(pool, counters);
  const drops: Record<string, number> = {};
  const drop = path.drop.bind(path);
  path.drop = (packet, reason) => {
    const name = DROPS[reason]![0];
    drops[name] = (drops[name] ?? 0) + 1;
    drop(packet, reason);
  };
  const bytes = (packet: number, link = 14) => {
    const at = pool.offset[packet]!;
    return pool.bytes.slice(at + link, at + pool.length[packet]!);
  };
  return {
    path,
    pool,
    put: (content, options = {}) => {
      const { link = 14 } = options;
      const packet = pool.take(144 - link);
      const ip = pool.offset[packet]! + link;
      pool.bytes.set(options.unfinished === true ? unfinished(content) : content, ip);
      pool.length[packet] = content.length + link;
      pool.segment[packet] = options.segment ?? 0;
      if (options.unfinished === true) {
        const { transport, protocol } = parsedOf(content);
        pool.offload[packet] = CHECKSUM_UNFINISHED;
        pool.checksumStart[packet] = link + transport;
        pool.checksumOffset[packet] = CHECKSUM_AT[protocol];
      }
      return packet;
    },
    bytes,
    parsed: (packet, link = 14) => {
      const parsed = new Parsed();
      const at = pool.offset[packet]!;
      const reason = parse(pool, at + link, at + pool.length[packet]!, parsed);
      if (reason !== 0) throw new Error(DROPS[reason]![0]);
      return parsed;
    },
    drops: () => drops,
  };
}
