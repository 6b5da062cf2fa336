import test from 'ava';
import { Counters } from '../../src/dataplane/core/counters.js';
import { drop } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import { Pool } from '../../src/dataplane/core/pool.js';
import { hop } from '../../src/dataplane/core/tracer.js';
import { FilterError, type FilterInstruction } from '../../src/dataplane/core/watch/filter.js';
import { RingTracer, watchMemory } from '../../src/dataplane/core/watch/ring-tracer.js';
import {
  type RawHop,
  type TraceEvent,
  Watchers,
  WatchersBusyError,
} from '../../src/dataplane/core/watch/watch.js';

const ALL: FilterInstruction[] = [];
/** Frames whose first byte is `value`. */
const firstByte = (value: number): FilterInstruction[] => [
  { code: 0x30, jt: 0, jf: 0, k: 0 },
  { code: 0x15, jt: 0, jf: 1, k: value },
  { code: 0x06, jt: 0, jf: 0, k: 262144 },
  { code: 0x06, jt: 0, jf: 0, k: 0 },
];
const describe = ({ hop, value, reason }: RawHop) => reason ?? `${hop} ${value}`;

/** Engines that share one watch memory, and a clock that ticks a microsecond a look. */
function setUp(engines = 1, ringBytes = 1 << 16) {
  const memory = watchMemory(engines, ringBytes);
  let now = 1_700_000_000_000_000;
  const paths = Array.from({ length: engines }, (_, engine) => {
    const pool = new Pool(8);
    return new Path(pool, new Counters(1, 1), new RingTracer(pool, memory, engine, () => now++));
  });
  return { watchers: new Watchers(memory), path: paths[0]!, paths };
}

/** A frame enters as the engine lets it enter. */
function enter(path: Path, frame: number[], port = 3): number {
  const { pool, tracer } = path;
  const packet = pool.take();
  pool.bytes.set(frame, pool.offset[packet]!);
  pool.length[packet] = frame.length;
  tracer.refresh();
  if (tracer.active) tracer.match(packet, hop['tap.receive'], port);
  return packet;
}

async function all<T>(watch: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of watch) found.push(item);
  return found;
}

test('while nobody watches, the tracer is not active and no packet is followed', (t) => {
  const { path } = setUp();
  const packet = enter(path, [1]);
  t.false(path.tracer.active);
  t.is(path.pool.trace[packet], 0);
  path.pool.free(packet);
  t.is(path.pool.allocated, 0);
});

test('a trace tells every hop of a matching packet, with its text, its time and its first bytes', async (t) => {
  const { watchers, path } = setUp();
  const stop = new AbortController();
  const watch = watchers.trace({ filter: firstByte(7), snapLength: 4 }, describe, stop.signal);
  const other = enter(path, [6, 1, 2]);
  const packet = enter(path, [7, 1, 2, 3, 4, 5]);
  t.is(path.pool.trace[other], 0);
  t.not(path.pool.trace[packet], 0);
  path.tracer.note(packet, hop['bridge.remote'], 2);
  path.drop(packet, drop['vtep-unreachable']);
  path.drop(other, drop['too-big']);
  stop.abort();
  const events = await all(watch);
  t.deepEqual(
    events.map(({ hop, detail }) => [hop, detail]),
    [
      ['tap.receive', 'tap.receive 3'],
      ['bridge.remote', 'bridge.remote 2'],
      ['drop', 'vtep-unreachable'],
    ],
  );
  t.is(new Set(events.map((event) => event.packet)).size, 1);
  for (const { frame, length } of events) {
    t.deepEqual(frame, Uint8Array.of(7, 1, 2, 3));
    t.is(length, 6);
  }
  t.true(events.every(({ time }) => Math.floor(time) === 1_700_000_000));
  t.true(events[0]!.time < events[1]!.time);
  t.is(path.pool.allocated, 0);
});

test('behind encap the frame is still shown, not the outer headers before it', async (t) => {
  const { watchers, path } = setUp();
  const { pool, tracer } = path;
  const stop = new AbortController();
  const watch = watchers.trace({ filter: ALL, snapLength: 64 }, describe, stop.signal);
  const packet = enter(path, [7, 8, 9]);
  for (const [step, headers] of [[hop.encap, 8] as const, [hop['underlay.transmit'], 42] as const]) {
    pool.offset[packet]! -= headers;
    pool.length[packet]! += headers;
    tracer.note(packet, step, 0);
  }
  path.drop(packet, drop['underlay-busy']);
  stop.abort();
  const events = await all(watch);
  t.is(events.length, 4);
  for (const event of events)
    t.deepEqual([event.frame, event.length], [Uint8Array.of(7, 8, 9), 3], event.hop);
  t.is(pool.allocated, 0);
});

test('a capture tells each frame once, as it entered, and leaves the packet unfollowed', async (t) => {
  const { watchers, path } = setUp();
  const stop = new AbortController();
  const watch = watchers.capture({ filter: ALL, snapLength: 2 }, stop.signal);
  const packet = enter(path, [1, 2, 3]);
  t.is(path.pool.trace[packet], 0);
  path.pool.free(packet);
  stop.abort();
  const frames = await all(watch);
  t.deepEqual(
    frames.map(({ frame, length }) => ({ frame, length })),
    [{ frame: Uint8Array.of(1, 2), length: 3 }],
  );
  t.is(path.pool.allocated, 0);
});

test('a watch goes on while frames come, and ends soon after its signal', async (t) => {
  const { watchers, path } = setUp();
  const stop = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { frame } of watchers.capture({ filter: ALL, snapLength: 1 }, stop.signal)) {
      seen.push(frame[0]!);
      if (seen.length === 3) stop.abort();
    }
  })();
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    path.pool.free(enter(path, [i]));
  }
  await reading;
  t.deepEqual(seen, [0, 1, 2]);
  path.tracer.refresh();
  t.false(path.tracer.active);
});

test('four watchers each see what their own filter matches; a fifth is refused until one has gone', async (t) => {
  const { watchers, path } = setUp();
  const stops = [1, 2, 3, 4].map(() => new AbortController());
  const watches = stops.map((stop, i) =>
    watchers.trace({ filter: i === 3 ? ALL : firstByte(i), snapLength: 9 }, describe, stop.signal),
  );
  t.throws(() => watchers.capture({ filter: ALL, snapLength: 1 }, new AbortController().signal), {
    instanceOf: WatchersBusyError,
    code: 'WATCHERS_BUSY',
  });
  const packets = [0, 1, 2, 3].map((byte) => enter(path, [byte]));
  for (const packet of packets) path.tracer.note(packet, hop['bridge.local'], 1);
  for (const packet of packets) path.pool.free(packet);
  for (const stop of stops) stop.abort();
  const seen = await Promise.all(watches.map((watch) => all(watch)));
  const firsts = (events: TraceEvent[]) => events.map(({ frame }) => frame[0]).sort();
  t.deepEqual(seen.map(firsts), [
    [0, 0],
    [1, 1],
    [2, 2],
    [0, 0, 1, 1, 2, 2, 3, 3],
  ]);
  await t.notThrowsAsync(all(watchers.capture({ filter: ALL, snapLength: 1 }, AbortSignal.abort())));
  t.is(path.pool.allocated, 0);
});

test('a watcher sees nothing of the packets and records of the one before it in the same place', async (t) => {
  const { watchers, path } = setUp();
  const first = new AbortController();
  const ended = watchers.trace({ filter: ALL, snapLength: 9 }, describe, first.signal);
  const old = enter(path, [1]);
  first.abort();
  t.is((await all(ended)).length, 1);
  const stop = new AbortController();
  const watch = watchers.trace({ filter: firstByte(9), snapLength: 9 }, describe, stop.signal);
  path.tracer.note(old, hop['bridge.local'], 1); // before the engine has heard of the change
  path.tracer.refresh();
  path.tracer.note(old, hop['tap.transmit'], 1);
  path.pool.free(old);
  path.pool.free(enter(path, [9]));
  stop.abort();
  t.deepEqual(
    (await all(watch)).map(({ frame, hop }) => [frame[0], hop]),
    [[9, 'tap.receive']],
  );
  t.is(path.pool.allocated, 0);
});

test('of more frames than the ring holds, the rest is counted as lost', async (t) => {
  const { watchers, path } = setUp(1, 1024);
  const stop = new AbortController();
  const watch = watchers.capture({ filter: ALL, snapLength: 100 }, stop.signal);
  for (let i = 0; i < 50; i++) path.pool.free(enter(path, new Array<number>(100).fill(i)));
  stop.abort();
  const frames = await all(watch);
  t.true(frames.length > 0 && watch.lost > 0);
  t.is(frames.length + watch.lost, 50);
  t.deepEqual(
    frames.map(({ frame }) => frame[0]),
    frames.map((_, i) => i),
    'the first ones were kept',
  );
  t.is(path.pool.allocated, 0);
});

test('the records of several engines come in order of time, their packets with different ids', async (t) => {
  const { watchers, paths } = setUp(3);
  const stop = new AbortController();
  const watch = watchers.trace({ filter: ALL, snapLength: 9 }, describe, stop.signal);
  for (let i = 0; i < 30; i++) paths[i % 3]!.pool.free(enter(paths[i % 3]!, [i]));
  stop.abort();
  const events = await all(watch);
  t.deepEqual(
    events.map(({ frame }) => frame[0]),
    events.map((_, i) => i),
  );
  t.is(events.length, 30);
  t.is(new Set(events.map(({ packet }) => packet)).size, 30);
});

test('a faulty filter is refused and takes no place; nor does one whose signal has fired, or whose reader left', async (t) => {
  const { watchers, path } = setUp();
  for (let i = 0; i < 6; i++) {
    t.throws(
      () => watchers.capture({ filter: [firstByte(1)[0]!], snapLength: 1 }, new AbortController().signal),
      { instanceOf: FilterError },
    );
    t.deepEqual(await all(watchers.capture({ filter: ALL, snapLength: 1 }, AbortSignal.abort())), []);
    const unread = new AbortController();
    watchers.capture({ filter: ALL, snapLength: 1 }, unread.signal);
    unread.abort();
    const left = watchers.capture({ filter: ALL, snapLength: 1 }, new AbortController().signal);
    path.pool.free(enter(path, [i]));
    for await (const { frame } of left) {
      t.is(frame[0], i);
      break;
    }
  }
  path.tracer.refresh();
  t.false(path.tracer.active);
});
