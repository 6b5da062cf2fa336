/** The express paths beside the general ones: the same random frames through both, and everything that can be seen compared. */
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  DATAGRAM_AT,
  FRAME_AT,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { writeSender } from '../../src/dataplane/io/sockaddr.js';
import { localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Inbound } from '../../src/dataplane/overlay/inbound.js';
import { Outbound } from '../../src/dataplane/overlay/outbound.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import * as vxlan from '../../src/dataplane/wire/vxlan.js';
import { build, type Frame, frame, headerBytes, SYN } from '../io/frames.js';
import { ARP_REQUEST, SOLICITATION, tagged } from '../wire/packets.js';
import { HIGH, mac, Overlay } from './overlay.js';

const NOW = 1000;
const ROUNDS = 400;
const PER_BATCH = 40;

/** Where the MACs 02:42:00:00:00:n are: 1–3 at ports here, 11–14 behind VTEPs, the rest nowhere. */
const HERE = [1, 2, 3];
const THERE = [11, 12, 13, 14];

class Side {
  readonly overlay = new Overlay(512);
  readonly received = new Batch(this.overlay.pool.packets);
  readonly outbound: Outbound;
  readonly inbound: Inbound;

  constructor(express: boolean) {
    const { overlay } = this;
    const { path, networks, fdb, vteps, bridge } = overlay;
    const near = overlay.vtep(2);
    const narrow = overlay.vtep(3);
    vteps.setPathMtu(narrow, 300);
    const six = overlay.vtep(4, 6);
    overlay.network({ index: 1, ports: [1, 2, 3], vteps: [near, narrow] });
    overlay.network({
      index: 2,
      ports: [4],
      vteps: [near],
      learning: true,
      mssClamp: true,
      groupPolicy: 0x1234,
    });
    overlay.network({ index: 0xffff, ports: [5], vteps: [], floodUnknown: false, mssClamp: true });
    for (const network of [1, 2, 0xffff]) {
      for (const n of HERE) overlay.at(network, n, { port: network === 1 ? n : network === 2 ? 4 : 5 });
      for (const [i, vtep] of [near, narrow, six, near].entries()) overlay.at(network, THERE[i]!, { vtep });
    }
    // Learned: one seen in this second, one before, one that has moved.
    fdb.learn(2, HIGH, 20, remoteTarget(near), NOW);
    fdb.learn(2, HIGH, 21, remoteTarget(near), NOW - 1);
    fdb.learn(2, HIGH, 22, remoteTarget(six), NOW);
    const way = { path, networks, fdb, vteps, bridge, express };
    this.outbound = new Outbound(way, this.received, overlay.local, overlay.remote);
    this.inbound = new Inbound(way, this.received, overlay.local);
    bridge.nowSeconds = NOW;
  }

  put(bytes: Uint8Array, at: number, columns: Columns): number {
    const packet = this.overlay.put(bytes, at);
    Object.entries(columns).forEach(([name, value]) => {
      this.overlay.pool[name as keyof Columns][packet] = value;
    });
    this.received.push(packet);
    return packet;
  }

  /** All that can be seen, and the packets freed. */
  seen() {
    const { pool, path, local, remote, fdb, vteps } = this.overlay;
    const all = (batch: Batch) =>
      [...batch.packets.subarray(0, batch.count)].map((packet) => ({
        at: pool.offset[packet] - pool.slotStart(packet),
        bytes: Buffer.from(
          pool.bytes.subarray(pool.offset[packet], pool.offset[packet] + pool.length[packet]),
        ).toString('hex'),
        columns: SEEN.map((name) => pool[name][packet]),
        whither: [pool.network[packet], pool.vtep[packet]],
      }));
    const seen = {
      remote: all(remote).map((each, i) => ({ ...each, flow: pool.flow[remote.packets[i]!] })),
      local: all(local).map((each, i) => ({ ...each, port: pool.port[local.packets[i]!] })),
      counters: [...path.counters.cells],
      left: this.received.count,
      fdb: [...fdb.entries()].sort((a, b) => a.network - b.network || a.macLow - b.macLow),
      vteps: [...vteps.used()].map((vtep) => vteps.addressWords(vtep)),
    };
    local.release(pool);
    remote.release(pool);
    this.received.release(pool);
    return { ...seen, allocated: pool.allocated };
  }
}

interface Columns {
  port?: number;
  offload?: number;
  segment?: number;
  checksumStart?: number;
  checksumOffset?: number;
  headerLength?: number;
  ecn?: number;
}

const SEEN = [
  ...([
    'length',
    'segment',
    'offload',
    'checksumStart',
    'checksumOffset',
    'headerLength',
    'bundle',
    'trace',
  ] as const),
  'ecn',
] as const;

/** Something that the FDB of network 2 has learned elsewhere, or some time ago. */
function relearn(random: Random, sides: readonly Side[]): void {
  const [n, second] = [20 + random.below(4), NOW - random.below(2)];
  const target = random.below(2) === 0 ? localTarget(4) : remoteTarget(random.below(3));
  for (const { overlay } of sides) overlay.fdb.learn(2, HIGH, n, target, second);
}

/** One of many: mostly what the express path takes, and everything that stands in its way. */
function anyFrame(random: Random): { bytes: Uint8Array; columns: Columns; plain: boolean } {
  const pick = <T>(...of: readonly T[]): T => of[random.below(of.length)]!;
  const destination = pick(...HERE, ...THERE, ...THERE, 20, 40);
  const source = pick(...HERE, ...HERE, 1, 20, 21, 22, 30);
  const macs = [...mac(destination), ...mac(source)];
  if (random.below(25) === 0)
    macs.splice(
      pick(0, 6),
      6,
      ...pick([255, 255, 255, 255, 255, 255], [1, 0, 94, 0, 0, 1], [0, 0, 0, 0, 0, 0]),
    );
  const l4 = pick('udp', 'tcp', 'tcp') as 'udp' | 'tcp';
  const flags = random.below(8) === 0 ? { tcpFlags: SYN, tcpOptions: [2, 4, 0x23, 0x28] } : {};
  const payload = Array.from({ length: pick(0, 1, 20, 100, 240, 1400, 3000) }, (_, i) => i & 255);
  const f: Frame = frame({ macs, ip: pick(4, 4, 6), l4, payload, ...flags });
  let bytes = build(f);
  const columns: Columns = {};
  const kind = random.below(20);
  const at = headerBytes(f);
  // The ECN field, with a checksum that it makes wrong: nobody looks.
  if (random.below(3) === 0) bytes[15]! |= f.ip === 4 ? random.below(4) : random.below(4) << 4;
  let plain = true;
  if (kind < 4) {
    columns.offload = pick(CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED, CHECKSUM_UNFINISHED);
    columns.checksumStart = at.l4;
    columns.checksumOffset = l4 === 'tcp' ? 16 : 6;
    if (columns.offload === CHECKSUM_UNFINISHED && payload.length >= 240) {
      columns.offload |= l4 === 'udp' ? SEGMENT_UDP : f.ip === 4 ? SEGMENT_TCP4 : SEGMENT_TCP6;
      columns.segment = pick(100, 1300);
      columns.headerLength = at.payload;
    }
  } else if (kind === 4) bytes = tagged(bytes, [pick(ethernet.VLAN, ethernet.QINQ), 5]);
  else if (kind === 5) bytes = Uint8Array.from(pick(ARP_REQUEST, SOLICITATION));
  else if (kind === 6) bytes = bytes.slice(0, random.below(Math.min(80, bytes.length)));
  else if (kind === 7) bytes[pick(12, 13, 14, 16, 20, 21, 23)] = random.below(256);
  else if (kind === 8) {
    for (let i = 0; i < 3; i++) bytes[random.below(Math.min(80, bytes.length))] = random.below(256);
  } else plain = kind !== 9;
  return { bytes, columns, plain };
}

test('outwards the express path does byte for byte, column for column what bridge and encap do', (t) => {
  const random = new Random(11);
  const sides = [new Side(false), new Side(true)] as const;
  let sent = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const port = [1, 1, 2, 4, 4, 5, 9][random.below(7)]!;
    relearn(random, sides);
    for (let i = 0; i < PER_BATCH; i++) {
      const { bytes, columns, plain } = anyFrame(random);
      const at = plain ? FRAME_AT : FRAME_AT + random.below(4);
      for (const side of sides) side.put(bytes, at, { ...columns, port });
    }
    for (const side of sides) {
      side.outbound.forward(port);
      while (side.received.count > 0) {
        const before = side.received.count;
        side.outbound.forward(port);
        if (side.received.count === before) break;
      }
    }
    const [general, express] = [sides[0].seen(), sides[1].seen()];
    sent += general.remote.length;
    t.deepEqual(express, general, `round ${round}`);
    t.is(general.allocated, 0);
  }
  t.true(sent > (ROUNDS * PER_BATCH) / 4);
});

test('inwards the express path does byte for byte, column for column what decap and the bridge do', (t) => {
  const random = new Random(12);
  const sides = [new Side(false), new Side(true)] as const;
  let delivered = 0;
  for (let round = 0; round < ROUNDS; round++) {
    relearn(random, sides);
    let vni = 101;
    let from = 2;
    for (let i = 0; i < PER_BATCH; i++) {
      const { bytes, columns, plain } = anyFrame(random);
      if (random.below(6) === 0) vni = [101, 102, 100 + 0xffff, 7][random.below(4)]!;
      if (random.below(6) === 0) from = [2, 2, 3, 4, 77][random.below(5)]!;
      const datagram = new Uint8Array(vxlan.HEADER + bytes.length);
      vxlan.write(datagram, 0, vni);
      datagram.set(bytes, vxlan.HEADER);
      if (random.below(10) === 0) datagram[random.below(8)] = random.below(256);
      const outer = random.below(8) === 0 ? random.below(4) : 0;
      const at = plain ? DATAGRAM_AT : DATAGRAM_AT + random.below(4);
      for (const side of sides) {
        const moved = { ...columns, ecn: outer };
        if (columns.checksumStart !== undefined) moved.checksumStart = columns.checksumStart + vxlan.HEADER;
        if (columns.headerLength !== undefined) moved.headerLength = columns.headerLength + vxlan.HEADER;
        const packet = side.put(datagram, at, moved);
        const { pool } = side.overlay;
        const address = from === 4 ? [0xfd, ...Array<number>(14).fill(0), 4] : [10, 0, 0, from];
        writeSender(pool.view, pool.slotStart(packet), Uint8Array.from(address), 50_000);
      }
    }
    for (const side of sides) {
      for (let tries = 0; !side.inbound.deliver() && tries < 100; tries++);
    }
    const [general, express] = [sides[0].seen(), sides[1].seen()];
    delivered += general.local.length;
    t.deepEqual(express, general, `round ${round}`);
    t.is(general.allocated, 0);
  }
  t.true(delivered > (ROUNDS * PER_BATCH) / 4);
});
