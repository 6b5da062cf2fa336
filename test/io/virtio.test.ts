import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  type Pool,
  SEGMENT_ECN,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { finishChecksum } from '../../src/dataplane/io/offload/finish-checksum.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as virtio from '../../src/dataplane/io/offload/virtio.js';
import { anySuper, build, frame } from './frames.js';
import { bench, put, putSuper } from './pools.js';

const record = (pool: Pool, packet: number, bytes = 24): number[] =>
  Array.from({ length: bytes }, (_, i) => pool.virtio.getUint8(32 * packet + i));

const setRecord = (pool: Pool, packet: number, bytes: readonly number[]): void => {
  for (const [i, byte] of bytes.entries()) pool.virtio.setUint8(32 * packet + i, byte);
};

const columns = (pool: Pool, packet: number) => ({
  offload: pool.offload[packet],
  segment: pool.segment[packet],
  checksumStart: pool.checksumStart[packet],
  checksumOffset: pool.checksumOffset[packet],
  headerLength: pool.headerLength[packet],
});

/** The first 12 bytes: flags, gso type, header length, gso size, checksum start and offset. */
const header = (flags: number, gso: number, length: number, size: number, start: number, offset: number) => [
  flags,
  gso,
  ...[length, size, start, offset, 0].flatMap((n) => [n & 255, n >> 8]),
];

const payload = Array<number>(3000).fill(1);
const OUTER4 = [...Array<number>(12).fill(2), 8, 0, ...Array<number>(36).fill(0)];
const OUTER6 = [...Array<number>(12).fill(2), 0x86, 0xdd, ...Array<number>(56).fill(0)];

const SUPERS = [
  {
    name: 'TCP over IPv4',
    f: frame({ payload }),
    bits: SEGMENT_TCP4,
    gso: 1,
    start: 34,
    offset: 16,
    length: 54,
  },
  {
    name: 'TCP over IPv6',
    f: frame({ payload, ip: 6 }),
    bits: SEGMENT_TCP6,
    gso: 4,
    start: 54,
    offset: 16,
    length: 74,
  },
  {
    name: 'UDP',
    f: frame({ payload, l4: 'udp' }),
    bits: SEGMENT_UDP,
    gso: 5,
    start: 34,
    offset: 6,
    length: 42,
  },
  {
    name: 'TCP with options',
    f: frame({ payload, tcpOptions: Array<number>(12).fill(1) }),
    bits: SEGMENT_TCP4,
    gso: 1,
    start: 34,
    offset: 16,
    length: 66,
  },
  {
    name: 'TCP with CWR',
    f: frame({ payload, tcpFlags: 0x90 }),
    bits: SEGMENT_TCP4 | SEGMENT_ECN,
    gso: 0x81,
    start: 34,
    offset: 16,
    length: 54,
  },
  {
    name: 'tagged TCP',
    f: frame({ payload, tags: [7] }),
    bits: SEGMENT_TCP4,
    gso: 1,
    start: 38,
    offset: 16,
    length: 58,
  },
];

for (const { name, f, bits, gso, start, offset, length } of SUPERS) {
  test(`${name}: a super-packet's header is read and written`, (t) => {
    const { pool } = bench('javascript');
    const packet = put(pool, build(f, 'seed'));
    // The kernel's hdr_len is how much of it is linear, nothing that can be relied upon.
    setRecord(pool, packet, header(1, gso, 999, 1000, start, offset));
    t.true(virtio.readHeader(pool, packet));
    const expected = {
      offload: CHECKSUM_UNFINISHED | bits,
      segment: 1000,
      checksumStart: start,
      checksumOffset: offset,
      headerLength: length,
    };
    t.deepEqual(columns(pool, packet), expected);
    virtio.writeHeader(pool, packet);
    t.deepEqual(record(pool, packet, 12), header(1, gso, length, 1000, start, offset));
    pool.free(packet);
  });

  for (const [family, outer] of [
    [4, OUTER4],
    [6, OUTER6],
  ] as const) {
    test(`${name}: in a tunnel over IPv${family} as well`, (t) => {
      const { pool } = bench('javascript');
      const bytes = Uint8Array.from([...outer, ...build(f, 'seed')]);
      const packet = put(pool, bytes, 60);
      const o = outer.length;
      const tail = [...Array<number>(8).fill(0), o - 16, 0, o + 14 + 4 * f.tags.length, 0];
      const tunnel = family === 4 ? 0x20 : 0x40;
      const whole = [...header(1, gso | tunnel, length + o, 1000, start + o, offset), ...tail];
      setRecord(pool, packet, whole);
      t.true(virtio.readTunnelHeader(pool, packet));
      const expected = {
        offload: CHECKSUM_UNFINISHED | bits,
        segment: 1000,
        checksumStart: start + o,
        checksumOffset: offset,
        headerLength: length + o,
      };
      t.deepEqual(columns(pool, packet), expected);
      setRecord(pool, packet, Array<number>(24).fill(0xa5));
      virtio.writeTunnelHeader(pool, packet, o, family === 6);
      t.deepEqual(record(pool, packet), whole);

      // A pseudo-header's sum in the outer UDP header asks for outer checksums.
      pool.bytes[pool.offset[packet]! + o - 10] = 1;
      virtio.writeTunnelHeader(pool, packet, o, family === 6);
      t.deepEqual(record(pool, packet), [9, ...whole.slice(1)]);
      t.true(virtio.readTunnelHeader(pool, packet));
      t.deepEqual(columns(pool, packet), expected);
      pool.free(packet);
    });
  }
}

test('an unfinished checksum alone, a verified one, and neither', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, build(frame({ payload: [1] }), 'seed'));
  for (const [bytes, offload] of [
    [header(1, 0, 0, 0, 34, 16), CHECKSUM_UNFINISHED],
    [header(2, 0, 0, 0, 0, 0), CHECKSUM_VERIFIED],
    [header(0, 0, 0, 0, 0, 0), 0],
  ] as const) {
    for (const [read, write] of [
      [virtio.readHeader, virtio.writeHeader],
      [virtio.readTunnelHeader, (p: Pool, n: number) => virtio.writeTunnelHeader(p, n, 50, false)],
    ] as const) {
      const tunnel = read === virtio.readTunnelHeader;
      setRecord(pool, packet, [...bytes, ...Array<number>(12).fill(0)]);
      t.true(read(pool, packet));
      t.is(pool.segment[packet], 0);
      // A tunnel TAP speaks of the outer checksum.
      t.is(pool.offload[packet], tunnel ? offload & ~CHECKSUM_VERIFIED : offload);
      pool.offload[packet] = offload;
      write(pool, packet);
      t.deepEqual(record(pool, packet, 12), bytes);
    }
  }
  pool.free(packet);
});

test('a tunnel TAP that means both checksums verifies the inner one', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, build(frame({ payload: [1] })));
  setRecord(pool, packet, header(2 | 8, 0, 0, 0, 0, 0));
  t.true(virtio.readTunnelHeader(pool, packet));
  t.is(pool.offload[packet], CHECKSUM_VERIFIED);
  pool.free(packet);
});

test('an outer bundle is segmented at the outer UDP header', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, Uint8Array.from([...OUTER4, ...build(frame({ payload }))]), 60);
  const expected = header(1, 5, 42, 1000, 34, 6);
  setRecord(pool, packet, [...expected, ...Array<number>(12).fill(0)]);
  t.true(virtio.readTunnelHeader(pool, packet));
  t.is(pool.offload[packet], CHECKSUM_UNFINISHED | SEGMENT_UDP);
  t.deepEqual([pool.checksumStart[packet], pool.headerLength[packet], pool.segment[packet]], [34, 42, 1000]);
  setRecord(pool, packet, Array<number>(24).fill(0xa5));
  virtio.writeTunnelHeader(pool, packet, 50, false);
  t.deepEqual(record(pool, packet), [...expected, ...Array<number>(12).fill(0)]);
  pool.free(packet);
});

test('what fits one packet is no super-packet', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, build(frame({ payload: [1, 2, 3] }), 'seed'));
  setRecord(pool, packet, header(1, 1, 54, 3, 34, 16));
  t.true(virtio.readHeader(pool, packet));
  t.is(pool.segment[packet], 0);
  t.is(pool.offload[packet], CHECKSUM_UNFINISHED);
  pool.free(packet);
});

test('a header that contradicts the frame is refused', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, build(frame({ payload: [1, 2, 3] }), 'seed')); // 57 bytes
  for (const bytes of [
    header(1, 0, 0, 0, 56, 16), // the field lies behind the end
    header(1, 0, 0, 0, 0, 0), // in the Ethernet header
    header(1, 0, 0, 0, 34, 22),
    header(0, 1, 54, 1, 34, 16), // segments without checksum
    header(1, 1, 54, 0, 34, 16), // segments of no bytes
    header(1, 1, 54, 1, 34, 6), // TCP with the checksum where UDP has it
    header(1, 5, 54, 1, 34, 16),
    header(1, 3, 54, 1, 34, 6), // UFO, which is not negotiated
    header(1, 0x85, 54, 1, 34, 6), // ECN for UDP
    header(1, 0x80, 54, 1, 34, 16),
    header(1, 0x21, 54, 1, 34, 16), // a tunnel on a plain TAP
  ]) {
    setRecord(pool, packet, bytes);
    t.false(virtio.readHeader(pool, packet), `${bytes}`);
  }
  pool.bytes[pool.offset[packet]! + 34 + 12] = 0x40; // TCP header of 16 bytes
  setRecord(pool, packet, header(1, 1, 54, 1, 34, 16));
  t.false(virtio.readHeader(pool, packet));
  pool.bytes[pool.offset[packet]! + 34 + 12] = 0xf0; // of 60
  t.false(virtio.readHeader(pool, packet));
  pool.free(packet);
});

test('a tunnel header whose offsets contradict each other is refused', (t) => {
  const { pool } = bench('javascript');
  const packet = put(pool, Uint8Array.from([...OUTER4, ...build(frame({ payload }), 'seed')]), 60);
  const tail = (outer: number, inner: number) => [...Array<number>(8).fill(0), outer, 0, inner, 0];
  const start = header(1, 0x21, 104, 1000, 84, 16);
  for (const [bytes, right] of [
    [[...start, ...tail(34, 64)], true],
    [[...start, ...tail(64, 64)], false],
    [[...start, ...tail(34, 70)], false],
    [[...header(1, 0x61, 104, 1000, 84, 16), ...tail(34, 64)], false],
    [[...header(0, 0x21, 104, 1000, 84, 16), ...tail(34, 64)], false],
  ] as const) {
    setRecord(pool, packet, bytes);
    t.is(virtio.readTunnelHeader(pool, packet), right);
  }
  pool.free(packet);
});

test('whatever a header says, what is read from it can be segmented, finished or dropped', (t) => {
  const random = new Random(41);
  const { path, pool } = bench('javascript', 4);
  const segmenter = new Segmenter(path);
  const out = new Batch(pool.packets);
  let read = 0;
  for (let round = 0; round < 30_000; round++) {
    const { f, segment } = anySuperOf(random);
    const packet = putSuper(pool, f, segment);
    virtio.writeHeader(pool, packet);
    for (let n = random.below(4); n > 0; n--) {
      pool.virtio.setUint8(32 * packet + random.below(12), random.below(random.chance(0.5) ? 256 : 64));
    }
    if (random.chance(0.3)) pool.length[packet] = random.below(pool.length[packet]!);
    if (!virtio.readHeader(pool, packet)) {
      pool.free(packet);
      continue;
    }
    read++;
    if (pool.segment[packet]! > 0) segmenter.segment(packet, out);
    else if (finishChecksum(path, packet)) out.push(packet);
    out.release(pool);
    t.is(pool.allocated, 0);
  }
  t.true(read > 5000);
});

let supers: ReturnType<typeof anySuper>[] = [];
function anySuperOf(random: Random): ReturnType<typeof anySuper> {
  if (supers.length === 0) {
    supers = Array.from({ length: 20 }, () => anySuper(random)).map(({ f, segment }) => ({
      f: { ...f, payload: f.payload.slice(0, 100) },
      segment: 1 + (segment % 40),
    }));
  }
  return supers[random.below(supers.length)]!;
}
