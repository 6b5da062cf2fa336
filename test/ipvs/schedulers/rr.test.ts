import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { rr } from '../../../src/dataplane/ipvs/schedulers/rr.js';
import { agree, destinationsOf, flowOf, type Plain, poolOf, usable } from './world.js';

test('round robin goes on after its last pick, through every change', (t) => {
  agree(t, {
    make: rr,
    model: () => {
      let before: readonly Plain[] = [];
      let last: number | undefined;
      const rowsOf = (list: readonly Plain[]) => list.map(({ row }) => row);
      return {
        changed(list) {
          const rows = rowsOf(before);
          const upToLast = last === undefined ? [] : rows.slice(0, rows.indexOf(last) + 1);
          last = upToLast.filter((row) => rowsOf(list).includes(row)).at(-1);
          before = list;
        },
        pick(list) {
          const cut = last === undefined ? 0 : rowsOf(list).indexOf(last) + 1;
          const turn = [...list.slice(cut), ...list.slice(0, cut)];
          const next = usable(turn)[0]?.row;
          last = next ?? last;
          return next ?? -1;
        },
      };
    },
  });
});

test('when the one that was picked last is removed, its successor is next', (t) => {
  const destinations = destinationsOf([1, 1, 1, 1]);
  const scheduler = rr(poolOf(destinations), new Random(1));
  const pick = () => scheduler.pick(flowOf(1), 0)?.row;
  t.deepEqual([pick(), pick()], [0, 1]);
  scheduler.update(poolOf(destinations.filter(({ row }) => row !== 1)));
  t.deepEqual([pick(), pick(), pick()], [2, 3, 0]);
});
