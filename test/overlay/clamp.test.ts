import test from 'ava';
import { CHECKSUM_UNFINISHED } from '../../src/dataplane/core/pool.js';
import { build, type Frame, frame, parse, type Sum, SYN } from '../io/frames.js';
import { Overlay } from './overlay.js';

const MSS = (value: number) => [2, 4, value >> 8, value & 255];

function setUp(mssClamp: boolean) {
  const overlay = new Overlay();
  const vtep = overlay.vtep(2);
  overlay.network({ index: 1, ports: [0], vteps: [vtep], mtu: 1400, mssClamp });
  return { overlay, vtep };
}

/** Forward and back: the frame after each way. */
function pass(f: Frame, sum: Sum = 'good', mssClamp = true): Uint8Array[] {
  const { overlay, vtep } = setUp(mssClamp);
  const out = overlay.forward(0, build(f, sum), (packet) => {
    if (sum === 'seed') overlay.pool.offload[packet] = CHECKSUM_UNFINISHED;
  });
  const back = overlay.deliver(1, vtep, build(f));
  if (overlay.pool.allocated !== 0) throw new Error('packets are left');
  return [out.remote[0]!.bytes, back.local[0]!.bytes];
}

test('a SYN offers no more than the network carries, both ways, with the right checksum', (t) => {
  for (const ip of [4, 6] as const) {
    const fits = 1400 - (ip === 4 ? 40 : 60);
    for (const tags of [[], [7]]) {
      const f = frame({ ip, tags, tcpFlags: SYN, tcpOptions: MSS(1460) });
      for (const bytes of pass(f)) t.deepEqual(bytes, build({ ...f, tcpOptions: MSS(fits) }));
      for (const value of [fits, 500]) {
        const small = { ...f, tcpOptions: MSS(value) };
        for (const bytes of pass(small)) t.deepEqual(bytes, build(small));
      }
    }
    const hidden = frame({ ip, tcpFlags: SYN, tcpOptions: [1, ...MSS(9000), 1, 1, 1] });
    for (const bytes of pass(hidden)) {
      t.deepEqual(bytes, build({ ...hidden, tcpOptions: [1, ...MSS(fits), 1, 1, 1] }));
    }
  }
});

test('an unfinished checksum stays what it is', (t) => {
  const f = frame({ tcpFlags: SYN, tcpOptions: MSS(1460) });
  t.deepEqual(pass(f, 'seed')[0], build({ ...f, tcpOptions: MSS(1360) }, 'seed'));
});

test('segments that are no SYN, and networks that do not ask for it, are left alone', (t) => {
  const ack = frame({ tcpOptions: MSS(1460) });
  for (const bytes of pass(ack)) t.deepEqual(parse(bytes), ack);
  const syn = frame({ tcpFlags: SYN, tcpOptions: MSS(1460) });
  for (const bytes of pass(syn, 'good', false)) t.deepEqual(parse(bytes), syn);
  const fragment = frame({ tcpFlags: SYN, tcpOptions: MSS(1460), flags: 5 });
  for (const bytes of pass(fragment)) t.deepEqual(parse(bytes), fragment);
});
