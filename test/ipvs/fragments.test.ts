import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Fragments, UNDECIDED } from '../../src/dataplane/ipvs/fragments.js';
import { hex } from '../wire/bytes.js';
import { build, CLIENT, CLIENT6, type Stage, stage, UDP, VIRTUAL, VIRTUAL6, type Wanted } from './packets.js';

/** Fragment `offset` (in units of 8 bytes) of the packet with the id. */
const piece = (id: number, offset: number, wanted: Partial<Wanted> = {}) =>
  build({
    ...{ protocol: UDP, source: CLIENT, destination: VIRTUAL, id },
    ...{ fragment: 0x2000 | offset, payload: new Uint8Array(8).fill(offset), ...wanted },
  });

interface World extends Stage {
  fragments: Fragments;
  released: Batch;
  /** what `later` says of it; the packet is freed if it is still ours */
  later(bytes: Uint8Array, nowMs: number, network?: number): number;
  decide(bytes: Uint8Array, decision: number, nowMs: number, network?: number): void;
  /** offsets of the fragments that were released, which are freed */
  take(): number[];
}

function world(capacity = 64, heldMax = 8, slots = 32): World {
  const at = stage(slots);
  const fragments = new Fragments(at.path, capacity, heldMax, 2000);
  const released = new Batch(at.pool.packets);
  return {
    ...at,
    fragments,
    released,
    later: (bytes, nowMs, network = 0) => {
      const packet = at.put(bytes);
      at.pool.network[packet] = network;
      const decision = fragments.later(packet, at.parsed(packet), nowMs);
      if (decision !== UNDECIDED) at.pool.free(packet);
      return decision;
    },
    decide: (bytes, decision, nowMs, network = 0) => {
      const packet = at.put(bytes);
      at.pool.network[packet] = network;
      fragments.decide(packet, at.parsed(packet), decision, nowMs, released);
      at.pool.free(packet);
    },
    take: () => {
      const offsets = Array.from(released.packets.slice(0, released.count), (packet) =>
        at.pool.view.getUint8(at.pool.offset[packet]! + 14 + 7),
      );
      released.release(at.pool);
      return offsets;
    },
  };
}

test('what was decided for the first fragment goes for the later ones, of that packet alone', (t) => {
  const w = world();
  w.decide(piece(1, 0), 17, 0);
  w.decide(piece(2, 0), 0, 0);
  t.is(w.later(piece(1, 1), 10), 17);
  t.is(w.later(piece(2, 5), 10), 0);
  t.is(w.later(piece(1, 2, { fragment: 2 }), 10), 17, 'the last one too');
  for (const other of [{ protocol: 1 }, { source: '192.0.2.8' }, { destination: '203.0.113.81' }]) {
    t.is(w.later(piece(1, 1, other), 10), UNDECIDED);
  }
  t.is(w.later(piece(1, 1), 10, 3), UNDECIDED, 'another network');
  t.is(w.fragments.held, 4);
  w.fragments.clear();
  t.deepEqual([w.drops(), w.pool.allocated], [{ 'fragment-lost': 4 }, 0]);
});

test('fragments that overtook the first one wait, and are released in the order in which they came', (t) => {
  const w = world();
  t.is(w.later(piece(7, 3), 0), UNDECIDED);
  t.is(w.later(piece(7, 1), 1), UNDECIDED);
  t.is(w.later(piece(8, 9), 1), UNDECIDED);
  t.is(w.later(piece(7, 2), 2), UNDECIDED);
  t.is(w.fragments.held, 4);
  w.decide(piece(7, 0), 5, 3);
  t.deepEqual(w.take(), [3, 1, 2]);
  t.is(w.later(piece(7, 4), 4), 5);
  w.decide(piece(8, 0), 6, 4);
  t.deepEqual(w.take(), [9]);
  t.deepEqual([w.fragments.held, w.pool.allocated, w.drops()], [0, 0, {}]);
});

test('who waits in vain is dropped after the time, and a decision ends with it', (t) => {
  const w = world();
  w.later(piece(1, 1), 0);
  w.later(piece(1, 2), 1500);
  w.decide(piece(2, 0), 9, 1000);
  w.fragments.expire(1999);
  t.is(w.fragments.held, 2);
  w.fragments.expire(2000);
  t.deepEqual([w.fragments.held, w.drops()], [0, { 'fragment-lost': 2 }]);
  t.is(w.later(piece(2, 1), 2999), 9);
  t.is(w.later(piece(2, 1), 3000), UNDECIDED);
  w.fragments.clear();
  t.is(w.pool.allocated, 0);
});

test('an id that comes again is decided anew, and lives from then on', (t) => {
  const w = world();
  w.decide(piece(1, 0), 1, 0);
  w.decide(piece(3, 0), 3, 10);
  w.decide(piece(1, 0), 2, 1500);
  t.is(w.later(piece(1, 1), 1999), 2);
  t.is(w.later(piece(1, 1), 3499), 2);
  t.is(w.later(piece(1, 1), 3500), UNDECIDED);
  w.fragments.clear();
  t.is(w.pool.allocated, 0);
});

test('no more wait than may; the oldest entry goes when the table is full', (t) => {
  const w = world(4, 3);
  for (let id = 0; id < 3; id++) t.is(w.later(piece(id, 1), 0), UNDECIDED);
  t.is(w.later(piece(0, 2), 0), UNDECIDED);
  t.deepEqual([w.fragments.held, w.drops()], [3, { 'fragments-full': 1 }]);
  w.decide(piece(10, 0), 1, 0);
  t.is(w.fragments.held, 3);
  w.decide(piece(11, 0), 2, 0);
  t.deepEqual([w.fragments.held, w.drops()], [2, { 'fragments-full': 2 }], 'the first of those that waited');
  w.decide(piece(12, 0), 3, 0);
  w.decide(piece(13, 0), 4, 0);
  t.is(w.fragments.held, 0);
  t.deepEqual(
    [10, 11, 12, 13].map((id) => w.later(piece(id, 1), 0)),
    [1, 2, 3, 4],
  );
  t.is(w.pool.allocated, 0);
});

test('fragments of IPv6 are told apart by id, whatever header follows in them', (t) => {
  const w = world();
  const six = { source: CLIENT6, destination: VIRTUAL6 };
  w.decide(build({ ...six, protocol: UDP, extensions: [44, hex('11 00 0001 00000007')] }), 4, 0);
  const later = build({
    ...six,
    protocol: 60,
    extensions: [44, hex('3c 00 0009 00000007')],
    payload: hex('00'),
  });
  t.is(w.later(later, 1), 4);
  const other = build({ ...six, protocol: UDP, extensions: [44, hex('11 00 0009 80000007')] });
  t.is(w.later(other, 1), UNDECIDED);
  w.decide(build({ ...six, protocol: UDP, extensions: [44, hex('11 00 0001 80000007')] }), 5, 2);
  t.is(w.released.count, 1);
  w.released.release(w.pool);
  t.is(w.pool.allocated, 0);
});

test('random fragments: as an obvious model has it, and at the end no packet is left', (t) => {
  let seed = 3;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const w = world(1000, 20, 64);
  const decided = new Map<number, { decision: number; until: number }>();
  const waiting = new Map<number, { offsets: number[]; until: number }>();
  let now = 0;
  const count = () => [...waiting.values()].reduce((sum, { offsets }) => sum + offsets.length, 0);
  for (let round = 0; round < 20000; round++) {
    now += random(40);
    for (const map of [decided, waiting]) for (const [id, { until }] of map) if (until <= now) map.delete(id);
    const id = random(60);
    const offset = 1 + random(200);
    if (random(3) === 0) {
      w.decide(piece(id, 0), round, now);
      decided.set(id, { decision: round, until: now + 2000 });
      t.deepEqual(w.take(), waiting.get(id)?.offsets ?? []);
      waiting.delete(id);
    } else {
      const found = w.later(piece(id, offset), now);
      const known = decided.get(id);
      t.is(found, known?.decision ?? UNDECIDED);
      if (known === undefined && count() < 20) {
        const those = waiting.get(id) ?? { offsets: [], until: now + 2000 };
        those.offsets.push(offset);
        waiting.set(id, those);
      }
    }
    t.is(w.fragments.held, count());
  }
  w.fragments.clear();
  t.is(w.pool.allocated, 0);
});
