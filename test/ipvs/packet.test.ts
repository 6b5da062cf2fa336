import test from 'ava';
import { drop } from '../../src/dataplane/core/drops.js';
import * as packet from '../../src/dataplane/ipvs/packet.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { hex } from '../wire/bytes.js';
import { MLD, SYN4, SYN6, TOO_BIG4, TOO_BIG6, UDP4, UNREACHABLE4 } from '../wire/packets.js';
import { build, CLIENT, memoryOf, parsedOf, SCTP, TCP, VIRTUAL } from './packets.js';

const MALFORMED = drop['ip-malformed'];

/** Reads a copy that has nothing behind it, so that a read past the end throws. */
function read(bytes: Uint8Array, parsed = new packet.Parsed()): number {
  return packet.parse(memoryOf(bytes.slice()), 0, bytes.length, parsed);
}

const ip = (frame: Uint8Array) => frame.slice(14);

test('a TCP SYN over IPv4 is read', (t) => {
  const p = parsedOf(ip(SYN4));
  t.deepEqual(
    [p.family, p.protocol, p.transport, p.end, p.sourcePort, p.destinationPort, p.flags, p.fragment],
    [4, 6, 20, 60, 0xe1ac, 8080, 2, packet.WHOLE],
  );
  t.is(ipv4.format(p.source0), '10.0.0.2');
  t.is(ipv4.format(p.destination0), '10.0.0.3');
  t.deepEqual([p.source1, p.source2, p.source3, p.destination1, p.fragmentId], [0, 0, 0, 0, 0]);
  t.deepEqual([p.length, p.headerLength, p.isError], [60, 20, false]);
});

test('a TCP SYN over IPv6 is read', (t) => {
  const p = parsedOf(ip(SYN6));
  t.deepEqual([p.family, p.protocol, p.transport, p.end], [6, 6, 40, 80]);
  t.deepEqual([p.sourcePort, p.destinationPort, p.flags], [0xc90a, 8080, 2]);
  t.is(ipv6.format(p.source0, p.source1, p.source2, p.source3), 'fd00::2');
  t.is(ipv6.format(p.destination0, p.destination1, p.destination2, p.destination3), 'fd00::3');
});

test('a packet is read behind extension headers, and one object serves packet after packet', (t) => {
  const p = new packet.Parsed();
  t.is(read(ip(SYN6), p), 0);
  t.is(read(ip(MLD), p), 0);
  t.deepEqual([p.protocol, p.transport, p.flags, p.code, p.sourcePort], [58, 48, 143, 0, 0]);
  t.is(read(ip(SYN4), p), 0);
  t.deepEqual([p.source1, p.source3, p.destination3], [0, 0, 0]);
});

test('padding behind the packet does not belong to it', (t) => {
  const p = new packet.Parsed();
  t.is(read(Uint8Array.from([...ip(UDP4), ...new Uint8Array(13)]), p), 0);
  t.is(p.length, 33);
});

test('the packet that an ICMP error quotes is read, as far as it is there', (t) => {
  const outer = parsedOf(ip(UNREACHABLE4));
  const quoted = new packet.Parsed();
  const memory = memoryOf(ip(UNREACHABLE4));
  t.true(outer.isError);
  t.deepEqual([outer.flags, outer.code], [3, 3]);
  t.true(packet.parseQuoted(memory, outer, quoted));
  t.deepEqual(
    [quoted.protocol, quoted.ip, quoted.transport, quoted.end, quoted.sourcePort, quoted.destinationPort],
    [17, 28, 48, 61, 52925, 9999],
  );
  t.true(packet.isWhole(memory, quoted));
  const big = memoryOf(ip(TOO_BIG4));
  t.true(packet.parseQuoted(big, parsedOf(big.bytes), quoted));
  t.deepEqual([quoted.protocol, quoted.flags, quoted.end], [1, 8, 576]);
  t.false(packet.isWhole(big, quoted));
  const big6 = memoryOf(ip(TOO_BIG6));
  t.true(parsedOf(big6.bytes).isError);
  t.true(packet.parseQuoted(big6, parsedOf(big6.bytes), quoted));
  t.deepEqual([quoted.protocol, quoted.flags, quoted.family], [58, 128, 6]);
});

test('a quote is enough from its ports on', (t) => {
  const whole = ip(UNREACHABLE4);
  for (let length = 28; length < whole.length; length++) {
    const bytes = whole.slice(0, length);
    bytes[2] = length >>> 8;
    bytes[3] = length;
    const quoted = new packet.Parsed();
    t.is(packet.parseQuoted(memoryOf(bytes), parsedOf(bytes), quoted), length >= 52, `${length} bytes`);
  }
});

test('every truncation is malformed', (t) => {
  for (const frame of [SYN4, SYN6, UDP4, MLD, UNREACHABLE4, TOO_BIG6]) {
    const whole = ip(frame);
    for (let length = 0; length < whole.length; length++) {
      t.is(read(whole.slice(0, length)), MALFORMED);
    }
  }
});

test('a header that is consistent by its length but has no room for its transport header is malformed', (t) => {
  const sctp = build({ protocol: SCTP, payload: hex('0100 0004') });
  for (const [bytes, header, needs] of [
    [ip(SYN4), 20, 40],
    [ip(UDP4), 20, 8],
    [sctp, 20, 12],
    [ip(UNREACHABLE4), 20, 8],
    [ip(SYN6), 40, 40],
    [ip(MLD), 40, 16],
  ] as const) {
    for (let length = header; length <= bytes.length; length++) {
      const cut = bytes.slice(0, length);
      const field = header === 20 ? length : length - 40;
      cut[header === 20 ? 2 : 4] = field >>> 8;
      cut[header === 20 ? 3 : 5] = field;
      t.is(read(cut), length < header + needs ? MALFORMED : 0, `${length} bytes`);
    }
  }
});

test('what is no IP, or lies about its header length, is malformed', (t) => {
  for (const first of [0x00, 0x35, 0x44, 0x55, 0x75, 0xf5, 0x4f]) {
    const bytes = ip(UDP4);
    bytes[0] = first;
    t.is(read(bytes), MALFORMED, first.toString(16));
  }
  const short = build({ protocol: TCP });
  short[32] = 0x40;
  t.is(read(short), MALFORMED);
  short[32] = 0x60;
  t.is(read(short), MALFORMED, 'options past the end');
});

test('options before the transport header are skipped', (t) => {
  const plain = build({ protocol: TCP, payload: hex('01') });
  const bytes = Uint8Array.from([...plain.slice(0, 20), 1, 1, 1, 0, ...plain.slice(20)]);
  bytes[0] = 0x46;
  bytes[3] += 4;
  t.deepEqual([parsedOf(bytes).transport, parsedOf(bytes).destinationPort], [24, 80]);
});

test('fragments are told apart: the first has ports, the later have none', (t) => {
  const first = parsedOf(build({ protocol: TCP, fragment: 0x2000, id: 77, payload: new Uint8Array(4) }));
  t.deepEqual([first.fragment, first.fragmentId, first.destinationPort], [packet.FIRST_FRAGMENT, 77, 80]);
  const later = parsedOf(build({ protocol: TCP, fragment: 0x2001, id: 77 }));
  t.deepEqual([later.fragment, later.fragmentId, later.destinationPort], [packet.LATER_FRAGMENT, 77, 0]);
  const last = parsedOf(build({ protocol: 1, fragment: 3, id: 77, payload: hex('0300') }));
  t.deepEqual([last.fragment, last.isError, last.transport], [packet.LATER_FRAGMENT, false, 20]);
  t.is(ipv4.format(last.source0), CLIENT);
  t.is(ipv4.format(last.destination0), VIRTUAL);
});

test('a first fragment that is too short for its transport header is malformed', (t) => {
  t.is(read(build({ protocol: TCP, fragment: 0x2000 }).slice(0, 28)), MALFORMED);
  const tiny = build({ protocol: 200, payload: new Uint8Array(8), fragment: 0x2000 });
  tiny[9] = TCP;
  t.is(read(tiny), MALFORMED);
});

const six = { source: '2001:db8::1', destination: '2001:db8::2' };

test('fragments of IPv6 are told apart', (t) => {
  const p = parsedOf(
    build({ ...six, protocol: TCP, extensions: [44, hex('06 00 0001 89abcdef')], payload: hex('00') }),
  );
  t.deepEqual(
    [p.fragment, p.fragmentId, p.protocol, p.transport, p.destinationPort],
    [packet.FIRST_FRAGMENT, 0x89abcdef, 6, 48, 80],
  );
  const later = parsedOf(build({ ...six, protocol: 17, extensions: [44, hex('11 00 0009 89abcdef')] }));
  t.deepEqual([later.fragment, later.fragmentId, later.transport], [packet.LATER_FRAGMENT, 0x89abcdef, 48]);
  const atomic = parsedOf(build({ ...six, protocol: 17, extensions: [44, hex('11 00 0000 89abcdef')] }));
  t.deepEqual([atomic.fragment, atomic.fragmentId, atomic.destinationPort], [packet.WHOLE, 0, 80]);
  const broken = build({ ...six, protocol: 17, extensions: [44, hex('3c 00 0001 89abcdef')] }).slice(0, 48);
  broken[5] = 8;
  t.is(read(broken), MALFORMED, 'the chain goes on in the next fragment');
});

test('no next header is no fault, more than eight extension headers are', (t) => {
  const none = parsedOf(build({ ...six, protocol: 59, payload: hex('0102') }));
  t.deepEqual([none.protocol, none.sourcePort, none.fragment], [59, 0, packet.WHOLE]);
  const many = hex('3c00000000000000'.repeat(10));
  t.is(read(build({ ...six, protocol: 17, extensions: [60, many] })), MALFORMED);
});

test('a protocol without ports is read as such', (t) => {
  const p = parsedOf(build({ protocol: 50, payload: hex('0102030405') }));
  t.deepEqual([p.protocol, p.sourcePort, p.destinationPort, p.flags], [50, 0, 0, 0]);
});

test('random bytes never lead a read astray', (t) => {
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 8;
  const p = new packet.Parsed();
  const quoted = new packet.Parsed();
  for (let round = 0; round < 20000; round++) {
    const bytes = ip([SYN4, SYN6, MLD, UNREACHABLE4, TOO_BIG6][round % 5]!).slice(0, 30 + (random() % 60));
    for (let n = 0; n < 3; n++) bytes[random() % bytes.length] = random();
    if (bytes[0] >>> 4 === 4) bytes[3] = bytes.length;
    else bytes[5] = Math.max(0, bytes.length - 40);
    const memory = memoryOf(bytes);
    if (packet.parse(memory, 0, bytes.length, p) !== 0) continue;
    t.true(p.transport <= p.end && p.end <= bytes.length);
    if (p.isError && packet.parseQuoted(memory, p, quoted)) t.true(quoted.transport + 4 <= quoted.end);
  }
});
