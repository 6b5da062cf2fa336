/** What stands in the columns and lists is checked before memory is touched. */
import test, { type ExecutionContext } from 'ava';
import { DATAGRAM_AT } from '../../src/dataplane/core/pool.js';
import { addressTable, closing, native, packetOf, poolFor, SLOT_BYTES, udpDefaults } from './machine.js';

const EFAULT = 14; // what the addon says of columns that contradict themselves; the kernel never gets to see them
const EBADF = 9;

function open(t: ExecutionContext) {
  const udp = native.openUdp(udpDefaults);
  closing(t, udp.fd);
  return udp;
}

test('a row that is not in the address table, or holds no address, is refused', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd, port } = open(t);
  const to = addressTable({ address: '127.0.0.1', port }, { address: '127.0.0.1', port });
  to[32] = 77;
  const list = Int32Array.from([packetOf(pool, new Uint8Array(5)), packetOf(pool, new Uint8Array(5))]);
  for (const vtep of [1, 2, -1, 0x7fffffff, -0x80000000]) {
    pool.vtep[list[1]!] = vtep;
    t.is(native.udpTransmit(handle, fd, to, list, 0, 2), 1, `${vtep}`);
    t.is(status[1], EFAULT);
  }
});

test('a packet whose columns point outside of its slot is refused before anything of it is read or written', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd, port } = open(t);
  const to = addressTable({ address: '127.0.0.1', port });
  const packet = packetOf(pool, new Uint8Array(5));
  const start = pool.slotStart(packet);
  const list = Int32Array.of(packet);
  const refused = (columns: { offset?: number; length?: number; slot?: number }) => {
    const kept = { offset: pool.offset[packet]!, length: pool.length[packet]!, slot: pool.slot[packet]! };
    const now = { ...kept, ...columns };
    [pool.offset[packet], pool.length[packet], pool.slot[packet]] = [now.offset, now.length, now.slot];
    t.is(native.udpTransmit(handle, fd, to, list, 0, 1), 0);
    t.is(status[1], EFAULT);
    if (columns.length === undefined) {
      t.is(native.udpReceive(handle, fd, list, 1), 0);
      t.is(status[1], EFAULT);
    }
    [pool.offset[packet], pool.length[packet], pool.slot[packet]] = [kept.offset, kept.length, kept.slot];
  };
  refused({ length: -1 });
  refused({ length: SLOT_BYTES - DATAGRAM_AT + 1 });
  refused({ length: 0x7fffffff });
  refused({ offset: start - 1 });
  refused({ offset: start + SLOT_BYTES + 1 });
  refused({ offset: -0x80000000 });
  refused({ slot: 4 });
  refused({ slot: -1 });
  refused({ slot: 4, offset: 4 * SLOT_BYTES });
  refused({ slot: -1, offset: -SLOT_BYTES });
  for (const number of [-1, pool.packets, 0x7fffffff, -0x80000000]) {
    t.is(native.udpTransmit(handle, fd, to, Int32Array.of(number), 0, 1), 0);
    t.is(status[1], EFAULT);
    t.is(native.udpReceive(handle, fd, Int32Array.of(number), 1), 0);
    t.is(status[1], EFAULT);
  }
});

test('more packets than the list has are refused', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const { fd, port } = open(t);
  const to = addressTable({ address: '127.0.0.1', port });
  const list = Int32Array.of(packetOf(pool, new Uint8Array(5)));
  for (const [from, count] of [
    [0, 2],
    [-1, 1],
    [1, 0],
    [0, -1],
  ] as const) {
    t.is(native.udpTransmit(handle, fd, to, list, from, count), from);
    t.is(status[1], EFAULT);
  }
  t.is(native.udpReceive(handle, fd, list, 2), 0);
  t.is(status[1], EFAULT);
});

test('a descriptor that is none is told by its errno', (t) => {
  const { pool, handle, status } = poolFor(t, 4);
  const list = Int32Array.of(packetOf(pool, new Uint8Array(5)));
  t.is(native.udpReceive(handle, 0x7fffff, list, 1), 0);
  t.is(status[1], EBADF);
  t.is(native.udpTransmit(handle, 0x7fffff, addressTable({ address: '127.0.0.1', port: 9 }), list, 0, 1), 0);
  t.is(status[1], EBADF);
});
