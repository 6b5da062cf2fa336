import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { closing, native } from './machine.js';

const event = (t: ExecutionContext) => closing(t, native.eventCreate());

function watch(t: ExecutionContext, ...fds: number[]) {
  const epoll = closing(t, native.epollCreate());
  fds.forEach((fd, i) => {
    native.epollAdd(epoll, fd, i + 1);
  });
  return epoll;
}

test('wait tells the tags of what is readable, as long as it is', (t) => {
  const [first, second] = [event(t), event(t)];
  const epoll = watch(t, first, second);
  const tags = new Int32Array(4);
  t.is(native.wait(epoll, tags, 0, 0), 0);
  native.eventSignal(second);
  t.is(native.wait(epoll, tags, 1000, 0), 1);
  t.is(tags[0], 2);
  native.eventSignal(first);
  t.is(native.wait(epoll, tags, -1, 0), 2);
  native.eventClear(second);
  t.is(native.wait(epoll, tags, -1, 0), 1);
  t.is(tags[0], 1);
  native.epollDelete(epoll, first);
  t.is(native.wait(epoll, tags, 0, 0), 0);
});

test('tags up to the largest come back as they were given', (t) => {
  const epoll = closing(t, native.epollCreate());
  const tags = new Int32Array(1);
  for (const tag of [0, 1, 0x7fffffff]) {
    const fd = event(t);
    native.epollAdd(epoll, fd, tag);
    native.eventSignal(fd);
    t.is(native.wait(epoll, tags, -1, 100), 1);
    t.is(tags[0], tag);
    native.epollDelete(epoll, fd);
  }
});

test('no more are told than there is room for', (t) => {
  const fds = [event(t), event(t), event(t)];
  const epoll = watch(t, ...fds);
  for (const fd of fds) native.eventSignal(fd);
  t.is(native.wait(epoll, new Int32Array(2), 0, 0), 2);
  t.like(
    t.throws(() => native.wait(epoll, new Int32Array(0), 0, 0)),
    { code: 'EINVAL' },
  );
});

/** CPU and wall time of a wait, in ms. */
function timed(epoll: number, timeoutMs: number, spinMicros: number) {
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  t0 = native.wait(epoll, new Int32Array(1), timeoutMs, spinMicros);
  const { user, system } = process.cpuUsage(cpu);
  return { wall: performance.now() - start, cpu: (user + system) / 1000 };
}
let t0 = 0;

test.serial('wait returns after its timeout, whether it sleeps, spins or does both', (t) => {
  const epoll = watch(t, event(t));
  for (const [timeoutMs, spinMicros] of [
    [40, 0],
    [40, 10_000],
    [40, 40_000],
    [40, 0x7fffffff],
  ] as const) {
    const { wall } = timed(epoll, timeoutMs, spinMicros);
    t.is(t0, 0);
    t.true(wall >= 39 && wall < 400, `${timeoutMs} ms, ${spinMicros} µs: ${wall} ms`);
  }
  t.true(timed(epoll, 0, 100_000).wall < 50);
});

test('a signal from another thread ends a wait without end', async (t) => {
  const fd = event(t);
  const epoll = watch(t, fd);
  const addonPath =
    process.env.VIADUCT_ADDON ?? new URL('../../../native/build/viaduct.node', import.meta.url).pathname;
  const worker = new Worker(
    `const { addonPath, fd } = require('node:worker_threads').workerData;
     setTimeout(() => require(addonPath).eventSignal(fd), 20);`,
    { eval: true, workerData: { addonPath, fd } },
  );
  await new Promise((resolve) => worker.once('online', resolve));
  t.is(native.wait(epoll, new Int32Array(1), 5000, 50), 1);
  await new Promise((resolve) => worker.once('exit', resolve));
});

test('an event signalled often is cleared at once, and clearing a clear one does nothing', (t) => {
  const fd = event(t);
  const epoll = watch(t, fd);
  for (let i = 0; i < 1000; i++) native.eventSignal(fd);
  native.eventClear(fd);
  native.eventClear(fd);
  t.is(native.wait(epoll, new Int32Array(1), 0, 0), 0);
});

test('a descriptor that is none, or watched twice, is an error with a code', (t) => {
  const fd = event(t);
  const epoll = watch(t, fd);
  t.like(
    t.throws(() => native.epollAdd(epoll, fd, 1)),
    { code: 'EEXIST', errno: -17, syscall: 'epoll_ctl' },
  );
  t.like(
    t.throws(() => native.epollDelete(epoll, 0x7fffff)),
    { code: 'EBADF' },
  );
  t.like(
    t.throws(() => native.wait(0x7fffff, new Int32Array(1), 0, 0)),
    { code: 'EBADF', syscall: 'epoll_wait' },
  );
  t.like(
    t.throws(() => native.close(0x7fffff)),
    { code: 'EBADF', syscall: 'close' },
  );
  t.like(
    t.throws(() => native.eventSignal(0x7fffff)),
    { code: 'EBADF' },
  );
});
