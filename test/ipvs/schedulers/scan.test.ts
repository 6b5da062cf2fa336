/** The schedulers that keep nothing: lc, wlc, sed, nq, fo, ovf, twos. */
import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { fo } from '../../../src/dataplane/ipvs/schedulers/fo.js';
import { lc } from '../../../src/dataplane/ipvs/schedulers/lc.js';
import { nq } from '../../../src/dataplane/ipvs/schedulers/nq.js';
import { ovf } from '../../../src/dataplane/ipvs/schedulers/ovf.js';
import type { MakeScheduler } from '../../../src/dataplane/ipvs/schedulers/scheduler.js';
import { sed } from '../../../src/dataplane/ipvs/schedulers/sed.js';
import { twos } from '../../../src/dataplane/ipvs/schedulers/twos.js';
import { wlc } from '../../../src/dataplane/ipvs/schedulers/wlc.js';
import {
  agree,
  destinationsOf,
  firstBy,
  flowOf,
  newCounts,
  overheadOf,
  type Plain,
  poolOf,
  usable,
} from './world.js';

/** a / weight of a, less b / weight of b, times both weights */
const perWeight = (load: (each: Plain) => bigint) => (a: Plain, b: Plain) =>
  load(a) * BigInt(b.weight) - load(b) * BigInt(a.weight);
const delay = perWeight(({ active }) => BigInt(active) + 1n);
const heavier = (a: Plain, b: Plain) => BigInt(b.weight - a.weight);

const cases: [title: string, make: MakeScheduler, pick: (list: Plain[]) => number][] = [
  [
    'least connections: the first of the least overhead',
    lc,
    (list) => firstBy(list, (a, b) => overheadOf(a) - overheadOf(b)),
  ],
  [
    'weighted least connections: the first of the least overhead for its weight',
    wlc,
    (list) => firstBy(list, perWeight(overheadOf)),
  ],
  [
    'shortest expected delay: the first of the least (active + 1) / weight',
    sed,
    (list) => firstBy(list, delay),
  ],
  [
    'never queue: the first idle one, else the shortest delay',
    nq,
    (list) => list.find(({ active }) => active === 0)?.row ?? firstBy(list, delay),
  ],
  ['fail-over: the first of the greatest weight', fo, (list) => firstBy(list, heavier)],
  [
    'overflow: the first of the greatest weight among those with no more active connections than it',
    ovf,
    (list) =>
      firstBy(
        list.filter(({ active, weight }) => active <= weight),
        heavier,
      ),
  ],
];

for (const [title, make, pick] of cases) {
  test(title, (t) => {
    agree(t, { make, model: () => ({ pick: (list) => pick(usable(list)) }) });
  });
}

test('two choices: two tickets out of the weights, and the better one', (t) => {
  agree(t, {
    make: twos,
    model: (random) => ({
      pick(list) {
        const able = usable(list);
        const total = able.reduce((sum, { weight }) => sum + weight, 0);
        if (total === 0) return -1;
        // Ticket 0 is the first one's, a ticket too many.
        const owner = (ticket: number) => {
          const ends = able.map((_, i) => able.slice(0, i + 1).reduce((sum, { weight }) => sum + weight, 0));
          return able[ends.findIndex((end) => ticket <= end)]!;
        };
        const first = owner(random.below(total + 1));
        const second = owner(random.below(total + 1));
        return firstBy([first, second], perWeight(overheadOf));
      },
    }),
  });
});

test('comparisons are exact with millions of connections', (t) => {
  const counts = newCounts();
  const scheduler = wlc(poolOf(destinationsOf([65535, 65534], counts)), new Random(1));
  // 8,000,000·256 / 65535 is less than (7,999,878·256 - 19) / 65534 by three parts in 10^11
  counts.addActive(0, 8_000_000);
  const equal = (8_000_000n * 256n * 65534n) / 65535n;
  counts.addActive(1, Number(equal / 256n));
  counts.addInactive(1, Number(equal % 256n));
  t.is(scheduler.pick(flowOf(1), 0)?.row, 1, 'rounded down it has less');
  counts.addInactive(1, 1);
  t.is(scheduler.pick(flowOf(1), 0)?.row, 0, 'rounded up it has more');
});
