import test, { type ExecutionContext } from 'ava';
import { SENDER_ADDRESS, SENDER_FAMILY, SENDER_PORT } from '../../src/dataplane/core/pool.js';
import type { NativePool } from '../../src/dataplane/io/native.js';
import {
  addressBytes,
  addressTable,
  bytesOf,
  closing,
  emptyPackets,
  native,
  packetOf,
  poolFor,
  SLOT_BYTES,
  udpDefaults,
} from './machine.js';

const EMSGSIZE = 90;

function open(t: ExecutionContext, options: Partial<typeof udpDefaults> = {}) {
  const udp = native.openUdp({ ...udpDefaults, ...options });
  closing(t, udp.fd);
  return udp;
}

/** Loopback delivers within the sending call, so one receive has everything. */
function receive({ pool, handle }: NativePool, fd: number, room: number): number[] {
  const list = emptyPackets(pool, room);
  return Array.from(list.subarray(0, native.udpReceive(handle, fd, list, room)));
}

for (const [family, address] of [
  [4, '127.0.0.1'],
  [6, '::1'],
] as const) {
  test(`a datagram over ${address} arrives with its bytes, its length and its sender`, (t) => {
    const made = poolFor(t, 4);
    const { pool, handle, status } = made;
    const sender = open(t, { family, address });
    const receiver = open(t, { family, address });
    const bytes = Uint8Array.from({ length: 77 }, (_, i) => i);
    const to = addressTable(
      { address: family === 4 ? '127.0.0.9' : '::9', port: 9 },
      { address, port: receiver.port },
    );
    const packet = packetOf(pool, bytes);
    pool.vtep[packet] = 1;
    t.is(native.udpTransmit(handle, sender.fd, to, Int32Array.of(packet), 0, 1), 1);
    t.is(status[1], 0);

    const [got] = receive(made, receiver.fd, 2);
    t.deepEqual(bytesOf(pool, got!), bytes);
    t.is(pool.segment[got!], 0);
    const start = pool.slotStart(got!);
    t.is(pool.view.getUint16(start + SENDER_FAMILY, true), family);
    t.is(pool.view.getUint16(start + SENDER_PORT, true), sender.port);
    const own = addressBytes(address);
    t.deepEqual(pool.bytes.slice(start + SENDER_ADDRESS, start + SENDER_ADDRESS + own.length), own);
    t.true(pool.bytes.subarray(start + 20, pool.offset[got!]).every((byte) => byte === 0xa5));
    t.true(pool.bytes.subarray(pool.offset[got!]! + 77, start + SLOT_BYTES).every((byte) => byte === 0xa5));
  });

  test(`a super-packet over ${address} is segmented by the kernel and arrives glued`, (t) => {
    const made = poolFor(t, 4);
    const { pool, handle } = made;
    const { fd, port } = open(t, { family, address });
    const bytes = Uint8Array.from({ length: 14 * 1400 + 5 }, (_, i) => i % 251);
    const packet = packetOf(pool, bytes);
    pool.segment[packet] = 1400;
    t.is(native.udpTransmit(handle, fd, addressTable({ address, port }), Int32Array.of(packet), 0, 1), 1);
    const [got] = receive(made, fd, 1);
    t.is(pool.segment[got!], 1400);
    t.deepEqual(bytesOf(pool, got!), bytes);
  });
}

for (const [family, address] of [
  [4, '127.0.0.1'],
  [6, '::1'],
] as const) {
  test(`the ECN field goes with each datagram, bundle and super-packet over ${address}, and comes with it`, (t) => {
    const made = poolFor(t, 32);
    const { pool, handle } = made;
    const sender = open(t, { family, address });
    const { fd, port } = open(t, { family, address });
    const to = addressTable({ address, port });
    const fields = [0, 2, 1, 3, 0];
    const packets = fields.map((ecn, i) => {
      const packet = packetOf(pool, new Uint8Array(100).fill(i));
      pool.ecn[packet] = ecn;
      return packet;
    });
    const whole = packetOf(pool, new Uint8Array(2500));
    pool.segment[whole] = 1000;
    pool.ecn[whole] = 3;
    const bundle = [0, 0].map(() => packetOf(pool, new Uint8Array(500)));
    pool.bundle[bundle[0]!] = 2;
    pool.ecn[bundle[0]!] = 2;
    const list = Int32Array.from([...packets, whole, ...bundle]);
    t.is(native.udpTransmit(handle, sender.fd, to, list, 0, list.length), list.length);
    const got = receive(made, fd, 10).map((packet) => [
      pool.length[packet],
      pool.segment[packet],
      pool.ecn[packet],
    ]);
    t.deepEqual(got, [...fields.map((ecn) => [100, 0, ecn]), [2500, 1000, 3], [1000, 500, 2]]);
  });
}

test('a super-packet reaches a socket without UDP_GRO as datagrams of the segment size', (t) => {
  const made = poolFor(t, 8);
  const { pool, handle } = made;
  const { fd, port } = open(t, { gro: false });
  const packet = packetOf(pool, new Uint8Array(2500).fill(1));
  pool.segment[packet] = 1000;
  native.udpTransmit(handle, fd, addressTable({ address: '127.0.0.1', port }), Int32Array.of(packet), 0, 1);
  const got = receive(made, fd, 5);
  t.deepEqual(
    got.map((each) => [pool.length[each], pool.segment[each]]),
    [
      [1000, 0],
      [1000, 0],
      [500, 0],
    ],
  );
});

test('a bundle leaves as one segmented send, its followers without the bytes they skip', (t) => {
  const made = poolFor(t, 8);
  const { pool, handle } = made;
  const { fd, port } = open(t);
  // The first is 100 bytes whole; of the followers, 100 are left after 20 are skipped; the last may be shorter.
  const packets = [packetOf(pool, new Uint8Array(100).fill(1))];
  for (const [fill, length] of [
    [2, 120],
    [3, 120],
    [4, 51],
  ] as const) {
    packets.push(packetOf(pool, new Uint8Array(length).fill(fill)));
  }
  pool.bundle[packets[0]!] = 4;
  pool.bundleSkip[packets[0]!] = 20;
  const alone = packetOf(pool, Uint8Array.of(9));
  const to = addressTable({ address: '127.0.0.1', port });
  t.is(native.udpTransmit(handle, fd, to, Int32Array.from([...packets, alone]), 0, 5), 5);
  const got = receive(made, fd, 3);
  t.is(got.length, 2);
  t.is(pool.segment[got[0]!], 100);
  const bytes = bytesOf(pool, got[0]!);
  t.is(bytes.length, 331);
  t.deepEqual(
    [bytes[0], bytes[99], bytes[100], bytes[199], bytes[200], bytes[300], bytes[330]],
    [1, 1, 2, 2, 3, 4, 4],
  );
  t.deepEqual(bytesOf(pool, got[1]!), Uint8Array.of(9));
});

test('more datagrams than one system call takes go and come in order', (t) => {
  const made = poolFor(t, 400);
  const { pool, handle } = made;
  const { fd, port } = open(t);
  const count = 150;
  const list = Int32Array.from({ length: count }, (_, i) => packetOf(pool, Uint8Array.of(i, 1, 2)));
  t.is(native.udpTransmit(handle, fd, addressTable({ address: '127.0.0.1', port }), list, 0, count), count);
  const got = receive(made, fd, count + 10);
  t.deepEqual(
    got.map((packet) => pool.bytes[pool.offset[packet]!]),
    Array.from({ length: count }, (_, i) => i),
  );
});

test('more pieces than one system call takes are spread over several', (t) => {
  const made = poolFor(t, 1, 3000);
  const { pool, handle, status } = made;
  const { fd, port } = open(t);
  const receiving = poolFor(t, 40);
  const first = pool.take();
  pool.length[first] = 10;
  const packets = [first];
  while (packets.length < 64 * 30) packets.push(pool.share(first, pool.offset[first]!, 10));
  for (let i = 0; i < packets.length; i += 64) pool.bundle[packets[i]!] = 64;
  for (const packet of packets) pool.vtep[packet] = 0;
  const list = Int32Array.from(packets);
  const to = addressTable({ address: '127.0.0.1', port });
  t.is(native.udpTransmit(handle, fd, to, list, 0, list.length), list.length);
  t.is(status[1], 0);
  const got = receive(receiving, fd, 40);
  t.deepEqual(
    got.map((packet) => receiving.pool.length[packet]),
    new Array(30).fill(640),
  );
});

test('a datagram that is too long stops the batch with EMSGSIZE, behind what was sent before it', (t) => {
  const made = poolFor(t, 12);
  const { pool, handle, status } = made;
  const { fd, port } = open(t, { mtuDiscover: 2 });
  const to = addressTable({ address: '127.0.0.1', port });
  const list = Int32Array.from([1, 2, 66_000, 4], (length) => packetOf(pool, new Uint8Array(length)));
  t.is(native.udpTransmit(handle, fd, to, list, 0, 4), 2);
  t.is(status[1], EMSGSIZE);
  t.is(native.udpTransmit(handle, fd, to, list, 3, 4), 4);
  t.is(status[1], 0);
  t.deepEqual(
    receive(made, fd, 5).map((packet) => pool.length[packet]),
    [1, 2, 4],
  );
});

test('a datagram without bytes is one all the same', (t) => {
  const made = poolFor(t, 4);
  const { pool, handle } = made;
  const { fd, port } = open(t);
  const to = addressTable({ address: '127.0.0.1', port });
  t.is(native.udpTransmit(handle, fd, to, Int32Array.of(packetOf(pool, new Uint8Array(0))), 0, 1), 1);
  t.deepEqual(
    receive(made, fd, 2).map((packet) => pool.length[packet]),
    [0],
  );
});

test('a datagram longer than the rest of its slot comes out empty, not cut', (t) => {
  const made = poolFor(t, 4);
  const { pool, handle } = made;
  const { fd, port } = open(t);
  const to = addressTable({ address: '127.0.0.1', port });
  native.udpTransmit(handle, fd, to, Int32Array.of(packetOf(pool, new Uint8Array(100))), 0, 1);
  const list = emptyPackets(pool, 2);
  pool.offset[list[0]!] = pool.slotStart(list[0]!) + SLOT_BYTES - 60;
  t.is(native.udpReceive(handle, fd, list, 1), 1);
  t.is(pool.length[list[0]!], 0);
  t.is(pool.bytes[pool.slotStart(list[1]!)], 0xa5);
});

test('an empty socket gives nothing, with status 0', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd } = open(t);
  status[1] = 99;
  t.is(native.udpReceive(handle, fd, emptyPackets(pool, 2), 2), 0);
  t.is(status[1], 0);
});

test('sockets with reusePort share a port, others get EADDRINUSE', (t) => {
  const { port } = open(t, { reusePort: true });
  t.is(open(t, { reusePort: true, port }).port, port);
  const error = t.throws(() => native.openUdp({ ...udpDefaults, port }));
  t.like(error, { code: 'EADDRINUSE', errno: -98, syscall: 'bind' });
});

test('an IPv6 socket leaves the IPv4 port to others', (t) => {
  const { port } = open(t, { family: 6, address: '' });
  t.is(open(t, { family: 4, address: '', port }).port, port);
});

test('an address that is none is named', (t) => {
  const error = t.throws(() => native.openUdp({ ...udpDefaults, address: 'localhost' }));
  t.like(error, { code: 'EINVAL' });
  t.true(error!.message.includes("'localhost'"));
  t.throws(() => native.openUdp({ ...udpDefaults, port: 65536 }), { instanceOf: RangeError });
  t.throws(() => native.openUdp({ ...udpDefaults, family: 5 as 4 }), { instanceOf: RangeError });
});
