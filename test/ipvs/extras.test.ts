/** The side rows of connections: given out once each, empty, and again after they were freed. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { ENGINE_DATA, Extras, NO_EXTRA } from '../../src/dataplane/ipvs/extras.js';

test('rows are taken and freed in any order, each is empty when taken and touches no other', (t) => {
  const random = new Random(3);
  const extras = new Extras(Extras.allocate(50));
  const taken = new Map<number, number>();
  let full = 0;
  for (let turn = 1; turn < 5_000; turn++) {
    if (random.below(5) < 3) {
      const row = extras.take();
      if (row === NO_EXTRA) {
        full++;
        t.is(taken.size, 50);
        continue;
      }
      t.false(taken.has(row));
      const at = extras.at(row);
      t.true(extras.words.subarray(at, at + 77).every((word) => word === 0));
      extras.words.fill(turn, at, at + 13);
      extras.bytes.fill(turn, 4 * at + ENGINE_DATA, 4 * at + ENGINE_DATA + 255);
      taken.set(row, turn);
    } else {
      if (taken.size === 0) continue;
      const row = [...taken.keys()][random.below(taken.size)]!;
      const at = extras.at(row);
      t.is(extras.words[at], taken.get(row)!);
      t.is(extras.words[at + 12], taken.get(row)!);
      t.is(extras.bytes[4 * at + ENGINE_DATA + 254], taken.get(row)! & 0xff);
      extras.free(row);
      taken.delete(row);
    }
    t.is(extras.size, taken.size);
  }
  t.true(full > 0);
});
