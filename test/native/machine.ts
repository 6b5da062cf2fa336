/** What the addon's tests need of the machine: network namespaces of their own, pools, frames by hand. */
import { spawnSync } from 'node:child_process';
import { threadId } from 'node:worker_threads';
import test, { type ExecutionContext, type TestFn } from 'ava';
import { FRAME_AT, type Pool, SLOT_BYTES, VIRTIO_BYTES } from '../../src/dataplane/core/pool.js';
import {
  type Addon,
  addon,
  type NativePool,
  nativePool,
  unavailable,
} from '../../src/dataplane/io/native.js';

if (addon === undefined) throw new Error(unavailable);
export const native: Addon = addon;

export const isRoot = process.getuid?.() === 0;

/** A test of what only root may do; skipped, and shown as that, for others. */
export const asRoot = (title: string, run: (t: ExecutionContext) => void | Promise<void>): void => {
  const declare: TestFn | typeof test.skip = isRoot ? test : test.skip;
  declare(isRoot ? title : `${title} (needs root)`, run);
};

/** Runs a command that must succeed; its output. */
export function run(command: string, ...args: string[]): string {
  // The sanitizer's preload is for this process, not for its tools.
  const { LD_PRELOAD: _, ...env } = process.env;
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

let namespaces = 0;

/** A namespace that lives as long as the test. IPv6 is off, so that nothing speaks of its own accord. */
export function namespace(t: ExecutionContext): { name: string; path: string } {
  const name = `viaduct-native-${process.pid}-${threadId}-${namespaces++}`;
  run('ip', 'netns', 'add', name);
  t.teardown(() => void run('ip', 'netns', 'del', name));
  for (const which of ['all', 'default', 'lo']) sysctl(name, `net.ipv6.conf.${which}.disable_ipv6=1`);
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  return { name, path: `/run/netns/${name}` };
}

export function sysctl(netns: string, setting: string): void {
  run('ip', 'netns', 'exec', netns, 'sysctl', '-qw', setting);
}

/** A pool that the addon forgets when the test is over. */
export function poolFor(t: ExecutionContext, slots: number, packets = slots * 8): NativePool {
  const made = nativePool(slots, packets);
  t.teardown(() => native.detach(made.handle));
  return made;
}

/** Closes the descriptor when the test is over. */
export function closing(t: ExecutionContext, fd: number): number {
  t.teardown(() => native.close(fd));
  return fd;
}

export const tapDefaults = {
  name: '',
  netns: '',
  tun: false,
  multiQueue: false,
  headerBytes: 12,
  offloads: 0,
  sendBuffer: 1 << 24,
};

export const udpDefaults = {
  family: 4 as 4 | 6,
  address: '127.0.0.1',
  port: 0,
  netns: '',
  reusePort: false,
  gro: true,
  mtuDiscover: 0,
  receiveBuffer: 1 << 22,
  sendBuffer: 1 << 22,
};

/** A packet that holds these bytes. */
export function packetOf(pool: Pool, bytes: Uint8Array): number {
  const packet = pool.take();
  pool.bytes.set(bytes, pool.offset[packet]!);
  pool.length[packet] = bytes.length;
  return packet;
}

/** A copy of the packet's bytes. */
export function bytesOf(pool: Pool, packet: number): Uint8Array {
  return pool.bytes.slice(pool.offset[packet]!, pool.offset[packet]! + pool.length[packet]!);
}

/** Packets to receive into, each slot filled with 0xa5 before. */
export function emptyPackets(pool: Pool, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => {
    const packet = pool.take();
    pool.bytes.fill(0xa5, pool.slotStart(packet), pool.slotStart(packet) + SLOT_BYTES);
    return packet;
  });
}

/** The fields of a packet's virtio header. */
export function virtioOf(pool: Pool, packet: number) {
  const at = packet * VIRTIO_BYTES;
  return {
    flags: pool.virtio.getUint8(at),
    gsoType: pool.virtio.getUint8(at + 1),
    headerLength: pool.virtio.getUint16(at + 2, true),
    gsoSize: pool.virtio.getUint16(at + 4, true),
    checksumStart: pool.virtio.getUint16(at + 6, true),
    checksumOffset: pool.virtio.getUint16(at + 8, true),
  };
}

/** A table of raw socket addresses, one row of 32 bytes each. */
export function addressTable(...rows: { address: string; port: number }[]): Uint8Array {
  const table = new Uint8Array(32 * rows.length);
  const view = new DataView(table.buffer);
  rows.forEach(({ address, port }, row) => {
    view.setUint16(32 * row, address.includes(':') ? 10 : 2, true);
    view.setUint16(32 * row + 2, port);
    table.set(addressBytes(address), 32 * row + (address.includes(':') ? 8 : 4));
  });
  return table;
}

export function addressBytes(address: string): Uint8Array {
  if (!address.includes(':')) return Uint8Array.from(address.split('.'), Number);
  const [head = '', tail = ''] = address.split('::');
  const words = (text: string) =>
    text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16));
  const [first, last] = [words(head), words(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 255]));
}

/** The one's complement sum of the bytes as big-endian words, as RFC 1071 has it: the obvious way. */
export function modelSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

/** Receives until `want` says that it has got what it waits for, or a second is over. */
export async function until<T>(attempt: () => T | undefined): Promise<T | undefined> {
  for (let i = 0; i < 200; i++) {
    const got = attempt();
    if (got !== undefined) return got;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return undefined;
}

/** Numbers that a seed determines (mulberry32), below `limit`. */
export function seeded(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * limit);
  };
}

export { FRAME_AT, SLOT_BYTES };
