/** What the running kernel makes of the headers that are written here, and what is read of its own. */
import test, { type ExecutionContext } from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  type Pool,
  SEGMENT_UDP,
} from '../../src/dataplane/core/pool.js';
import { addon, type NativePool, nativePool } from '../../src/dataplane/io/native.js';
import { Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as virtio from '../../src/dataplane/io/offload/virtio.js';
import type * as Machine from '../native/machine.js';
import { build, type Frame, frame, parse } from './frames.js';
import { bytesOf, put, putSuper } from './pools.js';

const TUN_F_OFFLOADS = 0x6f;
const TUN_F_TUNNEL = 0x180;
const VXLAN = [8, 0, 0, 0, 0, 0, 42, 0];
const PEER_MAC = [2, 0, 0, 0, 0, 9];
const FAMILIES = {
  4: {
    here: [192, 168, 9, 1],
    peer: [192, 168, 9, 2],
    text: '192.168.9.1',
    peerText: '192.168.9.2',
    bits: 24,
  },
  6: {
    here: [0xfd, 9, ...Array<number>(13).fill(0), 1],
    peer: [0xfd, 9, ...Array<number>(13).fill(0), 2],
    text: 'fd09::1',
    peerText: 'fd09::2',
    bits: 64,
  },
} as const;

// The addon's helpers fail where it hasn't been built.
const machine: typeof Machine | undefined =
  addon === undefined ? undefined : await import('../native/machine.js');

const kernel = (title: string, run: (t: ExecutionContext, m: typeof Machine) => Promise<void>) => {
  if (machine === undefined) test.skip(`${title} (needs the addon)`, () => {});
  else machine.asRoot(title, (t) => run(t, machine));
};

/** Whether a TAP takes TUN_F_TUNNEL; for who isn't root, the tests are skipped anyway. */
function hasTunnels(): boolean {
  if (machine === undefined || !machine.isRoot) return true;
  const options = { ...machine.tapDefaults, headerBytes: 24, offloads: TUN_F_OFFLOADS | TUN_F_TUNNEL };
  try {
    machine.native.close(machine.native.openTap(options).fd);
    return true;
  } catch {
    return false;
  }
}

const tunnel: typeof kernel = hasTunnels()
  ? kernel
  : (title) => test.skip(`${title} (needs Linux 6.17)`, () => {});

const macOf = (m: typeof Machine, netns: string, name: string): number[] =>
  (JSON.parse(m.run('ip', '-n', netns, '-j', 'link', 'show', name))[0].address as string)
    .split(':')
    .map((hex) => Number.parseInt(hex, 16));

interface Host {
  native: NativePool;
  path: Path;
  fd: number;
  /** a UDP socket of the kernel's side, on port 7000 */
  socket: number;
  netns: string;
  tapMac: number[];
}

function host(t: ExecutionContext, m: typeof Machine, headerBytes: number, offloads: number): Host {
  const { name, path: netns } = m.namespace(t);
  for (const which of ['all', 'default']) m.sysctl(name, `net.ipv6.conf.${which}.disable_ipv6=0`);
  const tap = m.native.openTap({ ...m.tapDefaults, name: 't0', netns, headerBytes, offloads });
  m.closing(t, tap.fd);
  m.run('ip', '-n', name, 'link', 'set', 't0', 'addrgenmode', 'none');
  m.run('ip', '-n', name, 'link', 'set', 't0', 'mtu', '1600', 'up');
  for (const { text, peerText, bits } of Object.values(FAMILIES)) {
    m.run('ip', '-n', name, 'addr', 'add', `${text}/${bits}`, 'dev', 't0', ...(bits === 64 ? ['nodad'] : []));
    m.run('ip', '-n', name, 'neigh', 'add', peerText, 'lladdr', '02:00:00:00:00:09', 'dev', 't0');
  }
  const native = nativePool(64, 2048);
  t.teardown(() => m.native.detach(native.handle));
  const path = new Path(native.pool, new Counters(1, 1));
  return { native, path, fd: tap.fd, socket: -1, netns: name, tapMac: macOf(m, name, 't0') };
}

function openSocket(t: ExecutionContext, m: typeof Machine, from: Host, address: string): void {
  const where = {
    address,
    family: address.includes(':') ? 6 : 4,
    netns: `/run/netns/${from.netns}`,
  } as const;
  const { fd } = m.native.openUdp({ ...m.udpDefaults, ...where, port: 7000, gro: false });
  from.socket = m.closing(t, fd);
}

/** A vxlan device of the kernel's in that namespace, and the MAC that it has. */
function vxlan(m: typeof Machine, { netns }: Host, family: 4 | 6, checksum: boolean): number[] {
  const { text, peerText } = FAMILIES[family];
  const how = family === 4 ? [checksum ? 'udpcsum' : 'noudpcsum'] : [];
  m.run(
    'ip',
    '-n',
    netns,
    'link',
    'add',
    'vx0',
    'type',
    'vxlan',
    'id',
    '42',
    'dstport',
    '4789',
    'local',
    text,
    'remote',
    peerText,
    ...how,
  );
  m.run('ip', '-n', netns, 'addr', 'add', '10.9.0.1/24', 'dev', 'vx0');
  m.run('ip', '-n', netns, 'link', 'set', 'vx0', 'addrgenmode', 'none');
  m.run('ip', '-n', netns, 'link', 'set', 'vx0', 'up');
  m.run('ip', '-n', netns, 'neigh', 'add', '10.9.0.2', 'lladdr', '02:00:00:00:00:07', 'dev', 'vx0');
  return macOf(m, netns, 'vx0');
}

const innerTo = (mac: readonly number[], payload: number[]): Frame =>
  frame({
    macs: [...mac, 2, 0, 0, 0, 0, 7],
    l4: 'udp',
    source: [10, 9, 0, 2],
    destination: [10, 9, 0, 1],
    sourcePort: 7001,
    destinationPort: 7000,
    payload,
  });

const outerTo = (mac: readonly number[], family: 4 | 6, payload: number[]): Frame =>
  frame({
    ...{ ip: family, macs: [...mac, ...PEER_MAC], l4: 'udp', payload },
    source: [...FAMILIES[family].peer],
    destination: [...FAMILIES[family].here],
    sourcePort: 50_000,
    destinationPort: 4789,
  });

/** Writes packets of a batch as they are marked, and frees them; whether the kernel took all. */
function write(m: typeof Machine, { native, fd }: Host, batch: Batch, headerBytes: number): boolean {
  const { count } = batch;
  const sent = m.native.tapTransmit(native.handle, fd, headerBytes, batch.packets, 0, count);
  batch.release(native.pool);
  return sent === count;
}

/** The datagrams that the socket has got, `count` of them. */
async function received(m: typeof Machine, { native, socket }: Host, count: number): Promise<number[][]> {
  const list = m.emptyPackets(native.pool, 32);
  const got: number[][] = [];
  await m.until(() => {
    const n = m.native.udpReceive(native.handle, socket, list, list.length);
    for (const packet of list.subarray(0, n)) got.push([...bytesOf(native.pool, packet)]);
    return got.length >= count ? true : undefined;
  });
  for (const packet of list) native.pool.free(packet);
  return got;
}

/** The first frame from the TAP of at least so many bytes; it is the caller's to free. */
async function read(
  m: typeof Machine,
  { native, fd }: Host,
  headerBytes: number,
  bytes: number,
): Promise<number> {
  const list = m.emptyPackets(native.pool, 1);
  const packet = list[0]!;
  const found = await m.until(() => {
    const n = m.native.tapReceive(native.handle, fd, headerBytes, list, 1);
    return n === 1 && native.pool.length[packet]! >= bytes ? true : undefined;
  });
  if (found === undefined) throw new Error('nothing came');
  return packet;
}

const bytes = (count: number) => Array.from({ length: count }, (_, i) => (i * 7) & 255);
const parts = (payload: number[], size: number) =>
  Array.from({ length: Math.ceil(payload.length / size) }, (_, i) => payload.slice(i * size, (i + 1) * size));

function putTunneled(
  pool: Pool,
  outer: Frame,
  sum: 'zero' | 'seed',
  inner: Frame,
  segment: number,
  outerLength: number,
) {
  const packet = put(pool, build({ ...outer, payload: [...VXLAN, ...build(inner, 'seed')] }, sum), 60);
  pool.segment[packet] = segment;
  pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_UDP;
  pool.checksumStart[packet] = outerLength + 34;
  pool.checksumOffset[packet] = 6;
  pool.headerLength[packet] = outerLength + 42;
  return packet;
}

for (const family of [4, 6] as const) {
  for (const checksum of family === 4 ? [false, true] : [true]) {
    const how = `over IPv${family}, ${checksum ? 'with' : 'without'} outer checksum`;
    const outerLength = family === 4 ? 50 : 70;

    tunnel(`a super-packet in a tunnel ${how}: the kernel takes ours, and we take its`, async (t, m) => {
      const h = host(t, m, 24, TUN_F_OFFLOADS | TUN_F_TUNNEL);
      const { pool } = h.native;
      const mac = vxlan(m, h, family, checksum);
      openSocket(t, m, h, '10.9.0.1');
      const payload = bytes(9500);

      const batch = new Batch(pool.packets);
      const outer = outerTo(h.tapMac, family, []);
      const packet = putTunneled(
        pool,
        outer,
        checksum ? 'seed' : 'zero',
        innerTo(mac, payload),
        1000,
        outerLength,
      );
      virtio.writeTunnelHeader(pool, packet, outerLength, family === 6);
      batch.push(packet);
      t.true(write(m, h, batch, 24));
      t.deepEqual(await received(m, h, 10), parts(payload, 1000));

      const table = m.addressTable({ address: '10.9.0.2', port: 7001 });
      const sent = put(pool, Uint8Array.from(payload));
      pool.segment[sent] = 1000;
      t.is(m.native.udpTransmit(h.native.handle, h.socket, table, Int32Array.of(sent), 0, 1), 1);
      pool.free(sent);
      const came = await read(m, h, 24, 9000);
      t.true(virtio.readTunnelHeader(pool, came));
      t.is(pool.segment[came], 1000);
      t.is(pool.offload[came], CHECKSUM_UNFINISHED | SEGMENT_UDP);
      t.is(pool.checksumStart[came], outerLength + 34);
      t.is(pool.headerLength[came], outerLength + 42);
      const strip = (column: Int32Array) => (column[came] = column[came]! - (outerLength - 8));
      pool.offset[came] = pool.offset[came]! + outerLength - 8;
      for (const column of [pool.length, pool.checksumStart, pool.headerLength]) strip(column);
      t.true(new Segmenter(h.path, h.native).segment(came, batch, 8));
      const frames = Array.from(batch.packets.subarray(0, batch.count), (p) => bytesOf(pool, p).subarray(8));
      t.deepEqual(
        frames.map((f) => parse(f).payload),
        parts(payload, 1000),
      );
      t.true(frames.every((f) => Buffer.from(build(parse(f))).equals(f)));
      batch.release(pool);
      t.is(pool.allocated, 0);
    });
  }

  tunnel(`an outer bundle over IPv${family} reaches the kernel as datagrams`, async (t, m) => {
    const h = host(t, m, 24, TUN_F_OFFLOADS | TUN_F_TUNNEL);
    const { pool } = h.native;
    const mac = vxlan(m, h, family, true);
    openSocket(t, m, h, '10.9.0.1');
    const payloads = Array.from({ length: 20 }, (_, i) =>
      bytes(i === 19 ? 50 : 100).map((b) => (b + i) & 255),
    );
    const datagrams = payloads.map((p) => [...VXLAN, ...build(innerTo(mac, p))]);
    const packet = put(pool, build(outerTo(h.tapMac, family, datagrams.flat()), 'seed'));
    const headers = family === 4 ? 42 : 62;
    pool.segment[packet] = datagrams[0]!.length;
    pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_UDP;
    pool.checksumStart[packet] = headers - 8;
    pool.checksumOffset[packet] = 6;
    pool.headerLength[packet] = headers;
    virtio.writeTunnelHeader(pool, packet, headers + 8, family === 6);
    const batch = new Batch(pool.packets);
    batch.push(packet);
    t.true(write(m, h, batch, 24));
    t.deepEqual(await received(m, h, 20), payloads);
    t.is(pool.allocated, 0);
  });

  kernel(
    `datagrams over IPv${family} that were coalesced reach the kernel's socket as they were`,
    async (t, m) => {
      const h = host(t, m, 12, TUN_F_OFFLOADS);
      const { pool } = h.native;
      openSocket(t, m, h, FAMILIES[family].text);
      const payloads = Array.from({ length: 30 }, (_, i) =>
        bytes(i === 29 ? 20 : 200).map((b) => (b + i) & 255),
      );
      const batch = new Batch(pool.packets);
      for (const [i, payload] of payloads.entries()) {
        const f = { ...outerTo(h.tapMac, family, payload), destinationPort: 7000, id: i };
        batch.push(i % 2 === 0 ? put(pool, build(f)) : putSuper(pool, f, 0));
      }
      new Coalescer(h.path, h.native).coalesce(batch, { tcp4: true, tcp6: true, udp: true });
      t.is(pool.bundle[batch.packets[0]!], 30);
      virtio.writeHeader(pool, batch.packets[0]!);
      t.true(write(m, h, batch, 12));
      t.deepEqual(await received(m, h, 30), payloads);
      t.is(pool.allocated, 0);
    },
  );
}

kernel('what the kernel sends with its checksum unfinished is finished as it would have', async (t, m) => {
  const h = host(t, m, 12, TUN_F_OFFLOADS);
  const { pool } = h.native;
  openSocket(t, m, h, FAMILIES[4].text);
  const table = m.addressTable({ address: FAMILIES[4].peerText, port: 7001 });
  const payload = bytes(4100);
  const sent = put(pool, Uint8Array.from(payload));
  pool.segment[sent] = 1400;
  t.is(m.native.udpTransmit(h.native.handle, h.socket, table, Int32Array.of(sent), 0, 1), 1);
  pool.free(sent);
  const came = await read(m, h, 12, 4000);
  t.true(virtio.readHeader(pool, came));
  const batch = new Batch(pool.packets);
  t.true(new Segmenter(h.path, h.native).segment(came, batch));
  const frames = Array.from(batch.packets.subarray(0, batch.count), (p) => bytesOf(pool, p));
  t.true(frames.every((f) => Buffer.from(build(parse(f))).equals(f)));
  t.deepEqual(
    frames.map((f) => parse(f).payload),
    parts(payload, 1400),
  );
  t.true(
    Array.from(batch.packets.subarray(0, batch.count)).every((p) => pool.offload[p] === CHECKSUM_VERIFIED),
  );
  batch.release(pool);
  t.is(pool.allocated, 0);
});
