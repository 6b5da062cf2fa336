import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';

test('the same seed gives the same numbers, another seed others', (t) => {
  const numbers = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 20 }, () => random.word());
  };
  t.deepEqual(numbers(7), numbers(7));
  t.notDeepEqual(numbers(7), numbers(8));
});

test('numbers are spread evenly below a limit, and stay below it', (t) => {
  const random = new Random(1);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++;
  t.is(counts.length, 10);
  for (const count of counts) t.true(count > 9_500 && count < 10_500, `${count}`);
});

test('a chance of 0 never comes, of 1 always, of 1 % once in a hundred', (t) => {
  const random = new Random(2);
  let hits = 0;
  for (let i = 0; i < 100_000; i++) {
    if (random.chance(0) || !random.chance(1)) t.fail();
    if (random.chance(0.01)) hits++;
  }
  t.true(hits > 850 && hits < 1150, `${hits}`);
});

test('random bytes take every value', (t) => {
  const bytes = new Uint8Array(10_000);
  new Random(3).fill(bytes);
  t.is(new Set(bytes).size, 256);
});
