/** Fragments through the director: of both families, both ways, in any order, of what is for a service and what isn't. */
import test from 'ava';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { ingressWorld, serviceOf } from './ingress-world.js';
import {
  build,
  CLIENT,
  CLIENT6,
  parsedOf,
  SERVER,
  SERVER6,
  sound,
  TCP,
  UDP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';

/** The packet in fragments of `part` bytes of what the IP header is about. */
function split(wanted: Wanted, part: number): Uint8Array[] {
  const whole = build({ ...wanted, fragment: 0 });
  const six = whole[0]! >>> 4 === 6;
  const head = six ? 40 : 20;
  const pieces: Uint8Array[] = [];
  const { id = 9 } = wanted;
  for (let from = 0; head + from < whole.length; from += part) {
    const piece = whole.slice(head + from, head + from + part);
    const more = head + from + part < whole.length;
    if (six) {
      const extension = Uint8Array.of(
        wanted.protocol,
        0,
        from >>> 8,
        (from & 0xf8) | (more ? 1 : 0),
        0,
        0,
        0,
        id,
      );
      const { source = CLIENT6, destination = VIRTUAL6 } = wanted;
      pieces.push(build({ protocol: 253, source, destination, extensions: [44, extension], payload: piece }));
    } else {
      const { source = CLIENT, destination = VIRTUAL } = wanted;
      const fragment = (more ? 0x2000 : 0) | (from / 8);
      const bytes = build({ protocol: 253, source, destination, id, fragment, payload: piece });
      // build sums no header of protocol 253; put the right one into the sum.
      bytes[9] = wanted.protocol;
      ipv4.writeChecksum(bytes, 0, ipv4.headerChecksum(bytes, 0));
      pieces.push(bytes);
    }
  }
  return pieces;
}

/** What the fragments make when they are put together. */
function join(pieces: readonly Uint8Array[]): Uint8Array {
  const six = pieces[0]![0]! >>> 4 === 6;
  const head = six ? 40 : 20;
  const offset = (piece: Uint8Array) =>
    six ? (piece[42]! << 8) | (piece[43]! & 0xf8) : (((piece[6]! << 8) | piece[7]!) & 0x1fff) << 3;
  const data = [...pieces]
    .sort((a, b) => offset(a) - offset(b))
    .flatMap((piece) => [...piece.slice(head + (six ? 8 : 0))]);
  const whole = new Uint8Array(head + data.length);
  whole.set(pieces[0]!.slice(0, head));
  whole.set(data, head);
  const view = new DataView(whole.buffer);
  if (six) {
    whole[6] = pieces[0]![40]!;
    view.setUint16(4, data.length);
  } else {
    view.setUint16(2, whole.length);
    view.setUint16(6, 0);
    ipv4.writeChecksum(whole, 0, ipv4.headerChecksum(whole, 0));
  }
  return whole;
}

/** Source, destination and ports. */
function endsOf(packet: Uint8Array): string {
  const p = parsedOf(packet);
  const [from, to] =
    p.family === 4
      ? [ipv4.format(p.source0), ipv4.format(p.destination0)]
      : [
          ipv6.format(p.source0, p.source1, p.source2, p.source3),
          ipv6.format(p.destination0, p.destination1, p.destination2, p.destination3),
        ];
  return `${from} ${p.sourcePort} > ${to} ${p.destinationPort}`;
}

const CASES = [
  [CLIENT, VIRTUAL, SERVER],
  [CLIENT6, VIRTUAL6, SERVER6],
] as const;
const payload = Uint8Array.from({ length: 500 }, (_, i) => i);

test('all fragments of a datagram go where its first one goes, and those of the answer come back', (t) => {
  for (const [client, virtual, server] of CASES) {
    const w = ingressWorld();
    w.services.set(serviceOf(UDP, virtual, 53, [server], 5353), 0);
    const there = { protocol: UDP, source: client, destination: virtual, destinationPort: 53, payload };
    const out = w.direct(...split(there, 104));
    t.is(out.length, 5);
    const whole = join(out);
    t.is(endsOf(whole), `${client} 40000 > ${server} 5353`);
    t.true(sound(whole));
    const back = { protocol: UDP, source: server, destination: client, payload };
    const ports = { sourcePort: 5353, destinationPort: 40000 };
    const answer = join(w.direct(...split({ ...back, ...ports }, 104)));
    t.is(endsOf(answer), `${virtual} 53 > ${client} 40000`);
    t.true(sound(answer));
    t.deepEqual([w.drops(), w.pool.allocated, w.director.fragments.held], [{}, 0, 0]);
  }
});

test('fragments that overtook the first one follow it, also over several batches', (t) => {
  for (const [client, virtual, server] of CASES) {
    const w = ingressWorld();
    w.services.set(serviceOf(UDP, virtual, 53, [server], 5353), 0);
    const pieces = split(
      { protocol: UDP, source: client, destination: virtual, destinationPort: 53, payload },
      104,
    );
    t.is(w.direct(pieces[3]!, pieces[2]!).length, 0);
    t.is(w.direct(pieces[4]!).length, 0);
    t.is(w.director.fragments.held, 3);
    const out = w.direct(pieces[0]!, pieces[1]!);
    t.is(out.length, 5);
    t.true(sound(join(out)));
    t.is(endsOf(join(out)), `${client} 40000 > ${server} 5353`);
    t.deepEqual([w.drops(), w.pool.allocated], [{}, 0]);
  }
});

test('fragments of what belongs to no service pass as they are, of any protocol', (t) => {
  for (const [client, virtual, server] of CASES) {
    const w = ingressWorld();
    w.services.set(serviceOf(UDP, virtual, 53, [server], 5353), 0);
    for (const protocol of [UDP, TCP, 47]) {
      const there = { protocol, source: client, destination: virtual, destinationPort: 54, payload };
      const pieces = split({ ...there, id: protocol }, 104);
      t.deepEqual(w.direct(pieces[1]!, ...pieces), [pieces[0]!, pieces[1]!, ...pieces.slice(1)]);
    }
    t.deepEqual([w.drops(), w.pool.allocated], [{}, 0]);
  }
});

test('who nobody serves is told once, and the other fragments are dropped', (t) => {
  const w = ingressWorld();
  w.services.set(serviceOf(UDP, VIRTUAL, 53, []), 0);
  const out = w.direct(...split({ protocol: UDP, destinationPort: 53, payload }, 104));
  t.is(out.length, 1);
  t.is(parsedOf(out[0]!).protocol, 1);
  t.deepEqual([w.drops(), w.pool.allocated], [{ 'service-empty': 1, 'fragment-lost': 4 }, 0]);
});

test('a fragment is not led by a connection that has ended meanwhile', (t) => {
  const w = ingressWorld();
  const spec = serviceOf(UDP, VIRTUAL, 53, [SERVER]);
  w.services.set({ ...spec, timeouts: { tcp: 0, tcpFin: 0, udp: 1 } }, 0);
  const [first, second] = split({ protocol: UDP, destinationPort: 53, payload }, 304);
  t.is(w.direct(first!).length, 1);
  w.director.nowMs = 1500;
  t.is(w.director.expire(), 1);
  t.is(w.direct(second!).length, 0);
  t.deepEqual([w.drops(), w.pool.allocated], [{ 'fragment-lost': 1 }, 0]);
});

test('what waits in vain ends with the time or with the engine', (t) => {
  const w = ingressWorld();
  const pieces = split({ protocol: UDP, destinationPort: 53, payload }, 104);
  w.direct(...pieces.slice(1, 3));
  w.director.fragments.expire(1999);
  t.is(w.director.fragments.held, 2);
  w.director.fragments.expire(2000);
  t.is(w.pool.allocated, 0);
  w.direct(...pieces.slice(1, 3));
  w.director.fragments.clear();
  t.is(w.pool.allocated, 0);
});
