import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Cookies } from '../../../src/dataplane/ipvs/defence/cookies.js';
import { TcpOptions } from '../../../src/dataplane/ipvs/defence/tcp-options.js';
import { noFlow, type PacketFlow } from '../../../src/dataplane/ipvs/flow.js';

const KEY = Int32Array.of(11, 22, 33, 44);

function randomFlow(random: Random): PacketFlow {
  const word = () => random.word() | 0;
  const six = random.chance(0.5);
  return Object.assign(noFlow(), {
    ...{ family: six ? 6 : 4, source0: word(), target0: word(), ports: word(), network: random.below(3) },
    ...(six && { source1: word(), source2: word(), source3: word() }),
    ...(six && { target1: word(), target2: word(), target3: word() }),
  });
}

function offer(random: Random): TcpOptions {
  return Object.assign(new TcpOptions(), {
    mss: random.chance(0.1) ? 0 : 400 + random.below(9000),
    scale: random.below(16) - 1,
    sack: random.chance(0.5),
    timestamps: random.chance(0.5),
    value: random.word() | 0,
  });
}

/** The client's acknowledgment has its timestamp and ours, and none of the other options. */
function echoOf(cookies: Cookies, offered: TcpOptions, nowMs: number): TcpOptions {
  const { timestamps, value } = offered;
  const echo = timestamps ? cookies.timestamp(offered, nowMs) : 0;
  return Object.assign(new TcpOptions(), { timestamps, value, echo });
}

test('what a client offered comes back, or the next less that can be said', (t) => {
  const random = new Random(5);
  const cookies = new Cookies(KEY);
  for (let i = 0; i < 3000; i++) {
    const flow = randomFlow(random);
    const offered = offer(random);
    const sequence = random.word() | 0;
    const now = random.below(1_000_000_000);
    const cookie = cookies.make(flow, sequence, offered, now);
    const got = echoOf(cookies, offered, now);
    t.true(cookies.check(flow, sequence, cookie, got, now + random.below(64_000)));
    const mss = offered.mss || 536;
    t.true(got.mss <= Math.max(536, mss) && got.mss >= 536);
    if (mss >= 1300 && mss <= 1460) t.true(mss - got.mss < 60, `${mss} ${got.mss}`);
    t.is(got.sack, offered.sack);
    if (offered.timestamps) t.is(got.scale, offered.scale);
    else
      t.true(
        got.scale <= offered.scale &&
          got.scale >= Math.min(10, offered.scale - 2) &&
          got.scale >= 0 === offered.scale >= 0,
      );
  }
});

test('a cookie counts for its connection and number alone, and for two minutes at most', (t) => {
  const random = new Random(6);
  const cookies = new Cookies(KEY);
  const other = new Cookies(Int32Array.of(11, 22, 33, 45));
  for (let i = 0; i < 500; i++) {
    const flow = randomFlow(random);
    const offered = offer(random);
    const sequence = random.word() | 0;
    const now = 1_000_000 + random.below(1_000_000);
    const cookie = cookies.make(flow, sequence, offered, now);
    const is = (what: Cookies, whose: PacketFlow, number: number, value: number, at: number) =>
      what.check(whose, number, value, echoOf(cookies, offered, now), at);
    t.true(is(cookies, flow, sequence, cookie, now + 63_999));
    t.false(is(cookies, flow, sequence, cookie, now + 128_000));
    t.false(is(cookies, flow, sequence, cookie, now - 64_000));
    t.false(is(cookies, flow, (sequence + 1) | 0, cookie, now));
    t.false(is(cookies, { ...flow, ports: flow.ports ^ 0x10000 }, sequence, cookie, now));
    t.false(is(cookies, { ...flow, source0: flow.source0 ^ 1 }, sequence, cookie, now));
    t.false(is(cookies, { ...flow, target0: flow.target0 ^ 1 }, sequence, cookie, now));
    t.false(is(cookies, { ...flow, network: flow.network + 1 }, sequence, cookie, now));
    if (flow.family === 6)
      t.false(is(cookies, { ...flow, source3: flow.source3 ^ 4 }, sequence, cookie, now));
    t.false(is(other, flow, sequence, cookie, now));
    t.false(is(cookies, flow, sequence, (cookie ^ 0x80000000) | 0, now));
  }
});

test('another engine knows the cookies of this one', (t) => {
  const random = new Random(8);
  const [one, two] = [new Cookies(KEY), new Cookies(KEY)];
  const flow = randomFlow(random);
  const offered = offer(random);
  t.true(two.check(flow, 7, one.make(flow, 7, offered, 5), echoOf(one, offered, 5), 70_000));
});

test('who guesses hits no more often than the few things that a cookie can say', (t) => {
  const random = new Random(9);
  const cookies = new Cookies(KEY);
  const flow = randomFlow(random);
  let hits = 0;
  for (let i = 0; i < 200_000; i++) {
    const options = new TcpOptions();
    options.timestamps = i % 2 === 0;
    if (cookies.check(flow, i, random.word() | 0, options, 1_000_000)) hits++;
  }
  // 2^-24 each at most.
  t.true(hits <= 1, `${hits}`);
});

test('our timestamp is the time to 64 ms, and never ahead of it', (t) => {
  const random = new Random(10);
  const cookies = new Cookies(KEY);
  for (let i = 0; i < 1000; i++) {
    const now = random.below(2 ** 40);
    const late = ((now | 0) - cookies.timestamp(offer(random), now)) | 0;
    t.true(late >= 0 && late < 128, `${late}`);
  }
});
