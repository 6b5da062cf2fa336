import test from 'ava';
import {
  Counters,
  ENGINE_COUNTERS,
  ROW,
  RX_BYTES,
  RX_PACKETS,
  TX_BYTES,
  TX_PACKETS,
} from '../../src/dataplane/core/counters.js';
import { DROPS, drop, dropSentence } from '../../src/dataplane/core/drops.js';

test('every counter has a cell of its own', (t) => {
  const counters = new Counters(3, 2);
  let value = 1;
  const expected: number[] = [];
  for (let code = 0; code < DROPS.length; code++) counters.dropMany(code, value++);
  for (const name of ENGINE_COUNTERS) counters.add(name, value++);
  for (const row of [0, 1, 2].map((i) => counters.portRow(i)).concat([0, 1].map((i) => counters.vtepRow(i))))
    for (const field of [RX_PACKETS, RX_BYTES, TX_PACKETS, TX_BYTES]) {
      t.is(counters.cells[row + field], 0);
      counters.cells[row + field] = value++;
      expected.push(row + field);
    }
  t.is(new Set(expected).size, 5 * ROW);
  t.deepEqual(
    Object.values(counters.drops()),
    DROPS.map((_, i) => i + 1),
  );
  t.deepEqual(
    Object.values(counters.engine()),
    ENGINE_COUNTERS.map((_, i) => DROPS.length + i + 1),
  );
  t.is(counters.cells.length, counters.vtepRow(2), 'no cell behind the last row');
});

test('a reader of the same memory sees what the engine counts, in whole numbers beyond 2^32', (t) => {
  const engine = new Counters(1, 1);
  const reader = new Counters(1, 1, engine.memory);
  engine.drop(drop['too-big']);
  engine.dropMany(drop['too-big'], 2 ** 40);
  engine.add('turns', 3);
  t.is(reader.dropped('too-big'), 2 ** 40 + 1);
  t.is(reader.drops()['too-big'], 2 ** 40 + 1);
  t.is(reader.engine().turns, 3);
});

test('every drop reason has one code and a sentence for the operator', (t) => {
  const reasons = DROPS.map(([reason]) => reason);
  t.is(new Set(reasons).size, reasons.length);
  t.true(reasons.length <= 64 && ENGINE_COUNTERS.length <= 64, 'they fit their blocks');
  for (const [code, reason] of reasons.entries()) {
    t.is(drop[reason], code);
    t.regex(reason, /^[a-z0-9-]+$/);
    t.regex(dropSentence(reason), /^[A-Z].*\.$/);
  }
});
