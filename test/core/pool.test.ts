import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { drop } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, FRAME_AT, NO_PACKET, Pool, SLOT_BYTES } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';

/** What the test believes of a packet. */
interface Believed {
  slot: number;
  bytes: Uint8Array;
}

test('take, share, copy and free in random order agree with an obvious model', (t) => {
  const SLOTS = 6;
  const PACKETS = 20;
  const pool = new Pool(SLOTS, PACKETS);
  const model = new Map<number, Believed>();
  const random = new Random(21);
  const slotsInUse = () => new Set([...model.values()].map(({ slot }) => slot));
  const anyPacket = () => [...model.keys()][random.below(model.size)]!;

  const believe = (packet: number, slot: number, bytes: Uint8Array) => {
    t.false(model.has(packet), 'a number is given out once');
    t.true(packet >= 0 && packet < PACKETS);
    t.is(pool.slot[packet], slot);
    model.set(packet, { slot, bytes });
  };
  const takeOwn = (packet: number, from: Believed | undefined) => {
    const room = slotsInUse().size < SLOTS && model.size < PACKETS;
    t.is(packet === NO_PACKET, !room);
    if (packet === NO_PACKET) return;
    t.false(slotsInUse().has(pool.slot[packet]!), 'a slot of its own');
    if (from === undefined) {
      const bytes = new Uint8Array(random.below(100));
      random.fill(bytes);
      pool.bytes.set(bytes, pool.offset[packet]!);
      pool.length[packet] = bytes.length;
      believe(packet, pool.slot[packet]!, bytes);
    } else believe(packet, pool.slot[packet]!, from.bytes);
  };

  for (let i = 0; i < 20_000; i++) {
    const what = random.below(5);
    if (what === 0) takeOwn(pool.take(random.chance(0.5) ? FRAME_AT : DATAGRAM_AT), undefined);
    else if (model.size === 0) continue;
    else if (what === 1) {
      const from = anyPacket();
      takeOwn(pool.copy(from), model.get(from));
    } else if (what === 2) {
      const from = anyPacket();
      const { slot, bytes } = model.get(from)!;
      const start = random.below(bytes.length + 1);
      const packet = pool.share(from, pool.offset[from]! + start, bytes.length - start);
      t.is(packet === NO_PACKET, model.size === PACKETS);
      if (packet !== NO_PACKET) believe(packet, slot, bytes.slice(start));
    } else {
      const packet = anyPacket();
      model.delete(packet);
      pool.free(packet);
    }
    t.is(pool.allocated, model.size);
    t.is(pool.room, Math.min(SLOTS - slotsInUse().size, PACKETS - model.size));
    if (i % 50 === 0)
      for (const [packet, { bytes }] of model) {
        const at = pool.offset[packet]!;
        t.deepEqual(pool.bytes.slice(at, at + pool.length[packet]!), bytes, 'bytes stay as they were');
      }
  }
  for (const packet of model.keys()) pool.free(packet);
  t.is(pool.allocated, 0);
  t.is(pool.room, SLOTS);
});

test('a packet begins where asked in its slot, with the columns of offload cleared', (t) => {
  const pool = new Pool(2);
  const dirty = pool.take();
  for (const column of [pool.segment, pool.offload, pool.bundle, pool.bundleSkip, pool.trace, pool.ecn])
    column[dirty] = 7;
  pool.free(dirty);
  const packet = pool.take(DATAGRAM_AT);
  t.is(pool.offset[packet], pool.slot[packet]! * SLOT_BYTES + DATAGRAM_AT);
  t.is(pool.slotStart(packet), pool.slot[packet]! * SLOT_BYTES);
  for (const column of [
    pool.length,
    pool.segment,
    pool.offload,
    pool.bundle,
    pool.bundleSkip,
    pool.trace,
    pool.ecn,
  ])
    t.is(column[packet], 0);
  pool.free(packet);
  t.is(pool.allocated, 0);
});

test('a copy has the columns of its original; what lay deep in a glued slot gets headroom again', (t) => {
  const pool = new Pool(4);
  const glued = pool.take();
  const deep = pool.share(glued, pool.offset[glued]! + 5001, 100);
  const columns = [
    'segment',
    'offload',
    'checksumStart',
    'checksumOffset',
    'headerLength',
    'port',
    'network',
    'vtep',
    'flow',
    'trace',
    'ecn',
  ] as const;
  columns.forEach((name, i) => {
    pool[name][deep] = i + 1;
  });
  pool.bytes.fill(9, pool.offset[deep], pool.offset[deep]! + 100);
  const copy = pool.copy(deep);
  columns.forEach((name, i) => {
    t.is(pool[name][copy], i + 1, name);
  });
  const inSlot = pool.offset[copy]! - pool.slotStart(copy);
  t.true(inSlot >= FRAME_AT && inSlot < FRAME_AT + 4);
  t.is(inSlot % 4, (pool.offset[deep]! - pool.slotStart(deep)) % 4, 'aligned as before');
  t.deepEqual(pool.bytes.slice(pool.offset[copy], pool.offset[copy]! + 100), new Uint8Array(100).fill(9));
  for (const packet of [glued, deep, copy]) pool.free(packet);
  t.is(pool.allocated, 0);
});

test('a batch keeps packets in order, and release frees them all', (t) => {
  const pool = new Pool(4);
  const batch = new Batch(3);
  const packets = [pool.take(), pool.take(), pool.take()];
  for (const packet of packets) batch.push(packet);
  t.is(batch.room, 0);
  t.deepEqual([...batch.packets], packets);
  batch.release(pool);
  t.is(batch.count, 0);
  t.is(pool.allocated, 0);
});

test('a drop counts its reason, frees the packet and tells a tracer that follows it', (t) => {
  const pool = new Pool(4);
  const told: [number, number][] = [];
  const path = new Path(pool, new Counters(1, 1), {
    active: true,
    refresh() {},
    match() {},
    note() {},
    dropped: (packet, reason) => told.push([packet, reason]),
  });
  const [plain, traced] = [pool.take(), pool.take()];
  pool.trace[traced] = 17;
  path.drop(plain, drop['too-big']);
  path.drop(traced, drop['same-port']);
  t.deepEqual(told, [[traced, drop['same-port']]]);
  t.is(path.counters.dropped('too-big'), 1);
  t.is(path.counters.dropped('same-port'), 1);
  t.is(pool.allocated, 0);
});
