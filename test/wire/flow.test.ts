import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import { hash } from '../../src/dataplane/wire/flow.js';
import * as tcp from '../../src/dataplane/wire/tcp.js';
import { guard, hex, place } from './bytes.js';
import { ADVERTISEMENT, ARP_REQUEST, altered, MLD, SYN4, SYN6, tagged, UDP4, VXLAN4 } from './packets.js';

const of = (frame: Uint8Array): number => {
  const { bytes, at, end } = place(frame);
  return hash(guard(bytes, [[at, end]]), at, end);
};

const insert = (frame: Uint8Array, at: number, extension: string): Uint8Array =>
  Uint8Array.from([...frame.slice(0, at), ...hex(extension), ...frame.slice(at)]);

const SCTP = 132;

test('hashes are unsigned 16-bit numbers that the rest of the memory has no part in', (t) => {
  for (const frame of [ARP_REQUEST, SYN4, SYN6, UDP4, VXLAN4, MLD, ADVERTISEMENT]) {
    const { bytes, at, end } = place(frame);
    const value = hash(bytes, at, end);
    t.true(Number.isInteger(value) && value >= 0 && value <= 0xffff);
    t.is(value, hash(frame, 0, frame.length));
  }
});

test('a truncated frame is hashed by what is there', (t) => {
  const frames = [SYN4, SYN6, MLD, ARP_REQUEST, tagged(UDP4, [0x88a8, 1], [0x8100, 2]), VXLAN4.slice(50)];
  for (const frame of frames) {
    for (let length = 0; length <= frame.length; length++) {
      const value = of(frame.slice(0, length));
      t.true(value >= 0 && value <= 0xffff);
      if (length < 14) t.is(value, 0);
    }
  }
});

test('every part of the 5-tuple counts, for TCP, UDP and SCTP, over IPv4 and IPv6', (t) => {
  for (const protocol of [tcp.PROTOCOL, 17, SCTP]) {
    const four = altered(SYN4, 23, protocol);
    const six = altered(SYN6, 20, protocol);
    for (let at = 26; at < 38; at++) t.not(of(altered(four, at, four[at] ^ 1)), of(four), `IPv4 byte ${at}`);
    for (let at = 22; at < 58; at++) t.not(of(altered(six, at, six[at] ^ 1)), of(six), `IPv6 byte ${at}`);
  }
  t.is(new Set([tcp.PROTOCOL, 17, SCTP, 47].map((protocol) => of(altered(SYN4, 23, protocol)))).size, 4);
});

test('nothing else counts: MACs, tags, TTL, id, flow label, sequence, payload', (t) => {
  const differ = (frame: Uint8Array, ...places: number[]) => {
    for (const at of places) t.is(of(altered(frame, at, frame[at] ^ 0x11)), of(frame), `byte ${at}`);
  };
  differ(SYN4, 0, 6, 15, 17, 18, 22, 24, 38, 46, 50, 73);
  differ(SYN6, 0, 6, 15, 16, 17, 19, 21, 58, 66, 93);
  t.is(of(altered(SYN6, 15, 0x0f, 0xff, 0xff)), of(SYN6), 'the flow label');
  for (const frame of [SYN4, SYN6, ARP_REQUEST]) {
    t.is(of(tagged(frame, [ethernet.VLAN, 5])), of(frame));
    t.is(of(tagged(frame, [ethernet.QINQ, 7], [ethernet.VLAN, 5])), of(frame));
  }
});

test('all fragments of a packet hash alike', (t) => {
  const fragment4 = (field: number) =>
    of(altered(altered(UDP4, 20, field >>> 8, field & 255), 34, field & 255));
  t.is(fragment4(0x2000), fragment4(0x20b9));
  t.is(fragment4(0x2000), fragment4(0x0172));
  t.not(fragment4(0x2000), of(UDP4));
  const fragment6 = (next: string, field: string, rest: string) =>
    of(altered(insert(SYN6, 54, `${next}00${field}01020304${rest}`), 20, 44));
  const first = fragment6('06', '0001', '');
  t.is(first, fragment6('06', '05a9', 'ffff'));
  t.is(first, fragment6('06', '05a8', 'eeee'));
  t.is(first, fragment6('3c', '0001', '0600000000000000'), 'though the protocol hides behind options');
});

test('an extension header that claims to be longer than its packet hides the ports', (t) => {
  const lie = altered(insert(SYN6, 54, '06ff000000000000'), 20, 60);
  t.is(of(altered(lie, 62, 1, 2, 3, 4)), of(lie));
});

test('ports are found behind options and extension headers', (t) => {
  const options4 = altered(insert(SYN4, 34, '94040000'), 14, 0x46);
  t.is(of(options4), of(SYN4));
  const options6 = altered(insert(SYN6, 54, '0600000000000000'), 20, 60);
  t.is(of(options6), of(SYN6));
  const atomic = altered(insert(SYN6, 54, '0600000001020304'), 20, 44);
  t.is(of(atomic), of(SYN6));
});

test('other IP packets hash by addresses and protocol', (t) => {
  const gre = altered(SYN4, 23, 47);
  t.is(of(altered(gre, 34, 1, 2, 3, 4)), of(gre));
  t.not(of(altered(gre, 33, 9)), of(gre));
  t.is(of(altered(ADVERTISEMENT, 54, 1, 2, 3, 4)), of(ADVERTISEMENT));
});

test('frames that are not IP hash by MACs and type', (t) => {
  for (let at = 0; at < 14; at++) t.not(of(altered(ARP_REQUEST, at, ARP_REQUEST[at] ^ 1)), of(ARP_REQUEST));
  t.is(of(altered(ARP_REQUEST, 41, 9)), of(ARP_REQUEST));
  for (const lie of [altered(SYN4, 14, 0x65), altered(SYN4, 14, 0x44), altered(SYN6, 14, 0x45)]) {
    t.is(of(altered(lie, 26, 1)), of(lie), 'nor does what only claims to be');
  }
});

test('a reply is another flow', (t) => {
  const turned = Uint8Array.from([...SYN4]);
  turned.set(SYN4.slice(30, 34), 26);
  turned.set(SYN4.slice(26, 30), 30);
  turned.set(SYN4.slice(36, 38), 34);
  turned.set(SYN4.slice(34, 36), 36);
  t.not(of(turned), of(SYN4));
});

/** Chi-squared over its degrees of freedom: about 1 for what spreads like chance. */
function spread(values: number[], buckets: number, bucket: (value: number) => number): number {
  const counts = new Array<number>(buckets).fill(0);
  for (const value of values) counts[bucket(value)]++;
  const expected = values.length / buckets;
  return counts.reduce((total, count) => total + (count - expected) ** 2 / expected, 0) / (buckets - 1);
}

test('neighbouring ports and addresses spread over high bits, low bits and remainders', (t) => {
  const random = new Random(11);
  const series: [name: string, frame: (i: number) => Uint8Array][] = [
    ['IPv4 source ports', (i) => altered(SYN4, 34, i >>> 8, i & 255)],
    ['IPv4 destination ports', (i) => altered(SYN4, 36, i >>> 8, i & 255)],
    ['even IPv4 source ports', (i) => altered(SYN4, 34, (i << 1) >>> 8, (i << 1) & 255)],
    ['IPv4 hosts', (i) => altered(SYN4, 28, i >>> 8, i & 255)],
    ['IPv4 networks', (i) => altered(SYN4, 26, i >>> 8, i & 255)],
    ['both ports', (i) => altered(SYN4, 34, i & 255, i >>> 8, i >>> 8, i & 255)],
    ['IPv6 source ports', (i) => altered(SYN6, 54, i >>> 8, i & 255)],
    ['IPv6 hosts', (i) => altered(SYN6, 52, i >>> 8, i & 255)],
    ['IPv6 networks', (i) => altered(SYN6, 24, i >>> 8, i & 255)],
    ['MACs', (i) => altered(ARP_REQUEST, 10, i >>> 8, i & 255)],
    [
      'chance',
      (i) => altered(SYN4, 26, ...[0, 8, 16, 24].map((shift) => ((random.word() + i) >>> shift) & 255)),
    ],
  ];
  for (const [name, frame] of series) {
    const values = Array.from({ length: 16_384 }, (_, i) => {
      const bytes = frame(i);
      return hash(bytes, 0, bytes.length);
    });
    for (const [what, buckets, bucket] of [
      ['low 8 bits', 256, (value: number) => value & 255],
      ['high 8 bits', 256, (value: number) => value >>> 8],
      ['modulo 251', 251, (value: number) => value % 251],
      ['low bit', 2, (value: number) => value & 1],
    ] as const) {
      const x = spread(values, buckets, bucket);
      t.true(x < (buckets === 2 ? 11 : 1.4), `${name}, ${what}: ${x}`);
    }
  }
});
