import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import type { Destination } from '../../../src/dataplane/ipvs/destination.js';
import { type SchedulerName, schedulerFor } from '../../../src/dataplane/ipvs/schedulers/index.js';
import { agree, destinationsOf, firstBy, flowOf, newCounts, type Plain, poolOf, usable } from './world.js';

const SECONDS = 16;
const started = (scheduler: SchedulerName, slowStartSeconds = SECONDS) =>
  schedulerFor({ scheduler, slowStartSeconds, preferNear: false });

/** Old ones of these weights, and a new one of weight 4 that came at 1,000,000 ms. */
function withNewcomer(weights: readonly number[], counts = newCounts()): Destination[] {
  const destinations = destinationsOf([...weights, 4], counts);
  destinations.at(-1)!.sinceMs = 1_000_000;
  return destinations;
}

for (const scheduler of ['wrr', 'wlc', 'sed', 'nq', 'twos', 'mh', 'p2c'] as const) {
  test(`${scheduler}: the newcomer's part grows to its full share in the time given`, (t) => {
    const counts = newCounts();
    const destinations = withNewcomer([4, 4, 4], counts);
    const pool = poolOf(destinations, { tableSize: 65537, port: true });
    const picker = started(scheduler)(pool, new Random(1));
    const random = new Random(2);
    /** of 6000 connections at one moment, from where all have their part */
    const part = (nowMs: number) => {
      for (const { row } of destinations) counts.clear(row);
      let its = 0;
      for (let i = 0; i < 6000; i++) {
        const { row } = picker.pick(flowOf(random.word() | 0, random.below(65536)), nowMs)!;
        counts.addActive(row, 1);
        if (row === 3) its++;
      }
      return its / 6000;
    };
    for (const elapsed of [0, 1, 4, 8, 12, 15.9, 16, 100]) {
      const share = Math.min(1, Math.max(1, Math.floor(elapsed)) / SECONDS);
      const expected = share / (3 + share);
      const found = part(1_000_000 + elapsed * 1000);
      // nq gives each idle one something first; the draws of twos and p2c scatter.
      t.true(Math.abs(found - expected) < 0.02, `after ${elapsed} s: ${found} instead of ${expected}`);
    }
  });
}

test('shortest delay under slow start is that of fractions of the weights', (t) => {
  const seconds = 30;
  agree(t, {
    make: started('sed', seconds),
    rounds: 200,
    model: () => ({
      // The world's destinations came at 0 ms of a clock that stands at 10^6: all have their full weight.
      pick: (list) => {
        const cost = ({ active }: Plain, { weight }: Plain) => (BigInt(active) + 1n) * BigInt(weight);
        return firstBy(usable(list), (a, b) => cost(a, b) - cost(b, a));
      },
    }),
  });
  const random = new Random(4);
  for (let round = 0; round < 300; round++) {
    const counts = newCounts();
    const destinations = destinationsOf(
      Array.from({ length: 6 }, () => random.below(9)),
      counts,
    );
    for (const destination of destinations) destination.sinceMs = random.below(60_000);
    const scheduler = started('sed', seconds)(poolOf(destinations), new Random(1));
    for (let nowMs = 20_000; nowMs < 100_000; nowMs += random.below(4000)) {
      const cost = ({ active, spec, sinceMs }: Destination) => {
        const sixteenths = Math.floor(((nowMs - sinceMs) * 16) / (seconds * 1000));
        return (active + 1) / ((spec.weight * Math.min(16, Math.max(1, sixteenths))) / 16);
      };
      const able = destinations.filter(({ spec }) => spec.weight > 0);
      const found = scheduler.pick(flowOf(1), nowMs);
      const lowest = Math.min(...able.map(cost));
      if (able.length === 0) t.is(found, undefined);
      else if (Math.abs(cost(found!) - lowest) > 1e-9) return t.fail(`round ${round} at ${nowMs}`);
      if (found !== undefined) counts.addActive(found.row, 1);
    }
  }
  t.pass();
});

test('to ovf, lblc and lblcr a ramping weight is fewer connections, and others keep theirs', (t) => {
  for (const scheduler of ['ovf', 'lblc', 'lblcr'] as const) {
    const destinations = destinationsOf([10, 32]);
    destinations[1]!.sinceMs = 1_000_000;
    const picker = started(scheduler)(poolOf(destinations), new Random(1));
    const weightsAt = (nowMs: number) => {
      picker.pick(flowOf(1), nowMs);
      return destinations.map(({ weight }) => weight);
    };
    t.deepEqual(weightsAt(1_000_000), [10, 2]);
    t.deepEqual(weightsAt(1_004_000), [10, 8]);
    t.deepEqual(weightsAt(1_016_000), [10, 32]);
  }
});

test('one that comes back ramps again, after control has said so', (t) => {
  const destinations = destinationsOf([4, 4]);
  const picker = started('wlc')(poolOf(destinations), new Random(1));
  const weightsAt = (nowMs: number) => {
    picker.pick(flowOf(1), nowMs);
    return destinations.map(({ weight }) => weight);
  };
  t.deepEqual(weightsAt(50_000), [64, 64]);
  destinations[1]!.sinceMs = 50_000;
  picker.update(poolOf(destinations));
  t.deepEqual(weightsAt(50_001), [64, 4]);
  t.deepEqual(weightsAt(58_000), [64, 32]);
  t.deepEqual(weightsAt(66_000), [64, 64]);
});

test('a drained one stays drained under slow start', (t) => {
  const destinations = withNewcomer([0, 2]);
  const picker = started('wlc')(poolOf(destinations), new Random(1));
  picker.pick(flowOf(1), 1_000_001);
  t.deepEqual(
    destinations.map(({ weight }) => weight),
    [0, 32, 4],
  );
});

test('what control says anew of a destination counts in full, until slow start has its say', (t) => {
  const destinations = withNewcomer([2]);
  const picker = started('wlc')(poolOf(destinations), new Random(1));
  picker.pick(flowOf(1), 1_000_001);
  for (const destination of destinations) destination.spec = { ...destination.spec, weight: 5 };
  const plain = started('wlc', 0)(poolOf(destinations), new Random(1));
  plain.pick(flowOf(1), 1_000_002);
  const weights = () => destinations.map(({ weight }) => weight);
  t.deepEqual(weights(), [5, 5]);
  picker.update(poolOf(destinations));
  picker.pick(flowOf(1), 1_000_003);
  t.deepEqual(weights(), [80, 5]);
});

test('each step of a ramp under mh moves no more than that step, and twice that at most', (t) => {
  const destinations = withNewcomer(new Array<number>(9).fill(4));
  const picker = started('mh')(poolOf(destinations, { tableSize: 65537, port: true }), new Random(1));
  const picks = (nowMs: number) =>
    Array.from({ length: 20_000 }, (_, i) => picker.pick(flowOf(i * 7919, i & 65535), nowMs)!.row);
  let before = picks(1_000_000);
  for (let second = 2; second <= 16; second++) {
    const after = picks(1_000_000 + second * 1000);
    const moved = after.filter((row, i) => row !== before[i]).length / 20_000;
    t.true(moved > 0.003 && moved < 0.0125, `second ${second}: ${moved}`);
    before = after;
  }
});
