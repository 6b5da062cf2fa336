import test from 'ava';
import { Counters } from '../../src/dataplane/core/counters.js';
import { DROPS } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  DATAGRAM_AT,
  FRAME_AT,
  Pool,
  SEGMENT_TCP4,
  SENDER_ADDRESS,
  SENDER_FAMILY,
  SENDER_PORT,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { hex, slowSum } from '../wire/bytes.js';
import { altered } from '../wire/packets.js';

/** A datagram from 10.0.0.1 (fd00::1) to 10.0.0.2 (fd00::2), as it is on the wire; checksums of UDP by hand. */
const PAYLOAD = hex('08000000 00002a00 02420a0a0003 02420a0a0002 88b5 0102030405');
const OUTER4 = (udp: string) =>
  hex(`
  02000000000b 02000000000a 0800
  45000037 00004000 401126b4 0a000001 0a000002
  c350 12b5 0023 ${udp}`);
const OUTER6 = (udp: string) =>
  hex(`
  02000000000b 02000000000a 86dd
  60000000 0023 11 40 fd000000000000000000000000000001 fd000000000000000000000000000002
  c350 12b5 0023 ${udp}`);

const HERE: outer.Here = { address4: 0x0a000002, address6: [0xfd000000 | 0, 0, 0, 2], port: 4789 };
const ENDS = {
  sourceMac: { high: 0x0200, low: 10 },
  nextHopMac: { high: 0x0200, low: 11 },
  port: 4789,
};
const ENDS4: outer.OuterEnds = {
  ...ENDS,
  family: 4,
  source: [0x0a000001, 0, 0, 0],
  destination: [0x0a000002, 0, 0, 0],
};
const ENDS6: outer.OuterEnds = {
  ...ENDS,
  family: 6,
  source: [0xfd000000 | 0, 0, 0, 1],
  destination: HERE.address6!,
};

const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));

/** The UDP checksum over the datagram behind the outer IP header, the slow way. */
function udpChecksum(frame: Uint8Array, family: 4 | 6): [number, number] {
  const udp = frame.slice(family === 4 ? 34 : 54);
  udp.set([0, 0], 6);
  const addresses = family === 4 ? frame.slice(26, 34) : frame.slice(22, 54);
  const sum = 0xffff - slowSum([...addresses, 0, 17, udp.length >> 8, udp.length & 255, ...udp]) || 0xffff;
  return [sum >> 8, sum & 255];
}

const WHOLE4 = join(OUTER4('0000'), PAYLOAD);
const WHOLE6 = join(OUTER6('0000'), PAYLOAD);
const SUMMED4 = altered(WHOLE4, 40, ...udpChecksum(WHOLE4, 4));
const SUMMED6 = altered(WHOLE6, 60, ...udpChecksum(WHOLE6, 6));

interface Stripped {
  refused: string;
  payload: Uint8Array;
  sender: { family: number; port: number; address: Uint8Array };
  ecn: number;
  offload: number;
  checksumStart: number;
  headerLength: number;
}

function strip(
  frame: Uint8Array,
  here = HERE,
  change: (pool: Pool, packet: number) => void = () => {},
): Stripped {
  const pool = new Pool(2);
  pool.bytes.fill(0xa5);
  const packet = pool.take(DATAGRAM_AT - outer.OUTER_IPV4);
  const at = pool.offset[packet]!;
  pool.bytes.set(frame, at);
  pool.length[packet] = frame.length;
  change(pool, packet);
  const refused = outer.strip(new Path(pool, new Counters(1, 1)).pool, packet, here);
  const slot = pool.slotStart(packet);
  const family = pool.view.getUint16(slot + SENDER_FAMILY, true);
  const stripped = {
    refused: refused === 0 ? '' : DROPS[refused - 1]![0],
    payload: pool.bytes.slice(pool.offset[packet], pool.offset[packet]! + pool.length[packet]!),
    sender: {
      family,
      port: pool.view.getUint16(slot + SENDER_PORT, true),
      address: pool.bytes.slice(slot + SENDER_ADDRESS, slot + SENDER_ADDRESS + (family === 4 ? 4 : 16)),
    },
    ecn: pool.ecn[packet]!,
    offload: pool.offload[packet]!,
    checksumStart: pool.checksumStart[packet]!,
    headerLength: pool.headerLength[packet]!,
  };
  pool.free(packet);
  if (pool.allocated !== 0) throw new Error('a packet is left');
  return stripped;
}

test('the template is the headers of the wire, lengths and source port still to come', (t) => {
  const four = outer.template(ENDS4);
  t.deepEqual(
    four,
    hex(`
    02000000000b 02000000000a 0800
    45000000 00004000 401126eb 0a000001 0a000002
    0000 12b5 0000 0000`),
  );
  t.is(slowSum(four.slice(14, 34)), 0xffff);
  t.deepEqual(
    outer.template(ENDS6),
    hex(`
    02000000000b 02000000000a 86dd
    60000000 0000 11 40 fd000000000000000000000000000001 fd000000000000000000000000000002
    0000 12b5 0000 0000`),
  );
});

/** The headers of a VTEP put before a datagram. */
function write(ends: outer.OuterEnds, payload: Uint8Array, port: number, columns = false, ecn = 0) {
  const pool = new Pool(2);
  pool.bytes.fill(0xa5);
  const vteps = new Vteps(Vteps.allocate(4));
  vteps.add(4, 1, 0, 0, 0);
  const vtep = vteps.add(ends.family, ...(ends.destination as [number, number, number, number]));
  vteps.openTunnel(vtep, outer.template(ends));
  const packet = pool.take(FRAME_AT - 8);
  pool.bytes.set(payload, pool.offset[packet]!);
  pool.length[packet] = payload.length;
  if (columns) {
    pool.offload[packet] = CHECKSUM_UNFINISHED;
    pool.checksumStart[packet] = 42;
    pool.headerLength[packet] = 62;
  }
  pool.ecn[packet] = ecn;
  outer.write(pool, packet, vteps.rows, vteps.outerAt(vtep), ends.family, port, payload.length);
  if (ecn !== 0) outer.mark(pool, packet, ends.family);
  return { pool, packet };
}

test('written headers are those of the wire, byte for byte', (t) => {
  for (const [ends, whole] of [
    [ENDS4, WHOLE4],
    [ENDS6, WHOLE6],
  ] as const) {
    const { pool, packet } = write(ends, PAYLOAD, 50_000);
    const at = pool.offset[packet]!;
    t.deepEqual(pool.bytes.slice(at, at + pool.length[packet]!), whole);
    t.true(pool.bytes.subarray(pool.slotStart(packet), at).every((byte) => byte === 0xa5));
    pool.free(packet);
    t.is(pool.allocated, 0);
  }
});

test('columns count from the outer headers once these are there', (t) => {
  const { pool, packet } = write(ENDS6, PAYLOAD, 1, true);
  t.deepEqual([pool.checksumStart[packet], pool.headerLength[packet]], [42 + 62, 62 + 62]);
  pool.free(packet);
});

test('what is written is read back, whatever the length and port', (t) => {
  const random = new Random(6);
  for (let round = 0; round < 500; round++) {
    const payload = new Uint8Array(random.below(round % 10 === 0 ? 65_000 : 2000));
    random.fill(payload);
    const port = random.below(65_536);
    const ends = random.chance(0.5) ? ENDS4 : ENDS6;
    const { pool, packet } = write(ends, payload, port);
    const at = pool.offset[packet]!;
    const { refused, payload: back, sender } = strip(pool.bytes.slice(at, at + pool.length[packet]!));
    t.deepEqual([refused, sender.family, sender.port], ['', ends.family, port]);
    t.true(Buffer.from(payload).equals(back));
  }
});

test('a datagram is stripped to its payload, and its sender stands at the slot', (t) => {
  for (const whole of [WHOLE4, SUMMED4]) {
    const { refused, payload, sender } = strip(whole);
    t.deepEqual([refused, payload], ['', PAYLOAD]);
    t.deepEqual(sender, { family: 4, port: 50_000, address: hex('0a000001') });
  }
  for (const whole of [WHOLE6, SUMMED6]) {
    const { refused, payload, sender } = strip(whole);
    t.deepEqual([refused, payload], ['', PAYLOAD]);
    t.deepEqual(sender, { family: 6, port: 50_000, address: hex('fd000000000000000000000000000001') });
  }
});

test('the ECN field is written, the checksum right, and read back', (t) => {
  for (const ends of [ENDS4, ENDS6]) {
    for (let ecn = 0; ecn < 4; ecn++) {
      const { pool, packet } = write(ends, PAYLOAD, 0xc350, false, ecn);
      const at = pool.offset[packet]!;
      const frame = pool.bytes.slice(at, at + pool.length[packet]!);
      const whole = ends === ENDS4 ? WHOLE4 : WHOLE6;
      const expected = altered(whole, 15, ends === ENDS4 ? ecn : ecn << 4);
      if (ends === ENDS4) {
        t.is(slowSum(frame.slice(14, 34)), 0xffff);
        expected.set(frame.slice(24, 26), 24);
      }
      t.deepEqual(frame, expected);
      t.is(strip(frame).ecn, ecn);
      // Of the class only these two bits are the datagram's word to the frame.
      if (ends === ENDS6) t.is(strip(altered(frame, 14, 0x6f, (0xc | ecn) << 4)).ecn, ecn);
    }
  }
});

test('padding behind the IP packet, and behind UDP within it, is not the datagram’s', (t) => {
  for (const whole of [WHOLE4, SUMMED4, WHOLE6, SUMMED6]) {
    t.deepEqual(strip(join(whole, new Uint8Array(30).fill(0xee))).payload, PAYLOAD);
  }
  const shorter = altered(WHOLE4, 39, 0x23 - 3);
  t.deepEqual(strip(shorter).payload, PAYLOAD.slice(0, -3));
});

test('IPv4 options are stepped over', (t) => {
  const options = hex('94040000 01010101');
  const head = altered(WHOLE4.slice(0, 34), 14, 0x47);
  head.set([0, 0x37 + 8], 16);
  head.set([0, 0], 24);
  const sum = 0xffff - slowSum([...head.slice(14), ...options]);
  head.set([sum >> 8, sum & 255], 24);
  const whole = join(head, options, WHOLE4.slice(34));
  t.deepEqual(strip(whole).payload, PAYLOAD);
  t.is(strip(altered(whole, 34, 0x95)).refused, 'outer-checksum');
});

test('every truncation is malformed', (t) => {
  for (const whole of [WHOLE4, SUMMED4, WHOLE6, SUMMED6]) {
    for (let length = 0; length < whole.length; length++) {
      t.is(strip(whole.slice(0, length)).refused, 'outer-malformed', `${length} bytes`);
    }
  }
});

test('what contradicts itself is malformed', (t) => {
  // The IPv4 header with other bytes, its checksum made right again.
  const four = (at: number, ...bytes: number[]) => {
    const frame = altered(altered(WHOLE4, at, ...bytes), 24, 0, 0);
    const sum = 0xffff - slowSum(frame.slice(14, 34));
    return altered(frame, 24, sum >> 8, sum & 255);
  };
  const malformed: [string, Uint8Array][] = [
    ['another EtherType', altered(WHOLE4, 12, 0x88, 0xb5)],
    ['a VLAN tag', altered(WHOLE4, 12, 0x81, 0x00)],
    ['version 6 in IPv4', altered(WHOLE4, 14, 0x65)],
    ['version 4 in IPv6', altered(WHOLE6, 14, 0x40)],
    ['a header of four words', altered(WHOLE4, 14, 0x44)],
    ['a header beyond the packet', altered(WHOLE4, 14, 0x4f)],
    ['a total length below the header', four(16, 0, 19)],
    ['no room for UDP', four(16, 0, 27)],
    ['no room for UDP in IPv6', altered(WHOLE6, 18, 0, 7)],
    ['a first fragment', four(20, 0x20, 0)],
    ['a later fragment', four(20, 0, 9)],
    ['TCP', four(23, 6)],
    ['TCP over IPv6', altered(WHOLE6, 20, 6)],
    ['extension headers', altered(WHOLE6, 20, 0)],
    ['UDP shorter than its header', altered(WHOLE4, 38, 0, 7)],
    ['UDP longer than IP', altered(WHOLE4, 38, 0, 0x24)],
    ['UDP longer than IPv6', altered(WHOLE6, 58, 0, 0x24)],
  ];
  for (const [name, frame] of malformed) t.is(strip(frame).refused, 'outer-malformed', name);
});

test('what is for others is not ours', (t) => {
  t.is(strip(WHOLE4, { ...HERE, address4: 0x0a000003 }).refused, 'outer-not-ours');
  t.is(strip(WHOLE4, { ...HERE, address4: undefined }).refused, 'outer-not-ours');
  t.is(strip(WHOLE6, { ...HERE, address6: undefined }).refused, 'outer-not-ours');
  for (let i = 0; i < 4; i++) {
    const address6 = [...HERE.address6!] as [number, number, number, number];
    address6[i]! ^= 1;
    t.is(strip(WHOLE6, { ...HERE, address6 }).refused, 'outer-not-ours');
  }
  for (const whole of [WHOLE4, WHOLE6]) t.is(strip(whole, { ...HERE, port: 8472 }).refused, 'outer-not-ours');
  const high = { ...HERE, address4: 0xc0a80001 | 0 };
  const whole = join(outer.template({ ...ENDS4, destination: [0xc0a80001 | 0, 0, 0, 0] }), PAYLOAD);
  const { pool, packet } = write({ ...ENDS4, destination: [0xc0a80001 | 0, 0, 0, 0] }, PAYLOAD, 1);
  const at = pool.offset[packet]!;
  t.is(whole.length, pool.length[packet]);
  t.is(
    strip(pool.bytes.slice(at, at + pool.length[packet]!), high).refused,
    '',
    'an address above 128.0.0.0',
  );
});

test('every wrong bit is noticed where there is a checksum', (t) => {
  for (const [whole, headers] of [
    [SUMMED4, 14],
    [SUMMED6, 14],
  ] as const) {
    for (let bit = headers * 8; bit < whole.length * 8; bit++) {
      const frame = altered(whole, bit >> 3, whole[bit >> 3]! ^ (1 << (bit & 7)));
      // Class, flow label and hop limit of IPv6 are covered by nothing.
      const covered = whole === SUMMED4 || (bit >> 3 >= 18 && bit >> 3 !== 21);
      const { refused } = strip(frame);
      if (covered) t.not(refused, '', `bit ${bit}`);
    }
  }
});

test('a checksum of 0 means none, over IPv6 too, and a wrong one is dropped', (t) => {
  t.is(strip(altered(SUMMED4, 40, SUMMED4[40]! ^ 1)).refused, 'outer-checksum');
  t.is(strip(altered(SUMMED6, 60, SUMMED6[60]! ^ 1)).refused, 'outer-checksum');
  t.is(strip(altered(WHOLE4, 24, 0x26, 0xb5)).refused, 'outer-checksum', 'that of the IPv4 header');
});

test('an unfinished outer checksum is not looked at, and gone with its header', (t) => {
  const { refused, offload } = strip(altered(SUMMED4, 40, 1, 2), HERE, (pool, packet) => {
    pool.offload[packet] = CHECKSUM_UNFINISHED;
    pool.checksumStart[packet] = 34;
    pool.checksumOffset[packet] = 6;
  });
  t.deepEqual([refused, offload], ['', 0]);
});

test('an unfinished inner checksum, and a super-packet, count from the payload afterwards', (t) => {
  const bits = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
  const { refused, offload, checksumStart, headerLength } = strip(
    altered(SUMMED6, 60, 1, 2),
    HERE,
    (pool, packet) => {
      pool.offload[packet] = bits;
      pool.checksumStart[packet] = 104;
      pool.headerLength[packet] = 124;
    },
  );
  t.deepEqual([refused, offload, checksumStart, headerLength], ['', bits, 42, 62]);
  const verified = strip(SUMMED4, HERE, (pool, packet) => {
    pool.offload[packet] = CHECKSUM_VERIFIED;
  });
  t.is(verified.offload, CHECKSUM_VERIFIED);
});
