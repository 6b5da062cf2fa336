import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { FRAME_AT, FRAME_MAX, Pool, SLOT_BYTES } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { PcapDevice, PcapError, pcapHeader, pcapRecord } from '../../src/dataplane/io/pcap.js';

const folder = mkdtempSync(join(tmpdir(), 'viaduct-pcap-'));
test.after.always(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (bytes?: Uint8Array) => {
  const name = join(folder, `${files++}.pcap`);
  if (bytes !== undefined) writeFileSync(name, bytes);
  return name;
};

const clock = () => 1_700_000_000_123_456;
const newPath = (slots = 8) => new Path(new Pool(slots), new Counters(1, 1));

/** A broadcast frame of a type that no decoder knows, so that none can complain of its payload. */
function frameOf(length: number, value: number): Uint8Array {
  const frame = new Uint8Array(length).fill(value);
  frame.set([255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]); // an EtherType for experiments
  return frame;
}

/** Everything that the device receives, in turns of a small batch. */
function receiveAll(path: Path, device: PcapDevice): Uint8Array[] {
  const { pool } = path;
  const batch = new Batch(3);
  const frames: Uint8Array[] = [];
  while (!device.ended) {
    device.receive(batch);
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const at = pool.offset[packet]!;
      frames.push(pool.bytes.slice(at, at + pool.length[packet]!));
    }
    batch.release(pool);
  }
  return frames;
}

function transmitAll(path: Path, device: PcapDevice, frames: readonly Uint8Array[]): void {
  const { pool } = path;
  const batch = new Batch(1);
  for (const frame of frames) {
    const packet = pool.take();
    pool.bytes.set(frame, pool.offset[packet]!);
    pool.length[packet] = frame.length;
    batch.push(packet);
    device.transmit(batch);
  }
}

test('what is transmitted to a file is received from it, super-packets whole', (t) => {
  const path = newPath();
  const name = newFile();
  const random = new Random(1);
  const sizes = [0, 1, 14, 60, 1514, 9014, 65_536, FRAME_MAX];
  const frames = Array.from({ length: 200 }, (_, i) => {
    const frame = new Uint8Array(sizes[i] ?? random.below(3000));
    random.fill(frame);
    return frame;
  });
  const writer = new PcapDevice(path, { write: name, clock });
  transmitAll(path, writer, frames);
  writer.close();
  const reader = new PcapDevice(path, { read: name, clock });
  t.deepEqual(receiveAll(path, reader), frames);
  t.true(reader.ended);
  t.is(reader.error, undefined);
  reader.close();
  t.is(path.pool.allocated, 0);
});

test('a capture larger than what is held in memory comes through whole', (t) => {
  const path = newPath();
  const name = newFile();
  const frames = Array.from({ length: 4000 }, (_, i) => frameOf(60 + ((i * 37) % 9000), i & 255));
  const writer = new PcapDevice(path, { write: name, clock });
  transmitAll(path, writer, frames);
  writer.close();
  t.true(statSync(name).size > 10 * 2 ** 20);
  const reader = new PcapDevice(path, { read: name, clock });
  let i = 0;
  for (const frame of receiveAll(path, reader))
    if (Buffer.compare(frame, frames[i++]!) !== 0) t.fail(`frame ${i}`);
  t.is(i, frames.length);
  t.is(path.pool.allocated, 0);
});

test('header and record have the literal bytes of the format', (t) => {
  t.deepEqual(
    Buffer.from(pcapHeader(262144)).toString('hex'),
    ['d4c3b2a1', '0200', '0400', '00000000', '00000000', '00000400', '01000000'].join(''),
  );
  t.deepEqual(
    Buffer.from(pcapRecord(1_700_000_000.123456, Uint8Array.of(0xaa, 0xbb), 1514)).toString('hex'),
    ['00f15365', '40e20100', '02000000', 'ea050000', 'aabb'].join(''),
  );
});

test('captures of either byte order, with micro- or nanoseconds, are read', (t) => {
  const frames = [frameOf(60, 1), frameOf(1000, 2)];
  for (const magic of [0xa1b2c3d4, 0xa1b23c4d])
    for (const little of [true, false]) {
      const header = new DataView(new ArrayBuffer(24));
      header.setUint32(0, magic, little);
      header.setUint16(4, 2, little);
      header.setUint16(6, 4, little);
      header.setUint32(16, 65535, little);
      header.setUint32(20, 0x5000_0001, little); // with a length of the frame check sequence in the upper bits
      const records = frames.flatMap((frame) => {
        const record = new DataView(new ArrayBuffer(16));
        record.setUint32(8, frame.length, little);
        record.setUint32(12, frame.length + 100, little);
        return [new Uint8Array(record.buffer), frame];
      });
      const path = newPath();
      const reader = new PcapDevice(path, {
        read: newFile(Buffer.concat([new Uint8Array(header.buffer), ...records])),
        clock,
      });
      t.deepEqual(receiveAll(path, reader), frames, `${magic.toString(16)} ${little}`);
      t.is(path.pool.allocated, 0);
    }
});

test('a file that is no capture of Ethernet frames is refused, with its name and what is wrong', (t) => {
  const header = Buffer.from(pcapHeader(65535));
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(header);
    copy[at] = value;
    return copy;
  };
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /too short for a capture/],
    [header.subarray(0, 23), /too short for a capture/],
    [Buffer.alloc(100, 'nonsense '), /no capture \(it begins with 0x6e6f6e73\)/],
    [Buffer.concat([Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a), header]), /pcapng/],
    [changed(4, 3), /version 3/],
    [changed(20, 113), /link type is 113, not Ethernet/],
  ];
  for (const [bytes, message] of cases) {
    const name = newFile(bytes);
    const error = t.throws(() => new PcapDevice(newPath(1), { read: name, clock }), {
      instanceOf: PcapError,
      message,
    });
    t.is(error?.code, 'pcap-invalid');
    t.true(error?.message.startsWith(name));
  }
  t.throws(() => new PcapDevice(newPath(1), { read: folder, clock }), {
    instanceOf: PcapError,
    message: /EISDIR/,
  });
  t.throws(() => new PcapDevice(newPath(1), { read: join(folder, 'missing'), clock }), { code: 'ENOENT' });
});

test('a capture cut at any length gives its whole frames and says where it is cut short', (t) => {
  const frames = [frameOf(20, 1), frameOf(30, 2)];
  const whole = Buffer.concat([
    pcapHeader(65535),
    ...frames.map((frame) => pcapRecord(1, frame, frame.length)),
  ]);
  const ends = [24, 24 + 36, 24 + 36 + 46];
  for (let length = 24; length <= whole.length; length++) {
    const path = newPath();
    const name = newFile(whole);
    truncateSync(name, length);
    const reader = new PcapDevice(path, { read: name, clock });
    const complete = ends.filter((end) => end <= length).length - 1;
    t.deepEqual(receiveAll(path, reader), frames.slice(0, complete), `${length}`);
    if (ends.includes(length)) t.is(reader.error, undefined);
    else t.regex(reader.error!.message, new RegExp(`the record at byte ${ends[complete]} is cut short`));
    t.is(path.pool.allocated, 0);
  }
});

test('a record that claims an impossible length ends the reading with an error', (t) => {
  const path = newPath();
  const bad = Buffer.from(pcapRecord(1, frameOf(20, 1), 20));
  bad.writeUInt32LE(0xffff_fff0, 8);
  const reader = new PcapDevice(path, {
    read: newFile(Buffer.concat([pcapHeader(65535), pcapRecord(1, frameOf(20, 9), 20), bad])),
    clock,
  });
  t.is(receiveAll(path, reader).length, 1);
  t.regex(reader.error!.message, /record at byte 60 claims 4294967280 bytes/);
  t.is(path.pool.allocated, 0);
});

test('random captures never throw while they are received, nor write outside of a packet', (t) => {
  const random = new Random(9);
  for (let round = 0; round < 300; round++) {
    const path = newPath(2);
    const frames = Array.from({ length: 5 }, (_, i) => pcapRecord(i, frameOf(14 + random.below(100), i), 60));
    const bytes = Buffer.concat([pcapHeader(65535), ...frames]);
    for (let flips = random.below(6); flips >= 0; flips--)
      bytes[24 + random.below(bytes.length - 24)] = random.below(256);
    const reader = new PcapDevice(path, { read: newFile(bytes), clock });
    const packet = path.pool.take();
    path.pool.bytes.fill(0xa5, path.pool.slotStart(packet), path.pool.slotStart(packet) + SLOT_BYTES);
    const frames2 = receiveAll(path, reader);
    t.true(frames2.length <= 10);
    const untouched = path.pool.bytes.subarray(
      path.pool.slotStart(packet),
      path.pool.slotStart(packet) + SLOT_BYTES,
    );
    if (untouched.some((byte) => byte !== 0xa5)) t.fail('a byte outside of the packet was written');
    path.pool.free(packet);
    t.is(path.pool.allocated, 0);
  }
});

test('receiving stops at the room of the batch and at the end of the pool, and goes on later', (t) => {
  const path = newPath(2);
  const frames = [1, 2, 3].map((value) => frameOf(60, value));
  const reader = new PcapDevice(path, {
    read: newFile(Buffer.concat([pcapHeader(65535), ...frames.map((frame) => pcapRecord(0, frame, 60))])),
    clock,
  });
  const batch = new Batch(8);
  reader.receive(batch);
  t.is(batch.count, 2);
  t.is(path.pool.offset[batch.packets[0]!]! % SLOT_BYTES, FRAME_AT);
  batch.release(path.pool);
  reader.receive(batch);
  t.is(batch.count, 1);
  batch.release(path.pool);
  reader.close();
  reader.receive(batch);
  t.is(batch.count, 0);
  t.is(path.pool.allocated, 0);
});

test('what can not be written is dropped with a reason', (t) => {
  const path = newPath();
  const reading = new PcapDevice(path, { read: newFile(pcapHeader(100)), clock });
  transmitAll(path, reading, [frameOf(60, 1)]);
  t.is(path.counters.dropped('device-closed'), 1);
  const closed = new PcapDevice(path, { write: newFile(), clock });
  closed.close();
  transmitAll(path, closed, [frameOf(60, 1)]);
  t.is(path.counters.dropped('device-closed'), 2);
  const full = new PcapDevice(path, { write: '/dev/full', clock });
  transmitAll(path, full, [frameOf(60, 1)]);
  full.flush();
  t.regex(full.error!.message, /\/dev\/full: ENOSPC/);
  transmitAll(path, full, [frameOf(60, 1)]);
  full.close();
  t.is(path.counters.dropped('device-closed'), 3);
  t.is(path.pool.allocated, 0);
});

for (const [tool, list] of [
  ['tcpdump', (name: string) => ['-n', '-tt', '-r', name]],
  ['tshark', (name: string) => ['-n', '-t', 'e', '-r', name]],
] as const) {
  const there = spawnSync(tool, ['--version']).status === 0;
  const withTool = there ? test : test.skip;
  withTool(`a written capture opens in ${tool}${there ? '' : ' (skipped: it is missing)'}`, (t) => {
    const path = newPath();
    const name = newFile();
    const writer = new PcapDevice(path, { write: name, clock });
    transmitAll(path, writer, [frameOf(60, 1), frameOf(1514, 2), frameOf(65_536, 3)]);
    writer.close();
    t.is(readFileSync(name).length, 24 + 3 * 16 + 60 + 1514 + 65_536);
    const run = spawnSync(tool, list(name), { encoding: 'utf8' });
    t.is(run.status, 0, run.stderr);
    const lines = run.stdout
      .trim()
      .split('\n')
      .filter((line) => line.includes('1700000000.123456'));
    t.is(lines.length, 3, run.stdout);
    t.notRegex(run.stdout, /malformed|truncated/i);
    t.is(path.pool.allocated, 0);
  });
}
