import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { SourceRates } from '../../../src/dataplane/ipvs/defence/source-rates.js';
import { noFlow, type PacketFlow } from '../../../src/dataplane/ipvs/flow.js';

const KEY = Int32Array.of(1, 2, 3, 4);
const source = (a: number): PacketFlow => Object.assign(noFlow(), { source0: a });
const table = (sets?: number) => new SourceRates(SourceRates.allocate(sets), KEY);

test('a source begins its burst at once, and then as many as it may a second', (t) => {
  const rates = table();
  const rate = { perSecond: 10, burst: 5 };
  const many = (a: number, count: number, nowMs: number) => {
    let taken = 0;
    for (let i = 0; i < count; i++) if (rates.take(source(a), 1, rate, nowMs)) taken++;
    return taken;
  };
  t.is(many(1, 100, 1000), 5);
  t.is(many(2, 100, 1000), 5, 'another source has a bucket of its own');
  t.is(many(1, 100, 1099), 0);
  t.is(many(1, 100, 1100), 1);
  t.is(many(1, 100, 1350), 2);
  t.is(many(1, 100, 60_000), 5, 'no more than the burst is saved up');
  t.true(rates.take(source(1), 2, rate, 60_000), 'another service counts for itself');
});

test('as the bucket of tokens that it stands for, whatever the times', (t) => {
  const random = new Random(11);
  for (let round = 0; round < 50; round++) {
    const rates = table();
    const rate = { perSecond: 1 + random.below(1000), burst: 1 + random.below(50) };
    let tokens = rate.burst;
    let last = 0;
    let now = 0;
    for (let i = 0; i < 500; i++) {
      now += random.below(1 + Math.floor(3000 / rate.perSecond)) * (random.chance(0.5) ? 0 : 1);
      tokens = Math.min(rate.burst, tokens + ((now - last) * rate.perSecond) / 1000);
      last = now;
      const wanted = tokens >= 1 - 1e-7;
      if (wanted) tokens -= 1;
      t.is(rates.take(source(5), 0, rate, now), wanted);
    }
  }
});

test('an IPv6 source is its /64, and no IPv4 source', (t) => {
  const rates = table();
  const rate = { perSecond: 1, burst: 1 };
  const six = (words: number[]) => {
    const [source0, source1, source2, source3] = words;
    return Object.assign(noFlow(), { family: 6, source0, source1, source2, source3 }) as PacketFlow;
  };
  t.true(rates.take(six([0x20010db8, 1, 2, 3]), 0, rate, 0));
  t.false(rates.take(six([0x20010db8, 1, 9, 9]), 0, rate, 0));
  t.true(rates.take(six([0x20010db8, 2, 2, 3]), 0, rate, 0));
  t.true(rates.take(six([7, 0, 0, 0]), 0, rate, 0));
  t.true(rates.take(source(7), 0, rate, 0));
});

test('a flood of sources has nobody refused who keeps to his rate, nor does it free who asks most', (t) => {
  const rates = table(16);
  const rate = { perSecond: 10, burst: 10 };
  const good = source(-5);
  const greedy = source(-6);
  let taken = 0;
  let next = 1;
  for (let now = 0; now < 10_000; now += 10) {
    for (let i = 0; i < 20; i++) rates.take(source(next++), 0, rate, now);
    for (let i = 0; i < 5; i++) if (rates.take(greedy, 0, rate, now)) taken++;
    if (now % 200 === 0) t.true(rates.take(good, 0, rate, now));
  }
  // 128 buckets and 20,000 sources: of 5,000 that it asked for it gets those that it may.
  t.true(taken <= 10 + 100, `${taken}`);
  t.true(taken >= 100, `${taken}`);
});

test('two engines share the buckets', (t) => {
  const memory = SourceRates.allocate();
  const [one, other] = [new SourceRates(memory, KEY), new SourceRates(memory, KEY)];
  const rate = { perSecond: 1, burst: 3 };
  const taken = [one, other, one, other, one].map((each) => each.take(source(9), 0, rate, 50));
  t.deepEqual(taken, [true, true, true, false, false]);
});
