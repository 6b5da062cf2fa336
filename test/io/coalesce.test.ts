import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  FRAME_AT,
  type Pool,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as virtio from '../../src/dataplane/io/offload/virtio.js';
import {
  ACK,
  anySuper,
  build,
  CWR,
  ECE,
  FIN,
  type Frame,
  flowOf,
  frame,
  headerBytes,
  mergeable,
  PSH,
  parse,
  RST,
  type Sum,
  SYN,
  segments,
  slowSum,
  URG,
} from './frames.js';
import { bench, bytesOf, put, putSuper, WAYS, written } from './pools.js';

const ALL = { tcp4: true, tcp6: true, udp: true };

const frames = (pool: Pool, batch: Batch): Uint8Array[] =>
  Array.from(batch.packets.subarray(0, batch.count), (packet) => bytesOf(pool, packet));

for (const way of WAYS) {
  test(`${way}: the segments of a super-packet coalesce into that super-packet`, (t) => {
    const random = new Random(11);
    const { path, pool, native } = bench(way);
    const segmenter = new Segmenter(path, native);
    const coalescer = new Coalescer(path, native);
    const batch = new Batch(pool.packets);
    let merged = 0;
    for (let round = 0; round < 200; round++) {
      const { f, segment } = mergeable(anySuper(random));
      if (f.payload.length < 2) continue;
      const packet = putSuper(pool, f, segment);
      const record = {
        segment,
        offload: pool.offload[packet],
        checksumStart: pool.checksumStart[packet],
        checksumOffset: pool.checksumOffset[packet],
        headerLength: pool.headerLength[packet],
      };
      const whole = Buffer.from(bytesOf(pool, packet));
      segmenter.segment(packet, batch);
      const { count } = batch;
      // Nobody says that the checksums are right, so they are looked at.
      for (let i = 0; i < count; i++) pool.offload[batch.packets[i]!] = 0;
      coalescer.coalesce(batch, ALL);
      const first = batch.packets[0]!;
      t.is(batch.count, count);
      t.is(pool.bundle[first], count);
      t.is(pool.bundleSkip[first], record.headerLength);
      t.true(whole.equals(written(pool, batch, 0).bytes), `round ${round}`);
      t.deepEqual(
        {
          segment: pool.segment[first],
          offload: pool.offload[first],
          checksumStart: pool.checksumStart[first],
          checksumOffset: pool.checksumOffset[first],
          headerLength: pool.headerLength[first],
        },
        record,
      );
      merged += count;
      batch.release(pool);
      t.is(pool.allocated, 0);
    }
    t.is(path.counters.engine().coalesced, merged);
  });

  test(`${way}: in any mix of flows every flow keeps its packets, their order and their bytes`, (t) => {
    const random = new Random(12);
    const { path, pool, native } = bench(way, 256);
    const coalescer = new Coalescer(path, native);
    const batch = new Batch(pool.packets);
    let packets = 0;
    for (let round = 0; round < 300; round++) {
      const flows = Array.from({ length: 1 + random.below(12) }, (_, i) => ({
        ...frame({
          ip: random.chance(0.5) ? 4 : 6,
          l4: random.chance(0.5) ? 'tcp' : 'udp',
          sourcePort: 1000 + i,
          id: random.below(65536),
          sequence: random.word(),
        }),
        size: 1 + random.below(200),
        sameId: random.chance(0.2),
      }));
      const sent = new Map<string, { frame: Frame; sum: Sum }[]>();
      const count = 1 + random.below(200);
      for (let i = 0; i < count; i++) {
        const flow = flows[random.below(flows.length)]!;
        // Now and then something happens that parts a run.
        if (random.chance(0.03)) flow.ttl = 1 + random.below(255);
        if (random.chance(0.03)) flow.ack = random.word();
        if (random.chance(0.03)) flow.id = random.below(65536);
        if (random.chance(0.03)) flow.sequence = random.word();
        const { size, sameId, ...plain } = flow;
        let { tcpFlags } = plain;
        if (random.chance(0.05)) tcpFlags |= [SYN, FIN, RST, PSH, URG, CWR, ECE][random.below(7)]!;
        const length = random.chance(0.1) ? random.below(2 * size) : size;
        const payload = Array.from({ length }, () => random.below(256));
        const one = { ...plain, tcpFlags, payload };
        const sum = (['good', 'good', 'good', 'good', 'seed', 'bad', 'zero'] as const)[random.below(7)]!;
        flow.sequence = (flow.sequence + length) >>> 0;
        if (!sameId) flow.id = (flow.id + 1) & 0xffff;
        const at = FRAME_AT + random.below(4);
        const packet = sum === 'seed' ? putSuper(pool, one, 0) : put(pool, build(one, sum), at);
        if (sum === 'good' && random.chance(0.5)) pool.offload[packet] = CHECKSUM_VERIFIED;
        batch.push(packet);
        const key = flowOf(one);
        sent.set(key, [...(sent.get(key) ?? []), { frame: one, sum }]);
      }
      coalescer.coalesce(batch, ALL);
      t.is(batch.count, count);

      for (let i = 0; i < batch.count; ) {
        const first = batch.packets[i]!;
        const write = written(pool, batch, i);
        const whole = parse(write.bytes);
        const originals = sent.get(flowOf(whole))!.splice(0, write.count);
        if (write.count === 1) {
          t.deepEqual(Buffer.from(write.bytes), Buffer.from(build(originals[0]!.frame, originals[0]!.sum)));
        } else {
          packets += write.count;
          t.true(write.count <= 64);
          // As it is written it must be a super-packet that a kernel accepts, and splits into what was sent.
          t.deepEqual(Buffer.from(write.bytes), Buffer.from(build(whole, 'seed')));
          const split = segments(whole, pool.segment[first]!, false);
          const equalIds = originals.every(({ frame: o }) => o.id === whole.id);
          t.true(originals.every(({ sum }) => sum !== 'bad' && sum !== 'zero'));
          const bytes = split.map((one) => Buffer.from(build(equalIds ? { ...one, id: whole.id } : one)));
          t.is(bytes.length, originals.length);
          t.true(originals.every(({ frame: o }, k) => bytes[k]!.equals(build(o))));
        }
        i += write.count;
      }
      t.true([...sent.values()].every((rest) => rest.length === 0));
      batch.release(pool);
      t.is(pool.allocated, 0);
    }
    t.true(packets > 5000);
  });

  test(`${way}: a wrong checksum is never merged, and parts its run`, (t) => {
    const random = new Random(13);
    const { path, pool, native } = bench(way, 64);
    const coalescer = new Coalescer(path, native);
    const batch = new Batch(pool.packets);
    for (let round = 0; round < 300; round++) {
      const { f, segment } = mergeable(anySuper(random));
      const all = segments({ ...f, payload: f.payload.slice(0, 20 * segment) }, segment, false).map((s) =>
        build(s),
      );
      const wrong = random.below(all.length);
      // One bit anywhere behind the Ethernet header, which no checksum covers.
      const bytes = all[wrong]!;
      const at = 14 + random.below(bytes.length - 14);
      bytes[at]! ^= 1 << random.below(8);
      for (const one of all) batch.push(put(pool, one));
      coalescer.coalesce(batch, ALL);
      for (let i = 0; i < batch.count; ) {
        const { count } = written(pool, batch, i);
        for (let k = 0; k < count && count > 1; k++) {
          const follower = Buffer.from(bytesOf(pool, batch.packets[i + k]!));
          // IPv6 has fields that no checksum covers; when they are equal in the run, they may be anything.
          if (k > 0) t.false(follower.equals(bytes) && (f.ip === 4 || at >= 22), `round ${round}`);
        }
        i += count;
      }
      const spoiled = frames(pool, batch).some((one) => Buffer.from(one).equals(bytes));
      if (f.ip === 4 || at >= 22) t.true(spoiled, `round ${round}, byte ${at}`);
      batch.release(pool);
      t.is(pool.allocated, 0);
    }
  });

  test(`${way}: frames cut short or changed anywhere do no harm`, (t) => {
    const random = new Random(14);
    const { path, pool, native } = bench(way, 8);
    const coalescer = new Coalescer(path, native);
    const batch = new Batch(pool.packets);
    for (let shape = 0; shape < 40; shape++) {
      const { f } = anySuper(random);
      const trio = segments({ ...f, payload: f.payload.slice(0, 30) }, 10, false).map((s) => build(s));
      const longest = trio[0]!.length;
      for (let round = 0; round < 3 * longest; round++) {
        for (const one of trio) {
          const copy = one.slice();
          if (round < longest) {
            batch.push(put(pool, copy.subarray(0, Math.min(round, copy.length))));
            continue;
          }
          if (random.chance(0.5)) copy[random.below(copy.length)] = random.below(256);
          const packet = put(pool, copy);
          pool.offload[packet] = random.below(4);
          pool.checksumStart[packet] = random.below(100);
          pool.checksumOffset[packet] = random.below(20);
          batch.push(packet);
        }
        const { count } = batch;
        coalescer.coalesce(batch, ALL);
        t.is(batch.count, count);
        t.is(new Set(batch.packets.subarray(0, count)).size, count);
        batch.release(pool);
        t.is(pool.allocated, 0);
      }
    }
  });
}

/** How many of two packets are merged: 0 or 2. */
function merges(
  first: Partial<Frame>,
  second: Partial<Frame>,
  change: (pool: Pool, a: number, b: number) => void = () => {},
  options = ALL,
): number {
  const { path, pool } = bench('javascript', 4);
  const batch = new Batch(pool.packets);
  const base: Partial<Frame> = { payload: [1, 2, 3, 4] };
  const a = frame({ ...base, ...first });
  const next: Partial<Frame> = { id: a.id + 1, sequence: (a.sequence + a.payload.length) >>> 0 };
  const packets = [a, frame({ ...base, ...first, ...next, ...second })].map((f) => put(pool, build(f)));
  for (const packet of packets) batch.push(packet);
  change(pool, packets[0]!, packets[1]!);
  new Coalescer(path).coalesce(batch, options);
  const { coalesced } = path.counters.engine();
  batch.release(pool);
  return coalesced;
}

test('what the kernel merges is merged', (t) => {
  for (const ip of [4, 6] as const) {
    t.is(merges({ ip }, {}), 2);
    t.is(merges({ ip, l4: 'udp' }, {}), 2);
    t.is(merges({ ip }, { tcpFlags: ACK | PSH }), 2);
    t.is(merges({ ip }, { tcpFlags: ACK | FIN }), 2);
    t.is(merges({ ip, tcpFlags: ACK | ECE }, {}), 2);
    t.is(merges({ ip }, { payload: [9] }), 2);
    t.is(merges({ ip, l4: 'udp' }, { payload: [9] }), 2);
    t.is(merges({ ip, tcpOptions: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2] }, {}), 2);
    t.is(merges({ ip, sequence: 0xffff_fffe }, {}), 2);
  }
  t.is(merges({ id: 5 }, { id: 5 }), 2, 'equal ids with DF');
  t.is(merges({ id: 0xffff }, { id: 0 }), 2);
  t.is(merges({ flags: 0 }, {}), 2);
});

test('what the kernel leaves alone is left alone', (t) => {
  for (const ip of [4, 6] as const) {
    for (const l4 of ['tcp', 'udp'] as const) {
      t.is(merges({ ip, l4 }, { sourcePort: 1 }), 0);
      t.is(merges({ ip, l4 }, { destinationPort: 1 }), 0);
      t.is(merges({ ip, l4 }, { ttl: 63 }), 0);
      t.is(merges({ ip, l4 }, { tos: 4 }), 0);
      t.is(merges({ ip, l4, tos: 2 }, { tos: 3 }), 0, 'congestion experienced');
      t.is(merges({ ip, l4 }, { payload: [1, 2, 3, 4, 5] }), 0, 'longer than the first');
      t.is(merges({ ip, l4 }, { payload: [] }), 0);
      t.is(merges({ ip, l4 }, { macs: [2, 66, 10, 0, 0, 2, 2, 66, 10, 0, 0, 9] }), 0);
      t.is(merges({ ip, l4, tags: [5] }, {}), 0);
      t.is(merges({ ip, l4 }, { l4: l4 === 'tcp' ? 'udp' : 'tcp' }), 0);
    }
    t.is(merges({ ip }, { ack: 78 }), 0);
    t.is(merges({ ip }, { window: 501 }), 0);
    t.is(merges({ ip }, { sequence: 5003 }), 0);
    t.is(merges({ ip }, { sequence: 5005 }), 0);
    t.is(merges({ ip }, { tcpOptions: [1, 1, 1, 1] }), 0);
    t.is(merges({ ip, tcpOptions: [1, 1, 1, 1] }, { tcpOptions: [1, 1, 1, 0] }), 0);
    t.is(merges({ ip, tcpFlags: ACK | PSH }, { tcpFlags: ACK }), 0, 'PSH ends a run');
    t.is(merges({ ip, tcpFlags: ACK | FIN }, { tcpFlags: ACK }), 0);
    for (const flag of [SYN, RST, URG, CWR]) {
      t.is(merges({ ip, tcpFlags: ACK | flag }, {}), 0);
      t.is(merges({ ip }, { tcpFlags: ACK | flag }), 0);
    }
    t.is(merges({ ip }, { tcpFlags: ACK | ECE }), 0);
    t.is(merges({ ip, tcpFlags: 0 }, {}), 0);
  }
  t.is(merges({ ip: 6 }, { label: 7 }), 0);
  t.is(merges({ ip: 6, extensions: Array<number>(8).fill(0) }, {}), 0);
  t.is(merges({ ipOptions: [1, 1, 1, 1] }, {}), 0);
  t.is(merges({}, { flags: 0 }), 0);
  t.is(merges({ flags: 0x2000 }, {}), 0, 'fragments');
  t.is(merges({ flags: 5 }, {}), 0);
  t.is(merges({ flags: 0x8000 }, {}), 0);
  t.is(merges({ id: 5 }, { id: 7 }), 0);
  t.is(merges({ id: 5, flags: 0 }, { id: 5 }), 0, 'equal ids without DF');
});

test('each kind is merged only where the device takes it', (t) => {
  const none = () => {};
  t.is(merges({}, {}, none, { ...ALL, tcp4: false }), 0);
  t.is(merges({ ip: 6 }, {}, none, { ...ALL, tcp6: false }), 0);
  t.is(merges({ l4: 'udp' }, {}, none, { ...ALL, udp: false }), 0);
  t.is(merges({ l4: 'udp' }, {}, none, { tcp4: false, tcp6: false, udp: true }), 2);
});

test('padding, a wrong IP checksum, and a super-packet in a flow forbid merging', (t) => {
  t.is(
    merges({}, {}, (pool, _, b) => {
      pool.length[b]!++;
    }),
    0,
  );
  t.is(
    merges({}, {}, (pool, _, b) => {
      pool.bytes[pool.offset[b]! + 24]! ^= 1;
      pool.offload[b] = CHECKSUM_VERIFIED;
    }),
    0,
  );
  t.is(
    merges({}, {}, (pool, a) => {
      pool.segment[a] = 2;
      pool.offload[a] = CHECKSUM_UNFINISHED;
    }),
    0,
  );
});

test('a UDP datagram without checksum is merged only when somebody vouches for it', (t) => {
  const clear = (pool: Pool, packet: number) =>
    pool.bytes.fill(0, pool.offset[packet]! + 40, pool.offset[packet]! + 42);
  const l4 = 'udp' as const;
  t.is(
    merges({ l4 }, {}, (pool, _, b) => clear(pool, b)),
    0,
  );
  const vouched = (pool: Pool, _: number, b: number) => {
    clear(pool, b);
    pool.offload[b] = CHECKSUM_VERIFIED;
  };
  t.is(merges({ l4 }, {}, vouched), 2);
});

test('a super-packet never exceeds 65,535 bytes of IP, nor 64 packets', (t) => {
  const { path, pool } = bench('javascript', 256);
  const batch = new Batch(pool.packets);
  const run = (f: Frame, count: number) => {
    for (let i = 0; i < count; i++) {
      const sequence = f.sequence + i * f.payload.length;
      batch.push(put(pool, build({ ...f, id: f.id + i, sequence })));
    }
    new Coalescer(path).coalesce(batch, ALL);
    const sizes: number[] = [];
    for (let i = 0; i < batch.count; ) {
      const write = written(pool, batch, i);
      sizes.push(write.count);
      t.true(write.bytes.length - 14 <= 65_535);
      i += write.count;
    }
    batch.release(pool);
    return sizes;
  };
  const payload = (length: number) => Array<number>(length).fill(1);
  t.deepEqual(run(frame({ payload: payload(1448) }), 50), [45, 5]);
  t.deepEqual(run(frame({ payload: payload(1448), ip: 6 }), 50), [45, 5]);
  t.deepEqual(run(frame({ payload: payload(13_099) }), 6), [5, 1]); // 40 + 5 * 13,099 = 65,535
  t.deepEqual(run(frame({ payload: payload(13_100) }), 6), [4, 2]);
  t.deepEqual(run(frame({ payload: payload(10), l4: 'udp' }), 130), [64, 64, 2]);
  t.deepEqual(run(frame({ payload: payload(10) }), 65), [64, 1]);
});

test('packets of other flows between those of a run do not part it, up to eight flows', (t) => {
  const { path, pool } = bench('javascript', 64);
  const batch = new Batch(pool.packets);
  const order: string[] = [];
  for (let i = 0; i < 4; i++) {
    for (let flow = 0; flow < 8; flow++) {
      const f = frame({ sourcePort: flow, payload: [1, 2], sequence: 2 * i, id: i });
      batch.push(put(pool, build(f)));
    }
  }
  new Coalescer(path).coalesce(batch, ALL);
  for (let i = 0; i < batch.count; i += 4) {
    const { count, bytes } = written(pool, batch, i);
    order.push(`${parse(bytes).sourcePort}:${count}`);
  }
  t.deepEqual(order, ['0:4', '1:4', '2:4', '3:4', '4:4', '5:4', '6:4', '7:4']);
  batch.release(pool);
});

test('a packet whose flow cannot be told is overtaken by none behind it', (t) => {
  const { path, pool } = bench('javascript');
  const batch = new Batch(pool.packets);
  const f = frame({ l4: 'udp', payload: [1, 2] });
  const fragment = frame({ l4: 'udp', payload: [9, 9], flags: 3 });
  for (const one of [f, { ...f, id: 1001 }, fragment, { ...f, id: 1002 }, { ...f, id: 1003 }]) {
    batch.push(put(pool, build(one)));
  }
  const before = Array.from(batch.packets.subarray(0, 5));
  new Coalescer(path).coalesce(batch, ALL);
  t.deepEqual(Array.from(batch.packets.subarray(0, 5)), before);
  t.deepEqual(
    before.map((packet) => pool.bundle[packet]),
    [2, 0, 0, 2, 0],
  );
  batch.release(pool);
});

test('the virtio header of a coalesced run describes what is written', (t) => {
  const { path, pool } = bench('javascript');
  const batch = new Batch(pool.packets);
  const f = frame({ payload: Array<number>(250).fill(3), tcpFlags: ACK | PSH });
  for (const one of segments(f, 100, false)) batch.push(put(pool, build(one)));
  new Coalescer(path).coalesce(batch, ALL);
  const first = batch.packets[0]!;
  virtio.writeHeader(pool, first);
  const at = headerBytes(f);
  const record = Array.from({ length: 5 }, (_, i) => pool.virtio.getUint16(first * 32 + 2 * i, true));
  t.deepEqual(record, [1 | (1 << 8), at.payload, 100, at.l4, 16]);
  t.is(slowSum([...written(pool, batch, 0).bytes.subarray(14, 34)]), 0xffff);
  batch.release(pool);
});
