import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as checksum from '../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import { guard, hex, place, slowSum } from './bytes.js';
import { SYN4, SYN6, UDP4 } from './packets.js';

test('the example of RFC 1071 §3 sums to ddf2', (t) => {
  const bytes = hex('0001 f203 f4f5 f6f7');
  t.is(checksum.sum(bytes, 0, 8), 0xddf2);
  t.is(checksum.finish(0xddf2), 0x220d);
});

test('sums are those of the slow model, for every length, place and initial value', (t) => {
  const random = new Random(1);
  for (let length = 0; length <= 200; length++) {
    const content = new Uint8Array(length);
    random.fill(content);
    if (length % 5 === 0) content.fill(0xff);
    const initial = random.below(0x10000);
    const { bytes, at, end } = place(content);
    const expected = slowSum([initial >>> 8, initial & 255, ...content]);
    t.is(checksum.sum(guard(bytes, [[at, end]]), at, length, initial), expected, `${length} bytes`);
    t.is(checksum.sum(content, 0, length, initial), expected);
    // Nothing outside may count: all around is filler.
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    t.is(checksum.sumWords(view, at, length), slowSum(content), `${length} bytes, by words`);
  }
});

test('64 KB of the largest words do not overflow', (t) => {
  t.is(checksum.sum(new Uint8Array(65_536).fill(0xff), 0, 65_536, 0xffff), 0xffff);
  for (const length of [65_535, 65_536, 1 << 20]) {
    const bytes = new Uint8Array(length).fill(0xff);
    t.is(checksum.sumWords(new DataView(bytes.buffer), 0, length), slowSum(bytes));
  }
  t.is(
    checksum.sum(new Uint8Array(65_535).fill(0xff), 0, 65_535),
    slowSum(new Uint8Array(65_535).fill(0xff)),
  );
});

test('fold adds all carries of a 32-bit accumulator', (t) => {
  t.is(checksum.fold(0), 0);
  t.is(checksum.fold(0xffff), 0xffff);
  t.is(checksum.fold(0x1ffff), 1);
  t.is(checksum.fold(0xffff_ffff), 0xffff);
  t.is(checksum.fold(-1), 0xffff);
});

test('a range that holds its checksum sums to ffff under its pseudo-header', (t) => {
  for (const [frame, protocol] of [
    [SYN4, 6],
    [UDP4, 17],
  ] as const) {
    const length = frame.length - 34;
    const pseudo = checksum.pseudoHeader4(
      ipv4.source(frame, 14),
      ipv4.destination(frame, 14),
      protocol,
      length,
    );
    t.is(pseudo, slowSum([...frame.slice(26, 34), 0, protocol, length >>> 8, length & 255]));
    t.is(checksum.sum(frame, 34, length, pseudo), 0xffff);
  }
  const pseudo = checksum.pseudoHeader6(guard(SYN6, [[22, 54]]), 14, 6, 40);
  t.is(pseudo, slowSum([...SYN6.slice(22, 54), 0, 0, 0, 40, 0, 0, 0, 6]));
  t.is(checksum.sum(SYN6, 54, 40, pseudo), 0xffff);
});

test('pseudo-headers of the largest addresses and lengths do not overflow', (t) => {
  t.is(checksum.pseudoHeader4(-1, -1, 255, 65_535), slowSum([...Array(8).fill(255), 0, 255, 255, 255]));
  t.is(
    checksum.pseudoHeader6(new Uint8Array(40).fill(255), 0, 255, 65_575),
    slowSum([...Array(32).fill(255), 0, 1, 0, 39, 0, 0, 0, 255]),
  );
});

test('the example of RFC 1624 §4 updates to 0000, not ffff', (t) => {
  t.is(checksum.update16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an updated checksum is the one computed anew', (t) => {
  const random = new Random(2);
  const content = new Uint8Array(40);
  for (let round = 0; round < 5000; round++) {
    random.fill(content);
    content[0] = 1; // a sum of all zeros has two names
    const before = checksum.finish(slowSum(content));
    const at = 2 + 2 * random.below(18);
    const old16 = (content[at] << 8) | content[at + 1];
    const old32 = ipv4.address(content, at);
    const wide = random.chance(0.5);
    const value = random.chance(0.2) ? [0, 0xffff, -1][random.below(3)] : random.word() | 0;
    if (wide) {
      ipv4.writeAddress(content, at, value);
      t.is(checksum.update32(before, old32, value), checksum.finish(slowSum(content)));
    } else {
      content.set([value >>> 8, value], at);
      t.is(checksum.update16(before, old16, value & 0xffff), checksum.finish(slowSum(content)));
    }
  }
});
