import test from 'ava';
import * as config from '../../../src/dataplane/config/service-types.js';
import { Random } from '../../../src/dataplane/core/random.js';
import { SCHEDULERS, schedulerFor } from '../../../src/dataplane/ipvs/schedulers/index.js';
import { destinationsOf, flowOf, newCounts, poolOf } from './world.js';

const names = Object.keys(SCHEDULERS) as (keyof typeof SCHEDULERS)[];

test('every scheduler and every flag that can be wanted is there, and no other', (t) => {
  t.deepEqual([...names].sort(), [...config.SCHEDULERS].sort());
  t.deepEqual(
    Object.values(SCHEDULERS)
      .flatMap(({ flags }) => flags)
      .sort(),
    // flag-1 to flag-3 are ipvsadm's other words for them.
    config.SCHEDULER_FLAGS.filter((flag) => !flag.startsWith('flag-')).sort(),
  );
});

for (const scheduler of names) {
  for (const [slowStartSeconds, preferNear] of [
    [0, false],
    [10, true],
  ] as const) {
    const make = schedulerFor({ scheduler, slowStartSeconds, preferNear });
    const how = preferNear ? ', with slow start and near first,' : '';

    test(`${scheduler}${how} gives the only usable one or nobody, and nobody where nobody is`, (t) => {
      const picker = make(poolOf([], { fallback: true }), new Random(1));
      t.is(picker.pick(flowOf(1), 1e6), undefined);
      const counts = newCounts();
      const destinations = destinationsOf([0, 2, 3, 0], counts);
      picker.update(poolOf(destinations, { fallback: true }));
      counts.setOverloaded(2, true);
      const found = new Set(
        Array.from({ length: 300 }, (_, i) => picker.pick(flowOf(i, i, i * 7), 1e6)?.row),
      );
      if (scheduler === 'dh') found.delete(undefined);
      t.deepEqual([...found], [1]);
      counts.setOverloaded(1, true);
      for (let i = 0; i < 50; i++) t.is(picker.pick(flowOf(i, i, i), 1e6), undefined);
      picker.update(poolOf([]));
      t.is(picker.pick(flowOf(1), 1e6), undefined);
    });
  }
}
