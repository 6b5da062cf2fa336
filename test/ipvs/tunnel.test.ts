import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { CHECKSUM_UNFINISHED, FRAME_AT, NO_PACKET, SEGMENT_TCP4 } from '../../src/dataplane/core/pool.js';
import { complete, coveredBytes } from '../../src/dataplane/core/unfinished.js';
import type { DestinationSpec } from '../../src/dataplane/ipvs/destination.js';
import { Parsed, parse, parseAt } from '../../src/dataplane/ipvs/packet.js';
import { Segments } from '../../src/dataplane/ipvs/segments.js';
import * as tunnels from '../../src/dataplane/ipvs/tunnel.js';
import * as checksums from '../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { hex, slowSum } from '../wire/bytes.js';
import { UDP4 } from '../wire/packets.js';
import {
  build,
  CLIENT6,
  memoryOf,
  parsedOf,
  SERVER,
  SERVER6,
  type Stage,
  sound,
  stage,
  TCP,
  transportSum,
  UDP,
  VIRTUAL6,
} from './packets.js';
import { wordsOf } from './specs.js';

const PORT = 6080;
const HERE = '10.9.9.9';
const HERE6 = 'fd00:9::9';

type Type = DestinationSpec['tunnel']['type'];
type Checksum = DestinationSpec['tunnel']['checksum'];

function tunnel(family: 4 | 6, type: Type, checksum: Checksum = 'none'): tunnels.Tunnel {
  const spec: DestinationSpec = {
    ...{ row: 0, family, address: wordsOf(family === 4 ? SERVER : SERVER6), port: 80, weight: 1 },
    ...{ forward: 'tunnel', upperThreshold: 0, lowerThreshold: 0, near: false },
    tunnel: { type, port: PORT, checksum },
  };
  return tunnels.tunnelTo(spec, wordsOf(family === 4 ? HERE : HERE6));
}

/** The packet in the tunnel. */
function encapsulate(at: Stage, packet: number, to: tunnels.Tunnel, discover = true): Uint8Array {
  new tunnels.Encapsulator(at.pool).encapsulate(packet, at.parsed(packet), to, discover);
  t0(at.pool.offset[packet]! % 4 === 0);
  return at.bytes(packet, 0);
}

function t0(holds: boolean): void {
  if (!holds) throw new Error('not aligned');
}

/** What comes out at the other end, checksums finished that were left to it. */
function decapsulate(bytes: Uint8Array): Uint8Array {
  const memory = memoryOf(bytes.slice());
  const outer = parsedOf(memory.bytes);
  const inner = tunnels.carried(memory, outer, PORT);
  if (inner < 0 || !tunnels.finishRemote(memory, outer, inner)) throw new Error('nothing carried');
  return memory.bytes.slice(inner);
}

const four = build({ protocol: TCP, payload: hex('0102030405'), tos: 0xb9, ttl: 17 });
const six = build({
  ...{ protocol: UDP, source: CLIENT6, destination: VIRTUAL6, payload: hex('01020304'), tos: 0x2d, ttl: 9 },
});

test('IPv4 in IPv4, byte for byte: TOS with ECN, TTL and DF as inside', (t) => {
  const at = stage();
  const bytes = encapsulate(at, at.put(UDP4.slice(14)), tunnel(4, 'ipip'));
  t.deepEqual(
    bytes,
    Uint8Array.from([...hex('45000035 00014000 40041baf 0a090909 0a010203'), ...UDP4.slice(14)]),
  );
  t.true(sound(bytes));
});

test('all four pairs of families: the outer header says what is inside, and what comes out went in', (t) => {
  for (const [inner, next] of [
    [four, 4],
    [six, 41],
  ] as const) {
    for (const family of [4, 6] as const) {
      const at = stage();
      const bytes = encapsulate(at, at.put(inner), tunnel(family, 'ipip'));
      const head = family === 4 ? 20 : 40;
      const outer = parsedOf(bytes);
      t.deepEqual([outer.protocol, outer.headerLength, bytes.length], [next, head, head + inner.length]);
      const [tos, ttl] = inner === four ? [0xb9, 17] : [0x2d, 9];
      if (family === 4) t.deepEqual([bytes[1], bytes[8], bytes[6]], [tos, ttl, inner === four ? 0x40 : 0]);
      else t.deepEqual([ipv6.trafficClass(bytes, 0), bytes[7]], [tos, ttl]);
      t.true(sound(bytes));
      t.deepEqual(decapsulate(bytes), inner);
    }
  }
});

test('DF goes outside when it is inside and is asked for', (t) => {
  const at = stage();
  const fragmentable = build({ protocol: UDP, fragment: 0 });
  t.is(encapsulate(at, at.put(four), tunnel(4, 'ipip'), false)[6], 0);
  t.is(encapsulate(at, at.put(fragmentable), tunnel(4, 'ipip'))[6], 0);
});

test('GRE names what it carries; with checksum it covers all of it', (t) => {
  for (const [inner, type] of [
    [four, '0800'],
    [six, '86dd'],
  ] as const) {
    for (const family of [4, 6] as const) {
      const at = stage();
      const head = family === 4 ? 20 : 40;
      const plain = encapsulate(at, at.put(inner), tunnel(family, 'gre'));
      t.deepEqual([parsedOf(plain).protocol, plain.length], [47, head + 4 + inner.length]);
      t.deepEqual(plain.slice(head, head + 4), hex(`0000 ${type}`));
      t.deepEqual(decapsulate(plain), inner);
      const covered = encapsulate(at, at.put(inner), tunnel(family, 'gre', 'checksum'));
      t.deepEqual(covered.slice(head, head + 4), hex(`8000 ${type}`));
      t.deepEqual([...covered.slice(head + 6, head + 8)], [0, 0]);
      t.is(slowSum(covered.slice(head)), 0xffff);
      t.deepEqual(decapsulate(covered), inner);
    }
  }
});

test('GUE: UDP to its port from a port of the connection, a header of one word', (t) => {
  for (const [inner, next] of [
    [four, '04'],
    [six, '29'],
  ] as const) {
    for (const family of [4, 6] as const) {
      const at = stage();
      const head = family === 4 ? 20 : 40;
      const plain = encapsulate(at, at.put(inner), tunnel(family, 'gue'));
      const outer = parsedOf(plain);
      t.deepEqual(
        [outer.protocol, outer.destinationPort, plain.length],
        [17, PORT, head + 12 + inner.length],
      );
      t.true(outer.sourcePort >= 0xc000);
      t.deepEqual(plain.slice(head + 6, head + 12), hex(`0000 00${next}0000`));
      t.deepEqual(decapsulate(plain), inner);
      const covered = encapsulate(at, at.put(inner), tunnel(family, 'gue', 'checksum'));
      t.is(parsedOf(covered).sourcePort, outer.sourcePort);
      t.is(transportSum(covered, head, UDP), 0xffff);
      t.deepEqual(decapsulate(covered), inner);
      const finished = encapsulate(at, at.put(inner), tunnel(family, 'gue', 'remote'));
      t.deepEqual(
        finished.slice(head + 8),
        covered.slice(head + 8),
        'nothing is left to do at the other end',
      );
      const other = at.put(build({ protocol: TCP, sourcePort: 40001 }));
      const { sourcePort } = parsedOf(encapsulate(at, other, tunnel(family, 'gue')));
      t.not(sourcePort, outer.sourcePort);
    }
  }
});

test('an unfinished checksum is finished by the device inside, and is right in what covers it', (t) => {
  for (const inner of [four, six]) {
    for (const family of [4, 6] as const) {
      for (const [type, checksum] of [
        ['ipip', 'none'],
        ['gre', 'none'],
        ['gre', 'checksum'],
        ['gue', 'none'],
        ['gue', 'checksum'],
      ] as const) {
        const at = stage();
        const packet = at.put(inner, { unfinished: true });
        encapsulate(at, packet, tunnel(family, type, checksum));
        t.is(at.pool.offload[packet], CHECKSUM_UNFINISHED);
        const start = at.pool.offset[packet]! + at.pool.checksumStart[packet]!;
        const covered = coveredBytes(at.pool, packet);
        complete(at.pool, packet, checksums.sum(at.pool.bytes, start, covered));
        const bytes = at.bytes(packet, 0);
        const head = family === 4 ? 20 : 40;
        if (type === 'gre' && checksum === 'checksum') t.is(slowSum(bytes.slice(head)), 0xffff);
        t.true(sound(bytes));
        t.deepEqual(decapsulate(bytes), inner);
      }
    }
  }
});

test('GUE leaves an unfinished checksum to the other end, and says where it is', (t) => {
  for (const inner of [four, six]) {
    for (const family of [4, 6] as const) {
      const at = stage();
      const packet = at.put(inner, { unfinished: true });
      const bytes = encapsulate(at, packet, tunnel(family, 'gue', 'remote'));
      const gue = (family === 4 ? 20 : 40) + 8;
      const [start, field] = inner === four ? ['0014', '0024'] : ['0028', '002e'];
      t.deepEqual(
        bytes.slice(gue, gue + 12),
        hex(`02${inner === four ? '04' : '29'}0001 80000000 ${start}${field}`),
      );
      t.is(at.pool.offload[packet], 0);
      t.is(transportSum(bytes, gue - 8, UDP), 0xffff);
      t.false(sound(bytes.slice(gue + 12)));
      t.deepEqual(decapsulate(bytes), inner);
    }
  }
});

test('the largest payload is what fits, option or not; padding is left behind', (t) => {
  const cases: [tunnels.Tunnel, number][] = [
    [tunnel(4, 'ipip'), 20],
    [tunnel(6, 'ipip'), 40],
    [tunnel(4, 'gre'), 24],
    [tunnel(4, 'gre', 'checksum'), 28],
    [tunnel(4, 'gue'), 32],
    [tunnel(4, 'gue', 'checksum'), 32],
    [tunnel(4, 'gue', 'remote'), 40],
    [tunnel(6, 'gue', 'remote'), tunnels.OVERHEAD_MAX],
  ];
  for (const [to, overhead] of cases) {
    t.is(tunnels.largestPayload(to, 1500), 1500 - overhead);
    const at = stage();
    const packet = at.put(four, { unfinished: true });
    at.pool.length[packet]! += 9;
    t.is(encapsulate(at, packet, to).length, four.length + overhead);
  }
});

test('ids differ from packet to packet', (t) => {
  const at = stage();
  const encapsulator = new tunnels.Encapsulator(at.pool);
  const ids = [1, 2, 3].map(() => {
    const packet = at.put(build({ protocol: UDP, fragment: 0 }));
    encapsulator.encapsulate(packet, at.parsed(packet), tunnel(4, 'ipip'), true);
    return ipv4.id(at.bytes(packet, 0), 0);
  });
  t.deepEqual(ids, [1, 2, 3]);
});

test('what carries nothing is known at every truncation, and what does up to the packet that it carries', (t) => {
  for (const [type, checksum] of [
    ['ipip', 'none'],
    ['gre', 'none'],
    ['gre', 'checksum'],
    ['gue', 'none'],
  ] as const) {
    const at = stage();
    const bytes = encapsulate(at, at.put(four), tunnel(4, type, checksum));
    const whole = tunnels.carried(memoryOf(bytes), parsedOf(bytes), PORT);
    for (let length = 20; length <= bytes.length; length++) {
      const memory = memoryOf(bytes.slice(0, length));
      const outer = new Parsed();
      const quoted = parseAt(memory, 0, length, outer);
      if (!quoted) continue;
      const inner = tunnels.carried(memory, outer, PORT);
      t.is(inner, length > whole ? whole : -1);
      // As of an ICMP error about the tunnel: what it quotes is read, from its ports on.
      const p = new Parsed();
      if (inner > 0) t.is(parseAt(memory, inner, outer.end, p), length >= whole + 24);
    }
  }
  const carried = (bytes: Uint8Array, port = PORT) => tunnels.carried(memoryOf(bytes), parsedOf(bytes), port);
  t.is(carried(four), -1);
  t.is(carried(UDP4.slice(14)), -1);
  t.is(carried(build({ protocol: 47, payload: hex('2000 0800 00000000 45') })), -1, 'a key');
  t.is(carried(build({ protocol: 47, payload: hex('0001 0800 45') })), -1, 'a version');
  t.is(carried(build({ protocol: 47, payload: hex('0000 6558 45') })), -1, 'Ethernet');
  const gue = (payload: string) => build({ protocol: UDP, destinationPort: PORT, payload: hex(payload) });
  t.is(carried(gue('20040000 45')), -1, 'a control message');
  t.is(carried(gue('80040000 45')), -1, 'a version');
  t.is(carried(gue('01040000 45')), -1, 'cut short');
  t.is(carried(gue('00110000 45')), -1, 'not IP');
  t.is(carried(gue('45000000')), 28, 'a packet right behind UDP');
  t.is(carried(gue('00040000 45'), 99), -1, 'another port');
});

test('a remote checksum that points out of the packet is refused', (t) => {
  const at = stage();
  const bytes = encapsulate(at, at.put(four, { unfinished: true }), tunnel(4, 'gue', 'remote'));
  for (const at8 of [36, 38]) {
    const bad = bytes.slice();
    bad.fill(255, at8, at8 + 2);
    const memory = memoryOf(bad);
    const outer = parsedOf(bad);
    t.false(tunnels.finishRemote(memory, outer, tunnels.carried(memory, outer, PORT)));
  }
});

test('a packet behind another in its slot is copied for its headers; one that begins it is not', (t) => {
  const at = stage(3);
  const first = at.put(four);
  t.is(tunnels.withRoom(at.pool, first), first);
  const second = at.pool.share(first, at.pool.offset[first]! + 400, at.pool.length[first]!);
  at.pool.bytes.copyWithin(
    at.pool.offset[second]!,
    at.pool.offset[first]!,
    at.pool.offset[first]! + at.pool.length[first]!,
  );
  const moved = tunnels.withRoom(at.pool, second);
  t.is(at.pool.allocated, 2);
  t.is(at.pool.offset[moved]! - at.pool.slotStart(moved), FRAME_AT);
  t.deepEqual(at.bytes(moved), four);
  at.pool.take();
  const third = at.pool.share(first, at.pool.offset[first]! + 400, 60);
  t.is(tunnels.withRoom(at.pool, third), NO_PACKET);
});

test('a super-packet is split before the tunnel: what comes out is what the sender meant', (t) => {
  const at = stage(8);
  const payload = Uint8Array.from({ length: 2500 }, (_, i) => i * 7);
  const whole = { protocol: TCP, flags: 0x18, sequence: 1000 };
  const packet = at.put(build({ ...whole, payload }), { unfinished: true, segment: 1000 });
  at.pool.bytes.set(hex('020000000002 020000000001 0800'), at.pool.offset[packet]!);
  at.pool.offload[packet]! |= SEGMENT_TCP4;
  at.pool.headerLength[packet] = 54;
  const out = new Batch(8);
  t.true(new Segments(at.path).split(packet, out));
  const made = Array.from(out.packets.slice(0, out.count), (each) => {
    const bytes = encapsulate(at, each, tunnel(4, 'gue', 'checksum'));
    t.true(sound(bytes));
    return decapsulate(bytes);
  });
  t.deepEqual(
    made,
    [0, 1, 2].map((i) =>
      build({
        ...{ ...whole, sequence: 1000 + i * 1000, flags: i === 2 ? 0x18 : 0x10, id: 0x1234 + i },
        payload: payload.slice(i * 1000, i * 1000 + 1000),
      }),
    ),
  );
  out.release(at.pool);
  t.is(at.pool.allocated, 0);
  const poor = stage(1);
  const big = poor.put(build({ ...whole, payload }), { unfinished: true, segment: 1000 });
  poor.pool.bytes.set(hex('020000000002 020000000001 0800'), poor.pool.offset[big]!);
  poor.pool.offload[big]! |= SEGMENT_TCP4;
  poor.pool.headerLength[big] = 54;
  t.false(new Segments(poor.path).split(big, out));
  const lying = poor.put(four, { unfinished: true, segment: 1000 });
  t.false(new Segments(poor.path).split(lying, out));
  t.deepEqual(
    [poor.drops(), poor.pool.allocated, out.count],
    [{ 'no-packet': 1, 'inner-malformed': 1 }, 0, 0],
  );
  t.is(parse(poor.pool, 0, 0, new Parsed()) > 0, true);
});
