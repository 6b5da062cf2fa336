import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { bucketOf } from '../../../src/dataplane/ipvs/schedulers/address.js';
import { TargetCache } from '../../../src/dataplane/ipvs/schedulers/target-cache.js';
import { flowOf } from './world.js';

test('uses, additions and expirations at random are those of a map in order of use', (t) => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const capacity = 1 + random.below(40);
    const cache = new TargetCache(capacity);
    /** by address, the longest unused first */
    const model = new Map<number, { at: number; usedMs: number }>();
    let nowMs = 0;
    for (let step = 0; step < 600; step++) {
      nowMs += random.below(30);
      const target = random.below(60);
      const at = cache.use(flowOf(1, 0, target), nowMs, 500);
      const known = model.get(target);
      model.delete(target);
      const expected = known !== undefined && nowMs - known.usedMs < 500 ? known.at : -1;
      if (at !== expected) return t.fail(`seed ${seed}, step ${step}: ${at} instead of ${expected}`);
      if (at >= 0) model.set(target, { at, usedMs: nowMs });
      else if (random.chance(0.8)) {
        if (model.size === capacity) model.delete(model.keys().next().value!);
        const given = cache.add(flowOf(1, 0, target), nowMs);
        const live = [...model.values()].filter(({ usedMs }) => nowMs - usedMs < 500);
        const free = given >= 0 && given < capacity && live.every((each) => each.at !== given);
        if (!free) return t.fail(`seed ${seed}, step ${step}: ${given} was given twice`);
        model.set(target, { at: given, usedMs: nowMs });
      }
      if (cache.size > capacity) return t.fail(`${cache.size} of ${capacity}`);
    }
  }
  t.pass();
});

test('what nobody asks for goes, though nobody looks for it', (t) => {
  const cache = new TargetCache(64);
  for (let target = 0; target < 40; target++) cache.add(flowOf(1, 0, target), 0);
  t.is(cache.size, 40);
  for (let i = 0; i < 20; i++) cache.use(flowOf(1, 0, -1), 1000, 1000);
  t.is(cache.size, 0);
});

test('addresses of one bucket that differ in one word only are told apart', (t) => {
  const bucket = bucketOf(1, 10);
  let other = 2;
  while (bucketOf(other, 10) !== bucket) other++;
  for (const word of [0, 1, 2, 3]) {
    const cache = new TargetCache(8);
    const flows = [1, other].map((value) => ({ ...flowOf(1), [`target${word}`]: value }));
    const numbers = flows.map((flow) => cache.add(flow, 0));
    t.deepEqual(
      flows.map((flow) => cache.use(flow, 1, 1000)),
      numbers,
      `word ${word}`,
    );
  }
});
