import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as checksum from '../../src/dataplane/wire/checksum.js';
import * as tcp from '../../src/dataplane/wire/tcp.js';
import { eachLength, guard, hex, place, slowSum, untouched } from './bytes.js';
import { altered, SYN4, SYN6 } from './packets.js';

const SEGMENT = SYN4.slice(34);
const MSS = 22;

/** A segment with these options (a multiple of four bytes), whose checksum over itself alone is right. */
function segment(options: number[], flags: number = tcp.SYN): Uint8Array {
  const bytes = new Uint8Array(20 + options.length);
  bytes.set(hex('e1ac1f90 78bb12c9 00000000 5002faf0 00000000'));
  bytes[12] = (bytes.length / 4) << 4;
  bytes[13] = flags;
  bytes.set(options, 20);
  tcp.writeChecksum(bytes, 0, checksum.finish(slowSum(bytes)));
  return bytes;
}

test('a real header is read', (t) => {
  const { bytes, at } = place(SEGMENT);
  t.is(tcp.sourcePort(bytes, at), 57772);
  t.is(tcp.destinationPort(bytes, at), 8080);
  t.is(tcp.sequence(bytes, at), 2025525961);
  t.is(tcp.acknowledgment(bytes, at), 0);
  t.is(tcp.sequence(SYN6, 54), 3472150840, 'unsigned');
  t.is(tcp.headerLength(bytes, at), 40);
  t.is(tcp.flags(bytes, at), tcp.SYN);
  t.is(tcp.window(bytes, at), 64240);
  t.is(tcp.checksum(bytes, at), 0xcb4c);
});

test('ports and checksum are written where they are read', (t) => {
  const { bytes, at, end } = place(new Uint8Array(20).fill(0xa5));
  const guarded = guard(bytes, [], [[at, end]]);
  tcp.writeSourcePort(guarded, at, 57772);
  tcp.writeDestinationPort(guarded, at, 8080);
  tcp.writeChecksum(guarded, at, 0xcb4c);
  t.deepEqual(bytes.slice(at, at + 4), SEGMENT.slice(0, 4));
  t.deepEqual(bytes.slice(at + tcp.CHECKSUM, at + 18), SEGMENT.slice(16, 18));
  t.true(untouched(bytes, [at, at + 4], [at + 16, at + 18]));
});

test('a header is valid with all of its options', (t) => {
  t.is(eachLength(SEGMENT, tcp.valid).indexOf(true), 40);
  t.false(tcp.valid(altered(SEGMENT, 12, 0x40), 0, 40));
  t.true(tcp.valid(altered(SEGMENT, 12, 0x50), 0, 40));
  t.false(tcp.valid(altered(SEGMENT, 12, 0xb0), 0, 40));
});

test('a larger MSS is lowered and the checksum stays right, over IPv4 and IPv6', (t) => {
  for (const [frame, ip, addresses] of [
    [SYN4, 34, 8],
    [SYN6, 54, 32],
  ] as const) {
    const { bytes, at, end } = place(frame);
    const header = at + ip;
    t.true(tcp.clampMss(guard(bytes, [[header, end]], [[header, end]]), header, end, 1000));
    t.is((bytes[header + MSS] << 8) | bytes[header + MSS + 1], 1000);
    const pseudo = [...bytes.slice(header - addresses, header), 0, 6, 0, 40];
    t.is(slowSum([...pseudo, ...bytes.slice(header, end)]), 0xffff);
    t.deepEqual(bytes.slice(header + 24, end), frame.slice(ip + 24));
    t.true(untouched(bytes, [at, end]));
  }
});

test('an MSS that is small enough stays, and so does a segment that is no SYN', (t) => {
  for (const mss of [1460, 1461, 65_535]) {
    const bytes = SEGMENT.slice();
    t.false(tcp.clampMss(bytes, 0, 40, mss));
    t.deepEqual(bytes, SEGMENT);
  }
  const ack = altered(SEGMENT, 13, tcp.ACK);
  t.false(tcp.clampMss(guard(ack, [[0, 40]]), 0, 40, 500));
  t.true(tcp.clampMss(altered(SEGMENT, 13, tcp.SYN | tcp.ACK), 0, 40, 500), 'the answer is clamped too');
});

test('an unfinished checksum stays as it is', (t) => {
  const bytes = SEGMENT.slice();
  t.true(tcp.clampMss(bytes, 0, 40, 1200, true));
  t.deepEqual(bytes, altered(SEGMENT, MSS, 1200 >>> 8, 1200 & 255));
});

test('a truncated SYN is left alone', (t) => {
  const changed = eachLength(SEGMENT, (bytes, at, end) => tcp.clampMss(bytes, at, end, 1000));
  t.is(changed.indexOf(true), 40);
});

test('malformed options end the search and are not touched', (t) => {
  const cases: [name: string, options: number[]][] = [
    ['length 0', [3, 0, 2, 4, 5, 180, 1, 1]],
    ['length 1', [3, 1, 2, 4, 5, 180, 1, 1]],
    ['past the header', [8, 10, 2, 4, 5, 180, 1, 1]],
    ['no room for the length', [1, 1, 1, 2]],
    ['no room for the value', [1, 2, 4, 5]],
    ['MSS of length 3', [2, 3, 180, 0]],
    ['MSS of length 6', [2, 6, 5, 180, 5, 180, 0, 0]],
    ['behind the end', [0, 0, 0, 0, 2, 4, 5, 180]],
    ['MSS of length 0', [2, 0, 5, 180]],
  ];
  for (const [name, options] of cases) {
    const bytes = segment(options);
    const before = bytes.slice();
    t.false(tcp.clampMss(guard(bytes, [[0, bytes.length]]), 0, bytes.length, 500), name);
    t.deepEqual(bytes, before, name);
  }
});

test('random options: every MSS before the first malformed one is lowered, and nothing else changes', (t) => {
  const random = new Random(6);
  let changes = 0;
  for (let round = 0; round < 4000; round++) {
    const options: number[] = [];
    const values: number[] = [];
    let ended = false;
    while (options.length < 40) {
      const room = 40 - options.length;
      const kind = random.below(6);
      if (kind === 0) options.push(1);
      else if (kind === 1 && room >= 4) {
        if (!ended) values.push(options.length + 2);
        options.push(2, 4, random.below(256), random.below(256));
      } else if (kind === 2 && room >= 10) {
        const length = 2 + random.below(9);
        options.push(3 + random.below(250), length);
        for (let i = 2; i < length; i++) options.push(random.below(256));
      } else if (random.chance(0.1)) {
        options.push(...[[0], [9, 0], [9, 1], [9, 255]][random.below(4)]);
        ended = true;
        if (options.length > 40) options.length = 40;
      } else if (kind === 3 && random.chance(0.3)) break;
    }
    while (options.length % 4 !== 0) options.push(ended ? random.below(256) : 1);
    const before = segment(options);
    const mss = random.below(65_536);
    const expected = before.slice();
    let lowered = false;
    for (const value of values) {
      const offered = (options[value] << 8) | options[value + 1];
      if (offered > mss) {
        expected.set([mss >>> 8, mss & 255], 20 + value);
        lowered = true;
      }
    }
    const { bytes, at, end } = place(before);
    t.is(tcp.clampMss(guard(bytes, [[at, end]], [[at, end]]), at, end, mss), lowered, `round ${round}`);
    expected.set(bytes.slice(at + 16, at + 18), 16);
    t.deepEqual(bytes.slice(at, end), expected, `round ${round}`);
    t.is(slowSum(expected), 0xffff, `round ${round}`);
    if (lowered) changes++;
  }
  t.true(changes > 1000);
});

test('random bytes for options never lead out of the header', (t) => {
  const random = new Random(7);
  for (let round = 0; round < 5000; round++) {
    const content = new Uint8Array(20 + random.below(45));
    random.fill(content);
    for (let i = 20; i < content.length; i++) if (random.chance(0.6)) content[i] = random.below(6);
    if (content.length > 13) content[13] |= tcp.SYN;
    const { bytes, at, end } = place(content);
    const header = Math.min(end, at + ((content[12] >>> 4) << 2));
    const before = slowSum(content);
    tcp.clampMss(guard(bytes, [[at, end]], [[at, Math.max(header, at + 20)]]), at, end, random.below(2000));
    t.is(slowSum(bytes.slice(at, end)), before, `round ${round}`);
    t.true(untouched(bytes, [at, end]));
  }
});
