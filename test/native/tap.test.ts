import test, { type ExecutionContext } from 'ava';
import { VIRTIO_BYTES } from '../../src/dataplane/core/pool.js';
import type { NativePool } from '../../src/dataplane/io/native.js';
import { arpRequest, isArpReply, udp6Frame, udpFrame } from './frames.js';
import {
  addressTable,
  asRoot,
  bytesOf,
  closing,
  emptyPackets,
  FRAME_AT,
  isRoot,
  namespace,
  native,
  packetOf,
  poolFor,
  run,
  SLOT_BYTES,
  sysctl,
  tapDefaults,
  udpDefaults,
  until,
  virtioOf,
} from './machine.js';

const EFAULT = 14; // what the addon says of columns that contradict themselves; the kernel never gets to see them
const EINVAL = 22;
const EBADFD = 77;
const TUN_F_CSUM_TSO_USO = 0x6f;
const NEEDS_CSUM = 1;
const GSO_UDP_L4 = 5;

/** A TAP in a namespace of its own, 10.9.0.1 on the kernel's side, up. */
function tapIn(t: ExecutionContext, options: Partial<typeof tapDefaults> = {}) {
  const netns = namespace(t);
  const tap = native.openTap({ ...tapDefaults, name: 'w%d', netns: netns.path, ...options });
  closing(t, tap.fd);
  run('ip', '-n', netns.name, 'addr', 'add', '10.9.0.1/24', 'dev', tap.name);
  run('ip', '-n', netns.name, 'link', 'set', tap.name, 'up');
  const link = JSON.parse(run('ip', '-n', netns.name, '-j', 'link', 'show', tap.name))[0];
  const mac = Uint8Array.from((link.address as string).split(':'), (hex) => Number.parseInt(hex, 16));
  return { ...tap, netns, mac, link };
}

/** Writes one packet without offloads, and says whether the device took it. */
function write({ pool, handle }: NativePool, fd: number, frame: Uint8Array, headerBytes = 12): boolean {
  const packet = packetOf(pool, frame);
  const sent = native.tapTransmit(handle, fd, headerBytes, Int32Array.of(packet), 0, 1);
  pool.free(packet);
  return sent === 1;
}

/** Frames that arrive, each a copy, until one satisfies. */
async function read(
  { pool, handle }: NativePool,
  fd: number,
  wanted: (frame: Uint8Array, packet: number) => boolean,
  headerBytes = 12,
) {
  const list = emptyPackets(pool, 4);
  const found = await until(() => {
    const count = native.tapReceive(handle, fd, headerBytes, list, list.length);
    for (const packet of list.subarray(0, count)) {
      const frame = bytesOf(pool, packet);
      if (wanted(frame, packet)) return { frame, virtio: virtioOf(pool, packet) };
    }
    return undefined;
  });
  for (const packet of list) pool.free(packet);
  return found;
}

asRoot('a TAP is created in the namespace, with the name and index that the kernel gave it', (t) => {
  const { name, index, link } = tapIn(t);
  t.is(name, 'w0');
  t.is(link.ifindex, index);
  t.throws(() => run('ip', 'link', 'show', 'dev', 'w0'));
});

asRoot(
  'a frame written to the TAP reaches the kernel, and its answer is read with the virtio header',
  async (t) => {
    const native12 = poolFor(t, 8);
    const { fd, mac } = tapIn(t);
    t.true(write(native12, fd, arpRequest('10.9.0.9', '10.9.0.1')));
    const reply = await read(native12, fd, isArpReply);
    t.deepEqual(reply?.frame.subarray(6, 12), mac);
    t.is(reply?.virtio.gsoType, 0);
    t.is(native12.pool.allocated, 0);
  },
);

asRoot('the virtio header of 24 bytes works likewise', async (t) => {
  const made = poolFor(t, 8);
  const { fd } = tapIn(t, { headerBytes: 24 });
  t.true(write(made, fd, arpRequest('10.9.0.9', '10.9.0.1'), 24));
  t.truthy(await read(made, fd, isArpReply, 24));
});

asRoot(
  'a receive stops at an empty queue with status 0, and leaves the rest of the list alone',
  async (t) => {
    const made = poolFor(t, 8);
    const { pool, handle, status } = made;
    const { fd } = tapIn(t);
    write(made, fd, arpRequest('10.9.0.9', '10.9.0.1'));
    const list = emptyPackets(pool, 4);
    status[1] = 99;
    const count = await until(() => native.tapReceive(handle, fd, 12, list, list.length) || undefined);
    t.is(count, 1);
    t.is(status[1], 0);
    t.is(pool.length[list[0]!], 42);
    t.is(pool.length[list[1]!], 0);
    const start = pool.slotStart(list[1]!);
    t.true(pool.bytes.subarray(start, start + SLOT_BYTES).every((byte) => byte === 0xa5));
  },
);

asRoot('a receive writes from the packet’s offset on and nowhere else', async (t) => {
  const made = poolFor(t, 3);
  const { pool, handle } = made;
  const { fd } = tapIn(t);
  write(made, fd, arpRequest('10.9.0.9', '10.9.0.1'));
  const [packet] = emptyPackets(pool, 1);
  await until(() => native.tapReceive(handle, fd, 12, Int32Array.of(packet!), 1) || undefined);
  const slot = pool.bytes.subarray(pool.slotStart(packet!), pool.slotStart(packet!) + SLOT_BYTES);
  t.true(slot.subarray(0, FRAME_AT).every((byte) => byte === 0xa5));
  t.true(slot.subarray(FRAME_AT + 42).every((byte) => byte === 0xa5));
});

asRoot('a frame longer than the rest of its slot is cut at the slot’s end', async (t) => {
  const made = poolFor(t, 3);
  const { pool, handle } = made;
  const { fd } = tapIn(t);
  write(made, fd, arpRequest('10.9.0.9', '10.9.0.1'));
  const list = emptyPackets(pool, 2);
  pool.offset[list[0]!] = pool.slotStart(list[0]!) + SLOT_BYTES - 10;
  await until(() => native.tapReceive(handle, fd, 12, list, 1) || undefined);
  t.is(pool.length[list[0]!], 10);
  const start = pool.slotStart(list[1]!);
  t.true(pool.bytes.subarray(start, start + SLOT_BYTES).every((byte) => byte === 0xa5));
});

asRoot('a super-packet from the kernel arrives whole, with its segment size', async (t) => {
  const made = poolFor(t, 8);
  const { pool, handle } = made;
  const { fd, name, netns } = tapIn(t, { offloads: TUN_F_CSUM_TSO_USO });
  run('ip', '-n', netns.name, 'neigh', 'add', '10.9.0.9', 'lladdr', '02:00:00:00:00:09', 'dev', name);
  const udp = native.openUdp({ ...udpDefaults, address: '10.9.0.1', netns: netns.path });
  closing(t, udp.fd);
  const packet = packetOf(pool, new Uint8Array(20_000).fill(7));
  pool.segment[packet] = 1000;
  const to = addressTable({ address: '10.9.0.9', port: 5000 });
  t.is(native.udpTransmit(handle, udp.fd, to, Int32Array.of(packet), 0, 1), 1);
  const arrived = await read(made, fd, (frame) => frame[23] === 17);
  t.is(arrived?.frame.length, 14 + 28 + 20_000);
  t.is(arrived?.virtio.gsoType, GSO_UDP_L4);
  t.is(arrived?.virtio.gsoSize, 1000);
  t.is(arrived?.virtio.flags, NEEDS_CSUM);
});

asRoot('a bundle is written as one frame: the followers without the header that they repeat', async (t) => {
  const made = poolFor(t, 8);
  const { pool, handle, status } = made;
  const { fd, mac, netns } = tapIn(t, { offloads: TUN_F_CSUM_TSO_USO });
  const udp = native.openUdp({ ...udpDefaults, address: '10.9.0.1', netns: netns.path });
  closing(t, udp.fd);
  const part = (fill: number) => new Uint8Array(100).fill(fill);
  const frame = (fill: number) => udpFrame(mac, '10.9.0.9', '10.9.0.1', udp.port, 300, part(fill));
  const packets = [1, 2, 3].map((fill) => packetOf(pool, frame(fill)));
  const first = packets[0]!;
  pool.bundle[first] = 3;
  pool.bundleSkip[first] = 42;
  const at = first * VIRTIO_BYTES;
  pool.virtio.setUint8(at, NEEDS_CSUM);
  pool.virtio.setUint8(at + 1, GSO_UDP_L4);
  pool.virtio.setUint16(at + 2, 42, true);
  pool.virtio.setUint16(at + 4, 100, true);
  pool.virtio.setUint16(at + 6, 34, true);
  pool.virtio.setUint16(at + 8, 6, true);
  t.is(native.tapTransmit(handle, fd, 12, Int32Array.from(packets), 0, 3), 3);
  t.is(status[1], 0);

  const list = emptyPackets(pool, 1);
  await until(() => native.udpReceive(handle, udp.fd, list, 1) || undefined);
  t.is(pool.length[list[0]!], 300);
  t.is(pool.segment[list[0]!], 100);
  t.deepEqual(
    bytesOf(pool, list[0]!),
    Uint8Array.from({ length: 300 }, (_, i) => 1 + Math.floor(i / 100)),
  );
});

asRoot('a bundle that reaches past the batch, or skips more than a packet has, is refused', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd } = tapIn(t);
  const list = Int32Array.from([packetOf(pool, new Uint8Array(60)), packetOf(pool, new Uint8Array(60))]);
  for (const [bundle, skip] of [
    [3, 0],
    [-1, 0],
    [2, 61],
    [2, -1],
    [0x7fffffff, 0],
  ] as const) {
    pool.bundle[list[0]!] = bundle;
    pool.bundleSkip[list[0]!] = skip;
    t.is(native.tapTransmit(handle, fd, 12, list, 0, 2), 0);
    t.is(status[1], EFAULT);
  }
});

asRoot('a transmit stops at the frame that the device refuses, and can go on behind it', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd } = tapIn(t);
  const frame = arpRequest('10.9.0.9', '10.9.0.1');
  const list = Int32Array.from([frame, frame.subarray(0, 5), frame], (bytes) => packetOf(pool, bytes));
  t.is(native.tapTransmit(handle, fd, 12, list, 0, 3), 1);
  t.is(status[1], EINVAL); // the kernel's word
  t.is(native.tapTransmit(handle, fd, 12, list, 2, 3), 3);
  t.is(status[1], 0);
});

asRoot('two queues of one device share the flows that the kernel sends', async (t) => {
  const { pool, handle } = poolFor(t, 80);
  const { fd, name, index, netns } = tapIn(t, { multiQueue: true });
  const second = native.openTap({ ...tapDefaults, name, netns: netns.path, multiQueue: true });
  closing(t, second.fd);
  t.is(second.index, index);
  run('ip', '-n', netns.name, 'neigh', 'add', '10.9.0.9', 'lladdr', '02:00:00:00:00:09', 'dev', name);
  const to = addressTable({ address: '10.9.0.9', port: 5000 });
  const packet = packetOf(pool, new Uint8Array(10));
  for (let i = 0; i < 32; i++) {
    const udp = native.openUdp({ ...udpDefaults, address: '10.9.0.1', netns: netns.path });
    native.udpTransmit(handle, udp.fd, to, Int32Array.of(packet), 0, 1);
    native.close(udp.fd);
  }
  const list = emptyPackets(pool, 64);
  const counts = [fd, second.fd].map((queue) => native.tapReceive(handle, queue, 12, list, 64));
  t.is(counts[0]! + counts[1]!, 32);
  t.true(counts[0]! > 0 && counts[1]! > 0, `${counts}`);
});

asRoot('a TUN device carries packets without an Ethernet header', async (t) => {
  const made = poolFor(t, 8);
  const { pool, handle } = made;
  const netns = namespace(t);
  const tun = native.openTap({ ...tapDefaults, netns: netns.path, tun: true });
  closing(t, tun.fd);
  run('ip', '-n', netns.name, 'addr', 'add', '10.9.0.1/24', 'dev', tun.name);
  run('ip', '-n', netns.name, 'link', 'set', tun.name, 'up');
  const udp = native.openUdp({ ...udpDefaults, address: '10.9.0.1', netns: netns.path });
  closing(t, udp.fd);
  const to = addressTable({ address: '10.9.0.9', port: 5000 });
  native.udpTransmit(handle, udp.fd, to, Int32Array.of(packetOf(pool, new Uint8Array(10))), 0, 1);
  const arrived = await read(made, tun.fd, (packet) => packet[9] === 17);
  t.is(arrived?.frame.length, 38);
});

asRoot('a datagram over IPv6 without a checksum is accepted, as VXLAN demands', async (t) => {
  const made = poolFor(t, 4);
  const { pool, handle } = made;
  const { fd, mac, name, netns } = tapIn(t);
  sysctl(netns.name, `net.ipv6.conf.${name}.disable_ipv6=0`);
  run('ip', '-n', netns.name, 'addr', 'add', 'fd09::1/64', 'dev', name, 'nodad');
  const udp = native.openUdp({ ...udpDefaults, family: 6, address: 'fd09::1', netns: netns.path });
  closing(t, udp.fd);
  t.true(write(made, fd, udp6Frame(mac, 'fd09::9', 'fd09::1', udp.port, new Uint8Array(64).fill(3))));
  const list = emptyPackets(pool, 1);
  t.is(await until(() => native.udpReceive(handle, udp.fd, list, 1) || undefined), 1);
  t.is(pool.length[list[0]!], 64);
});

asRoot('offloads can be changed, and one that the kernel does not know is answered with EINVAL', (t) => {
  const { fd, netns } = tapIn(t);
  t.is(native.setTapOffloads(fd, TUN_F_CSUM_TSO_USO), 0);
  t.is(native.setTapOffloads(fd, 0), 0);
  t.is(native.setTapOffloads(fd, 1 << 30), EINVAL);
  t.is(native.setTapOffloads(-1, 0), 9);
  const error = t.throws(() => native.openTap({ ...tapDefaults, netns: netns.path, offloads: 1 << 30 }));
  t.like(error, { code: 'EINVAL', errno: -EINVAL, syscall: 'TUNSETOFFLOAD' });
});

asRoot('a device that has gone is told by the errno of its calls', async (t) => {
  const { pool, handle, status } = poolFor(t, 2);
  const { fd, name, netns } = tapIn(t);
  run('ip', '-n', netns.name, 'link', 'del', name);
  const list = emptyPackets(pool, 1);
  t.is(native.tapReceive(handle, fd, 12, list, 1), 0);
  t.is(status[1], EBADFD);
  pool.length[list[0]!] = 60;
  t.is(native.tapTransmit(handle, fd, 12, list, 0, 1), 0);
  t.is(status[1], EBADFD);
});

asRoot('a namespace that is not there is named in the error, and the thread stays where it was', (t) => {
  const before = run('readlink', '/proc/self/ns/net');
  const error = t.throws(() => native.openTap({ ...tapDefaults, netns: '/run/netns/viaduct-nowhere' }));
  t.like(error, { code: 'ENOENT', errno: -2, syscall: 'open' });
  t.regex(error!.message, /open '\/run\/netns\/viaduct-nowhere'/);
  const file = t.throws(() => native.openTap({ ...tapDefaults, netns: '/proc/self/status' }));
  t.like(file, { code: 'EINVAL', syscall: 'setns' });
  t.is(run('readlink', '/proc/self/ns/net'), before);
});

asRoot('the thread returns home after an open that fails in the other namespace', (t) => {
  const { name, netns } = tapIn(t);
  const before = run('readlink', '/proc/thread-self/ns/net');
  const error = t.throws(() => native.openTap({ ...tapDefaults, name, netns: netns.path, multiQueue: true }));
  t.like(error, { code: 'EINVAL', syscall: 'TUNSETIFF' });
  t.true(error!.message.includes(name) && error!.message.includes(netns.path));
  t.is(run('readlink', '/proc/thread-self/ns/net'), before);
});

if (!isRoot) {
  test('a TAP that may not be created is refused with a code', (t) => {
    // Which it is depends on who may open /dev/net/tun.
    const error = t.throws<NodeJS.ErrnoException>(() => native.openTap({ ...tapDefaults, name: 'w0' }));
    t.true(['EACCES', 'EPERM', 'ENOENT'].includes(error!.code!), error!.message);
  });
}
