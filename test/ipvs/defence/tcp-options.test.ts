import test from 'ava';
import {
  findTimestamps,
  OPTIONS_MAX,
  readOptions,
  TcpOptions,
  writeOptions,
} from '../../../src/dataplane/ipvs/defence/tcp-options.js';
import { hex } from '../../wire/bytes.js';
import { build, memoryOf, parsedOf, TCP } from '../packets.js';

const read = (options: string) => {
  const packet = build({ protocol: TCP, options: hex(options), flags: 2 });
  const into = new TcpOptions();
  readOptions(memoryOf(packet), parsedOf(packet), into);
  return { ...into };
};
const none = { mss: 0, scale: -1, sack: false, timestamps: false, value: 0, echo: 0 };
/** The SYNs of Linux, of Windows, and an answer. */
const LINUX = '020405b4 0402080a 11223344 00000000 01030307';
const WINDOWS = '020405b4 0103 0308 0101 0402';

test('the options of real SYNs', (t) => {
  t.deepEqual(read(LINUX), { mss: 1460, scale: 7, sack: true, timestamps: true, value: 0x11223344, echo: 0 });
  t.deepEqual(read(WINDOWS), { ...none, mss: 1460, scale: 8, sack: true });
  t.deepEqual(read(''), none);
});

test('what is malformed ends the reading, and lengths that are none count for nothing', (t) => {
  t.deepEqual(read('02040578 02000000'), { ...none, mss: 1400 });
  t.deepEqual(read('02040578 03630000'), { ...none, mss: 1400 });
  t.deepEqual(read('02030578 04020000'), { ...none });
  t.deepEqual(read('00000000 02040578'), none);
  t.deepEqual(read('01010101 02040578'), { ...none, mss: 1400 });
  t.deepEqual(read('0303ff00'), { ...none, scale: 14 });
});

test('what is written is read again, and fits', (t) => {
  for (let bits = 0; bits < 16; bits++) {
    const options = Object.assign(new TcpOptions(), {
      mss: bits & 1 ? 1440 : 0,
      scale: bits & 2 ? 9 : -1,
      sack: (bits & 4) !== 0,
      ...(bits & 8 && { timestamps: true, value: -5, echo: 77 }),
    });
    const bytes = new Uint8Array(64);
    const length = writeOptions(memoryOf(bytes), 0, options);
    t.true(length <= OPTIONS_MAX && length % 4 === 0);
    t.deepEqual(read(Buffer.from(bytes.subarray(0, length)).toString('hex')), { ...options });
  }
});

test('timestamps are found wherever they stand', (t) => {
  const at = (options: string) => {
    const packet = build({ protocol: TCP, options: hex(options) });
    const parsed = parsedOf(packet);
    const found = findTimestamps(memoryOf(packet), parsed);
    return found < 0 ? found : found - parsed.transport - 20;
  };
  t.is(at('0101080a 00000001 00000002'), 4);
  t.is(at(LINUX), 8);
  t.is(at('080a 00000001 00000002 0101'), 2);
  t.is(at('0101050a 00000001 00000002'), -1);
  t.is(at('0101 080a 00000001 00000002 050a0000000100000002'), 4);
  t.is(at('00000000 080a0000'), -1);
  t.is(at(''), -1);
});
