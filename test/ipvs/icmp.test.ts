import test from 'ava';
import * as icmp from '../../src/dataplane/ipvs/icmp.js';
import { Parsed, parseQuoted } from '../../src/dataplane/ipvs/packet.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { hex } from '../wire/bytes.js';
import { TOO_BIG4, TOO_BIG6, UNREACHABLE4 } from '../wire/packets.js';
import {
  build,
  CLIENT,
  CLIENT6,
  memoryOf,
  parsedOf,
  SCTP,
  SERVER,
  SERVER6,
  type Stage,
  sound,
  stage,
  TCP,
  UDP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';

/** An error from `from` to `to` that quotes so many bytes of the packet: port unreachable, or too big. */
function error(quoted: Uint8Array, from: string, to: string, quote = quoted.length): Uint8Array {
  const v6 = from.includes(':');
  const head = v6 ? hex('0200 0000 00000500') : hex('0304 0000 00000500');
  const payload = Uint8Array.from([...head, ...quoted.slice(0, quote)]);
  return build({ protocol: v6 ? 58 : 1, source: from, destination: to, payload });
}

function translate(at: Stage, packet: number, way: 0 | 1, address: string, port: number): void {
  const outer = at.parsed(packet);
  const quoted = new Parsed();
  if (!parseQuoted(at.pool, outer, quoted)) throw new Error('nothing quoted');
  const words = address.includes(':')
    ? ipv6.parse(address)
    : ([ipv4.parse(address), 0, 0, 0] as [number, number, number, number]);
  icmp.translateError(at.pool, packet, outer, quoted, way, ...words, port);
  const again = at.parsed(packet);
  const quotedAgain = new Parsed();
  parseQuoted(at.pool, again, quotedAgain);
  if (JSON.stringify([outer, quoted]) !== JSON.stringify([again, quotedAgain]))
    throw new Error('parsed differ');
}

test('an error of a server about what it got from a client, byte for byte', (t) => {
  const at = stage();
  const packet = at.put(UNREACHABLE4.slice(14));
  // 10.0.0.3 (9999) answered 10.0.0.2; to the client it is 192.0.2.1 (99).
  translate(at, packet, icmp.TO_CLIENT, '192.0.2.1', 99);
  t.deepEqual(
    at.bytes(packet),
    hex(`
      45c0003d ef720000 4001be8a c0000201 0a000002
      0303c91e 00000000 45000021 ef0e4000 40117fba 0a000002 c0000201 cebd 0063 000d 20de 68656c6c6f`),
  );
});

const CASES: [name: string, wanted: Wanted][] = [];
for (const [name, protocol] of [
  ['TCP', TCP],
  ['UDP', UDP],
  ['SCTP', SCTP],
] as const) {
  const payload = Uint8Array.from({ length: 21 }, (_, i) => i * 11);
  CASES.push([`${name} over IPv4`, { protocol, payload }]);
  CASES.push([`${name} over IPv6`, { protocol, payload, source: CLIENT6, destination: VIRTUAL6 }]);
}

for (const [name, base] of CASES) {
  const v6 = base.source !== undefined;
  const [client, virtual, server] = v6 ? [CLIENT6, VIRTUAL6, SERVER6] : [CLIENT, VIRTUAL, SERVER];

  test(`${name}: an error translated is the one about the translated packet, at every length of the quote`, (t) => {
    const toVirtual = build({ ...base, destination: virtual, destinationPort: 80 });
    const toServer = build({ ...base, destination: server, destinationPort: 8080 });
    const ofVirtual = build({
      ...base,
      source: virtual,
      destination: client,
      sourcePort: 80,
      destinationPort: 40000,
    });
    const ofServer = build({
      ...base,
      source: server,
      destination: client,
      sourcePort: 8080,
      destinationPort: 40000,
    });
    const head = v6 ? 40 : 20;
    for (let quote = head + 4; quote <= toVirtual.length; quote++) {
      const at = stage();
      const fromServer = at.put(error(toServer, server, client, quote));
      translate(at, fromServer, icmp.TO_CLIENT, virtual, 80);
      const fromClient = at.put(error(ofVirtual, client, virtual, quote));
      translate(at, fromClient, icmp.TO_SERVER, server, 8080);
      // Where a quote ends within the checksum, that stays as it was.
      const cut = base.protocol === SCTP ? [8, 12] : base.protocol === TCP ? [16, 18] : [6, 8];
      const partial = quote > head + cut[0]! && quote < head + cut[1]!;
      if (partial) {
        t.true(sound(at.bytes(fromServer)) && sound(at.bytes(fromClient)));
        continue;
      }
      t.deepEqual(at.bytes(fromServer), error(toVirtual, virtual, client, quote), `${quote} bytes`);
      t.deepEqual(at.bytes(fromClient), error(ofServer, client, server, quote), `${quote} bytes`);
      translate(at, fromServer, icmp.TO_CLIENT, server, 8080);
      t.deepEqual(at.bytes(fromServer), error(toServer, server, client, quote), 'and back');
    }
  });
}

test('an error whose checksum the device finishes finishes right', (t) => {
  for (const [packet, to] of [
    [error(build({ protocol: UDP, destination: SERVER }), SERVER, CLIENT), VIRTUAL],
    [error(build({ protocol: UDP, source: CLIENT6, destination: SERVER6 }), SERVER6, CLIENT6), VIRTUAL6],
  ] as const) {
    const at = stage();
    const plain = at.put(packet);
    translate(at, plain, icmp.TO_CLIENT, to, 80);
    if (to === VIRTUAL) continue;
    const unfinished = at.put(packet, { unfinished: true });
    translate(at, unfinished, icmp.TO_CLIENT, to, 80);
    const check = stage();
    t.deepEqual(at.bytes(unfinished), check.bytes(check.put(at.bytes(plain), { unfinished: true })));
  }
});

test('a quoted UDP packet without checksum keeps none; echoes in IPv6 and ICMP are kept right', (t) => {
  const at = stage();
  const none = build({ protocol: UDP, destination: SERVER, payload: hex('01') });
  none.fill(0, 26, 28);
  const packet = at.put(error(none, SERVER, CLIENT));
  translate(at, packet, icmp.TO_CLIENT, VIRTUAL, 80);
  t.deepEqual([...at.bytes(packet).slice(28 + 26, 28 + 28)], [0, 0]);
  t.true(sound(at.bytes(packet)));
  for (const frame of [TOO_BIG4, TOO_BIG6]) {
    const echo = at.put(frame.slice(14));
    translate(at, echo, icmp.TO_CLIENT, frame === TOO_BIG4 ? VIRTUAL : VIRTUAL6, 0);
    t.true(sound(at.bytes(echo)));
  }
});

const out = 200;

/** What is written about the packet, in room of its own. */
function answer(packet: Uint8Array, write: (memory: ReturnType<typeof memoryOf>, p: Parsed) => number) {
  const bytes = new Uint8Array(out + 1300).fill(0xa5);
  bytes.set(packet);
  const memory = memoryOf(bytes);
  const parsed = parsedOf(packet);
  const length = write(memory, parsed);
  return length === 0 ? undefined : bytes.slice(out, out + length);
}

test('unreachable, time exceeded and too big go back to who sent, from the address that was meant', (t) => {
  const packet = build({ protocol: UDP, payload: hex('0102030405') });
  const quote = [...packet];
  const wrap = (head: string) =>
    build({
      ...{ protocol: 1, source: VIRTUAL, destination: CLIENT, id: 0 },
      payload: Uint8Array.from([...hex(head), ...quote]),
    });
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeUnreachable(memory, p, out)),
    wrap('0303 0000 00000000'),
  );
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeTimeExceeded(memory, p, out)),
    wrap('0b00 0000 00000000'),
  );
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeTooBig(memory, p, out, 1400)),
    wrap('0304 0000 00000578'),
  );
});

test('and so over IPv6', (t) => {
  const packet = build({ protocol: UDP, source: CLIENT6, destination: VIRTUAL6, payload: hex('0102030405') });
  const wrap = (head: string) =>
    build({
      ...{ protocol: 58, source: VIRTUAL6, destination: CLIENT6 },
      payload: Uint8Array.from([...hex(head), ...packet]),
    });
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeUnreachable(memory, p, out)),
    wrap('0104 0000 00000000'),
  );
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeTimeExceeded(memory, p, out)),
    wrap('0300 0000 00000000'),
  );
  t.deepEqual(
    answer(packet, (memory, p) => icmp.writeTooBig(memory, p, out, 1400)),
    wrap('0200 0000 00000578'),
  );
  t.is(
    answer(packet, (memory, p) => icmp.writeTooBig(memory, p, out, 1279)),
    undefined,
  );
});

test('errors are not answered with errors, nor what came from or goes to a group', (t) => {
  const all = (packet: Uint8Array) =>
    [icmp.writeUnreachable, icmp.writeTimeExceeded].map((write) =>
      answer(packet, (memory, p) => write(memory, p, out)),
    );
  const none = [undefined, undefined];
  t.deepEqual(all(UNREACHABLE4.slice(14)), none);
  t.deepEqual(all(build({ protocol: UDP, destination: '224.0.0.1' })), none);
  t.deepEqual(all(build({ protocol: UDP, source: '0.0.0.0' })), none);
  t.deepEqual(all(build({ protocol: UDP, source: CLIENT6, destination: 'ff02::1' })), none);
  t.deepEqual(all(build({ protocol: UDP, source: 'ff02::1', destination: VIRTUAL6 })), none);
  t.deepEqual(all(build({ protocol: UDP, fragment: 5 })), none);
});
