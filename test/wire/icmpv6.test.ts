import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import * as icmpv6 from '../../src/dataplane/wire/icmpv6.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { eachLength, guard, hex, place, slowSum, untouched } from './bytes.js';
import {
  ADVERTISEMENT,
  altered,
  BIG4,
  BIG6,
  DETECTION,
  MLD,
  SOLICITATION,
  SYN6,
  TOO_BIG6,
  tagged,
} from './packets.js';

const NS = SOLICITATION.slice(14);
const NA = ADVERTISEMENT.slice(14);
const DAD = DETECTION.slice(14);

/** The sum over pseudo-header and message, slowly; ffff when the checksum is right. */
const messageSum = (packet: Uint8Array): number => {
  const message = packet.slice(40);
  return slowSum([
    ...packet.slice(8, 40),
    0,
    0,
    message.length >>> 8,
    message.length & 255,
    0,
    0,
    0,
    58,
    ...message,
  ]);
};

/** The packet with other options, and its length to match. */
const withOptions = (packet: Uint8Array, ...options: number[]): Uint8Array =>
  altered(Uint8Array.from([...packet.slice(0, 64), ...options]), 4, 0, 24 + options.length);

const isSolicitation = (packet: Uint8Array): boolean => {
  const { bytes, at, end } = place(packet);
  return icmpv6.isSolicitation(guard(bytes, [[at, end]]), at, end);
};

test('real neighbour messages are known, and read', (t) => {
  t.true(isSolicitation(NS));
  t.true(isSolicitation(DAD));
  t.false(isSolicitation(NA));
  t.true(icmpv6.isAdvertisement(NA, 0, 72));
  t.false(icmpv6.isAdvertisement(NS, 0, 72));
  for (const packet of [NS, NA, DAD]) {
    t.true(icmpv6.checksumValid(packet, 0, 40, 72));
    t.deepEqual(
      [0, 1, 2, 3].map((i) => icmpv6.targetWord(packet, 0, i)),
      [...ipv6.parse('fd00::3')],
    );
  }
  t.is(ethernet.macLow(NS, icmpv6.sourceLinkLayer(NS, 0)), 0x0a000002);
  t.is(icmpv6.targetLinkLayer(NS, 0), -1);
  t.is(ethernet.macLow(NA, icmpv6.targetLinkLayer(NA, 0)), 0x0a000003);
  t.is(icmpv6.sourceLinkLayer(DAD, 0), -1, 'a nonce is no address');
  t.is(icmpv6.advertisementFlags(NA, 0), icmpv6.FLAG_SOLICITED | icmpv6.FLAG_OVERRIDE);
  t.is(icmpv6.type(NA, 40), icmpv6.NEIGHBOUR_ADVERTISEMENT);
  t.is(icmpv6.code(NA, 40), 0);
  t.is(icmpv6.checksum(NA, 40), 0x1254);
  t.is(icmpv6.mtu(TOO_BIG6, 54), 1350);
});

test('the solicitation turns into the advertisement that Linux sent', (t) => {
  const { bytes, at, end } = place(SOLICITATION);
  const guarded = guard(bytes, [[at, end]], [[at, end]]);
  icmpv6.writeAdvertisement(guarded, at + 14, 0x0242, 0x0a000003);
  ethernet.turnBack(guarded, at, 0x0242, 0x0a000003);
  t.deepEqual(bytes.slice(at, end), ADVERTISEMENT);
  t.true(untouched(bytes, [at, end]));
});

test('the solicitation that Linux sent is written as it was', (t) => {
  const { bytes, at, end } = place(NS);
  bytes.fill(0xa5, at, at + ipv6.SOURCE).fill(0xa5, at + ipv6.DESTINATION, end);
  const guarded = guard(bytes, [[at, end]], [[at, end]]);
  icmpv6.writeSolicitation(guarded, at, 0x0242, 0x0a000002, ...ipv6.parse('fd00::3'));
  t.deepEqual(bytes.slice(at, end), NS);
  t.true(untouched(bytes, [at, end]));
});

test('flags go into the advertisement', (t) => {
  const packet = NS.slice();
  icmpv6.writeAdvertisement(packet, 0, 0x0242, 0xfa000003, icmpv6.FLAG_ROUTER | icmpv6.FLAG_SOLICITED);
  t.is(icmpv6.advertisementFlags(packet, 0), 0xc0);
  t.is(messageSum(packet), 0xffff);
  t.true(icmpv6.isAdvertisement(packet, 0, 72));
});

test('duplicate address detection is answered to all nodes, unsolicited', (t) => {
  const packet = DAD.slice();
  icmpv6.writeAdvertisement(packet, 0, 0x0242, 0x0a000003);
  t.deepEqual(
    packet,
    hex(`60000000 0020 3a ff fd000000000000000000000000000003 ff020000000000000000000000000001
      8800${messageChecksum(packet)} 20000000 fd000000000000000000000000000003 0201 02420a000003`),
  );
  t.is(messageSum(packet), 0xffff);
  t.true(icmpv6.isAdvertisement(packet, 0, 72));
});

const messageChecksum = (packet: Uint8Array): string =>
  icmpv6.checksum(packet, 40).toString(16).padStart(4, '0');

test('a solicitation without option grows by its answer’s, one with more shrinks', (t) => {
  for (const options of [[], [...NS.slice(64), 14, 1, 1, 2, 3, 4, 5, 6]]) {
    const { bytes, at, end } = place(withOptions(NS, ...options));
    t.true(icmpv6.isSolicitation(bytes, at, end));
    const whole = [at, at + icmpv6.ADVERTISEMENT] as const;
    icmpv6.writeAdvertisement(guard(bytes, [whole], [whole]), at, 0x0242, 0x0a000003);
    t.deepEqual(bytes.slice(...whole), NA);
  }
});

test('a truncated message is none', (t) => {
  for (const packet of [NS, DAD]) t.is(eachLength(packet, icmpv6.isSolicitation).indexOf(true), 72);
  t.is(eachLength(NA, icmpv6.isAdvertisement).indexOf(true), 72);
  const valid = (bytes: Uint8Array, at: number, end: number) => icmpv6.checksumValid(bytes, at, at + 40, end);
  t.is(eachLength(NS, valid).indexOf(true), 72);
});

test('padding of the frame is not summed', (t) => {
  const padded = Uint8Array.from([...NS, 1, 2, 3]);
  t.true(icmpv6.checksumValid(padded, 0, 40, 75));
  t.true(icmpv6.checksumValid(MLD, 14, 62, MLD.length), 'behind an extension header');
  for (let bit = 8 * 8; bit < 72 * 8; bit++) {
    const wrong = altered(NS, bit >>> 3, NS[bit >>> 3] ^ (1 << (bit & 7)));
    t.false(icmpv6.checksumValid(wrong, 0, 40, 72), `bit ${bit}`);
  }
});

test('a message is summed from eight bytes on', (t) => {
  const least = altered(NS.slice(0, 48), 4, 0, 8, 58, 255);
  const checksum = ~messageSum(altered(least, 42, 0, 0)) & 0xffff;
  const right = altered(least, 42, checksum >>> 8, checksum & 255);
  t.true(icmpv6.checksumValid(right, 0, 40, 48));
  t.false(icmpv6.checksumValid(right, 0, 40, 47));
  t.false(icmpv6.checksumValid(altered(right, 4, 0, 7), 0, 40, 48));
});

test('solicitations that RFC 4861 §7.1.1 refuses are none', (t) => {
  const cases: [name: string, packet: Uint8Array][] = [
    ['hop limit', altered(NS, 7, 254)],
    ['code', altered(NS, 41, 1)],
    ['version', altered(NS, 0, 0x40)],
    ['protocol', altered(NS, 6, 17)],
    ['ICMP length', altered(NS, 4, 0, 23)],
    ['multicast target', altered(NS, 48, 0xff)],
    ['option of length 0', altered(NS, 65, 0)],
    ['option beyond the end', altered(NS, 65, 2)],
    ['half an option', withOptions(NS, 1, 1, 2, 3)],
    ['one byte of option', withOptions(NS, 1)],
    ['second option of length 0', withOptions(NS, ...NS.slice(64), 14, 0, 0, 0, 0, 0, 0, 0)],
    ['from :: with a source address option', altered(DAD, 64, 1)],
    ['from :: to no solicited-node address', altered(DAD, 36, 0)],
    ['from :: to unicast', altered(DAD, 24, 0xfd)],
  ];
  for (const [name, packet] of cases) t.false(isSolicitation(packet), name);
  t.true(isSolicitation(withOptions(NS)), 'without options');
  t.true(isSolicitation(altered(NS, 24, ...NA.slice(8, 24))), 'to unicast');
});

test('advertisements that RFC 4861 §7.1.2 refuses are none', (t) => {
  t.false(icmpv6.isAdvertisement(altered(NA, 7, 64), 0, 72));
  t.false(icmpv6.isAdvertisement(altered(NA, 24, 0xff), 0, 72), 'solicited, to multicast');
  t.true(icmpv6.isAdvertisement(altered(altered(NA, 24, 0xff), 44, 0x20), 0, 72));
  t.false(icmpv6.isAdvertisement(altered(NA, 48, 0xff), 0, 72));
});

test('random options never lead out of the packet', (t) => {
  const random = new Random(10);
  for (let round = 0; round < 3000; round++) {
    const options = Array.from({ length: random.below(50) }, () => random.below(4));
    const packet = withOptions(NS, ...options);
    const { bytes, at, end } = place(packet);
    const guarded = guard(bytes, [[at, end]]);
    icmpv6.isSolicitation(guarded, at, end);
    icmpv6.sourceLinkLayer(guarded, at);
    t.true(icmpv6.targetLinkLayer(guarded, at) + 6 <= end);
  }
});

const ROOM = 1400;

/** The answer to a frame, which nothing but frame and answer was touched for; undefined when there is none. */
function answer(frame: Uint8Array, mtu = 1350, length = frame.length): Uint8Array | undefined {
  const { bytes, at, end } = place(frame.slice(0, length), ROOM);
  const out = end + 13;
  const room = [out, out + 22 + icmpv6.ANSWER_MAX] as const;
  const answered = icmpv6.writePacketTooBig(guard(bytes, [[at, end], room], [room]), at, length, out, mtu);
  if (!untouched(bytes, [at, end], [out, out + answered])) throw new Error('wrote outside of the answer');
  return answered === 0 ? undefined : bytes.slice(out, out + answered);
}

test('the answer to a frame too big is, byte for byte, that of the kernel', (t) => {
  t.deepEqual(answer(BIG6), TOO_BIG6);
});

test('tags are kept', (t) => {
  const tags: [number, number][] = [
    [ethernet.QINQ, 7],
    [ethernet.VLAN, 5],
  ];
  t.deepEqual(answer(tagged(BIG6, tags[1])), tagged(TOO_BIG6, tags[1]));
  t.deepEqual(answer(tagged(BIG6, ...tags)), tagged(TOO_BIG6, ...tags));
});

test('a short packet is quoted whole', (t) => {
  const bytes = answer(Uint8Array.from([...SYN6, 1, 2, 3]), 1280);
  t.is(bytes?.length, 14 + 48 + 80);
  t.deepEqual(bytes?.slice(62), SYN6.slice(14));
  t.is(messageSum(bytes?.slice(14) ?? SYN6), 0xffff);
});

test('a truncated frame is not answered', (t) => {
  for (let length = 0; length < BIG6.length; length++)
    t.is(answer(BIG6, 1350, length), undefined, `${length} bytes`);
});

test('what RFC 4443 §2.4 forbids to answer is not answered', (t) => {
  const from = (text: string) => {
    const frame = BIG6.slice();
    ipv6.writeAddress(frame, 22, ...ipv6.parse(text));
    return frame;
  };
  const insert = (next: number, extension: string) => {
    const frame = Uint8Array.from([...BIG6.slice(0, 54), ...hex(extension), ...BIG6.slice(54)]);
    return altered(frame, 18, 0x05, 0x88, next);
  };
  const cases: [name: string, frame: Uint8Array][] = [
    ['from ::', from('::')],
    ['from loopback', from('::1')],
    ['from multicast', from('ff02::1')],
    ['from a multicast MAC', altered(BIG6, 6, 0x03)],
    ['a later fragment', insert(44, '3a0005a801020304')],
    ['no upper layer', altered(BIG6, 20, 59)],
    ['IPv4', BIG4],
    ['a type that lies', altered(BIG4, 12, 0x86, 0xdd)],
    ['an error behind an extension header', altered(insert(60, '3a00000000000000'), 62, 1)],
    ['no type', altered(BIG6.slice(0, 54), 18, 0, 0)],
  ];
  for (const [name, frame] of cases) t.is(answer(frame), undefined, name);
  t.not(answer(insert(44, '3a00000101020304')), undefined, 'the first fragment is answered');
  t.not(answer(insert(60, '3a00000000000000')), undefined, 'an echo behind an extension header is');
  t.is(answer(BIG6, 1279), undefined, 'no host would follow');
});

test('ICMPv6 errors and redirects are not answered, the rest is', (t) => {
  for (let type = 0; type < 256; type++) {
    const refused = type < 128 || type === 137;
    t.is(answer(altered(BIG6, 54, type)) === undefined, refused, `type ${type}`);
  }
});

test('a packet to multicast is answered from an address that may be a source', (t) => {
  const frame = altered(BIG6, 0, 0x33, 0x33, 0, 0, 0, 1);
  ipv6.writeAddress(frame, 38, ...ipv6.parse('ff02::1'));
  const bytes = answer(frame);
  if (bytes === undefined) return t.fail();
  t.deepEqual(bytes.slice(0, 14), hex('02420a050002 025649414454 86dd'));
  const words = [0, 1, 2, 3].map((i) => ipv6.sourceWord(bytes, 14, i)) as [number, number, number, number];
  t.is(ipv6.format(...words), 'fe80::56:49ff:fe41:4454');
  t.is(messageSum(bytes.slice(14)), 0xffff);
  t.deepEqual(bytes.slice(62), frame.slice(14, 14 + 1232));
  return t.pass();
});
