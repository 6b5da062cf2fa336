/** The rows of the table: what is measured, in which unit, with which load, and the goals of each (ANCHORS.md). */
import { busySeconds, processSeconds } from '../machine.js';
import { blast, http, iperf, roundTrip } from './load.js';
import { type Side, UNDERLAY_INTERFACE } from './side.js';
import type { Wire } from './wire.js';

export const ROWS = {
  tcp: { title: 'TCP, 1 stream', unit: 'Gbit/s' },
  retransmits: { title: '… segments sent again', unit: 'count' },
  cpu: { title: '… CPU of the whole machine', unit: 'core-s/Gbit' },
  'own-cpu': { title: '… of it in the data planes', unit: 'core-s/Gbit' },
  'wire-size': { title: '… mean packet on the underlay', unit: 'bytes' },
  udp: { title: 'UDP 64 B, 1 flow, delivered', unit: 'packets/s' },
  'udp-flows': { title: 'UDP 64 B, 16 flows, delivered', unit: 'packets/s' },
  'rtt-p50': { title: 'UDP round trip, p50', unit: 'µs' },
  'rtt-p99': { title: 'UDP round trip, p99', unit: 'µs' },
  keepalive: { title: 'HTTP requests, keep-alive', unit: '1/s' },
  connections: { title: 'HTTP new connections', unit: '1/s' },
} as const;

export type Row = keyof typeof ROWS;
export type Figures = Partial<Record<Row, number>>;

export interface Measurement {
  name: string;
  /** programs that it needs */
  tools: string[];
  /** share of the seconds given to a measurement */
  weight: number;
  /** on which wires it is part of the table */
  wires: readonly Wire[];
  /** only when asked for by name */
  extra?: true;
  run(side: Side, seconds: number): Promise<Figures>;
}

const EVERY: readonly Wire[] = ['whole', 'segmented', 'gro', 'director'];
const WHOLE: readonly Wire[] = ['whole', 'director'];

/** Bytes and packets that the server's host has received on the underlay. */
async function received(side: Side): Promise<{ bytes: number; packets: number }> {
  if (side.hosts[1] === undefined) return { bytes: 0, packets: 0 };
  const [link] = JSON.parse(await side.hosts[1].ip(`-s -j link show ${UNDERLAY_INTERFACE}`)) as [
    { stats64: { rx: { bytes: number; packets: number } } },
  ];
  return link.stats64.rx;
}

const ownSeconds = (side: Side) => side.processes.reduce((sum, pid) => sum + processSeconds(pid), 0);

async function measureTcp(side: Side, seconds: number): Promise<Figures> {
  const [wire, busy, own] = [await received(side), busySeconds(), ownSeconds(side)];
  const { gbits, gbit, retransmits } = await iperf(side, seconds);
  const [work, ownWork, after] = [busySeconds() - busy, ownSeconds(side) - own, await received(side)];
  const figures: Figures = { tcp: gbits, retransmits, cpu: work / gbit };
  if (side.processes.length > 0) figures['own-cpu'] = ownWork / gbit;
  if (after.packets > wire.packets)
    figures['wire-size'] = (after.bytes - wire.bytes) / (after.packets - wire.packets);
  return figures;
}

export const MEASUREMENTS: readonly Measurement[] = [
  { name: 'tcp', tools: ['iperf3'], weight: 1.5, wires: EVERY, run: measureTcp },
  {
    ...{ name: 'udp', tools: [], weight: 1, wires: EVERY },
    run: async (side, seconds) => ({ udp: (await blast(side, seconds)).delivered }),
  },
  {
    ...{ name: 'udp-flows', tools: [], weight: 1, wires: EVERY, extra: true },
    run: async (side, seconds) => ({ 'udp-flows': (await blast(side, seconds, 16)).delivered }),
  },
  {
    ...{ name: 'rtt', tools: [], weight: 0.75, wires: WHOLE },
    run: async (side, seconds) => {
      const { p50, p99 } = await roundTrip(side, seconds);
      return { 'rtt-p50': p50, 'rtt-p99': p99 };
    },
  },
  {
    ...{ name: 'keepalive', tools: ['wrk', 'nginx'], weight: 1, wires: WHOLE },
    run: async (side, seconds) => ({ keepalive: (await http(side, seconds, true)).rate }),
  },
  {
    ...{ name: 'connections', tools: ['wrk', 'nginx'], weight: 1, wires: WHOLE },
    run: async (side, seconds) => ({ connections: (await http(side, seconds, false)).rate }),
  },
];

export interface Goal {
  wire: Wire;
  row: Row;
  peer: string;
  /** only for this device of Viaduct's */
  device?: string;
  first: number;
  far: number;
  /** the ratio shall be at most this, not at least */
  atMost?: true;
}

/** Ratios Viaduct ÷ peer. */
const GOALS: readonly Goal[] = [
  { wire: 'whole', row: 'tcp', peer: 'kernel vxlan', first: 0.5, far: 1 },
  { wire: 'segmented', row: 'tcp', peer: 'kernel vxlan', first: 0.6, far: 1 },
  { wire: 'whole', row: 'udp', peer: 'kernel vxlan', first: 1.5, far: 4 },
  { wire: 'whole', row: 'connections', peer: 'kernel vxlan', first: 1, far: 1.2 },
  { wire: 'whole', row: 'keepalive', peer: 'kernel vxlan', first: 0.8, far: 1 },
  { wire: 'whole', row: 'rtt-p50', peer: 'kernel vxlan', first: 2.5, far: 1.2, atMost: true },
  { wire: 'whole', row: 'tcp', peer: 'open vswitch af_xdp', first: 5, far: 10 },
  { wire: 'director', row: 'tcp', peer: 'haproxy', first: 1.5, far: 3 },
  { wire: 'director', row: 'udp', peer: 'nftables', first: 0.8, far: 2 },
  { wire: 'director', row: 'keepalive', peer: 'haproxy', first: 1, far: 1.3 },
  { wire: 'director', row: 'keepalive', peer: 'nftables', first: 0.8, far: 1 },
  { wire: 'director', row: 'connections', peer: 'haproxy', first: 1.1, far: 1.4 },
  { wire: 'director', row: 'connections', peer: 'nftables', first: 0.75, far: 1 },
  ...(['tcp', 'udp', 'keepalive', 'connections'] as const).map((row) => likeC('whole', row)),
  ...(['tcp', 'udp', 'keepalive', 'connections'] as const).map((row) => likeC('director', row, 'tun')),
  ...(['tcp', 'udp'] as const).map((row) => likeC('segmented', row)),
];

/** The cost of TypeScript: the same device, the same work. */
function likeC(wire: Wire, row: Row, device = 'tunnel'): Goal {
  return { wire, row, peer: 'C reference', device, first: 0.85, far: 0.95 };
}

export function goalOf(wire: Wire, row: Row, device: string, peer: string): Goal | undefined {
  return GOALS.find(
    (goal) =>
      goal.wire === wire &&
      goal.row === row &&
      peer.startsWith(goal.peer) &&
      (goal.device === undefined || goal.device === device),
  );
}

/** 'far', 'first' or 'no'; of the ratio as it is printed. */
export function judge(goal: Goal, exact: number): string {
  const ratio = Number(exact.toFixed(2));
  const reaches = (wanted: number) => (goal.atMost ? ratio <= wanted : ratio >= wanted);
  return reaches(goal.far) ? 'far' : reaches(goal.first) ? 'first' : 'no';
}
