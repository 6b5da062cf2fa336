/** ICMPv6 errors about replies that came to the host itself: what becomes of them for the destination. */
import test from 'ava';
import { QuotedReply } from '../../src/dataplane/ipvs/quoted-reply.js';
import { FLAG_REPLIES, STATE } from '../../src/dataplane/ipvs/record.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { ingressWorld, serviceOf } from './ingress-world.js';
import { build, CLIENT6, parsedOf, SERVER6, sound, TCP, UDP, VIRTUAL6 } from './packets.js';

const TOO_BIG = Uint8Array.of(2, 0, 0, 0, 0, 0, 5, 0x28);

/** A message that quotes the packet. */
const about = (quoted: Uint8Array, head = TOO_BIG) => Uint8Array.from([...head, ...quoted]);
const reply = (protocol: number, ports = { sourcePort: 80, destinationPort: 40000 }) =>
  build({ protocol, source: VIRTUAL6, destination: CLIENT6, payload: new Uint8Array(600).fill(5), ...ports });

test('an error about a reply speaks of what the destination sent, whole and with a right checksum inside', (t) => {
  for (const protocol of [TCP, UDP]) {
    const w = ingressWorld();
    w.services.set(serviceOf(protocol, VIRTUAL6, 80, [SERVER6], 8080), 0);
    w.direct(build({ protocol, source: CLIENT6, destination: VIRTUAL6, flags: 2 }));
    const replies = new QuotedReply(w.table);
    const error = replies.translate(about(reply(protocol)))!;
    t.deepEqual([...error.slice(0, 2), ...error.slice(4, 8)], [2, 0, 0, 0, 5, 0x28]);
    t.is(ipv6.format(...replies.destination), SERVER6);
    const quoted = error.slice(8);
    const p = parsedOf(quoted);
    t.is(ipv6.format(p.source0, p.source1, p.source2, p.source3), SERVER6);
    t.is(ipv6.format(p.destination0, p.destination1, p.destination2, p.destination3), CLIENT6);
    t.deepEqual([p.sourcePort, p.destinationPort], [8080, 40000]);
    t.true(sound(quoted));
    // Cut short behind the ports, as the least that a router quotes.
    t.is(replies.translate(about(reply(protocol).slice(0, 48)))!.length, 56);
  }
});

test('what is of no connection, no error, or malformed is nobody’s', (t) => {
  const w = ingressWorld();
  w.services.set(serviceOf(UDP, VIRTUAL6, 80, [SERVER6], 8080), 0);
  w.direct(build({ protocol: UDP, source: CLIENT6, destination: VIRTUAL6 }));
  const replies = new QuotedReply(w.table);
  const whole = about(reply(UDP));
  t.truthy(replies.translate(whole));
  t.is(replies.translate(about(reply(UDP, { sourcePort: 81, destinationPort: 40000 }))), undefined);
  t.is(replies.translate(about(reply(TCP))), undefined);
  t.is(replies.translate(about(reply(UDP), Uint8Array.of(128, 0, 0, 0, 0, 0, 0, 0))), undefined);
  for (let length = 0; length < 52; length++) t.is(replies.translate(whole.slice(0, length)), undefined);
  // The client's own packet, and a connection whose replies don't come through here.
  t.is(replies.translate(about(build({ protocol: UDP, source: CLIENT6, destination: VIRTUAL6 }))), undefined);
  w.table.records[w.table.at(0) + STATE]! &= ~FLAG_REPLIES;
  t.is(replies.translate(whole), undefined);
});
