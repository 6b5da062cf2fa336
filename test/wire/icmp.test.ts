import test from 'ava';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import * as icmp from '../../src/dataplane/wire/icmp.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import { FILLER, guard, hex, place, slowSum, untouched } from './bytes.js';
import { altered, BIG4, BIG6, SYN4, TOO_BIG4, tagged, UDP4, UNREACHABLE4 } from './packets.js';

const ROOM = 700;

/** The answer to a frame, which nothing but frame and answer was touched for; undefined when there is none. */
function answer(frame: Uint8Array, mtu = 1350, length = frame.length): Uint8Array | undefined {
  const { bytes, at, end } = place(frame.slice(0, length), ROOM);
  const out = end + 13;
  const room = [out, out + 22 + icmp.ANSWER_MAX] as const;
  const answered = icmp.writeFragmentationNeeded(
    guard(bytes, [[at, end], room], [room]),
    at,
    length,
    out,
    mtu,
  );
  if (!untouched(bytes, [at, end], [out, out + answered])) throw new Error('wrote outside of the answer');
  return answered === 0 ? undefined : bytes.slice(out, out + answered);
}

test('a real error is read', (t) => {
  t.is(icmp.type(UNREACHABLE4, 34), icmp.UNREACHABLE);
  t.is(icmp.code(UNREACHABLE4, 34), 3);
  t.is(icmp.checksum(UNREACHABLE4, 34), 0x1120);
  t.true(icmp.checksumValid(UNREACHABLE4, 34, UNREACHABLE4.length));
  t.false(icmp.checksumValid(altered(UNREACHABLE4, 40, 1), 34, UNREACHABLE4.length));
  t.false(icmp.checksumValid(guard(UNREACHABLE4, []), 34, 41));
  t.is(icmp.mtu(TOO_BIG4, 34), 1350);
  t.is(icmp.code(TOO_BIG4, 34), icmp.FRAGMENTATION_NEEDED);
});

test('the answer to a frame too big is, byte for byte, that of the kernel', (t) => {
  t.deepEqual(answer(BIG4), TOO_BIG4);
});

test('tags are kept', (t) => {
  const tags: [number, number][] = [
    [ethernet.QINQ, 7],
    [ethernet.VLAN, 5],
  ];
  t.deepEqual(answer(tagged(BIG4, tags[1])), tagged(TOO_BIG4, tags[1]));
  t.deepEqual(answer(tagged(BIG4, ...tags)), tagged(TOO_BIG4, ...tags));
});

test('a short packet is quoted whole, without the padding of its frame', (t) => {
  for (const frame of [UDP4, Uint8Array.from([...UDP4, ...new Uint8Array(13).fill(FILLER)])]) {
    const bytes = answer(frame, 68);
    t.is(bytes?.length, 14 + 28 + 33);
    if (bytes === undefined) return;
    t.deepEqual(bytes.slice(42), UDP4.slice(14));
    t.true(ipv4.valid(bytes, 14, bytes.length - 14));
    t.true(ipv4.checksumValid(bytes, 14));
    t.is(slowSum(bytes.slice(34)), 0xffff);
    t.is(icmp.mtu(bytes, 34), 68);
  }
});

test('a truncated frame is not answered', (t) => {
  for (let length = 0; length < BIG4.length; length++)
    t.is(answer(BIG4, 1350, length), undefined, `${length} bytes`);
  for (let length = 0; length < UDP4.length; length++)
    t.is(answer(UDP4, 1350, length), undefined, `${length} bytes`);
});

test('what RFC 1122 §3.2.2 forbids to answer is not answered', (t) => {
  const from = (address: string) => altered(BIG4, 26, ...address.split('.').map(Number));
  const to = (address: string) => altered(BIG4, 30, ...address.split('.').map(Number));
  const cases: [name: string, frame: Uint8Array][] = [
    ['from nobody', from('0.0.0.0')],
    ['from loopback', from('127.0.0.1')],
    ['from multicast', from('224.0.0.5')],
    ['from broadcast', from('255.255.255.255')],
    ['to multicast', to('239.1.2.3')],
    ['to broadcast', to('255.255.255.255')],
    ['to a multicast MAC', altered(BIG4, 0, 0x01)],
    ['to the broadcast MAC', altered(BIG4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['from a multicast MAC', altered(BIG4, 6, 0x03)],
    ['a later fragment', altered(BIG4, 20, 0x00, 0xb9)],
    ['a later fragment, more to come', altered(BIG4, 20, 0x20, 0xb9)],
    ['IPv6', BIG6],
    ['a type that lies', altered(BIG6, 12, 0x08, 0x00)],
    ['an error', UNREACHABLE4],
    ['behind three tags', tagged(BIG4, [0x8100, 1], [0x8100, 2], [0x8100, 3])],
  ];
  for (const [name, frame] of cases) t.is(answer(frame), undefined, name);
  t.not(answer(altered(BIG4, 20, 0x20, 0x00)), undefined, 'the first fragment is answered');
});

test('ICMP errors are not answered, queries are', (t) => {
  for (let type = 0; type < 256; type++) {
    const isError = [3, 4, 5, 11, 12].includes(type);
    t.is(icmp.isError(type), isError);
    t.is(answer(altered(BIG4, 34, type)) === undefined, isError, `type ${type}`);
  }
  const empty = altered(BIG4.slice(0, 34), 16, 0, 20);
  t.is(answer(empty), undefined, 'nor what has no type');
  t.not(answer(altered(SYN4, 23, 6)), undefined);
});

test('a packet with options is quoted with them', (t) => {
  const options = Uint8Array.from([...BIG4.slice(0, 34), ...hex('94040000'), ...BIG4.slice(34)]);
  const frame = altered(altered(options, 14, 0x46), 16, 0x05, 0x98);
  const bytes = answer(frame);
  t.is(bytes?.length, 590);
  t.deepEqual(bytes?.slice(42), frame.slice(14, 14 + 548));
  t.is(slowSum(bytes?.slice(34) ?? []), 0xffff);
});
