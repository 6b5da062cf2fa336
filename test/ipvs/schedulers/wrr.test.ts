import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { wrr } from '../../../src/dataplane/ipvs/schedulers/wrr.js';
import { agree, destinationsOf, flowOf, newCounts, type Plain, poolOf } from './world.js';

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** The laps written out: an endless row of (threshold, place), of which a pick takes the next one that fits. */
function model() {
  let step = 1;
  let highest = 0;
  let threshold: number | undefined;
  let place = 0;
  return {
    changed(list: readonly Plain[]) {
      step = list.map(({ weight }) => weight).reduce(gcd, 0) || 1;
      highest = Math.max(0, ...list.map(({ weight }) => weight)) - step + 1;
      place = 0;
      if (threshold === undefined || threshold > highest || threshold === 0) threshold = highest;
      else if (step > 1) threshold = threshold - (threshold % step) + 1;
    },
    pick(list: readonly Plain[]) {
      if (highest === 0) return -1;
      const seenInLastLap = new Set<number>();
      for (;;) {
        if (place === list.length) {
          place = 0;
          threshold! -= step;
          if (threshold! <= 0) threshold = highest;
          // What a whole last lap has seen, no lap would find.
          if (seenInLastLap.size === list.length) return -1;
        }
        const { row, weight, overloaded } = list[place++]!;
        if (weight >= threshold! && !overloaded) return row;
        if (threshold! > step) continue;
        seenInLastLap.add(row);
        if (seenInLastLap.size === list.length && place < list.length) return -1;
      }
    },
  };
}

test('weighted round robin goes its laps, through every change', (t) => {
  agree(t, { make: wrr, model, rounds: 200 });
});

test('weights 4 3 2 are interleaved as IPVS does', (t) => {
  const scheduler = wrr(poolOf(destinationsOf([4, 3, 2])), new Random(1));
  const picks = Array.from({ length: 18 }, () => 'abc'[scheduler.pick(flowOf(1), 0)!.row]);
  t.is(picks.join(''), 'aababcabcaababcabc');
});

test('a light destination beside an overloaded heavy one is found without counting all laps down', (t) => {
  const counts = newCounts();
  const destinations = destinationsOf([65535, 1], counts);
  const scheduler = wrr(poolOf(destinations), new Random(1));
  counts.setOverloaded(0, true);
  const started = performance.now();
  for (let i = 0; i < 10_000; i++) t.is(scheduler.pick(flowOf(1), 0)?.row, 1);
  t.true(performance.now() - started < 2000, '10,000 picks of 65,534 laps each');
});
