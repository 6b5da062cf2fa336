/** Hostile arguments: whatever is handed in, a call throws or works; it never takes the process with it. */
import test from 'ava';
import type { Addon } from '../../src/dataplane/io/native.js';
import { closing, native, poolFor, tapDefaults, udpDefaults } from './machine.js';

type Calls = { [name: string]: (...args: unknown[]) => unknown };
const calls = native as unknown as Calls;

const detached = new Int32Array(8);
structuredClone(detached.buffer, { transfer: [detached.buffer] });

/** Nothing among them is a descriptor of somebody, so that closing or reading hurts nobody. */
const junk: unknown[] = [
  undefined,
  null,
  true,
  -1,
  0.5,
  1e9,
  2 ** 31,
  -(2 ** 31),
  2 ** 53,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  10n,
  'text',
  'nul\0inside',
  'x'.repeat(70_000),
  Symbol('symbol'),
  {},
  [],
  () => 0,
  new ArrayBuffer(0),
  new ArrayBuffer(64),
  new SharedArrayBuffer(64),
  new Uint8Array(0),
  new Uint8Array(64),
  new Int32Array(0),
  new Int32Array(64),
  new Int32Array(new SharedArrayBuffer(64)),
  new Float64Array(8),
  new BigInt64Array(8),
  new DataView(new ArrayBuffer(64)),
  detached,
  new Proxy(new Int32Array(8), {}),
  Object.create(Int32Array.prototype),
];

/** A call that was made right, argument by argument: each is then replaced by junk in turn. */
function right(handle: number): { [Name in keyof Addon]?: unknown[] } {
  const list = new Int32Array(4);
  const sums = new Int32Array(4);
  return {
    setTapOffloads: [-1, 0],
    tapReceive: [handle, -1, 12, list, 1],
    tapTransmit: [handle, -1, 12, list, 0, 1],
    udpReceive: [handle, -1, list, 1],
    udpTransmit: [handle, -1, new Uint8Array(32), list, 0, 1],
    sums: [handle, list, list, sums, 1],
    copySegments: [handle, 0, 5000, 10, 10, 20, sums],
    joinSegments: [handle, 0, 10, 20, 60],
    epollAdd: [-1, -1, 0],
    epollDelete: [-1, -1],
    wait: [-1, list, 0, 0],
    eventSignal: [-1],
    eventClear: [-1],
    close: [-1],
    netlink: ['/nowhere', 0, new Uint8Array(32)],
    netlinkSubscribe: ['/nowhere', 0, 0],
    netlinkRead: [-1],
    bpfLoad: [Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0), 'x'],
    bpfAttach: [-1, '/nowhere', 1, 46],
    ethtool: ['/nowhere', 'lo', 0x2b, 0],
    attach: [new ArrayBuffer(4096), 4096, new Int32Array(100), 4, new Int32Array(2)],
    allocate: [4096],
    detach: [63],
  };
}

test('every call of the contract has its arguments replaced by junk', (t) => {
  const { handle } = poolFor(t, 1);
  const covered = Object.keys(right(handle));
  const others = ['openTap', 'openUdp', 'epollCreate', 'eventCreate'];
  t.deepEqual([...covered, ...others].sort(), Object.keys(native).sort());
});

const made = poolFor;
for (const name of Object.keys(right(0))) {
  test(`${name} with junk in the place of any argument throws or returns`, (t) => {
    const { handle } = made(t, 1);
    const attempt = (args: unknown[]) => {
      try {
        const result = calls[name]!(...args);
        if (name === 'attach') native.detach(result as number);
      } catch (error) {
        t.true(error instanceof Error);
      }
    };
    const args = right(handle)[name as keyof Addon]!;
    for (let i = 0; i < args.length; i++) {
      for (const value of junk) attempt(args.with(i, value));
      attempt(args.slice(0, i));
    }
    for (const value of junk) attempt(new Array(args.length).fill(value));
  });
}

test('an argument of a wrong type is a TypeError that names it', (t) => {
  const { handle } = poolFor(t, 1);
  const list = new Int32Array(1);
  const wrong = (message: RegExp) => ({ instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE', message });
  t.throws(() => calls.udpReceive!(handle, 'fd', list, 1), wrong(/^fd must be a number/));
  t.throws(() => calls.udpReceive!(handle, -1, [], 1), wrong(/^list must be an Int32Array/));
  t.throws(() => calls.udpReceive!(handle, -1, new Uint32Array(1), 1), wrong(/^list/));
  t.throws(() => calls.udpReceive!(handle, -1, list), wrong(/^count/));
  t.throws(() => calls.udpTransmit!(handle, -1, list, list, 0, 1), wrong(/^addresses must be a Uint8Array/));
  t.throws(() => calls.openTap!(undefined), wrong(/^options must be an object/));
  t.throws(() => calls.openTap!({ ...tapDefaults, tun: 1 }), wrong(/^tun must be a boolean/));
  t.throws(() => calls.openUdp!({ ...udpDefaults, netns: 0 }), wrong(/^netns must be a string/));
});

test('a number that is no 32-bit integer is a RangeError: it must not become another descriptor', (t) => {
  for (const fd of [Number.NaN, 2 ** 32, 0.5, Number.POSITIVE_INFINITY]) {
    t.throws(() => native.close(fd), { instanceOf: RangeError, message: /^fd must be an integer/ });
  }
});

test('a name or path that does not fit, or has a NUL in it, is a RangeError', (t) => {
  const range = { instanceOf: RangeError };
  t.throws(() => native.openTap({ ...tapDefaults, name: 'a-name-of-16-byt' }), range);
  t.throws(() => native.openTap({ ...tapDefaults, name: 'a\0b' }), range);
  t.throws(() => native.openTap({ ...tapDefaults, netns: 'x'.repeat(5000) }), range);
  t.throws(() => native.openUdp({ ...udpDefaults, address: '1'.repeat(100) }), range);
});

test('an error out of an option’s getter comes through as it is', (t) => {
  const options = {
    get name() {
      throw new Error('mine');
    },
  };
  t.throws(() => calls.openTap!(options), { message: 'mine' });
});

test('a detached list has no packets', (t) => {
  const { handle, status } = poolFor(t, 1);
  t.is(native.udpReceive(handle, -1, detached, 1), 0);
  t.is(status[1], 14);
  closing(t, native.eventCreate());
});
