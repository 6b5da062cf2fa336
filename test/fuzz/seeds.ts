/** Valid frames of every kind that the data plane looks into; mutations begin with these. */
import { ACK, build, CWR, DF, type Frame, frame, headerBytes, PSH, SYN } from '../io/frames.js';
import { build as packet, SCTP, TCP, UDP, type Wanted } from '../ipvs/packets.js';
import {
  ADVERTISEMENT,
  ARP_REPLY,
  ARP_REQUEST,
  BIG4,
  BIG6,
  DETECTION,
  MLD,
  SOLICITATION,
  SYN4,
  SYN6,
  TOO_BIG4,
  TOO_BIG6,
  tagged,
  UDP4,
  UNREACHABLE4,
  VXLAN4,
} from '../wire/packets.js';

/** What a TAP says beside a frame: a virtio-net header. */
export interface Virtio {
  flags: number;
  gso: number;
  headerLength: number;
  size: number;
  start: number;
  offset: number;
}

export interface Seed {
  name: string;
  bytes: Uint8Array;
  virtio: Virtio;
}

export const PLAIN: Virtio = { flags: 0, gso: 0, headerLength: 0, size: 0, start: 0, offset: 0 };

const MACS = [0x02, 0x42, 0x0a, 0, 0, 3, 0x02, 0x42, 0x0a, 0, 0, 2];
const of = (part: Partial<Frame>): Frame => frame({ macs: MACS, ...part });
const zeros = (count: number) => Array<number>(count).fill(0);

/** IPv6 fragment headers, as destination options would lie there: made by hand. */
function fragment6(offset: number): Uint8Array {
  const bytes = build(of({ ip: 6, l4: 'udp', extensions: zeros(8), payload: zeros(100) }));
  bytes[20] = 44;
  bytes.set([17, 0, offset >> 8, offset & 255, 1, 2, 3, 4], 54);
  return bytes;
}

const FRAMES: readonly (readonly [string, Uint8Array])[] = [
  ['ARP request', ARP_REQUEST],
  ['ARP reply', ARP_REPLY],
  ['neighbour solicitation', SOLICITATION],
  ['neighbour advertisement', ADVERTISEMENT],
  ['duplicate address detection', DETECTION],
  ['MLD report', MLD],
  ['TCP SYN over IPv4', SYN4],
  ['TCP SYN over IPv6', SYN6],
  ['UDP over IPv4', UDP4],
  ['ICMP unreachable', UNREACHABLE4],
  ['VXLAN within', VXLAN4],
  ['fragmentation needed', TOO_BIG4],
  ['packet too big', TOO_BIG6],
  ['too big IPv4', BIG4],
  ['too big IPv6', BIG6],
  ['tagged ARP', tagged(ARP_REQUEST, [0x8100, 5])],
  ['twice tagged TCP', tagged(SYN4, [0x88a8, 5], [0x8100, 6])],
  ['TCP data over IPv4', build(of({ payload: zeros(200), tcpFlags: ACK | PSH }))],
  ['TCP data over IPv6', build(of({ ip: 6, payload: zeros(200), tcpOptions: [1, 1, 8, 10, ...zeros(8)] }))],
  ['UDP over IPv6', build(of({ ip: 6, l4: 'udp', payload: zeros(30) }))],
  ['IPv4 options', build(of({ l4: 'udp', ipOptions: [7, 7, 4, ...zeros(5)], payload: zeros(30) }))],
  [
    'IPv6 extension headers',
    build(of({ ip: 6, tcpFlags: SYN, tcpOptions: [2, 4, 5, 180], extensions: zeros(16) })),
  ],
  ['IPv4 fragment', build(of({ l4: 'udp', flags: 0x2000 | 20, payload: zeros(64) }))],
  ['first IPv6 fragment', fragment6(1)],
  ['later IPv6 fragment', fragment6(0x100)],
  ['to be fragmented', build(of({ l4: 'udp', flags: 0, payload: zeros(1500) }))],
  ['nothing known', Uint8Array.from([...MACS, 0x88, 0xb5, ...zeros(46)])],
  ['Ethernet header', Uint8Array.from([...MACS, 0x08, 0x00])],
];

function superPacket(name: string, f: Frame, size: number, gso: number): Seed {
  const at = headerBytes(f);
  const virtio = {
    flags: 1,
    gso,
    headerLength: at.payload,
    size,
    start: at.l4,
    offset: f.l4 === 'tcp' ? 16 : 6,
  };
  return { name, bytes: build(f, 'seed'), virtio };
}

const SUPERS: readonly Seed[] = [
  superPacket('TSO over IPv4', of({ payload: zeros(3000), tcpFlags: ACK | PSH | CWR }), 1000, 0x81),
  superPacket('TSO over IPv6', of({ ip: 6, payload: zeros(2500), flags: DF }), 600, 4),
  superPacket('USO over IPv4', of({ l4: 'udp', payload: zeros(1000), tags: [9] }), 90, 5),
  superPacket('USO over IPv6', of({ l4: 'udp', ip: 6, payload: zeros(700) }), 100, 5),
  superPacket('many segments', of({ payload: zeros(2000) }), 7, 1),
  superPacket('an unfinished checksum', of({ l4: 'udp', payload: zeros(100) }), 0, 0),
];

/** For the address of a service inside the network, 10.0.0.100 and fd00::100, and of its destinations to its client. */
const SERVED: readonly (readonly [string, Wanted])[] = (['10.0.0.', 'fd00::'] as const).flatMap((net) => {
  const there = { source: `${net}2`, destination: `${net}100`, destinationPort: 80 };
  const back = { source: `${net}3`, destination: `${net}2`, sourcePort: 8080, destinationPort: 40_000 };
  const icmp = net === 'fd00::' ? 58 : 1;
  const echo = Uint8Array.from([icmp === 1 ? 8 : 128, 0, 0, 0, 1, 2, 3, 4, ...zeros(40)]);
  const quoted = packet({
    ...back,
    source: there.source,
    destination: back.source,
    protocol: UDP,
    sourcePort: 40_000,
  });
  const error = Uint8Array.from([icmp === 1 ? 3 : 1, icmp === 1 ? 3 : 4, 0, 0, 0, 0, 0, 0, ...quoted]);
  return [
    ['SYN to a service', { ...there, protocol: TCP, flags: SYN }],
    ['data to a service', { ...there, protocol: TCP, payload: Uint8Array.from(zeros(100)) }],
    ['SYN to no service', { ...there, protocol: TCP, flags: SYN, destinationPort: 81 }],
    ['datagram to a service', { ...there, protocol: UDP, payload: Uint8Array.from(zeros(30)) }],
    ['ping of a service', { ...there, protocol: icmp, payload: echo }],
    [
      'fragment to a service',
      { ...there, protocol: UDP, fragment: 0x2000, payload: Uint8Array.from(zeros(64)) },
    ],
    [
      'later fragment to a service',
      { ...there, protocol: UDP, fragment: 9, payload: Uint8Array.from(zeros(64)) },
    ],
    ['SCTP to a service', { ...there, protocol: SCTP, payload: Uint8Array.of(1, 0, 0, 20, ...zeros(16)) }],
    ['SYN and ACK of a destination', { ...back, protocol: TCP, flags: SYN | ACK }],
    ['datagram of a destination', { ...back, protocol: UDP, payload: Uint8Array.from(zeros(30)) }],
    ['error of a destination', { ...back, protocol: icmp, payload: error }],
    ['answer of a client to itself', { ...there, protocol: TCP, sourcePort: 8080, destinationPort: 40_000 }],
  ] as const;
});

/** To the service's MAC (virtual-mac.ts); from a destination to its client. */
function served(wanted: Wanted): Uint8Array {
  const six = wanted.source!.includes(':');
  const toService = wanted.destination!.endsWith('100');
  const macs = toService
    ? [six ? 0x0e : 0x0a, 0x56, 10, 0, 0, 100, ...MACS.slice(6)]
    : [...MACS.slice(6), ...MACS.slice(0, 6)];
  return Uint8Array.from([...macs, ...(six ? [0x86, 0xdd] : [8, 0]), ...packet(wanted)]);
}

export const SEEDS: readonly Seed[] = [
  ...SERVED.map(([name, wanted]) => ({ name, bytes: served(wanted), virtio: PLAIN })),
  ...FRAMES.map(([name, bytes]) => ({ name, bytes, virtio: PLAIN })),
  ...SUPERS,
];
