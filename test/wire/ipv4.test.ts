import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import { eachLength, guard, hex, place, slowSum, untouched } from './bytes.js';
import { altered, SYN4, VXLAN4 } from './packets.js';

const PACKET = SYN4.slice(14);
/** The IGMP report inside of VXLAN: 24 bytes of header. */
const WITH_OPTION = VXLAN4.slice(64);

test('a real header reads as what it is', (t) => {
  const { bytes, at } = place(PACKET);
  t.is(ipv4.version(bytes, at), 4);
  t.is(ipv4.ihl(bytes, at), 5);
  t.is(ipv4.headerLength(bytes, at), 20);
  t.is(ipv4.tos(bytes, at), 0);
  t.is(ipv4.totalLength(bytes, at), 60);
  t.is(ipv4.id(bytes, at), 0xbf7c);
  t.is(ipv4.fragment(bytes, at), ipv4.DONT_FRAGMENT);
  t.true(ipv4.dontFragment(bytes, at));
  t.false(ipv4.isFragment(bytes, at));
  t.is(ipv4.ttl(bytes, at), 64);
  t.is(ipv4.protocol(bytes, at), 6);
  t.is(ipv4.checksum(bytes, at), 0x673b);
  t.is(ipv4.source(bytes, at), 0x0a000002);
  t.is(ipv4.destination(bytes, at), 0x0a000003);
  t.is(ipv4.headerLength(WITH_OPTION, 0), 24);
  t.is(ipv4.destination(WITH_OPTION, 0), 0xe0000016 | 0);
});

test('a header is written as Linux wrote it', (t) => {
  const { bytes, at, end } = place(new Uint8Array(20).fill(0xa5));
  const guarded = guard(bytes, [[at, end]], [[at, end]]);
  ipv4.write(guarded, at, 60, 6, 0x0a000002, 0x0a000003, 64, 0, 0xbf7c);
  t.deepEqual(bytes.slice(at, end), PACKET.slice(0, 20));
  // the usual textbook example: UDP, DF, no id
  ipv4.write(guarded, at, 0x73, 17, 0xc0a80001 | 0, 0xc0a800c7 | 0);
  t.deepEqual(bytes.slice(at, end), hex('45000073 00004000 4011b861 c0a80001 c0a800c7'));
  ipv4.write(guarded, at, 0x5a, 17, 0x0a000002, 0x0a000003, 64, 0, 0xef0f, 0);
  t.deepEqual(bytes.slice(at, end), VXLAN4.slice(14, 34));
  t.true(untouched(bytes, [at, end]));
});

test('single fields are written where they are read', (t) => {
  const header = PACKET.slice(0, 20);
  ipv4.writeTotalLength(header, 0, 0xfedc);
  ipv4.writeSource(header, 0, 0xfffefdfc | 0);
  ipv4.writeDestination(header, 0, 0x01020304);
  ipv4.writeChecksum(header, 0, ipv4.headerChecksum(header, 0));
  t.is(ipv4.totalLength(header, 0), 0xfedc);
  t.is(ipv4.source(header, 0), 0xfffefdfc | 0);
  t.is(ipv4.destination(header, 0), 0x01020304);
  t.is(slowSum(header), 0xffff);
});

test('header checksums are computed and verified, options included', (t) => {
  t.true(ipv4.checksumValid(PACKET, 0));
  t.is(ipv4.headerChecksum(PACKET, 0), 0x673b);
  t.true(ipv4.checksumValid(WITH_OPTION, 0));
  t.is(ipv4.headerChecksum(WITH_OPTION, 0), 0x03fa);
});

test('a changed bit in the header fails its checksum', (t) => {
  for (let at = 0; at < 24; at++) {
    if (at === 0) continue; // changes where the header ends
    for (let bit = 1; bit < 256; bit <<= 1) {
      t.false(
        ipv4.checksumValid(altered(WITH_OPTION, at, WITH_OPTION[at] ^ bit), 0),
        `byte ${at} bit ${bit}`,
      );
    }
  }
});

test('a hop keeps the checksum right', (t) => {
  const random = new Random(4);
  const header = new Uint8Array(20);
  for (let i = 0; i < 2000; i++) {
    random.fill(header);
    header[0] = 0x45;
    header[8] = 1 + random.below(255);
    ipv4.writeChecksum(header, 0, ipv4.headerChecksum(header, 0));
    const before = ipv4.ttl(header, 0);
    ipv4.decrementTtl(header, 0);
    t.is(ipv4.ttl(header, 0), before - 1);
    t.true(ipv4.checksumValid(header, 0));
  }
});

test('fragments are told from whole packets', (t) => {
  const field = (value: number) => altered(PACKET, 6, value >>> 8, value & 255);
  t.false(ipv4.isFragment(field(0x0000), 0));
  t.false(ipv4.isFragment(field(0x4000), 0));
  t.true(ipv4.isFragment(field(0x2000), 0));
  t.true(ipv4.isFragment(field(0x00b9), 0));
  t.true(ipv4.isFragment(field(0x20b9), 0));
  t.is(ipv4.fragmentOffset(field(0x20b9), 0), 1480);
  t.is(ipv4.fragmentOffset(field(0xffff), 0), 65_528);
  t.false(ipv4.dontFragment(field(0x2000), 0));
});

test('a header is valid only with all of its packet', (t) => {
  const valid = (bytes: Uint8Array, at: number, end: number) => ipv4.valid(bytes, at, end - at);
  t.is(eachLength(PACKET, valid).indexOf(true), 60);
  t.is(eachLength(WITH_OPTION, valid).indexOf(true), 40);
  t.true(ipv4.valid(PACKET, 0, 1000), 'padding may follow');
});

test('wrong versions and lengths are not valid', (t) => {
  const first = (byte: number) => ipv4.valid(altered(PACKET, 0, byte), 0, 60);
  t.deepEqual([0x65, 0x05, 0x44, 0x40, 0x35].map(first), [false, false, false, false, false]);
  t.true(first(0x4f), '60 bytes of header and nothing else');
  t.false(ipv4.valid(altered(PACKET, 0, 0x4f, 0, 0, 59), 0, 60), 'shorter than its header');
  t.false(ipv4.valid(altered(PACKET, 2, 0, 19), 0, 60));
  t.true(ipv4.valid(altered(PACKET, 2, 0, 20), 0, 60));
  t.false(ipv4.valid(altered(PACKET, 2, 0, 0), 0, 60));
});

test('multicast is 224.0.0.0/4', (t) => {
  const kinds = [
    '223.255.255.255',
    '224.0.0.0',
    '239.255.255.255',
    '240.0.0.0',
    '255.255.255.255',
    '10.0.0.1',
  ];
  t.deepEqual(
    kinds.map((text) => ipv4.isMulticast(ipv4.parse(text))),
    [false, true, true, false, false, false],
  );
});

test('addresses go to text and back, signed', (t) => {
  t.is(ipv4.parse('10.0.0.2'), 0x0a000002);
  t.is(ipv4.parse('192.168.1.255'), 0xc0a801ff | 0);
  t.is(ipv4.parse('255.255.255.255'), ipv4.BROADCAST);
  t.is(ipv4.format(-1), '255.255.255.255');
  t.is(ipv4.format(0xc0a801ff), '192.168.1.255');
  const random = new Random(5);
  for (let i = 0; i < 1000; i++) {
    const address = random.word() | 0;
    t.is(ipv4.parse(ipv4.format(address)), address);
  }
});

test('what is no IPv4 address is refused', (t) => {
  for (const text of [
    '',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.2.3',
    '10.0.0.02',
    '0x0a000002',
    '10.0.0.2/24',
    ' 10.0.0.2',
    '::1',
  ]) {
    const error = t.throws(() => ipv4.parse(text), { code: 'ERR_ADDRESS' });
    t.is(error?.message, `${JSON.stringify(text)} is not an IPv4 address like 10.0.0.2`);
  }
});
