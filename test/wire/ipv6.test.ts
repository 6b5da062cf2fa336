import { SocketAddress } from 'node:net';
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { eachLength, guard, hex, place, untouched } from './bytes.js';
import { altered, MLD, SOLICITATION, SYN6 } from './packets.js';

const PACKET = SYN6.slice(14);

/** A packet with this first next header and what follows the IPv6 header. */
const packet = (next: number, ...rest: string[]): Uint8Array =>
  altered(Uint8Array.from([...PACKET.slice(0, 40), ...hex(rest.join(''))]), 6, next);

/** Result of a walk, from the packet's start: offset or -1, protocol, whether a fragment. */
function walk(content: Uint8Array): [found: number, protocol: number, fragmented: boolean] {
  const { bytes, at, end } = place(content);
  const found = ipv6.transport(guard(bytes, [[at, end]]), at, end);
  return [found === -1 ? -1 : found - at, ipv6.transportProtocol, ipv6.fragmented];
}

test('a real header reads as what it is', (t) => {
  const { bytes, at } = place(PACKET);
  t.is(ipv6.version(bytes, at), 6);
  t.is(ipv6.trafficClass(bytes, at), 0);
  t.is(ipv6.flowLabel(bytes, at), 0xb501f);
  t.is(ipv6.payloadLength(bytes, at), 40);
  t.is(ipv6.nextHeader(bytes, at), 6);
  t.is(ipv6.hopLimit(bytes, at), 64);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => ipv6.sourceWord(bytes, at, i)),
    [0xfd000000 | 0, 0, 0, 2],
  );
  t.deepEqual(
    [0, 1, 2, 3].map((i) => ipv6.destinationWord(bytes, at, i)),
    [0xfd000000 | 0, 0, 0, 3],
  );
  t.is(ipv6.trafficClass(hex('6ab12345'), 0), 0xab);
  t.is(ipv6.flowLabel(hex('6ab12345'), 0), 0x12345);
});

test('a header is written as Linux wrote it', (t) => {
  const { bytes, at, end } = place(new Uint8Array(40).fill(0xa5));
  const guarded = guard(bytes, [], [[at, end]]);
  ipv6.write(guarded, at, 40, 6, 64, 0, 0xb501f);
  ipv6.writeAddress(guarded, at + ipv6.SOURCE, 0xfd000000, 0, 0, 2);
  ipv6.writeAddress(guarded, at + ipv6.DESTINATION, 0xfd000000, 0, 0, 3);
  t.deepEqual(bytes.slice(at, end), PACKET.slice(0, 40));
  ipv6.write(guarded, at, 0xfedc, 58, 255, 0xab, 0xfffff);
  t.deepEqual(bytes.slice(at, at + 8), hex('6abfffff fedc 3a ff'));
  ipv6.writePayloadLength(guarded, at, 0x0102);
  t.is(ipv6.payloadLength(bytes, at), 0x0102);
  t.true(untouched(bytes, [at, end]));
});

test('a header is valid only with all of its packet', (t) => {
  t.is(eachLength(PACKET, (bytes, at, end) => ipv6.valid(bytes, at, end - at)).indexOf(true), 80);
  t.true(ipv6.valid(PACKET, 0, 1000), 'padding may follow');
  t.false(ipv6.valid(altered(PACKET, 0, 0x45), 0, 80));
});

test('the upper layer is right behind, or behind extension headers', (t) => {
  const tcp = '0102030405060708';
  t.deepEqual(walk(PACKET), [40, 6, false]);
  t.deepEqual(walk(MLD.slice(14)), [48, 58, false], 'a real hop-by-hop header');
  t.deepEqual(walk(packet(60, '3a 01 0000 00000000 0000000000000000', tcp)), [56, 58, false]);
  t.deepEqual(
    walk(packet(0, '2b00000000000000', '3c00000000000000', '0600000000000000', tcp)),
    [64, 6, false],
    'hop-by-hop, routing, destination options',
  );
  t.deepEqual(walk(packet(50, tcp)), [40, 50, false], 'what is no known extension is the upper layer');
  t.deepEqual(walk(packet(59, tcp)), [-1, 59, false]);
});

test('fragments show their protocol, the first one its upper layer too', (t) => {
  const tcp = '0102030405060708';
  t.deepEqual(walk(packet(44, '06 00 0001 01020304', tcp)), [48, 6, true], 'the first');
  t.deepEqual(walk(packet(44, '06 00 05a8 01020304', tcp)), [-1, 6, true], 'the last');
  t.deepEqual(walk(packet(44, '06 00 05a9 01020304', tcp)), [-1, 6, true], 'one in between');
  t.deepEqual(walk(packet(44, '06 00 0000 01020304', tcp)), [48, 6, false], 'an atomic one is whole');
  t.deepEqual(walk(packet(44, '06 00 0006 01020304', tcp)), [48, 6, false], 'reserved bits');
  t.deepEqual(walk(PACKET), [40, 6, false], 'the next walk starts afresh');
});

test('a walk ends with the packet', (t) => {
  const long = packet(
    0,
    '2b00000000000000',
    '3c01000000000000 0000000000000000',
    '2c00000000000000',
    '0600000101020304',
    'ff',
  );
  t.is(long.length, 81);
  const found = eachLength(long, (bytes, at, end) => {
    const upper = ipv6.transport(bytes, at, end);
    return upper === -1 ? -1 : upper - at;
  });
  t.deepEqual(
    found,
    found.map((_, length) => (length < 80 ? -1 : 80)),
  );
  t.deepEqual(walk(packet(60, '06ff000000000000')), [-1, 6, false], 'a header that claims to be longer');
});

test('a walk ends after eight extension headers', (t) => {
  const options = (count: number) => ['3c00000000000000'.repeat(count - 1), '0600000000000000'];
  t.deepEqual(walk(packet(60, ...options(8))), [104, 6, false]);
  t.deepEqual(walk(packet(60, ...options(9))), [-1, 6, false]);
  t.deepEqual(walk(packet(60, ...options(100)))[0], -1);
});

test('random chains end within the packet', (t) => {
  const random = new Random(8);
  const kinds = [0, 43, 44, 60, 60, 6, 17, 59];
  for (let round = 0; round < 5000; round++) {
    const content = new Uint8Array(random.below(120));
    random.fill(content);
    if (content.length > 6) content[6] = kinds[random.below(kinds.length)];
    for (let at = 40; at + 8 <= content.length; at += 8) {
      content[at] = kinds[random.below(kinds.length)];
      if (random.chance(0.8)) content[at + 1] = random.below(3);
      if (random.chance(0.5)) content.fill(0, at + 2, at + 4);
    }
    const [found] = walk(content);
    t.true(found === -1 || (found >= 40 && found <= content.length));
  }
});

test('solicited-node multicast addresses are known and written', (t) => {
  const group = ipv6.parse('ff02::1:ff00:3');
  const { bytes, at, end } = place(new Uint8Array(16).fill(0xa5));
  ipv6.writeSolicitedNode(guard(bytes, [], [[at, end]]), at, 3);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => ipv6.word(bytes, at, i)),
    [...group],
  );
  t.true(ipv6.isSolicitedNode(bytes, at));
  t.true(ipv6.isMulticast(bytes, at));
  t.true(ipv6.isSolicitedNode(SOLICITATION, 14 + ipv6.DESTINATION));
  t.is(ipv6.solicitedNodeWord(0x12abcdef), 0xffabcdef | 0);
  for (const text of [
    'ff02::1',
    'ff02::2:ff00:3',
    'ff05::1:ff00:3',
    'ff02:1::1:ff00:3',
    'ff02::1:fe00:3',
    'fd00::3',
  ]) {
    ipv6.writeAddress(bytes, at, ...ipv6.parse(text));
    t.false(ipv6.isSolicitedNode(bytes, at), text);
  }
  t.false(ipv6.isMulticast(bytes, at));
  t.false(ipv6.isUnspecified(bytes, at));
  t.true(ipv6.isUnspecified(new Uint8Array(16), 0));
  t.false(ipv6.isLoopback(new Uint8Array(16), 0));
  t.true(ipv6.isLoopback(hex('00000000000000000000000000000001'), 0));
  t.false(ipv6.isLoopback(hex('00000000000000010000000000000001'), 0));
});

test('an IPv4 address is mapped into the words of ::ffff:0:0/96', (t) => {
  t.deepEqual(ipv6.mapped(0x0a000002), ipv6.parse('::ffff:10.0.0.2'));
  t.true(ipv6.isMapped(0, 0, ipv6.MAPPED));
  t.false(ipv6.isMapped(0, 0, 0));
  t.false(ipv6.isMapped(1, 0, ipv6.MAPPED));
});

test('addresses are written as RFC 5952 says', (t) => {
  const cases: [text: string, canonical: string][] = [
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:1::', '0:0:1::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['fe80::0042:0aff:fe00:0003', 'fe80::42:aff:fe00:3'],
    ['::ffff:10.0.0.2', '::ffff:10.0.0.2'],
    ['::FFFF:0a00:0002', '::ffff:10.0.0.2'],
    ['64:ff9b::10.0.0.2', '64:ff9b::a00:2'],
    ['1:2:3:4:5:6:10.0.0.2', '1:2:3:4:5:6:a00:2'],
    ['::10.0.0.2', '::a00:2'],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ];
  for (const [text, canonical] of cases) t.is(ipv6.format(...ipv6.parse(text)), canonical, text);
});

test('random addresses go to text and back, and to the text that Node gives', (t) => {
  const random = new Random(9);
  for (let i = 0; i < 3000; i++) {
    const word = () => (random.word() & [0, -1, 0xffff, 0xffff0000, 0xff][random.below(5)]) | 0;
    const words = [word(), word(), word(), word()] as const;
    const text = ipv6.format(...words);
    t.deepEqual([...ipv6.parse(text)], [...words], text);
    // inet_ntop also writes the outdated ::a.b.c.d
    const node = new SocketAddress({ address: text, family: 'ipv6' }).address;
    if (!node.includes('.')) t.is(text, node);
  }
});

test('what is no IPv6 address is refused', (t) => {
  for (const text of [
    '',
    ':',
    ':::',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7',
    'fe80::1%eth0',
    'fd00::/64',
    '[::1]',
    '10.0.0.2',
    '::g',
  ]) {
    const error = t.throws(() => ipv6.parse(text), { code: 'ERR_ADDRESS' });
    t.is(error?.message, `${JSON.stringify(text)} is not an IPv6 address like fd00::2`);
  }
});
