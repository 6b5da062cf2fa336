/** Super-packets split, runs of packets joined and bundled, in user space; with the addon's copying and summing where it is built. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED, Pool, SEGMENT_TCP4 } from '../../src/dataplane/core/pool.js';
import { addon, type NativePool, nativePool } from '../../src/dataplane/io/native.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as checksum from '../../src/dataplane/wire/checksum.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as vxlan from '../../src/dataplane/wire/vxlan.js';
import type { Case } from './case.js';
import { expect, FRAME_BYTES, writeFrame } from './stage.js';

const HEADERS = 14 + 20 + 32;
const MSS = 1448;
const SEGMENTS = 44;
const SOURCE = 0x0a0a0002;
const DESTINATION = 0x0a0a0003;

interface Ground {
  path: Path;
  pool: Pool;
  native: NativePool | undefined;
}

function ground(): Ground {
  const native = addon === undefined ? undefined : nativePool(256);
  const pool = native?.pool ?? new Pool(256);
  return { path: new Path(pool, new Counters(8, 8)), pool, native };
}

/** Headers of a TCP super-packet of 44 segments, as a workload's kernel hands it over. */
function superHeaders(): Uint8Array {
  const bytes = new Uint8Array(HEADERS);
  const view = new DataView(bytes.buffer);
  ethernet.writeMac(bytes, 0, 0x0242, 0x0a0a0003);
  ethernet.writeMac(bytes, ethernet.SOURCE, 0x0242, SOURCE);
  ethernet.writeEtherType(bytes, 0, ethernet.IPV4);
  ipv4.write(bytes, 14, 32 + SEGMENTS * MSS, 6, SOURCE, DESTINATION, 64);
  view.setUint16(34, 40_000);
  view.setUint16(36, 5201);
  view.setUint16(34 + 12, 0x8018);
  view.setUint32(34 + 20, 0x0101080a);
  view.setUint16(34 + 16, checksum.pseudoHeader4(SOURCE, DESTINATION, 6, 32 + SEGMENTS * MSS));
  return bytes;
}

function takeSuper(pool: Pool, headers: Uint8Array): number {
  const packet = pool.take();
  pool.bytes.set(headers, pool.offset[packet]!);
  pool.length[packet] = HEADERS + SEGMENTS * MSS;
  pool.segment[packet] = MSS;
  pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
  pool.checksumStart[packet] = 34;
  pool.checksumOffset[packet] = 16;
  pool.headerLength[packet] = HEADERS;
  return packet;
}

function segmentCase(): Case {
  const { path, pool, native } = ground();
  const segmenter = new Segmenter(path, native);
  const headers = superHeaders();
  const out = new Batch(pool.packets);
  const pass = () => {
    out.release(pool);
    segmenter.segment(takeSuper(pool, headers), out);
  };
  pass();
  expect(out.count === SEGMENTS, `a super-packet of ${SEGMENTS} segments became ${out.count} packets`);
  return {
    name: 'segment, TCP of 44 × 1,448',
    unit: 'segment',
    units: SEGMENTS,
    prepare: () => pass,
    reference: ['segment', 1],
  };
}

function coalesceCase(verified: boolean): Case {
  const { path, pool, native } = ground();
  const coalescer = new Coalescer(path, native);
  const made = new Batch(pool.packets);
  new Segmenter(path, native).segment(takeSuper(pool, superHeaders()), made);
  const packets = [...made.packets.subarray(0, made.count)];
  const first = packets[0]!;
  const kept = pool.bytes.slice(pool.offset[first]!, pool.offset[first]! + HEADERS);
  const batch = new Batch(pool.packets);
  const all = { tcp4: true, tcp6: true, udp: true };
  const pass = () => {
    pool.bytes.set(kept, pool.offset[first]!);
    for (let i = 0; i < SEGMENTS; i++) {
      const packet = packets[i]!;
      pool.offload[packet] = verified ? CHECKSUM_VERIFIED : 0;
      pool.segment[packet] = 0;
      pool.bundle[packet] = 0;
      batch.packets[i] = packet;
    }
    batch.count = SEGMENTS;
    coalescer.coalesce(batch, all);
  };
  pass();
  expect(pool.bundle[first] === SEGMENTS, `of ${SEGMENTS} segments ${pool.bundle[first]} were joined`);
  const name = `coalesce, TCP of 44 × 1,448, ${verified ? 'verified' : 'checksums to verify'}`;
  return {
    name,
    unit: 'segment',
    units: SEGMENTS,
    prepare: () => pass,
    reference: ['coalesce', verified ? 2 : 1],
  };
}

/** What the sockets of the other end get: 43 segments glued, which become one packet each and are coalesced, or are joined. */
function gluedCase(joined: boolean): Case {
  const { path, pool, native } = ground();
  const made = new Batch(pool.packets);
  const segments = 43;
  const from = takeSuper(pool, superHeaders());
  const start = pool.offset[from]!;
  pool.bytes.fill(0, start - vxlan.HEADER, start);
  pool.offset[from] = start - vxlan.HEADER;
  pool.length[from]! += vxlan.HEADER;
  pool.checksumStart[from]! += vxlan.HEADER;
  pool.headerLength[from]! += vxlan.HEADER;
  new Segmenter(path, native).glue(from, made, vxlan.HEADER);
  const packet = made.packets[0]!;
  const at = pool.offset[packet]!;
  const size = pool.segment[packet]!;
  const bytes = pool.bytes.slice(at, at + segments * size);
  const all = { tcp4: true, tcp6: true, udp: true };
  const joiner = new Joiner(path, native);
  if (joined) joiner.joins = all;
  const coalescer = new Coalescer(path, native);
  const batch = new Batch(pool.packets);
  const pass = () => {
    for (let i = 1; i < batch.count; i++) pool.free(batch.packets[i]!);
    batch.count = 0;
    pool.bytes.set(bytes, at);
    pool.offset[packet] = at;
    pool.length[packet] = bytes.length;
    pool.segment[packet] = size;
    pool.offload[packet] = 0;
    pool.bundle[packet] = 0;
    joiner.unglue(packet, batch);
    for (let i = 0; i < batch.count; i++) {
      pool.offset[batch.packets[i]!]! += vxlan.HEADER;
      pool.length[batch.packets[i]!]! -= vxlan.HEADER;
    }
    coalescer.coalesce(batch, all);
  };
  pass();
  const whole = joined ? batch.count === 1 : pool.bundle[batch.packets[0]!] === segments;
  expect(whole, 'glued segments of one flow were not joined');
  const name = `glued TCP of 43 × 1,448, ${joined ? 'joined' : 'a packet each, coalesced'}`;
  return { name, unit: 'segment', units: segments, prepare: () => pass };
}

function bundleCase(): Case {
  const { path, pool } = ground();
  const bundler = new Bundler(path);
  const batch = new Batch(pool.packets);
  const packets = Array.from({ length: 64 }, () => pool.take());
  for (const packet of packets) {
    writeFrame(pool.bytes, pool.offset[packet]!, 1, 0);
    pool.length[packet] = FRAME_BYTES;
    pool.flow[packet] = 7;
  }
  const pass = () => {
    for (let i = 0; i < 64; i++) batch.packets[i] = packets[i]!;
    batch.count = 64;
    bundler.bundle(batch, 64, 65_507);
  };
  pass();
  expect(pool.bundle[batch.packets[0]!] === 64, 'the frames of one flow were not bundled');
  return { name: 'bundle, 64 frames of one flow', unit: 'frame', units: 64, prepare: () => pass };
}

export const splitCases = (): Case[] => [
  segmentCase(),
  coalesceCase(true),
  coalesceCase(false),
  gluedCase(false),
  gluedCase(true),
  bundleCase(),
];
