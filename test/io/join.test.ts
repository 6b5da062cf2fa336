import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { DATAGRAM_AT, type Pool } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import { anySuper, build, CWR, type Frame, frame, headerBytes, mergeable, PSH, segments } from './frames.js';
import { bench, bytesOf, putSuper, WAYS } from './pools.js';

const ALL = { tcp4: true, tcp6: true, udp: true };
const VXLAN = [8, 0, 0, 0, 0, 0x10, 1, 0];

/** Datagrams as they arrive glued: all of the first one's size, but for the last. */
function glue(pool: Pool, datagrams: readonly (readonly number[])[]): number {
  const packet = pool.take(DATAGRAM_AT);
  const bytes = datagrams.flat();
  pool.bytes.set(bytes, pool.offset[packet]);
  pool.length[packet] = bytes.length;
  pool.segment[packet] = datagrams[0]!.length;
  return packet;
}

const datagram = (f: Frame): number[] => [...VXLAN, ...build(f)];

const some = (count: number, bytes: number, part: Partial<Frame> = {}): Frame[] =>
  Array.from({ length: count }, (_, i) =>
    frame({ id: 7 + i, sequence: 100 + i * bytes, payload: Array<number>(bytes).fill(i), ...part }),
  );

for (const way of WAYS) {
  /** What becomes of glued datagrams: of each packet its bytes, and how many segments it has. */
  const { path, pool, native } = bench(way);
  const joiner = new Joiner(path, native);
  const join = (datagrams: readonly (readonly number[])[], joins = ALL) => {
    joiner.joins = joins;
    const into = new Batch(pool.packets);
    joiner.unglue(glue(pool, datagrams), into);
    const packets = [...into.packets.subarray(0, into.count)];
    const sizes = packets.map((packet) =>
      pool.segment[packet] === 0
        ? 1
        : Math.ceil((pool.length[packet]! - pool.headerLength[packet]!) / pool.segment[packet]!),
    );
    // Split again, they are what arrived.
    const split = new Batch(pool.packets);
    const segmenter = new Segmenter(path, native);
    for (const packet of packets) {
      if (pool.segment[packet]! > 0) segmenter.segment(packet, split, VXLAN.length);
      else split.push(packet);
    }
    const bytes = Array.from(split.packets.subarray(0, split.count), (packet) => [...bytesOf(pool, packet)]);
    split.release(pool);
    return { sizes, bytes, left: pool.allocated };
  };

  test(`${way}: the glued segments of a super-packet become that super-packet`, (t) => {
    const random = new Random(21);
    joiner.joins = ALL;
    const into = new Batch(pool.packets);
    for (let round = 0; round < 200; round++) {
      const { f, segment } = mergeable(anySuper(random));
      const parts = segments(f, segment, false).map(datagram);
      if (parts.length < 2 || parts.flat().length > 65_507) continue;
      const want = putSuper(pool, f, segment, VXLAN);
      const columns = (packet: number) =>
        (['length', 'segment', 'offload', 'checksumStart', 'checksumOffset', 'headerLength'] as const).map(
          (name) => pool[name][packet],
        );
      joiner.unglue(glue(pool, parts), into);
      t.is(into.count, 1);
      const packet = into.packets[0]!;
      t.deepEqual(columns(packet), columns(want));
      t.true(Buffer.from(bytesOf(pool, packet)).equals(bytesOf(pool, want)), `round ${round}`);
      into.release(pool);
      pool.free(want);
    }
    t.is(pool.allocated, 0);
  });

  test(`${way}: glued datagrams with any byte changed are, split again, what arrived`, (t) => {
    const random = new Random(22);
    let joined = 0;
    for (let round = 0; round < 400; round++) {
      const count = 2 + random.below(8);
      const l4 = random.chance(0.5) ? 'tcp' : 'udp';
      const ip = random.chance(0.5) ? 4 : 6;
      const parts = some(count, 20, { l4, ip }).map(datagram);
      const part = parts[random.below(count)]!;
      part[random.below(part.length)]! ^= 1 << random.below(8);
      const { sizes, bytes, left } = join(parts);
      t.deepEqual(bytes, parts, `round ${round}`);
      t.is(left, 0);
      joined += count - sizes.length;
    }
    t.true(joined > 400);
  });

  test(`${way}: PSH ends a super-packet, and what follows begins another`, (t) => {
    const parts = some(9, 30);
    parts[3]!.tcpFlags |= PSH;
    const { sizes, bytes, left } = join(parts.map(datagram));
    t.deepEqual(sizes, [4, 5]);
    t.deepEqual(bytes, parts.map(datagram));
    t.is(left, 0);
  });

  test(`${way}: what GRO wouldn't merge stays one packet each`, (t) => {
    const alone = (parts: Frame[], sums: 'good' | 'zero' | 'bad' | 'seed' = 'good', joins = ALL) => {
      const wire = parts.map((f, i) => [...VXLAN, ...build(f, i === 1 ? sums : 'good')]);
      const { sizes, bytes, left } = join(wire, joins);
      t.deepEqual(sizes, [1, 1]);
      t.deepEqual(bytes, wire);
      t.is(left, 0);
    };
    const two = (part: Partial<Frame>, first: Partial<Frame> = {}) => {
      const [a, b] = some(2, 30);
      return [
        { ...a!, ...first },
        { ...b!, ...part },
      ];
    };
    alone(two({ sequence: 131 }));
    alone(two({ ack: 78 }));
    alone(two({ window: 1 }));
    alone(two({ tcpFlags: 16 | CWR }));
    alone(two({ ttl: 63 }));
    alone(two({ tos: 1 }));
    alone(two({ id: 9 }));
    alone(two({ id: 7, flags: 0 }, { flags: 0 }));
    alone(two({ sourcePort: 1 }));
    alone(two({ destination: [10, 0, 0, 3] }));
    alone(two({}, { tcpFlags: 16 | PSH }));
    alone(some(2, 30), 'bad');
    alone(some(2, 30), 'seed');
    alone(some(2, 30, { l4: 'udp' }), 'zero');
    alone(some(2, 30), 'good', { tcp4: false, tcp6: true, udp: true });
    alone(some(2, 30, { ip: 6 }), 'good', { tcp4: true, tcp6: false, udp: true });
    alone(some(2, 30, { l4: 'udp' }), 'good', { tcp4: true, tcp6: true, udp: false });
  });

  test(`${way}: datagrams of two networks make no super-packet`, (t) => {
    const parts = some(4, 30).map(datagram);
    parts[2]![6] = 2;
    t.deepEqual(join(parts).sizes, [2, 1, 1]);
  });

  test(`${way}: equal ids with DF make a super-packet, as in GRO`, (t) => {
    t.deepEqual(join(some(4, 30, { id: 0 }).map(datagram)).sizes, [4]);
  });

  test(`${way}: datagrams that are too short for anything stay as they are`, (t) => {
    const whole = datagram(some(1, 4)[0]!);
    for (let size = 1; size < headerBytes(frame()).payload + VXLAN.length + 4; size++) {
      const parts = [whole.slice(0, size), whole.slice(0, size), whole.slice(0, 1 + (size >> 1))];
      const { sizes, bytes, left } = join(parts);
      t.deepEqual(sizes, [1, 1, 1]);
      t.deepEqual(bytes, parts);
      t.is(left, 0);
    }
  });
}

test('a pool without packets for the rest loses it, and says so', (t) => {
  const { path, pool } = bench('javascript', 2, 2);
  const joiner = new Joiner(path);
  joiner.joins = ALL;
  const parts = some(6, 30);
  for (const i of [1, 3]) parts[i]!.tcpFlags |= PSH;
  const into = new Batch(pool.packets);
  joiner.unglue(glue(pool, parts.map(datagram)), into);
  t.is(into.count, 2);
  t.is(path.counters.dropped('no-packet'), 2);
  into.release(pool);
  t.is(pool.allocated, 0);
});
