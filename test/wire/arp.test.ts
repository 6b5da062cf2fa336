import test from 'ava';
import * as arp from '../../src/dataplane/wire/arp.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import { parse } from '../../src/dataplane/wire/ipv4.js';
import { eachLength, guard, hex, place, untouched } from './bytes.js';
import { ARP_REPLY, ARP_REQUEST, altered } from './packets.js';

const REQUEST = ARP_REQUEST.slice(14);
const REPLY = ARP_REPLY.slice(14);

test('a real request and its reply are known, and read', (t) => {
  const { bytes, at, end } = place(REQUEST);
  t.true(arp.isRequest(bytes, at, end));
  t.false(arp.isReply(bytes, at, end));
  t.is(arp.senderMacHigh(bytes, at), 0x0242);
  t.is(arp.senderMacLow(bytes, at), 0x0a000002);
  t.is(arp.senderIp(bytes, at), parse('10.0.0.2'));
  t.is(arp.targetMacHigh(bytes, at), 0);
  t.is(arp.targetMacLow(bytes, at), 0);
  t.is(arp.targetIp(bytes, at), parse('10.0.0.3'));
  t.true(arp.isReply(REPLY, 0, 28));
  t.false(arp.isRequest(REPLY, 0, 28));
  t.is(arp.targetMacLow(REPLY, 0), 0x0a000002);
});

test('the request turns into the reply that Linux sent', (t) => {
  const { bytes, at, end } = place(ARP_REQUEST);
  const guarded = guard(bytes, [[at, end]], [[at, end]]);
  arp.writeReply(guarded, at + 14, 0x0242, 0x0a000003);
  ethernet.turnBack(guarded, at, 0x0242, 0x0a000003);
  t.deepEqual(bytes.slice(at, end), ARP_REPLY);
  t.true(untouched(bytes, [at, end]));
});

test('requests and announcements are written as Linux writes them', (t) => {
  const { bytes, at, end } = place(new Uint8Array(28).fill(0xa5));
  const guarded = guard(bytes, [], [[at, end]]);
  arp.writeRequest(guarded, at, 0x0242, 0x0a000002, parse('10.0.0.2'), parse('10.0.0.3'));
  t.deepEqual(bytes.slice(at, end), REQUEST);
  arp.write(
    guarded,
    at,
    arp.REPLY,
    0x0242,
    0x0a000003,
    parse('10.0.0.3'),
    0x0242,
    0x0a000002,
    parse('10.0.0.2'),
  );
  t.deepEqual(bytes.slice(at, end), REPLY);
  const own = parse('172.16.0.9');
  arp.writeRequest(guarded, at, 0x0242, 0xac100009 | 0, own, own);
  t.deepEqual(bytes.slice(at, end), hex('0001080006040001 0242ac100009 ac100009 000000000000 ac100009'));
  t.true(untouched(bytes, [at, end]));
});

test('a truncated request is none', (t) => {
  t.is(eachLength(REQUEST, arp.isRequest).indexOf(true), 28);
  t.is(eachLength(REPLY, arp.isReply).indexOf(true), 28);
});

test('other hardware, protocols, lengths and operations are not taken for Ethernet and IPv4', (t) => {
  for (let at = 0; at < 8; at++) {
    for (const bit of [0x01, 0x10, 0x80]) {
      const wrong = altered(REQUEST, at, REQUEST[at] ^ bit);
      t.false(arp.isRequest(wrong, 0, 28), `byte ${at}`);
      t.false(arp.isReply(wrong, 0, 28));
    }
  }
});
