import test from 'ava';
import {
  connectionBytes,
  FLAG,
  readMessage,
  type SyncConnection,
  SyncWriter,
} from '../../src/dataplane/ipvs/sync-message.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { hex } from '../wire/bytes.js';
import { CLIENT, CLIENT6, SERVER, SERVER6, VIRTUAL, VIRTUAL6 } from './packets.js';

const four = (text: string): ipv6.Words => [ipv4.parse(text), 0, 0, 0];

const CONNECTION: SyncConnection = {
  ...{ family: 4, protocol: 6, flags: 3 | FLAG.noOutput | FLAG.inactive, state: 1, fwmark: 7, timeout: 900 },
  ...{ clientPort: 40000, virtualPort: 80, destinationPort: 8080 },
  ...{ client: four(CLIENT), virtual: four(VIRTUAL), destination: four(SERVER) },
};

const CONNECTION6: SyncConnection = {
  ...{ family: 6, protocol: 17, flags: FLAG.template, state: 0, fwmark: 0, timeout: 300 },
  ...{ clientPort: 0, virtualPort: 5060, destinationPort: 5060 },
  ...{ client: ipv6.parse(CLIENT6), virtual: ipv6.parse(VIRTUAL6), destination: ipv6.parse(SERVER6) },
  ...{ engineData: Uint8Array.from(Buffer.from('a84b@pc33')), engineName: 'sip' },
};

const SHIFTED: SyncConnection = {
  ...CONNECTION,
  flags: FLAG.outSequence,
  inSequence: { initial: 0, delta: 0, previous: 0 },
  outSequence: { initial: 0xfffffff0, delta: -4, previous: 3 },
};

const MESSAGE = hex(`
  00 2a 00c4 03 01 0000
  00 06 0024 00000183 0001 9c40 0050 1f90 00000007 00000384 c0000207 cb007150 0a010203
  00 06 003e 00000200 0001 9c40 0050 1f90 00000007 00000384 c0000207 cb007150 0a010203
    0118 00000000 00000000 00000000 fffffff0 fffffffc 00000003 0000
  01 11 0058 00001000 0000 0000 13c4 13c4 00000000 0000012c
    20010db8000000000000000000000007 20010db8000100000000000000000080 fd000001000000000000000000000003
    0209 613834624070633333 0303 736970`);

test('a message of version 1 is written and read, byte for byte, options and alignment as the kernel has them', (t) => {
  const writer = new SyncWriter(42);
  for (const each of [CONNECTION, SHIFTED, CONNECTION6]) t.true(writer.add(each));
  t.is(writer.count, 3);
  t.deepEqual(writer.take(), MESSAGE);
  t.is(writer.take(), undefined);
  t.deepEqual(readMessage(MESSAGE), {
    ...{ version: 1, syncId: 42 },
    connections: [CONNECTION, SHIFTED, CONNECTION6],
  });
});

/** One connection of version 0, with sequence numbers as a little-endian director sends them. */
const OLD = hex(`
  02 2a 004c
  00 06 9c40 0050 1f90 c0000207 cb007150 0a010203 0143 0001
  00 06 9c41 0050 1f90 c0000207 cb007150 0a010203 0200 0001
    00000000 00000000 00000000 f0ffffff fcffffff 03000000`);

test('a message of version 0 is read', (t) => {
  t.deepEqual(readMessage(OLD), {
    ...{ version: 0, syncId: 42 },
    connections: [
      { ...CONNECTION, flags: 3 | FLAG.inactive, fwmark: 0, timeout: 0 },
      { ...SHIFTED, clientPort: 40001, fwmark: 0, timeout: 0 },
    ],
  });
});

test('a message that says another size than it has is none; every truncation is safe', (t) => {
  for (const whole of [MESSAGE, OLD]) {
    const all = readMessage(whole)!.connections;
    for (let length = 0; length < whole.length; length++) {
      t.is(readMessage(whole.slice(0, length)), undefined);
      const cut = whole.slice(0, length);
      if (length < 4) continue;
      cut[2] = length >>> 8;
      cut[3] = length;
      const read = readMessage(cut)!;
      const known = read.version === (whole === MESSAGE ? 1 : 0);
      t.true(!known || (read.fault !== undefined && read.connections.length < all.length));
      if (known) t.deepEqual(read.connections, all.slice(0, read.connections.length));
    }
  }
});

/** The message with one connection whose options are these. */
const withOptions = (options: string, size = 36 + hex(options).length) => {
  const bytes = Uint8Array.from([...MESSAGE.slice(0, 44), ...hex(options)]);
  bytes[3] = bytes.length;
  bytes[4] = 1;
  bytes[11] = size;
  return readMessage(bytes)!;
};

test('options that must be known and are not leave the connection out, others are skipped, broken ones end the message', (t) => {
  t.is(withOptions('4402aabb').connections.length, 1, 'an unknown one that need not be known');
  t.deepEqual(withOptions('0402aabb'), { version: 1, syncId: 42, connections: [] });
  t.deepEqual(withOptions('0201aa').connections, [], 'what an engine found, without its name');
  t.is(withOptions('4203616263 4303736970').connections[0]!.engineName, 'sip', 'known, and need not be');
  for (const [options, fault] of [
    ['02', /cut short/],
    ['0200', /length/],
    ['0203aabb', /length/],
    ['0104aabbccdd', /sequence numbers/],
    ['0201aa 0201aa', /twice/],
    [`0118${'00'.repeat(24)}4118${'00'.repeat(24)}`, /twice/],
    [`0311${'61'.repeat(17)}`, /name/],
  ] as const) {
    const read = withOptions(options);
    t.deepEqual(read.connections, [], options);
    t.regex(read.fault!, fault);
  }
});

test('a connection that lies about its size, version or type ends the message', (t) => {
  t.regex(withOptions('', 35).fault!, /shorter/);
  t.regex(withOptions('', 37).fault!, /longer/);
  for (const [at, value, fault] of [
    [10, 0x10, /version/],
    [8, 2, /type/],
    [8, 1, /shorter/],
  ] as const) {
    const bytes = MESSAGE.slice();
    bytes[at] = value;
    t.regex(readMessage(bytes)!.fault!, fault);
  }
});

test('what another director must not set is not taken from it', (t) => {
  const bytes = MESSAGE.slice();
  bytes.fill(255, 12, 16);
  t.is(readMessage(bytes)!.connections[0]!.flags, 0x1f87);
  const writer = new SyncWriter(1);
  writer.add({ ...CONNECTION, flags: -1 });
  t.deepEqual(writer.take()!.slice(12, 16), hex('0000ffbf'));
});

test('a message is full when the next connection no longer fits, or has 255', (t) => {
  const exactly = 8 + 36 + 62 + 2 + 36;
  const writer = new SyncWriter(0, exactly);
  t.true(writer.add(CONNECTION));
  t.true(writer.add(SHIFTED));
  t.true(writer.add(CONNECTION));
  t.false(writer.add(CONNECTION));
  const message = writer.take()!;
  t.is(message.length, exactly);
  t.is(readMessage(message)!.connections.length, 3);
  t.true(writer.add(CONNECTION), 'the next one begins empty');
  const big = new SyncWriter(0, 65507);
  for (let i = 0; i < 255; i++) t.true(big.add(CONNECTION));
  t.false(big.add(CONNECTION));
  t.is(readMessage(big.take()!)!.connections.length, 255);
});

test('what fits in no message is refused, and says why', (t) => {
  const writer = new SyncWriter(0, 60);
  t.throws(() => writer.add(SHIFTED), { message: /70 bytes|fits in no message/ });
  const long = { ...CONNECTION6, engineData: new Uint8Array(256) };
  t.throws(() => new SyncWriter(0).add(long), { message: /256 bytes/ });
});

test('random connections come back as they were', (t) => {
  let seed = 9;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const word = () => random(2 ** 32) | 0;
  for (let round = 0; round < 300; round++) {
    const writer = new SyncWriter(random(256), 1472);
    const put: SyncConnection[] = [];
    for (;;) {
      const isIpv6 = random(2) === 1;
      const address = (): ipv6.Words => (isIpv6 ? [word(), word(), word(), word()] : [word(), 0, 0, 0]);
      const connection: SyncConnection = {
        ...{
          family: isIpv6 ? 6 : 4,
          protocol: random(256),
          flags: random(0x10000) & 0x1987,
          state: random(14),
        },
        ...{ clientPort: random(65536), virtualPort: random(65536), destinationPort: random(65536) },
        ...{ fwmark: random(2 ** 32), timeout: random(2 ** 32) },
        ...{ client: address(), virtual: address(), destination: address() },
      };
      if (random(3) === 0) {
        connection.flags |= FLAG.inSequence;
        connection.inSequence = { initial: random(2 ** 32), delta: word(), previous: word() };
        connection.outSequence = { initial: random(2 ** 32), delta: word(), previous: word() };
      }
      if (random(4) === 0) {
        connection.engineData = Uint8Array.from({ length: 1 + random(255) }, () => random(256));
        connection.engineName = 'sip';
      }
      if (!writer.add(connection)) break;
      put.push(connection);
      t.true(connectionBytes(connection) >= 36);
    }
    t.deepEqual(readMessage(writer.take()!)!.connections, put);
  }
});

test('random bytes are never read past their end', (t) => {
  let seed = 13;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (let round = 0; round < 20000; round++) {
    const bytes = (round % 2 === 0 ? MESSAGE : OLD).slice();
    for (let n = 0; n < 3; n++) bytes[4 + random(bytes.length - 4)] = random(256);
    t.true(readMessage(bytes)!.connections.length <= 3);
  }
});
