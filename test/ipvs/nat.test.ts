import test from 'ava';
import { drop } from '../../src/dataplane/core/drops.js';
import { CHECKSUM_UNFINISHED } from '../../src/dataplane/core/pool.js';
import * as nat from '../../src/dataplane/ipvs/nat.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { hex } from '../wire/bytes.js';
import { MLD, SYN4 } from '../wire/packets.js';
import {
  build,
  CLIENT,
  CLIENT6,
  parsedOf,
  SCTP,
  SERVER,
  SERVER6,
  type Stage,
  sound,
  stage,
  TCP,
  UDP,
  unfinished,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';

/** Rewrites one end of the packet, of either family, and checks that `parsed` follows. */
function rewrite(
  { pool, parsed }: Stage,
  packet: number,
  end: 'source' | 'destination',
  address: string,
  port: number,
): number {
  const p = parsed(packet);
  if (p.family === 4) {
    const call = end === 'source' ? nat.rewriteSource4 : nat.rewriteDestination4;
    const reason = call(pool, packet, p, ipv4.parse(address), port);
    if (reason === 0) sameAs(p, parsed(packet));
    return reason;
  }
  const call = end === 'source' ? nat.rewriteSource6 : nat.rewriteDestination6;
  const reason = call(pool, packet, p, ...ipv6.parse(address), port);
  if (reason === 0) sameAs(p, parsed(packet));
  return reason;
}

function sameAs(one: object, other: object): void {
  if (JSON.stringify(one) !== JSON.stringify(other)) throw new Error('parsed did not follow');
}

test('the SYN of a client to a virtual server goes, byte for byte, to the real server', (t) => {
  const at = stage();
  const packet = at.put(SYN4.slice(14));
  t.is(rewrite(at, packet, 'destination', '10.1.2.3', 80), 0);
  // 10.0.0.3:8080 → 10.1.2.3:80; checksums 673b → 653a and cb4c → e88b
  t.deepEqual(
    at.bytes(packet),
    hex(`
      4500003c bf7c4000 4006653a 0a000002 0a010203
      e1ac0050 78bb12c9 00000000 a002faf0 e88b0000 020405b4 0402080a7e0362f600000000 0103030a`),
  );
  t.true(sound(at.bytes(packet)));
});

const PAIRS: [name: string, wanted: Wanted, to: string, port: number][] = [];
for (const [name, protocol] of [
  ['TCP', TCP],
  ['UDP', UDP],
  ['SCTP', SCTP],
] as const) {
  PAIRS.push([`${name} over IPv4`, { protocol, payload: hex('0102030405') }, SERVER, 8080]);
  PAIRS.push([
    `${name} over IPv6`,
    { protocol, source: CLIENT6, destination: VIRTUAL6, payload: hex('0102030405') },
    SERVER6,
    8080,
  ]);
}

for (const [name, wanted, to, port] of PAIRS) {
  const back = to === SERVER ? VIRTUAL : VIRTUAL6;

  test(`${name}: a rewritten packet is the one that would have been built, and back again the original`, (t) => {
    const at = stage();
    const original = build(wanted);
    const packet = at.put(original);
    t.is(rewrite(at, packet, 'destination', to, port), 0);
    t.deepEqual(at.bytes(packet), build({ ...wanted, destination: to, destinationPort: port }));
    t.is(rewrite(at, packet, 'destination', back, 80), 0);
    t.deepEqual(at.bytes(packet), original);
    t.is(rewrite(at, packet, 'source', to, port), 0);
    t.deepEqual(at.bytes(packet), build({ ...wanted, source: to, sourcePort: port }));
  });

  test(`${name}: a checksum that the device finishes is rewritten so that it finishes right`, (t) => {
    const at = stage();
    const after = build({ ...wanted, destination: to, destinationPort: port });
    if (wanted.protocol === SCTP) {
      const packet = at.put(build(wanted));
      at.pool.offload[packet] = CHECKSUM_UNFINISHED;
      at.pool.checksumStart[packet] = 14 + parsedOf(after).transport;
      at.pool.checksumOffset[packet] = 8;
      t.is(rewrite(at, packet, 'destination', to, port), 0);
      const field = parsedOf(after).transport + 8;
      const untouched = build(wanted).slice(field, field + 4);
      t.deepEqual(at.bytes(packet).slice(field, field + 4), untouched);
      return;
    }
    const packet = at.put(build(wanted), { unfinished: true });
    t.is(rewrite(at, packet, 'destination', to, port), 0);
    t.deepEqual(at.bytes(packet), unfinished(after));
    t.is(at.pool.offload[packet], CHECKSUM_UNFINISHED);
  });
}

test('an unfinished checksum further in, of a carried packet, leaves that of the outer header a whole one', (t) => {
  const at = stage();
  const wanted = { protocol: UDP, payload: new Uint8Array(60) };
  const packet = at.put(build(wanted));
  at.pool.offload[packet] = CHECKSUM_UNFINISHED;
  at.pool.checksumStart[packet] = 14 + 20 + 8 + 22;
  at.pool.checksumOffset[packet] = 6;
  t.is(rewrite(at, packet, 'destination', SERVER, 53), 0);
  t.deepEqual(at.bytes(packet), build({ ...wanted, destination: SERVER, destinationPort: 53 }));
});

test('random packets: the incremental checksum is the one computed anew, there and back', (t) => {
  const at = stage();
  let seed = 7;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const address = (v6: boolean) =>
    v6
      ? ipv6.format(random(2 ** 32) | 0, random(2 ** 32) | 0, random(2 ** 32) | 0, random(2 ** 32) | 0)
      : ipv4.format(random(2 ** 32) | 0);
  for (let round = 0; round < 3000; round++) {
    const v6 = random(2) === 1;
    const wanted: Wanted = {
      protocol: [TCP, UDP, SCTP][random(3)]!,
      source: address(v6),
      destination: address(v6),
      sourcePort: 1 + random(65535),
      destinationPort: 1 + random(65535),
      payload: Uint8Array.from({ length: random(40) }, () => random(256)),
    };
    const [to, port] = [address(v6), 1 + random(65535)];
    const end = random(2) === 1 ? 'source' : 'destination';
    const original = build(wanted);
    const packet = at.put(original);
    rewrite(at, packet, end, to, port);
    const expected = build({ ...wanted, [end]: to, [`${end}Port`]: port });
    if (Buffer.compare(at.bytes(packet), expected) !== 0) t.deepEqual(at.bytes(packet), expected);
    const [address0, port0] =
      end === 'source'
        ? [wanted.source!, wanted.sourcePort!]
        : [wanted.destination!, wanted.destinationPort!];
    rewrite(at, packet, end, address0, port0);
    if (Buffer.compare(at.bytes(packet), original) !== 0) t.deepEqual(at.bytes(packet), original);
    at.pool.free(packet);
  }
  t.is(at.pool.allocated, 0);
});

test('a UDP packet without checksum keeps none; one whose checksum comes out as 0 says 0xffff', (t) => {
  const at = stage();
  const none = build({ protocol: UDP, payload: hex('0102') });
  none[26] = 0;
  none[27] = 0;
  const packet = at.put(none);
  t.is(rewrite(at, packet, 'destination', SERVER, 53), 0);
  t.deepEqual([...at.bytes(packet).slice(26, 28)], [0, 0]);
  t.true(sound(at.bytes(packet)));
  // The port for which the sum over all is 0xffff.
  const first = build({ protocol: UDP, destinationPort: 1 });
  const checksum = (first[26]! << 8) | first[27]!;
  const other = at.put(first);
  t.is(rewrite(at, other, 'destination', VIRTUAL, 1 + checksum), 0);
  t.deepEqual([...at.bytes(other).slice(26, 28)], [255, 255]);
  t.true(sound(at.bytes(other)));
  t.is(rewrite(at, other, 'destination', VIRTUAL, 1), 0);
  t.deepEqual(at.bytes(other), first);
});

test('a damaged packet stays damaged', (t) => {
  for (const protocol of [TCP, UDP, SCTP]) {
    const at = stage();
    const bytes = build({ protocol, payload: hex('01020304') });
    bytes[bytes.length - 1]! ^= 1;
    const packet = at.put(bytes);
    t.is(rewrite(at, packet, 'destination', SERVER, 8080), 0);
    t.false(sound(at.bytes(packet)));
    at.bytes(packet);
    at.pool.bytes[at.pool.offset[packet]! + at.pool.length[packet]! - 1]! ^= 1;
    t.true(sound(at.bytes(packet)));
  }
});

test('of a first fragment address, port and checksum change; of a later one the address alone', (t) => {
  const at = stage();
  const whole = { protocol: UDP, payload: new Uint8Array(24).fill(7) };
  const after = build({ ...whole, destination: SERVER, destinationPort: 53, fragment: 0x2000 });
  const first = at.put(build({ ...whole, fragment: 0x2000 }));
  t.is(rewrite(at, first, 'destination', SERVER, 53), 0);
  t.deepEqual(at.bytes(first), after);
  const bytes = build({ ...whole, fragment: 0x0004 });
  const later = at.put(bytes);
  t.is(rewrite(at, later, 'destination', SERVER, 53), 0);
  t.deepEqual(at.bytes(later).slice(20), bytes.slice(20));
  t.deepEqual(
    at.bytes(later).slice(0, 20),
    build({ ...whole, destination: SERVER, fragment: 4 }).slice(0, 20),
  );
});

test('a fragment of SCTP cannot get another port, and is left as it was', (t) => {
  const at = stage();
  const bytes = build({ protocol: SCTP, payload: new Uint8Array(12), fragment: 0x2000 });
  const packet = at.put(bytes);
  t.is(rewrite(at, packet, 'destination', SERVER, 8080), drop['sctp-fragment']);
  t.deepEqual(at.bytes(packet), bytes);
  t.is(rewrite(at, packet, 'destination', SERVER, 80), 0);
});

test('ICMPv6 has the addresses in its checksum, ICMP has not, another protocol has none', (t) => {
  const at = stage();
  const six = at.put(MLD.slice(14));
  t.is(rewrite(at, six, 'source', CLIENT6, 0), 0);
  t.true(sound(at.bytes(six)));
  const echo = { protocol: 1, payload: hex('0800 f7fd 0001 0001') };
  const four = at.put(build(echo));
  t.is(rewrite(at, four, 'destination', SERVER, 99), 0);
  t.deepEqual(at.bytes(four), build({ ...echo, destination: SERVER }));
  const esp = { protocol: 50, payload: hex('0102030405060708') };
  const other = at.put(build(esp));
  t.is(rewrite(at, other, 'source', SERVER, 99), 0);
  t.deepEqual(at.bytes(other), build({ ...esp, source: SERVER }));
});

test('a hop less is a hop less, until there is none', (t) => {
  for (const ends of [{}, { source: CLIENT6, destination: VIRTUAL6 }]) {
    const at = stage();
    const packet = at.put(build({ ...ends, protocol: TCP, ttl: 255 }));
    for (let ttl = 254; ttl >= 1; ttl--) {
      t.true(nat.decrementTtl(at.pool, at.parsed(packet)));
      t.deepEqual(at.bytes(packet), build({ ...ends, protocol: TCP, ttl }));
    }
    t.false(nat.decrementTtl(at.pool, at.parsed(packet)));
    t.deepEqual(at.bytes(packet), build({ ...ends, protocol: TCP, ttl: 1 }));
    const dead = at.put(build({ ...ends, protocol: TCP, ttl: 0 }));
    t.false(nat.decrementTtl(at.pool, at.parsed(dead)));
  }
  t.is(CLIENT, '192.0.2.7');
});
