import test from 'ava';
import { CHECKSUM_UNFINISHED, SEGMENT_TCP4 } from '../../src/dataplane/core/pool.js';
import { build, DF, frame, parse, slowSum } from '../io/frames.js';
import { hex } from '../wire/bytes.js';
import {
  ADVERTISEMENT,
  ARP_REPLY,
  ARP_REQUEST,
  altered,
  BIG4,
  BIG6,
  DETECTION,
  SOLICITATION,
  TOO_BIG4,
  TOO_BIG6,
  tagged,
} from '../wire/packets.js';
import { Overlay, whither } from './overlay.js';

/** Port 0 is the workload 10.0.0.2 (fd00::2); 10.0.0.3 (fd00::3) is known, and behind the VTEP. */
function setUp(pathMtu = 1500) {
  const overlay = new Overlay();
  const vtep = overlay.vtep(2);
  overlay.vteps.setPathMtu(vtep, pathMtu);
  overlay.network({ index: 1, ports: [0], vteps: [vtep] });
  for (const n of [2, 3]) {
    overlay.neighbours.set(1, [0, 0, 0xffff, 0x0a000000 + n], 0x0242, 0x0a000000 + n);
    overlay.neighbours.set(1, [0xfd000000 | 0, 0, 0, n], 0x0242, 0x0a000000 + n);
  }
  return { overlay, vtep };
}

const answered = (bytes: Uint8Array) => ({ local: [{ to: 0, bytes }], remote: [], drops: {} });

test('an ARP request for a known address is answered where it was asked, and reaches nobody', (t) => {
  const { overlay } = setUp();
  t.deepEqual(overlay.forward(0, ARP_REQUEST), answered(ARP_REPLY));
  t.is(overlay.path.counters.engine().arpAnswered, 1);
  t.is(overlay.pool.allocated, 0);
});

test('tags of an ARP request or solicitation stand in the answer as well', (t) => {
  const { overlay } = setUp();
  for (const tags of [
    [[0x8100, 7]],
    [
      [0x88a8, 8],
      [0x8100, 7],
    ],
  ] as [number, number][][]) {
    t.deepEqual(overlay.forward(0, tagged(ARP_REQUEST, ...tags)), answered(tagged(ARP_REPLY, ...tags)));
    t.deepEqual(overlay.forward(0, tagged(SOLICITATION, ...tags)), answered(tagged(ADVERTISEMENT, ...tags)));
  }
  t.is(overlay.pool.allocated, 0);
});

test('a neighbour solicitation for a known address is answered, though its checksum be unfinished', (t) => {
  const { overlay } = setUp();
  t.deepEqual(overlay.forward(0, SOLICITATION), answered(ADVERTISEMENT));
  const unfinished = altered(SOLICITATION, 56, 1, 2);
  const outcome = overlay.forward(0, unfinished, (packet) => {
    overlay.pool.offload[packet] = CHECKSUM_UNFINISHED;
    overlay.pool.checksumStart[packet] = 54;
    overlay.pool.checksumOffset[packet] = 2;
  });
  t.deepEqual(outcome, answered(ADVERTISEMENT));
  t.is(overlay.path.counters.engine().ndAnswered, 2);
  t.is(overlay.pool.allocated, 0);
});

test('a solicitation without the option of its sender grows by the option of its answer', (t) => {
  const { overlay } = setUp();
  const bare = SOLICITATION.slice(0, -8);
  bare[19] = 24;
  bare.set([0x7f, 0x63], 56);
  const ip = bare.slice(14);
  const message = ip.slice(40);
  message.fill(0, 2, 4);
  const sum = 0xffff - slowSum([...ip.slice(8, 40), 0, 24, 0, 58, ...message]);
  bare.set([sum >> 8, sum & 255], 56);
  t.deepEqual(overlay.forward(0, bare), answered(ADVERTISEMENT));
  t.is(overlay.pool.allocated, 0);
});

test('duplicate address detection of a taken address is answered to all nodes', (t) => {
  const { overlay } = setUp();
  const foreign = altered(DETECTION, 6, 2, 0x42, 10, 0, 0, 9);
  const { local, remote } = overlay.forward(0, foreign);
  t.is(remote.length, 0);
  const { bytes } = local[0]!;
  t.deepEqual(bytes.slice(0, 12), hex('333300000001 02420a000003'));
  t.deepEqual(bytes.slice(38, 54), hex('ff020000000000000000000000000001'));
  t.is(bytes[58], 0x20, 'override, and not solicited');
  t.is(slowSum([...bytes.slice(22, 54), 0, 32, 0, 58, ...bytes.slice(54)]), 0xffff);
  t.is(overlay.pool.allocated, 0);
});

test('who asks for its own address is heard by the others: somebody else might have it', (t) => {
  const { overlay, vtep } = setUp();
  const probe = altered(ARP_REQUEST, 41, 2);
  for (const own of [probe, altered(DETECTION, 6, 2, 0x42, 10, 0, 0, 3)]) {
    t.deepEqual(overlay.forward(0, own), { local: [], remote: [{ to: vtep, bytes: own }], drops: {} });
  }
  t.is(overlay.pool.allocated, 0);
});

test('what asks for an unknown address, or is no question that can be answered, is flooded as it is', (t) => {
  const { overlay, vtep } = setUp();
  const questions = [
    altered(ARP_REQUEST, 41, 4), // nobody knows
    altered(ARP_REQUEST, 21, 2), // a reply to all
    altered(ARP_REQUEST, 15, 6), // not Ethernet
    altered(SOLICITATION, 77, 4, 1),
    altered(SOLICITATION, 56, 9), // a wrong checksum
    altered(SOLICITATION, 21, 254), // it came through a router
    ...Array.from({ length: ARP_REQUEST.length - 14 }, (_, i) => ARP_REQUEST.slice(0, 14 + i)),
    ...Array.from({ length: SOLICITATION.length - 14 }, (_, i) => SOLICITATION.slice(0, 14 + i)),
  ];
  for (const question of questions) {
    t.deepEqual(overlay.forward(0, question), {
      local: [],
      remote: [{ to: vtep, bytes: question }],
      drops: {},
    });
  }
  t.is(overlay.pool.allocated, 0);
});

test('questions to one MAC are for whoever has it', (t) => {
  const { overlay, vtep } = setUp();
  overlay.fdb.setStatic(1, 0x0242, 0x0a000003, vtep);
  for (const question of [ARP_REQUEST, SOLICITATION]) {
    const direct = altered(question, 0, 2, 0x42, 10, 0, 0, 3);
    t.deepEqual(whither(overlay.forward(0, direct)), { local: [], remote: [vtep], drops: {} });
  }
  t.is(overlay.pool.allocated, 0);
});

test('a packet too big for the path is answered as the kernel would answer it', (t) => {
  for (const [big, answer] of [
    [BIG4, TOO_BIG4],
    [BIG6, TOO_BIG6],
  ] as const) {
    const { overlay } = setUp(1350 + 14 + 36);
    const outcome = overlay.forward(0, big);
    t.deepEqual(outcome, { ...answered(answer), drops: { 'too-big': 1 } });
    t.is(overlay.path.counters.engine().tooBigAnswered, 1);
    t.is(overlay.pool.allocated, 0);
  }
});

test('the last byte that fits passes, the next one does not; tags count', (t) => {
  const { overlay, vtep } = setUp(1386);
  const payload = (bytes: number) => Array<number>(bytes).fill(1);
  for (const tags of [[], [5]]) {
    const fits = frame({ tags, payload: payload(1296 - 4 * tags.length), flags: DF });
    t.deepEqual(whither(overlay.forward(0, build(fits))), { local: [], remote: [vtep], drops: {} });
    const over = build({ ...fits, payload: [...fits.payload, 1] });
    const { local, drops } = overlay.forward(0, over);
    t.deepEqual(drops, { 'too-big': 1 });
    const mtu = 14 + 4 * tags.length + 20 + 6;
    t.is((local[0]!.bytes[mtu]! << 8) | local[0]!.bytes[mtu + 1]!, 1336 - 4 * tags.length);
  }
  t.is(overlay.pool.allocated, 0);
});

test('a super-packet is judged by the packets that will be made of it', (t) => {
  const { overlay, vtep } = setUp(1386);
  const f = frame({ payload: Array<number>(20_000).fill(7) });
  const send = (segment: number) =>
    overlay.forward(0, build(f, 'seed'), (packet) => {
      overlay.pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
      overlay.pool.segment[packet] = segment;
      overlay.pool.checksumStart[packet] = 34;
      overlay.pool.checksumOffset[packet] = 16;
      overlay.pool.headerLength[packet] = 54;
    });
  t.deepEqual(whither(send(1296)), { local: [], remote: [vtep], drops: {} });
  t.deepEqual(whither(send(1297)), { local: [0], remote: [], drops: { 'too-big': 1 } });
  t.is(overlay.pool.allocated, 0);
});

test('who cannot be told that a packet is too big loses it for a reason of its own', (t) => {
  const { overlay } = setUp(600);
  const payload = Array<number>(1000).fill(1);
  const others: Uint8Array[] = [
    Uint8Array.from({ length: 1000 }, (_, i) => [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0x88, 0xb5][i] ?? 0),
    build(frame({ payload, macs: [1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1], destination: [224, 0, 0, 1] })),
    build(frame({ payload, ip: 6 })), // nothing below 1280 bytes may be asked of IPv6
    BIG4.slice(0, 1200), // cut short
  ];
  for (const other of others) {
    t.deepEqual(overlay.forward(0, other), { local: [], remote: [], drops: { 'too-big-not-ip': 1 } });
  }
  t.is(overlay.path.counters.engine().tooBigAnswered, 0);
  t.is(overlay.pool.allocated, 0);
});

test('when no packet is left for the answer, the packet is dropped for that reason alone', (t) => {
  const overlay = new Overlay(1);
  const vtep = overlay.vtep(2);
  overlay.vteps.setPathMtu(vtep, 1386);
  overlay.network({ index: 1, ports: [0], vteps: [vtep] });
  t.deepEqual(overlay.forward(0, BIG4), { local: [], remote: [], drops: { 'no-packet': 1 } });
  t.is(overlay.pool.allocated, 0);
});

test('a flooded packet reaches those whose path takes it, and its sender hears of the others', (t) => {
  const overlay = new Overlay();
  const [narrow, wide] = [overlay.vtep(2), overlay.vtep(3)];
  overlay.vteps.setPathMtu(narrow, 1386);
  overlay.network({ index: 1, ports: [0, 1], vteps: [narrow, wide] });
  const outcome = overlay.forward(0, BIG4);
  t.deepEqual(whither(outcome), { local: [0, 1], remote: [wide], drops: { 'too-big': 1 } });
  t.deepEqual(parse(outcome.remote[0]!.bytes), parse(BIG4));
  t.is(overlay.pool.allocated, 0);
});
