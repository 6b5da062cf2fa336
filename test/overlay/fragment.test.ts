import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import {
  CHECKSUM_UNFINISHED,
  SEGMENT_ECN,
  SEGMENT_TCP4,
  SEGMENT_UDP,
  SLOT_BYTES,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { anySuper, build, CWR, DF, type Frame, frame, headerBytes, segments, slowSum } from '../io/frames.js';
import { type Left, Overlay, whither } from './overlay.js';

function setUp(largest: number, slots = 64) {
  const overlay = new Overlay(slots);
  const vtep = overlay.vtep(2);
  overlay.vteps.setPathMtu(vtep, largest + 36);
  overlay.network({ index: 1, ports: [0], vteps: [vtep] });
  return { overlay, vtep };
}

/** RFC 791 §3.2 as a host does it: fragments in any order back to one packet; each is looked at on the way. */
function reassemble(fragments: readonly Left[], link: number, largest: number): Uint8Array {
  const parts = new Map<number, Uint8Array>();
  let whole = -1;
  for (const { bytes } of fragments) {
    if (bytes.length > largest) throw new Error(`${bytes.length} bytes`);
    const ip = bytes.slice(link);
    if (slowSum([...ip.slice(0, 20)]) !== 0xffff) throw new Error('header checksum');
    if (((ip[2]! << 8) | ip[3]!) !== ip.length) throw new Error('total length');
    const field = (ip[6]! << 8) | ip[7]!;
    const offset = (field & 0x1fff) * 8;
    parts.set(offset, ip.slice(20));
    if ((field & 0x2000) === 0) whole = offset + ip.length - 20;
    else if ((ip.length - 20) % 8 !== 0) throw new Error('a part of no whole eights');
  }
  const out = new Uint8Array(link + 20 + whole);
  out.set(fragments[0]!.bytes.slice(0, link + 20));
  let filled = 0;
  for (const [offset, part] of parts) {
    out.set(part, link + 20 + offset);
    filled += part.length;
  }
  if (filled !== whole) throw new Error(`${filled} of ${whole} bytes`);
  // The header again as it was before.
  out.set([(20 + whole) >> 8, (20 + whole) & 255], link + 2);
  out.set([0, 0], link + 6);
  out.set([0, 0], link + 10);
  const sum = 0xffff - slowSum([...out.slice(link, link + 20)]);
  out.set([sum >> 8, sum & 255], link + 10);
  return out;
}

const bytes = (random: Random, count: number) => Array.from({ length: count }, () => random.below(256));

test('a packet that may be fragmented arrives in pieces that make up the original', (t) => {
  const random = new Random(8);
  for (let round = 0; round < 300; round++) {
    const largest = 60 + random.below(1400);
    const { overlay, vtep } = setUp(largest, 256);
    const tags = random.chance(0.3) ? [random.below(4096)] : [];
    const f: Frame = frame({
      l4: random.chance(0.5) ? 'udp' : 'tcp',
      flags: 0,
      id: random.below(65536),
      tos: random.below(256),
      tags,
      payload: bytes(random, largest + random.below(5000)),
    });
    const unfinished = random.chance(0.3);
    const { local, remote, drops } = overlay.forward(0, build(f, unfinished ? 'seed' : 'good'), (packet) => {
      if (!unfinished) return;
      const l4 = 34 + 4 * tags.length;
      overlay.pool.offload[packet] = CHECKSUM_UNFINISHED;
      overlay.pool.checksumStart[packet] = l4;
      overlay.pool.checksumOffset[packet] = f.l4 === 'udp' ? 6 : 16;
    });
    t.deepEqual([local, drops], [[], {}]);
    t.true(remote.length > 1 && remote.every(({ to }) => to === vtep));
    const again = reassemble(
      remote.sort(() => random.below(3) - 1),
      14 + 4 * tags.length,
      largest,
    );
    t.true(Buffer.from(build(f)).equals(again), `round ${round}`);
    t.is(overlay.pool.allocated, 0);
  }
});

test('a fragment is fragmented further, and keeps its place', (t) => {
  const { overlay } = setUp(300);
  const f = frame({ flags: 0x2000 | 50, payload: Array<number>(780).fill(3) });
  const { remote } = overlay.forward(0, build(f));
  const fields = remote.map(({ bytes }) => (bytes[20]! << 8) | bytes[21]!);
  t.deepEqual(fields, [0x2000 | 50, 0x2000 | 83, 0x2000 | 116, 0x2000 | 149]);
  t.is(overlay.pool.allocated, 0);
});

test('what is only padded beyond the path leaves without its padding', (t) => {
  const { overlay, vtep } = setUp(100);
  for (const payload of [[1, 2, 3], Array<number>(200).fill(1)]) {
    const f = build(frame({ l4: 'udp', flags: 0, payload }));
    const outcome = overlay.forward(0, Uint8Array.from([...f, ...Array<number>(100).fill(0xee)]));
    t.deepEqual(outcome.drops, {});
    t.true(outcome.remote.every(({ to }) => to === vtep));
    t.deepEqual(reassemble(outcome.remote, 14, 100), f);
  }
  const bare = build(frame({ flags: 0 })).slice(0, 34);
  bare.set([0, 20], 16);
  bare.set([0, 0], 24);
  const sum = 0xffff - slowSum([...bare.slice(14)]);
  bare.set([sum >> 8, sum & 255], 24);
  const padded = Uint8Array.from([...bare, ...Array<number>(100).fill(0xee)]);
  t.deepEqual(overlay.forward(0, padded), { local: [], remote: [{ to: vtep, bytes: bare }], drops: {} });
  t.is(overlay.pool.allocated, 0);
});

test('what may not be fragmented, or has options, is told of', (t) => {
  const { overlay } = setUp(1000);
  const payload = Array<number>(1200).fill(1);
  for (const part of [{ flags: DF }, { flags: 0, ipOptions: [1, 1, 1, 1] }]) {
    const outcome = overlay.forward(0, build(frame({ payload, ...part })));
    t.deepEqual(whither(outcome), { local: [0], remote: [], drops: { 'too-big': 1 } });
  }
  t.is(overlay.pool.allocated, 0);
});

/** A super-packet of the workload at port 0. */
function forwardSuper(overlay: Overlay, f: Frame, segment: number) {
  return overlay.forward(0, build(f, 'seed'), (packet) => {
    const { pool } = overlay;
    const at = headerBytes(f);
    const cwr = f.l4 === 'tcp' && (f.tcpFlags & CWR) !== 0 ? SEGMENT_ECN : 0;
    pool.offload[packet] = CHECKSUM_UNFINISHED | cwr | (f.l4 === 'tcp' ? SEGMENT_TCP4 : SEGMENT_UDP);
    pool.segment[packet] = segment;
    pool.checksumStart[packet] = at.l4;
    pool.checksumOffset[packet] = f.l4 === 'tcp' ? 16 : 6;
    pool.headerLength[packet] = at.payload;
  });
}

test('each segment of a super-packet arrives in pieces that make up what the kernel would have sent', (t) => {
  const random = new Random(9);
  let whole = 0;
  for (let round = 0; round < 200; round++) {
    const any = anySuper(random);
    const f: Frame = {
      ...any.f,
      ip: 4,
      flags: 0,
      ipOptions: [],
      source: [10, 0, 0, 1],
      destination: [10, 0, 0, 2],
    };
    const { segment } = any;
    const { payload: headers } = headerBytes(f);
    const fits = headers + segment;
    const largest = Math.max(14 + 4 * f.tags.length + 28, fits - 1 - random.below(fits >> 1));
    if (largest >= fits) continue;
    const { overlay, vtep } = setUp(largest, 128);
    const { local, remote, drops } = forwardSuper(overlay, f, segment);
    t.deepEqual([local, drops], [[], {}]);
    t.true(remote.every(({ to }) => to === vtep));
    const link = 14 + 4 * f.tags.length;
    const expected = segments(f, segment, (f.tcpFlags & CWR) !== 0).map((s) => build(s));
    const id = (bytes: Uint8Array) => (bytes[link + 4]! << 8) | bytes[link + 5]!;
    for (const one of expected) {
      const pieces = remote.filter(({ bytes }) => id(bytes) === id(one));
      if (pieces.length === 1) whole++;
      t.true(Buffer.from(one).equals(reassemble(pieces.reverse(), link, largest)), `round ${round}`);
    }
    t.is(overlay.pool.allocated, 0);
  }
  t.true(whole > 10, 'last segments that need no fragments');
});

test('the pieces of a super-packet lie in few slots, each with room for what goes before it', (t) => {
  const f = frame({ l4: 'udp', flags: 0, payload: Array<number>(60_000).fill(7) });
  const { overlay } = setUp(1264, 8);
  const { pool } = overlay;
  const packet = overlay.put(build(f, 'seed'));
  pool.port[packet] = 0;
  pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_UDP;
  pool.segment[packet] = 1400;
  pool.checksumStart[packet] = 34;
  pool.checksumOffset[packet] = 6;
  pool.headerLength[packet] = 42;
  const batch = new Batch(1);
  batch.push(packet);
  overlay.bridge.forward(batch, overlay.local, overlay.remote);
  const pieces = [...overlay.remote.packets.subarray(0, overlay.remote.count)];
  t.is(pieces.length, 2 * Math.floor(60_000 / 1400) + 1);
  t.true(new Set(pieces.map((piece) => pool.slot[piece])).size <= 2);
  let end = 0;
  for (const piece of pieces) {
    const at = pool.offset[piece]!;
    t.is(at % 4, 2);
    if (pool.slotStart(piece) < end) t.true(at - end >= 70);
    end = at + pool.length[piece]!;
    t.true(end <= pool.slotStart(piece) + SLOT_BYTES);
  }
  overlay.outcome();
  t.is(pool.allocated, 0);
});

test('a super-packet that may not be fragmented is told of, one whose headers contradict it is dropped', (t) => {
  const { overlay } = setUp(1340);
  const payload = Array<number>(6000).fill(1);
  for (const part of [{ flags: DF }, { flags: 0, ipOptions: [1, 1, 1, 1] }, { ip: 6 as const }]) {
    const outcome = forwardSuper(overlay, frame({ l4: 'udp', payload, ...part }), 1400);
    t.deepEqual(whither(outcome), { local: [0], remote: [], drops: { 'too-big': 1 } });
  }
  const f = frame({ l4: 'udp', flags: 0, payload });
  const outcome = overlay.forward(0, build(f, 'seed'), (packet) => {
    overlay.pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
    overlay.pool.segment[packet] = 1400;
    overlay.pool.checksumStart[packet] = 34;
    overlay.pool.checksumOffset[packet] = 16;
    overlay.pool.headerLength[packet] = 54;
  });
  t.deepEqual(outcome.drops, { 'inner-malformed': 1 });
  t.is(overlay.pool.allocated, 0);
});

test('segments for whose fragments there is no room are counted, the others leave', (t) => {
  const f = frame({ l4: 'udp', flags: 0, payload: Array<number>(60_000).fill(7) });
  const { overlay } = setUp(1264, 3);
  const { remote, drops } = forwardSuper(overlay, f, 1400);
  const lost = drops['no-packet']!;
  t.true(lost > 0 && remote.length > 0);
  t.is(remote.length, 2 * (43 - lost), 'of a segment all pieces or none');
  t.is(overlay.pool.allocated, 0);
  const { overlay: poor } = setUp(1264, 1);
  t.deepEqual(forwardSuper(poor, f, 1400), { local: [], remote: [], drops: { 'no-packet': 1 } });
  t.is(poor.pool.allocated, 0);
});

test('without room for all fragments, or for eight bytes in one, the packet is dropped whole', (t) => {
  const big = build(frame({ flags: 0, payload: Array<number>(1200).fill(1) }));
  for (const [largest, slots] of [
    [300, 1],
    [62, 2],
    [41, 64],
    [30, 64],
  ] as const) {
    const { overlay } = setUp(largest, slots);
    t.deepEqual(overlay.forward(0, big), { local: [], remote: [], drops: { 'no-packet': 1 } });
    t.is(overlay.pool.allocated, 0);
  }
});
