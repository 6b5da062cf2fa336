/** What has to work on every supported Node: the build, the addon, datagrams over loopback, the command. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Pool } from '../../src/dataplane/core/pool.js';
import { addon, nativePool, unavailable } from '../../src/dataplane/io/native.js';

const onlyWithAddon = addon === undefined ? test.skip : test;

test('the addon loads, or says why it does not', (t) => {
  t.true(addon !== undefined || unavailable.length > 0);
  // Where this is to be more than a courtesy, the build has a compiler.
  if (process.env.CI) t.truthy(addon, unavailable);
});

test('a pool in memory gives packets and takes them back', (t) => {
  const pool = new Pool(4);
  const batch = new Batch(4);
  for (let i = 0; i < 4; i++) batch.push(pool.take());
  t.is(pool.allocated, 4);
  t.is(pool.take(), -1);
  batch.release(pool);
  t.is(pool.allocated, 0);
});

for (const [family, address] of [
  [4, '127.0.0.1'],
  [6, '::1'],
] as const) {
  onlyWithAddon(`native sends a datagram to itself over ${address}`, (t) => {
    const native = addon!;
    const { pool, handle } = nativePool(8);
    const options = {
      netns: '',
      reusePort: false,
      gro: true,
      mtuDiscover: 2,
      receiveBuffer: 1 << 20,
      sendBuffer: 1 << 20,
    };
    const { fd, port } = native.openUdp({ ...options, family, address, port: 0 });
    const sent = pool.take();
    pool.bytes.fill(0xa5, pool.offset[sent]!, pool.offset[sent]! + 100);
    pool.length[sent] = 100;
    pool.vtep[sent] = 0;
    t.is(native.udpTransmit(handle, fd, socketAddress(family, port), Int32Array.of(sent), 0, 1), 1);

    const epoll = native.epollCreate();
    native.epollAdd(epoll, fd, 7);
    const tags = new Int32Array(4);
    t.is(native.wait(epoll, tags, 2000, 0), 1);
    t.is(tags[0], 7);
    const received = pool.take();
    t.is(native.udpReceive(handle, fd, Int32Array.of(received), 1), 1);
    t.is(pool.length[received], 100);
    const at = pool.offset[received]!;
    t.true(pool.bytes.subarray(at, at + 100).every((byte) => byte === 0xa5));
    native.close(epoll);
    native.close(fd);
    pool.free(sent);
    pool.free(received);
    t.is(pool.allocated, 0);
  });
}

/** A raw sockaddr of loopback, as the addresses that udpTransmit takes. */
function socketAddress(family: 4 | 6, port: number): Uint8Array {
  const row = new Uint8Array(32);
  const view = new DataView(row.buffer);
  view.setUint16(0, family === 4 ? 2 : 10, true);
  view.setUint16(2, port);
  if (family === 4) row.set([127, 0, 0, 1], 4);
  else row[23] = 1;
  return row;
}

test('the command says its version', (t) => {
  const version = execFileSync(process.execPath, ['dist/src/cli/main.js', '--version'], { encoding: 'utf8' });
  t.regex(version, /^\d+\.\d+\.\d+/);
});
