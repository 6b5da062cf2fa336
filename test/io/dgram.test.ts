import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters, TX_BYTES, TX_PACKETS } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  DATAGRAM_AT,
  Pool,
  SEGMENT_TCP4,
  SENDER_ADDRESS,
  SENDER_FAMILY,
  SENDER_PORT,
} from '../../src/dataplane/core/pool.js';
import { type DgramOptions, DgramUnderlay } from '../../src/dataplane/io/dgram.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import { readSockaddr, SOCKADDR_BYTES, writeSockaddr } from '../../src/dataplane/io/sockaddr.js';
import { ACK, build, frame, PSH, segments } from './frames.js';
import { putSuper } from './pools.js';

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);
const FAMILIES = [
  { name: 'IPv4', address: '127.0.0.1', family: 4, bytes: [127, 0, 0, 1], test },
  {
    name: hasIpv6 ? 'IPv6' : 'IPv6 (skipped: no ::1 here)',
    address: '::1',
    family: 6,
    bytes: [...new Array<number>(15).fill(0), 1],
    test: hasIpv6 ? test : test.skip,
  },
] as const;

interface End {
  device: DgramUnderlay;
  path: Path;
  vteps: Uint8Array;
  wakes: number;
  errors: Error[];
}

async function open(
  addresses: readonly string[],
  options: Partial<DgramOptions> = {},
  slots = 64,
): Promise<End> {
  const path = new Path(new Pool(slots), new Counters(1, 4));
  const vteps = new Uint8Array(4 * SOCKADDR_BYTES);
  const end = { path, vteps, wakes: 0, errors: [] as Error[] };
  const device = await DgramUnderlay.open({
    path,
    addresses,
    port: 0,
    vteps,
    segmenter: { segment: () => false },
    onReadable: () => end.wakes++,
    onError: (error) => end.errors.push(error),
    ...options,
  });
  return Object.assign(end, { device });
}

/** A packet to send, as encap leaves it. */
function packetOf(path: Path, bytes: Uint8Array, vtep = 0, flow = 0): number {
  const { pool } = path;
  const packet = pool.take(DATAGRAM_AT);
  pool.bytes.set(bytes, pool.offset[packet]!);
  pool.length[packet] = bytes.length;
  pool.vtep[packet] = vtep;
  pool.flow[packet] = flow;
  return packet;
}

function transmit(end: End, packets: readonly number[]): void {
  const batch = new Batch(packets.length);
  for (const packet of packets) batch.push(packet);
  end.device.transmit(batch);
}

interface Received {
  bytes: Uint8Array;
  family: number;
  port: number;
  address: Uint8Array;
}

/** Turns until `count` datagrams have come, or two seconds have passed. */
async function receive({ device, path }: End, count: number): Promise<Received[]> {
  const { pool } = path;
  const batch = new Batch(pool.packets);
  const found: Received[] = [];
  for (let wait = 0; wait < 200 && found.length < count; wait++) {
    device.receive(batch);
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const slot = pool.slotStart(packet);
      const family = pool.view.getUint16(slot + SENDER_FAMILY, true);
      const address = slot + SENDER_ADDRESS;
      found.push({
        bytes: pool.bytes.slice(pool.offset[packet], pool.offset[packet]! + pool.length[packet]!),
        family,
        port: pool.view.getUint16(slot + SENDER_PORT, true),
        address: pool.bytes.slice(address, address + (family === 4 ? 4 : 16)),
      });
    }
    batch.release(pool);
    if (found.length < count) await sleep(10);
  }
  return found;
}

/** Every packet is back in its pool once the callbacks of the sockets have come. */
async function closed(t: ExecutionContext, ...ends: End[]): Promise<void> {
  for (const { device } of ends) device.close();
  await sleep(20);
  for (const { path } of ends) t.is(path.pool.allocated, 0);
}

for (const { name, address, family, bytes, test: run } of FAMILIES) {
  run(
    `two underlays exchange datagrams over ${name}, the sender's address at the slot's start`,
    async (t) => {
      const [a, b] = [await open([address]), await open([address])];
      writeSockaddr(a.vteps, 2 * SOCKADDR_BYTES, address, b.device.port);
      writeSockaddr(b.vteps, 0, address, a.device.port);
      transmit(a, [packetOf(a.path, Uint8Array.of(1, 2, 3), 2), packetOf(a.path, Uint8Array.of(4), 2)]);
      transmit(b, [packetOf(b.path, Uint8Array.of(5))]);
      const [atB, atA] = [await receive(b, 2), await receive(a, 1)];
      t.deepEqual(
        atB.map((datagram) => [...datagram.bytes]),
        [[1, 2, 3], [4]],
      );
      t.deepEqual([...atA[0]!.bytes], [5]);
      for (const datagram of [...atB, ...atA]) {
        t.is(datagram.family, family);
        t.deepEqual([...datagram.address], [...bytes]);
        t.true(datagram.port > 0);
      }
      t.true(b.wakes >= 1);
      const row = a.path.counters.vtepRow(2);
      t.is(a.path.counters.cells[row + TX_PACKETS], 2);
      t.is(a.path.counters.cells[row + TX_BYTES], 4);
      await closed(t, a, b);
    },
  );

  run(`the largest datagrams pass over ${name}; one byte more is dropped as oversize`, async (t) => {
    const largest = family === 4 ? 65_507 : 65_527;
    const buffer = { receiveBuffer: 1 << 20, sendBuffer: 1 << 20 };
    const [a, b] = [await open([address], buffer), await open([address], buffer)];
    writeSockaddr(a.vteps, 0, address, b.device.port);
    for (const length of [0, 1, 1472, 9000, largest]) {
      const sent = Uint8Array.from({ length }, (_, i) => i * 31);
      transmit(a, [packetOf(a.path, sent)]);
      const [got] = await receive(b, 1);
      t.true(Buffer.compare(got!.bytes, sent) === 0, `${length}`);
    }
    transmit(a, [packetOf(a.path, new Uint8Array(largest + 1))]);
    await sleep(20);
    t.is(a.path.counters.dropped('underlay-oversize'), 1);
    t.deepEqual(a.errors, []);
    await closed(t, a, b);
  });

  run(`flows leave by different source ports over ${name}, each flow by one`, async (t) => {
    const [a, b] = [await open([address], { sourcePorts: 4 }), await open([address], { queue: 60 })];
    writeSockaddr(a.vteps, 0, address, b.device.port);
    for (let i = 0; i < 40; i++) transmit(a, [packetOf(a.path, Uint8Array.of(i % 10), 0, 1000 + (i % 10))]);
    const got = await receive(b, 40);
    t.is(got.length, 40);
    t.is(new Set(got.map(({ port }) => port)).size, 4);
    for (let flow = 0; flow < 10; flow++)
      t.is(new Set(got.filter(({ bytes }) => bytes[0] === flow).map(({ port }) => port)).size, 1);
    await closed(t, a, b);
  });

  run(`datagrams of unknown senders come over ${name} with their true address`, async (t) => {
    const end = await open([address]);
    const stranger: Socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    stranger.bind(0, address);
    await once(stranger, 'listening');
    stranger.send(Uint8Array.of(9, 9), end.device.port, address);
    const [got] = await receive(end, 1);
    t.deepEqual([...got!.bytes], [9, 9]);
    t.is(got!.port, stranger.address().port);
    t.deepEqual([...got!.address], [...bytes]);
    stranger.close();
    await closed(t, end);
  });
}

(hasIpv6 ? test : test.skip)('one underlay serves both families at one port', async (t) => {
  const [a, b] = [await open(['127.0.0.1', '::1']), await open(['127.0.0.1', '::1'])];
  writeSockaddr(a.vteps, 0, '127.0.0.1', b.device.port);
  writeSockaddr(a.vteps, SOCKADDR_BYTES, '::1', b.device.port);
  for (const vtep of [0, 1, 0, 1]) transmit(a, [packetOf(a.path, Uint8Array.of(vtep), vtep)]);
  const got = await receive(b, 4);
  t.deepEqual(got.map(({ bytes, family }) => [bytes[0], family]).sort(), [
    [0, 4],
    [0, 4],
    [1, 6],
    [1, 6],
  ]);
  await closed(t, a, b);
});

test('a VTEP that changes its address in the table is followed at once', async (t) => {
  const [a, b, c] = [await open(['127.0.0.1']), await open(['127.0.0.1']), await open(['127.0.0.1'])];
  writeSockaddr(a.vteps, 0, '127.0.0.1', b.device.port);
  transmit(a, [packetOf(a.path, Uint8Array.of(1))]);
  writeSockaddr(a.vteps, 0, '127.0.0.1', c.device.port);
  transmit(a, [packetOf(a.path, Uint8Array.of(2))]);
  t.deepEqual([...(await receive(b, 1))[0]!.bytes], [1]);
  t.deepEqual([...(await receive(c, 1))[0]!.bytes], [2]);
  await closed(t, a, b, c);
});

test('a VTEP without address, without a socket of its family, or that the host refuses is unreachable', async (t) => {
  const a = await open(['127.0.0.1']);
  writeSockaddr(a.vteps, SOCKADDR_BYTES, '::1', 4789);
  writeSockaddr(a.vteps, 2 * SOCKADDR_BYTES, '255.255.255.255', 4789); // EACCES: not allowed to broadcast
  transmit(
    a,
    [0, 1, 2].map((vtep) => packetOf(a.path, Uint8Array.of(1), vtep)),
  );
  await sleep(20);
  t.is(a.path.counters.dropped('vtep-unreachable'), 3);
  await closed(t, a);
});

test('super-packets are split and checksums finished before they leave', async (t) => {
  const finished: number[] = [];
  const a = await open(['127.0.0.1'], {
    segmenter: {
      segment(packet, out, prefix) {
        t.is(prefix, 8);
        for (const byte of [1, 2, 3]) out.push(packetOf(a.path, Uint8Array.of(byte)));
        a.path.pool.free(packet);
        return true;
      },
    },
    finishChecksum(path, packet) {
      const byte = path.pool.bytes[path.pool.offset[packet]!]!;
      finished.push(byte);
      if (byte === 7) return true;
      path.drop(packet, 0);
      return false;
    },
  });
  const b = await open(['127.0.0.1']);
  writeSockaddr(a.vteps, 0, '127.0.0.1', b.device.port);
  const [whole, unfinished, bad] = [100, 7, 8].map((byte) => packetOf(a.path, Uint8Array.of(byte)));
  a.path.pool.offload[whole!] = SEGMENT_TCP4 | CHECKSUM_UNFINISHED;
  a.path.pool.offload[unfinished!] = a.path.pool.offload[bad!] = CHECKSUM_UNFINISHED;
  transmit(a, [whole!, unfinished!, bad!]);
  const got = await receive(b, 4);
  t.deepEqual(got.map(({ bytes }) => bytes[0]).sort(), [1, 2, 3, 7]);
  t.deepEqual(finished, [7, 8]);
  await closed(t, a, b);
});

test('a super-packet crosses as the finished packets that it stands for', async (t) => {
  const b = await open(['127.0.0.1']);
  let segmenter: Segmenter | undefined;
  const a = await open(['127.0.0.1'], {
    segmenter: { segment: (packet, out, prefix) => segmenter!.segment(packet, out, prefix) },
  });
  segmenter = new Segmenter(a.path);
  writeSockaddr(a.vteps, 0, '127.0.0.1', b.device.port);
  const vxlan = [8, 0, 0, 0, 0, 0, 42, 0];
  const whole = frame({ payload: Array.from({ length: 20_500 }, (_, i) => i & 255), tcpFlags: ACK | PSH });
  const packet = putSuper(a.path.pool, whole, 1400, vxlan);
  a.path.pool.vtep[packet] = 0;
  transmit(a, [packet]);
  const got = await receive(b, 15);
  t.deepEqual(
    got.map(({ bytes }) => bytes),
    segments(whole, 1400, false).map((part) => Uint8Array.from([...vxlan, ...build(part)])),
  );
  await closed(t, a, b);
});

test('datagrams that nobody takes fill the queue, then are counted; so are those that find no packet', async (t) => {
  const a = await open(['127.0.0.1']);
  const [short, small] = [
    await open(['127.0.0.1'], { queue: 5 }),
    await open(['127.0.0.1'], { queue: 9 }, 3),
  ];
  for (const [end, reason, kept] of [
    [short, 'underlay-busy', 5],
    [small, 'no-packet', 3],
  ] as const) {
    writeSockaddr(a.vteps, 0, '127.0.0.1', end.device.port);
    transmit(
      a,
      Array.from({ length: 12 }, (_, i) => packetOf(a.path, Uint8Array.of(i))),
    );
    for (let wait = 0; wait < 200 && end.path.counters.dropped(reason) < 12 - kept; wait++) await sleep(10);
    t.is(end.path.counters.dropped(reason), 12 - kept);
    t.is(end.wakes, 1);
    const got = await receive(end, kept);
    t.deepEqual(
      got.map(({ bytes }) => bytes[0]),
      [0, 1, 2, 3, 4].slice(0, kept),
      'the first ones, in order',
    );
  }
  await closed(t, a, short, small);
});

test('a closed underlay drops what it is given and what waited, each under device-closed', async (t) => {
  const [a, b] = [await open(['127.0.0.1']), await open(['127.0.0.1'])];
  writeSockaddr(a.vteps, 0, '127.0.0.1', b.device.port);
  transmit(a, [packetOf(a.path, Uint8Array.of(1))]);
  for (let wait = 0; wait < 200 && b.wakes === 0; wait++) await sleep(10);
  transmit(a, [packetOf(a.path, Uint8Array.of(2))]);
  a.device.close();
  a.device.close();
  transmit(a, [packetOf(a.path, Uint8Array.of(3))]);
  b.device.close();
  t.is(a.path.counters.dropped('device-closed'), 1);
  t.is(b.path.counters.dropped('device-closed'), 1);
  await closed(t, a, b);
});

test('an address that is taken, or not of this host, rejects with the code of the system', async (t) => {
  const a = await open(['127.0.0.1']);
  await t.throwsAsync(open(['127.0.0.1'], { port: a.device.port }), { code: 'EADDRINUSE' });
  await t.throwsAsync(open(['203.0.113.77']), { code: 'EADDRNOTAVAIL' });
  await closed(t, a);
});

test('a socket address row is read as it was written', (t) => {
  const rows = new Uint8Array(2 * SOCKADDR_BYTES).fill(0xa5);
  writeSockaddr(rows, SOCKADDR_BYTES, '10.1.2.3', 4789);
  t.deepEqual([...rows.subarray(32, 40)], [2, 0, 0x12, 0xb5, 10, 1, 2, 3]);
  t.deepEqual(readSockaddr(rows, 32), { family: 4, address: '10.1.2.3', port: 4789 });
  writeSockaddr(rows, SOCKADDR_BYTES, 'fd00::1:2', 65535);
  t.deepEqual([...rows.subarray(32, 44)], [10, 0, 255, 255, 0, 0, 0, 0, 0xfd, 0, 0, 0]);
  t.deepEqual(readSockaddr(rows, 32), { family: 6, address: 'fd00::1:2', port: 65535 });
  t.true(rows.subarray(0, 32).every((byte) => byte === 0xa5));
  t.is(readSockaddr(new Uint8Array(32), 0), undefined);
});
