import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { p2c } from '../../../src/dataplane/ipvs/schedulers/p2c.js';
import { agree, destinationsOf, flowOf, newCounts, type Plain, poolOf } from './world.js';

function better(a: Plain, b: Plain): boolean {
  const known = a.latency > 0 && b.latency > 0;
  const cost = ({ latency, active }: Plain, weight: number) =>
    BigInt(known ? latency : 1) * (BigInt(active) + 1n) * BigInt(weight);
  return cost(b, a.weight) < cost(a, b.weight);
}

test('two choices by weight, and the one of less latency × (active + 1) / weight', (t) => {
  agree(t, {
    make: p2c,
    model: (random) => ({
      pick(list) {
        const able = ({ weight, overloaded }: Plain) => weight > 0 && !overloaded;
        const total = list.reduce((sum, { weight }) => sum + weight, 0);
        const draw = () => {
          for (let tries = 0; tries < 4 && list.length > 0; tries++) {
            let ticket = random.below(total);
            const owner = list.find(({ weight }) => (ticket -= weight) < 0) ?? list.at(-1)!;
            if (able(owner)) return owner;
          }
          return undefined;
        };
        const first = draw();
        if (first === undefined) {
          return (
            list.filter(able).reduce<Plain | undefined>((a, b) => (a && !better(a, b) ? a : b), undefined)
              ?.row ?? -1
          );
        }
        if (random.below(64) === 0) return first.row;
        const second = draw();
        return second !== undefined && better(first, second) ? second.row : first.row;
      },
    }),
  });
});

/** Connections that last as long as their destination's latency, at a steady rate; how many each gets. */
function simulate(weights: readonly number[], latencies: readonly number[]): number[] {
  const counts = newCounts();
  const scheduler = p2c(poolOf(destinationsOf(weights, counts)), new Random(5));
  const ends: { at: number; row: number }[] = [];
  const got = weights.map(() => 0);
  for (let now = 0; now < 40_000; now++) {
    while (ends.length > 0 && ends[0]!.at <= now) {
      const { row } = ends.shift()!;
      counts.addActive(row, -1);
      counts.noteLatency(row, latencies[row]!);
    }
    const { row } = scheduler.pick(flowOf(now), now)!;
    counts.addActive(row, 1);
    got[row]!++;
    ends.push({ at: now + latencies[row]!, row });
    ends.sort((a, b) => a.at - b.at);
  }
  return got;
}

test('a destination that answers four times as slowly gets far less, but is tried again and again', (t) => {
  const got = simulate([1, 1, 1, 1], [40, 10, 10, 10]);
  const fast = (got[1]! + got[2]! + got[3]!) / 3;
  t.true(got[0]! < fast / 2, `${got}`);
  t.true(got[0]! > 40_000 / 64 / 4 / 2, `${got}`);
});

test('with equal latency and many connections, shares go by weight', (t) => {
  const got = simulate([1, 2, 4], [200, 200, 200]);
  t.true(Math.abs(got[1]! / got[0]! - 2) < 0.4, `${got}`);
  t.true(Math.abs(got[2]! / got[0]! - 4) < 0.8, `${got}`);
});
