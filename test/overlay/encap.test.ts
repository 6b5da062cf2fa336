import test from 'ava';
import { CHECKSUM_UNFINISHED, FRAME_AT } from '../../src/dataplane/core/pool.js';
import { encap } from '../../src/dataplane/overlay/encap.js';
import { build, frame } from '../io/frames.js';
import { hex } from '../wire/bytes.js';
import { mac, Overlay, plain } from './overlay.js';

function wrap(overlay: Overlay, bytes: Uint8Array, network: number) {
  const packet = overlay.put(bytes);
  overlay.pool.network[packet] = network;
  overlay.remote.push(packet);
  encap(overlay.path, overlay.networks, overlay.remote);
  return packet;
}

test('the header says the VNI and nothing else, and the frame follows it', (t) => {
  const overlay = new Overlay();
  overlay.network({ index: 1, vni: 0xabcdef });
  const bytes = plain(mac(1), mac(2));
  const packet = wrap(overlay, bytes, 1);
  t.is(overlay.pool.offset[packet], overlay.pool.slotStart(packet) + FRAME_AT - 8);
  t.deepEqual(overlay.outcome().remote[0]!.bytes, Uint8Array.from([...hex('08000000 abcdef00'), ...bytes]));
  t.is(overlay.pool.allocated, 0);
});

test('a group policy is set where the network asks for one', (t) => {
  const overlay = new Overlay();
  overlay.network({ index: 1, vni: 5, groupPolicy: 0x1234 });
  overlay.network({ index: 2, vni: 6, groupPolicy: 0 });
  wrap(overlay, plain(mac(1), mac(2)), 1);
  t.deepEqual(overlay.outcome().remote[0]!.bytes.slice(0, 8), hex('88001234 00000500'));
  wrap(overlay, plain(mac(1), mac(2)), 2);
  t.deepEqual(overlay.outcome().remote[0]!.bytes.slice(0, 8), hex('88000000 00000600'));
  t.is(overlay.pool.allocated, 0);
});

test('the flow is that of the frame: one for all packets of a connection, others for others', (t) => {
  const overlay = new Overlay();
  overlay.network({ index: 1 });
  const flow = (f: Parameters<typeof frame>[0]) => {
    const packet = wrap(overlay, build(frame(f)), 1);
    const found = overlay.pool.flow[packet]!;
    overlay.outcome();
    return found;
  };
  t.is(flow({ payload: [1, 2, 3] }), flow({ sequence: 9, payload: [4] }));
  const ports = Array.from({ length: 100 }, (_, i) => flow({ sourcePort: 1000 + i }));
  t.true(new Set(ports).size > 90);
  t.true(ports.every((port) => port >= 0 && port < 65_536));
  t.is(overlay.pool.allocated, 0);
});

test('the outer header gets the ECN field of the frame, and no other bit of its class', (t) => {
  const overlay = new Overlay();
  overlay.network({ index: 1 });
  for (const ip of [4, 6] as const) {
    for (let tos = 0; tos < 256; tos++) {
      const packet = wrap(overlay, build(frame({ ip, tos })), 1);
      t.is(overlay.pool.ecn[packet], tos & 3);
      overlay.outcome();
    }
  }
  const packet = wrap(overlay, plain(mac(1), mac(2)), 1);
  t.is(overlay.pool.ecn[packet], 0);
  overlay.outcome();
  t.is(overlay.pool.allocated, 0);
});

test('where checksums begin is counted from the packet that grew', (t) => {
  const overlay = new Overlay();
  overlay.network({ index: 1 });
  const { pool } = overlay;
  const packet = overlay.put(build(frame()));
  pool.network[packet] = 1;
  pool.offload[packet] = CHECKSUM_UNFINISHED;
  pool.checksumStart[packet] = 34;
  pool.headerLength[packet] = 54;
  overlay.remote.push(packet);
  encap(overlay.path, overlay.networks, overlay.remote);
  t.deepEqual([pool.checksumStart[packet], pool.headerLength[packet]], [42, 62]);
  overlay.outcome();
  t.is(pool.allocated, 0);
});
