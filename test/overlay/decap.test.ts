import test from 'ava';
import { CHECKSUM_UNFINISHED } from '../../src/dataplane/core/pool.js';
import { build, frame } from '../io/frames.js';
import { hex } from '../wire/bytes.js';
import { mac, Overlay, plain } from './overlay.js';

const FRAME = plain(mac(1), mac(2));

/** Networks 101, which learns nothing, and 102, which does; 10.0.0.2 is a VTEP. */
function setUp() {
  const overlay = new Overlay();
  const vtep = overlay.vtep(2);
  overlay.network({ index: 1 });
  overlay.network({ index: 2, learning: true });
  return { overlay, vtep };
}

const datagram = (header: string, frame = FRAME) => Uint8Array.from([...hex(header), ...frame]);
const GOOD = '08000000 00006500';

test('the frame behind a good header comes out, from its VTEP, whose row counts it', (t) => {
  const { overlay, vtep } = setUp();
  const { local, drops } = overlay.decap(datagram(GOOD));
  t.deepEqual([local, drops], [[{ to: vtep, bytes: FRAME }], {}]);
  const row = overlay.path.counters.vtepRow(vtep);
  t.deepEqual([...overlay.path.counters.cells.slice(row, row + 4)], [1, FRAME.length + 8, 0, 0]);
  t.is(overlay.pool.allocated, 0);
});

test('each truncation of a datagram is too short, up to the end of the Ethernet header', (t) => {
  const { overlay } = setUp();
  const whole = datagram(GOOD);
  for (let length = 0; length < 22; length++) {
    const outcome = overlay.decap(whole.slice(0, length));
    t.deepEqual(outcome, { local: [], remote: [], drops: { 'vxlan-short': 1 } });
  }
  t.is(overlay.decap(whole.slice(0, 22)).local[0]!.bytes.length, 14);
  t.is(overlay.pool.allocated, 0);
});

test('without the I flag there is no network, whatever else is set', (t) => {
  const { overlay } = setUp();
  for (const first of [0x00, 0x80, 0xf7]) {
    const bytes = datagram(GOOD);
    bytes[0] = first;
    t.deepEqual(overlay.decap(bytes).drops, { 'vxlan-flags': 1 });
  }
  t.is(overlay.pool.allocated, 0);
});

test('a VNI that is not here is dropped, all 24 bits of it', (t) => {
  const { overlay } = setUp();
  for (const vni of ['00006400', '01006500', '00016500', 'ffffff00']) {
    t.deepEqual(overlay.decap(datagram(`08000000 ${vni}`)).drops, { 'vxlan-unknown-vni': 1 });
  }
  t.is(overlay.pool.allocated, 0);
});

test('reserved bits and group policies are ignored', (t) => {
  const { overlay } = setUp();
  for (const header of ['ffffffff 000065ff', '88001234 00006500', '88481234 00006500', '08000000 00006507']) {
    t.deepEqual(overlay.decap(datagram(header)).local[0]!.bytes, FRAME);
  }
  t.is(overlay.pool.allocated, 0);
});

test('who is no VTEP is taken in only by a network that learns', (t) => {
  const { overlay, vtep } = setUp();
  t.is(overlay.decap(datagram(GOOD), 9).local[0]!.to, -1);
  t.is([...overlay.vteps.used()].length, 1);
  const learned = overlay.decap(datagram('08000000 00006600'), 9).local[0]!.to;
  t.not(learned, vtep);
  t.deepEqual(overlay.vteps.addressWords(learned), [0x0a000009, 0, 0, 0]);
  t.is(overlay.decap(datagram(GOOD), 9).local[0]!.to, learned);
  const six = overlay.decap(datagram('08000000 00006600'), 9, 6).local[0]!.to;
  t.is(overlay.vteps.family(six), 6);
  t.deepEqual(overlay.vteps.addressWords(six), [0xfd000000 | 0, 0, 0, 9]);
  t.is(overlay.pool.allocated, 0);
});

test('when there is no row left for a new VTEP its frames arrive all the same', (t) => {
  const { overlay } = setUp();
  for (let n = 10; overlay.vtep(n) >= 0; n++);
  t.is(overlay.decap(datagram('08000000 00006600'), 99).local[0]!.to, -1);
  t.is(overlay.pool.allocated, 0);
});

test('where checksums begin is counted from the frame', (t) => {
  const { overlay } = setUp();
  const { pool } = overlay;
  let found: number[] = [];
  overlay.decap(datagram(GOOD), 2, 4, (packet) => {
    pool.offload[packet] = CHECKSUM_UNFINISHED;
    pool.checksumStart[packet] = 42;
    pool.headerLength[packet] = 62;
    found = [packet];
  });
  t.deepEqual([pool.checksumStart[found[0]!], pool.headerLength[found[0]!]], [34, 54]);
  t.is(pool.allocated, 0);
});

test('a mark of the underlay is handed on to the frame, or ends it when it can’t carry one', (t) => {
  const { overlay } = setUp();
  const { pool } = overlay;
  for (const ip of [4, 6] as const) {
    const through = (inner: number, outer: number) =>
      overlay.decap(datagram(GOOD, build(frame({ ip, tos: inner }))), 2, 4, (packet) => {
        pool.ecn[packet] = outer;
      });
    for (let inner = 0; inner < 4; inner++) {
      for (const outer of [0, 2])
        t.deepEqual(through(inner, outer).local[0]!.bytes, build(frame({ ip, tos: inner })));
    }
    t.deepEqual(through(2, 3).local[0]!.bytes, build(frame({ ip, tos: 3 })));
    t.deepEqual(through(1, 3).local[0]!.bytes, build(frame({ ip, tos: 3 })));
    t.deepEqual(through(2, 1).local[0]!.bytes, build(frame({ ip, tos: 1 })));
    t.deepEqual(through(0, 1).local[0]!.bytes, build(frame({ ip })));
    t.deepEqual(through(0, 3), { local: [], remote: [], drops: { 'ecn-marked': 1 } });
  }
  t.is(pool.allocated, 0);
});
