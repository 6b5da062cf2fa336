import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Destination } from '../../../src/dataplane/ipvs/destination.js';
import { schedulerFor } from '../../../src/dataplane/ipvs/schedulers/index.js';
import { flowOf, newCounts, poolOf, spec } from './world.js';

const near = schedulerFor({ scheduler: 'wlc', slowStartSeconds: 0, preferNear: true });

test('near ones are filled up to their thresholds, then the rest, and near ones again when they have room', (t) => {
  const counts = newCounts();
  const destinations = [
    new Destination(spec(0, 1), counts),
    new Destination(spec(1, 1, { near: true, upperThreshold: 4 }), counts),
    new Destination(spec(2, 3, { near: true, upperThreshold: 8 }), counts),
    new Destination(spec(3, 1), counts),
  ];
  const scheduler = near(poolOf(destinations), new Random(1));
  const pick = () => {
    const found = scheduler.pick(flowOf(1), 0)!;
    counts.addActive(found.row, 1);
    found.weigh();
    return found.row;
  };
  const first = Array.from({ length: 12 }, pick).sort();
  t.deepEqual(first, [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
  t.deepEqual([pick(), pick(), pick()], [0, 3, 0]);
  counts.addActive(2, -3);
  destinations[2]!.weigh();
  t.is(pick(), 2, 'below three quarters it is open again');
});

test('at random: nobody far is picked while somebody near is usable, and wlc decides among each', (t) => {
  const random = new Random(7);
  const alone = schedulerFor({ scheduler: 'wlc', slowStartSeconds: 0, preferNear: false });
  for (let round = 0; round < 500; round++) {
    const counts = newCounts();
    let destinations: Destination[] = [];
    const scheduler = near(poolOf([]), new Random(1));
    for (let step = 0; step < 40; step++) {
      const row = random.below(8);
      const what = random.below(6);
      if (what < 2) {
        destinations = destinations.filter((each) => each.row !== row);
        destinations.push(new Destination(spec(row, random.below(4), { near: random.chance(0.5) }), counts));
        scheduler.update(poolOf(destinations));
      } else if (what === 2) counts.setOverloaded(row, random.chance(0.6));
      else {
        const group = (wanted: boolean) => poolOf(destinations.filter((each) => each.spec.near === wanted));
        const pick = (wanted: boolean) => alone(group(wanted), new Random(1)).pick(flowOf(1), 0);
        const found = scheduler.pick(flowOf(1), 0);
        if (found !== (pick(true) ?? pick(false))) return t.fail(`round ${round}, step ${step}`);
        if (found !== undefined) counts.addActive(found.row, 1);
      }
    }
  }
  t.pass();
});

test('a near one that control moves elsewhere is far', (t) => {
  const counts = newCounts();
  const destinations = [
    new Destination(spec(0, 1, { near: true }), counts),
    new Destination(spec(1, 9, { near: true }), counts),
  ];
  const scheduler = near(poolOf(destinations), new Random(1));
  counts.addActive(0, 5);
  t.is(scheduler.pick(flowOf(1), 0)?.row, 1);
  destinations[1]!.spec = { ...destinations[1]!.spec, near: false };
  scheduler.update(poolOf(destinations));
  t.is(scheduler.pick(flowOf(1), 0)?.row, 0);
});

test('slow start and near first go together: only near ones are compared with near ones', (t) => {
  const counts = newCounts();
  const destinations = [
    new Destination(spec(0, 4), counts),
    new Destination(spec(1, 4, { near: true }), counts),
    new Destination(spec(2, 4, { near: true }), counts),
  ];
  destinations[2]!.sinceMs = 100_000;
  const make = schedulerFor({ scheduler: 'wrr', slowStartSeconds: 16, preferNear: true });
  const scheduler = make(poolOf(destinations), new Random(1));
  const picks = Array.from({ length: 17 * 4 }, () => scheduler.pick(flowOf(1), 100_001)!.row);
  t.deepEqual(
    [0, 1, 2].map((row) => picks.filter((each) => each === row).length),
    [0, 64, 4],
  );
});
