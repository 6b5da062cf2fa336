/** The schedulers that remember by the address that clients send to: lblc and lblcr. */
import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { lblc } from '../../../src/dataplane/ipvs/schedulers/lblc.js';
import { lblcr } from '../../../src/dataplane/ipvs/schedulers/lblcr.js';
import type { Flow } from '../../../src/dataplane/ipvs/schedulers/scheduler.js';
import { CAPACITY } from '../../../src/dataplane/ipvs/schedulers/target-cache.js';
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

const load = (a: Plain, b: Plain) => overheadOf(a) * BigInt(b.weight) - overheadOf(b) * BigInt(a.weight);
const least = (list: readonly Plain[]) => firstBy(usable(list), load);
const keyOf = ({ target0, target1, target2, target3 }: Flow) => `${[target0, target1, target2, target3]}`;
const crowded = (list: readonly Plain[], row: number) => {
  const { active, weight } = list.find((each) => each.row === row)!;
  return active > weight && list.some((each) => each.active < each.weight / 2);
};

for (const expirationSeconds of [5, 1000]) {
  test(`lblc keeps an address where it is while that is well, and ${expirationSeconds} s`, (t) => {
    agree(t, {
      make: lblc,
      flags: { expirationSeconds },
      model: () => {
        const cache = new Map<string, { row: number; usedMs: number }>();
        return {
          pick(list, flow, nowMs) {
            const known = cache.get(keyOf(flow));
            const fresh = known !== undefined && nowMs - known.usedMs < expirationSeconds * 1000;
            const stays =
              fresh && usable(list).some(({ row }) => row === known.row) && !crowded(list, known.row);
            const row = stays ? known.row : least(list);
            if (row !== -1) cache.set(keyOf(flow), { row, usedMs: nowMs });
            else if (fresh) known.usedMs = nowMs;
            else cache.delete(keyOf(flow));
            return row;
          },
        };
      },
    });
  });

  test(`lblcr has a set for each address, which grows when crowded and shrinks after ${expirationSeconds} s`, (t) => {
    agree(t, {
      make: lblcr,
      flags: { expirationSeconds },
      model: () => {
        const cache = new Map<string, { rows: number[]; usedMs: number; changedMs: number }>();
        return {
          changed(list) {
            for (const known of cache.values()) {
              known.rows = known.rows.filter((row) => list.some((each) => each.row === row));
            }
          },
          pick(list, flow, nowMs) {
            const known = cache.get(keyOf(flow));
            if (known === undefined || nowMs - known.usedMs >= expirationSeconds * 1000) {
              cache.delete(keyOf(flow));
              const row = least(list);
              if (row !== -1) cache.set(keyOf(flow), { rows: [row], usedMs: nowMs, changedMs: nowMs });
              return row;
            }
            known.usedMs = nowMs;
            const members = known.rows.map((row) => list.find((each) => each.row === row)!);
            const chosen = least(members);
            if (members.length > 1 && nowMs - known.changedMs > expirationSeconds * 1000) {
              const most = firstBy(
                members.filter(({ weight }) => weight > 0),
                (a, b) => load(b, a),
              );
              if (most !== -1) {
                known.rows = known.rows.filter((row) => row !== most);
                known.changedMs = nowMs;
              }
            }
            if (chosen !== -1 && !crowded(list, chosen)) return chosen;
            const helper = least(list);
            if (helper !== -1 && !known.rows.includes(helper)) {
              known.rows = [helper, ...known.rows];
              known.changedMs = nowMs;
            }
            return helper;
          },
        };
      },
    });
  });
}

test('lblcr takes its most loaded member out of a set that was quiet for the expiration', (t) => {
  const counts = newCounts();
  const destinations = destinationsOf([2, 2], counts);
  const scheduler = lblcr(poolOf(destinations, { expirationSeconds: 10 }), new Random(1));
  t.is(scheduler.pick(flowOf(1), 0)?.row, 0);
  counts.addActive(0, 3);
  t.is(scheduler.pick(flowOf(1), 1000)?.row, 1, 'crowded: the set grows');
  counts.addActive(0, -2);
  counts.addActive(1, 2);
  t.is(scheduler.pick(flowOf(1), 9000)?.row, 0);
  t.is(scheduler.pick(flowOf(1), 11_001)?.row, 0, 'the other one leaves the set now');
  counts.addActive(0, 1);
  counts.addActive(1, -1);
  t.is(scheduler.pick(flowOf(1), 12_000)?.row, 0, 'so that it is not picked, though less loaded');
});

test('of equally loaded members the newest leaves the set', (t) => {
  const counts = newCounts();
  const destinations = destinationsOf([2, 2], counts);
  const scheduler = lblcr(poolOf(destinations, { expirationSeconds: 10 }), new Random(1));
  const pick = (nowMs: number) => scheduler.pick(flowOf(1), nowMs)?.row;
  counts.addActive(1, 1);
  t.is(pick(0), 0);
  counts.addActive(0, 3);
  counts.addActive(1, -1);
  t.is(pick(1000), 1);
  counts.addActive(0, -2);
  counts.addActive(1, 1);
  t.deepEqual([pick(9000), pick(11_001)], [1, 1], 'it is the first, and goes after this');
  counts.addActive(0, 1);
  t.is(pick(12_000), 0);
});

test('of more addresses than there is room for, the longest unused one is forgotten', (t) => {
  const counts = newCounts();
  const destinations = destinationsOf([9, 9], counts);
  for (const make of [lblc, lblcr]) {
    counts.clear(0);
    counts.clear(1);
    const scheduler = make(poolOf(destinations, { expirationSeconds: 1e9 }), new Random(1));
    for (let i = 0; i < CAPACITY; i++) scheduler.pick(flowOf(1, 0, i), i);
    counts.addActive(0, 1);
    const pick = (target: number, nowMs: number) => scheduler.pick(flowOf(1, 0, target), nowMs)?.row;
    t.is(pick(0, 20_000), 0, 'used again');
    t.is(pick(-1, 20_001), 1, 'one too many: 1 goes');
    t.deepEqual([pick(0, 20_002), pick(2, 20_003), pick(1, 20_004)], [0, 0, 1]);
  }
});
