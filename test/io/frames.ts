/**
 * Frames as values, built and taken apart byte by byte: the slow obvious model that io's tests compare with. It
 * shares no code with src/ but its random numbers.
 */
import type { Random } from '../../src/dataplane/core/random.js';

export interface Frame {
  macs: number[];
  tags: number[];
  ip: 4 | 6;
  source: number[];
  destination: number[];
  tos: number;
  ttl: number;
  /** IPv4 */
  id: number;
  flags: number;
  ipOptions: number[];
  /** IPv6 */
  label: number;
  /** bytes of destination options headers, multiples of 8; next headers are filled in */
  extensions: number[];
  l4: 'tcp' | 'udp';
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  ack: number;
  tcpFlags: number;
  window: number;
  tcpOptions: number[];
  payload: number[];
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
export const ECE = 64;
export const CWR = 128;

export const DF = 0x4000;

/** What stands in the checksum field: the right one, only the pseudo-header's sum, zero, or a wrong one. */
export type Sum = 'good' | 'seed' | 'zero' | 'bad';

export const frame = (part: Partial<Frame> = {}): Frame => ({
  macs: [2, 66, 10, 0, 0, 2, 2, 66, 10, 0, 0, 1],
  tags: [],
  ip: 4,
  source: part.ip === 6 ? [0xfd, ...Array<number>(14).fill(0), 1] : [10, 0, 0, 1],
  destination: part.ip === 6 ? [0xfd, ...Array<number>(14).fill(0), 2] : [10, 0, 0, 2],
  tos: 0,
  ttl: 64,
  id: 1000,
  flags: DF,
  ipOptions: [],
  label: 0,
  extensions: [],
  l4: 'tcp',
  sourcePort: 40000,
  destinationPort: 80,
  sequence: 5000,
  ack: 77,
  tcpFlags: ACK,
  window: 500,
  tcpOptions: [],
  payload: [],
  ...part,
});

const u16 = (n: number) => [(n >> 8) & 255, n & 255];
const u32 = (n: number) => [...u16(n >>> 16), ...u16(n & 0xffff)];

/** The one's complement sum of bytes as 16-bit words. */
export function slowSum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

const L4_NUMBER = { tcp: 6, udp: 17 };

export const headerBytes = (f: Frame): { ip: number; l4: number; payload: number } => {
  const ip = 14 + 4 * f.tags.length;
  const l4 = ip + (f.ip === 4 ? 20 + f.ipOptions.length : 40 + f.extensions.length);
  return { ip, l4, payload: l4 + (f.l4 === 'tcp' ? 20 + f.tcpOptions.length : 8) };
};

export function build(f: Frame, sum: Sum = 'good'): Uint8Array {
  const number = L4_NUMBER[f.l4];
  const head =
    f.l4 === 'tcp'
      ? [
          ...u16(f.sourcePort),
          ...u16(f.destinationPort),
          ...u32(f.sequence),
          ...u32(f.ack),
          ((20 + f.tcpOptions.length) / 4) << 4,
          f.tcpFlags,
          ...u16(f.window),
          0,
          0,
          0,
          0,
          ...f.tcpOptions,
        ]
      : [...u16(f.sourcePort), ...u16(f.destinationPort), ...u16(8 + f.payload.length), 0, 0];
  const l4 = head.concat(f.payload);
  const pseudo = [...f.source, ...f.destination, ...u32(number), ...u32(l4.length)];
  let checksum = 0xffff - slowSum(pseudo.concat(l4));
  if (f.l4 === 'udp' && checksum === 0) checksum = 0xffff;
  if (sum === 'seed') checksum = slowSum(pseudo);
  else if (sum === 'zero') checksum = 0;
  else if (sum === 'bad') checksum ^= 0x0100;
  const field = f.l4 === 'tcp' ? 16 : 6;
  l4[field] = checksum >> 8;
  l4[field + 1] = checksum & 255;

  const type = f.ip === 4 ? [8, 0] : [0x86, 0xdd];
  const ethernet = [...f.macs, ...f.tags.flatMap((tag) => [0x81, 0, ...u16(tag)]), ...type];
  if (f.ip === 4) {
    const ip = [
      0x40 | (5 + f.ipOptions.length / 4),
      f.tos,
      ...u16(20 + f.ipOptions.length + l4.length),
      ...u16(f.id),
      ...u16(f.flags),
      f.ttl,
      number,
      0,
      0,
      ...f.source,
      ...f.destination,
      ...f.ipOptions,
    ];
    [ip[10], ip[11]] = u16(0xffff - slowSum(ip)) as [number, number];
    return Uint8Array.from([...ethernet, ...ip].concat(l4));
  }
  const extensions = [...f.extensions];
  for (let at = 0; at < extensions.length; at += 8) {
    extensions[at] = at + 8 < extensions.length ? 60 : number;
    extensions[at + 1] = 0;
  }
  const ip = [
    0x60 | (f.tos >> 4),
    ((f.tos & 15) << 4) | (f.label >> 16),
    ...u16(f.label & 0xffff),
    ...u16(extensions.length + l4.length),
    extensions.length > 0 ? 60 : number,
    f.ttl,
    ...f.source,
    ...f.destination,
  ];
  return Uint8Array.from([...ethernet, ...ip, ...extensions].concat(l4));
}

/** What the kernel makes of a super-packet. */
export function segments(f: Frame, size: number, ecn: boolean): Frame[] {
  const made: Frame[] = [];
  const count = Math.ceil(f.payload.length / size);
  for (let i = 0; i < count; i++) {
    let { tcpFlags } = f;
    if (i < count - 1) tcpFlags &= ~(PSH | FIN);
    if (ecn && i > 0) tcpFlags &= ~CWR;
    made.push({
      ...f,
      payload: f.payload.slice(i * size, (i + 1) * size),
      id: (f.id + i) % 65536,
      sequence: (f.sequence + i * size) >>> 0,
      tcpFlags,
    });
  }
  return made;
}

/** Takes apart a frame that `build` could have made; the checksums are not looked at. */
export function parse(bytes: Uint8Array): Frame {
  const b = [...bytes];
  const word = (at: number) => b[at]! * 256 + b[at + 1]!;
  const long = (at: number) => word(at) * 65536 + word(at + 2);
  const f = frame({ macs: b.slice(0, 12) });
  let at = 12;
  for (; word(at) === 0x8100; at += 4) f.tags.push(word(at + 2));
  f.ip = word(at) === 0x0800 ? 4 : 6;
  at += 2;
  let number: number;
  if (f.ip === 4) {
    const l4 = at + 4 * (b[at]! & 15);
    f.tos = b[at + 1]!;
    f.id = word(at + 4);
    f.flags = word(at + 6);
    f.ttl = b[at + 8]!;
    number = b[at + 9]!;
    f.source = b.slice(at + 12, at + 16);
    f.destination = b.slice(at + 16, at + 20);
    f.ipOptions = b.slice(at + 20, l4);
    at = l4;
  } else {
    f.tos = ((b[at]! & 15) << 4) | (b[at + 1]! >> 4);
    f.label = ((b[at + 1]! & 15) << 16) | word(at + 2);
    f.ttl = b[at + 7]!;
    number = b[at + 6]!;
    f.source = b.slice(at + 8, at + 24);
    f.destination = b.slice(at + 24, at + 40);
    at += 40;
    while (number === 60) {
      number = b[at]!;
      f.extensions.push(...b.slice(at, at + 8));
      at += 8;
    }
  }
  f.l4 = number === 6 ? 'tcp' : 'udp';
  f.sourcePort = word(at);
  f.destinationPort = word(at + 2);
  if (f.l4 === 'tcp') {
    const payload = at + 4 * (b[at + 12]! >> 4);
    f.sequence = long(at + 4);
    f.ack = long(at + 8);
    f.tcpFlags = b[at + 13]!;
    f.window = word(at + 14);
    f.tcpOptions = b.slice(at + 20, payload);
    at = payload;
  } else at += 8;
  f.payload = b.slice(at);
  return f;
}

export const flowOf = (f: Frame): string =>
  [f.l4, f.source, f.destination, f.sourcePort, f.destinationPort].join('|');

/** Any super-packet that a workload could send, and its segment size. */
export function anySuper(random: Random): { f: Frame; segment: number } {
  const bytes = (count: number) => Array.from({ length: count }, () => random.below(256));
  const ip = random.chance(0.5) ? 4 : 6;
  const l4 = random.chance(0.6) ? 'tcp' : 'udp';
  const segment = 1 + random.below(random.chance(0.3) ? 20 : 3000);
  const count = Math.min(1 + random.below(64), Math.floor(65_000 / segment));
  const payload = bytes(Math.max(1, segment * count - random.below(segment)));
  const f = frame({
    ip,
    l4,
    payload,
    tags: random.chance(0.3) ? [random.below(4096)] : [],
    tos: random.below(256),
    ttl: 1 + random.below(255),
    id: random.below(65536),
    flags: random.chance(0.5) ? 0x4000 : 0,
    ipOptions: random.chance(0.2) ? bytes(4 * (1 + random.below(10))) : [],
    extensions: random.chance(0.2) ? bytes(8 * (1 + random.below(3))) : [],
    label: random.below(1 << 20),
    tcpOptions: bytes(4 * random.below(11)),
    tcpFlags:
      ACK |
      (random.chance(0.5) ? PSH : 0) |
      (random.chance(0.2) ? FIN : 0) |
      (random.chance(0.2) ? CWR : 0) |
      (random.chance(0.2) ? ECE : 0),
    window: random.below(65536),
    sequence: random.word(),
    ack: random.word(),
    sourcePort: random.below(65536),
    destinationPort: random.below(65536),
  });
  return { f, segment };
}

/** A super-packet that coalescing would make: what it hasn't rules for is taken away. */
export function mergeable({ f, segment }: { f: Frame; segment: number }): { f: Frame; segment: number } {
  const size = Math.max(segment, Math.ceil(f.payload.length / 64));
  return {
    f: { ...f, tags: [], ipOptions: [], extensions: [], tcpFlags: f.tcpFlags & ~CWR & ~FIN },
    segment: f.payload.length > size ? size : Math.ceil(f.payload.length / 2),
  };
}
