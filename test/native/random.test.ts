/**
 * Random columns, lists and arguments against every packet call, on real devices. What must hold whatever stands in the
 * columns: a call returns a count in its range, and writes to the slots and records of the listed packets only. Under
 * the sanitizer build, reads are watched too.
 */
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { COLUMN_COUNT, columnCells } from '../../src/dataplane/core/pool.js';
import {
  addressTable,
  asRoot,
  closing,
  isRoot,
  namespace,
  native,
  run,
  seeded,
  tapDefaults,
  udpDefaults,
} from './machine.js';

const SLOTS = 8;
const SLOT = 2048;
const PACKETS = 32;
const [OFFSET, LENGTH, SEGMENT, BUNDLE, BUNDLE_SKIP, SLOT_COLUMN, VTEP] = [0, 1, 2, 7, 8, 9, 12];

type Random = (limit: number) => number;

/** Mostly plausible, sometimes at a border, sometimes anything. */
function cell(random: Random, plausible: number): number {
  const borders = [0, -1, 1, SLOT - 1, SLOT, SLOT + 1, SLOTS, PACKETS, SLOTS * SLOT, 0x7fffffff, -0x80000000];
  const kind = random(10);
  if (kind < 7) return random(plausible);
  return kind < 9 ? borders[random(borders.length)]! : random(2 ** 32) | 0;
}

function scramble(columns: Int32Array, random: Random): void {
  const set = (column: number, packet: number, value: number) => {
    columns[column * PACKETS + packet] = value;
  };
  for (let packet = 0; packet < PACKETS; packet++) {
    const slot = cell(random, SLOTS);
    set(SLOT_COLUMN, packet, slot);
    set(OFFSET, packet, random(8) === 0 ? cell(random, SLOTS * SLOT) : (slot * SLOT + random(SLOT)) | 0);
    set(LENGTH, packet, cell(random, 300));
    set(SEGMENT, packet, random(2) * cell(random, 200));
    set(BUNDLE, packet, random(2) * cell(random, 8));
    set(BUNDLE_SKIP, packet, cell(random, 40));
    set(VTEP, packet, cell(random, 3));
  }
}

/** A pool of small slots over memory of one's choice. */
function smallPool(t: ExecutionContext, memory: (bytes: number) => ArrayBuffer) {
  const slab = memory(SLOTS * SLOT);
  const columns = new Int32Array(memory(4 * columnCells(PACKETS)));
  const status = new Int32Array(memory(8));
  const handle = native.attach(slab, SLOT, columns, PACKETS, status);
  t.teardown(() => native.detach(handle));
  return { bytes: new Uint8Array(slab), columns, status, handle };
}

/** Two sockets and, for root, a TAP that a workload speaks on. */
function devices(t: ExecutionContext) {
  const udp = [native.openUdp(udpDefaults), native.openUdp({ ...udpDefaults, gro: false })];
  for (const { fd } of udp) closing(t, fd);
  const addresses = addressTable(
    { address: '127.0.0.1', port: udp[0]!.port },
    { address: '127.0.0.1', port: udp[1]!.port },
    { address: '::1', port: 9 },
  );
  let tap = -1;
  if (isRoot) {
    const netns = namespace(t);
    const opened = native.openTap({ ...tapDefaults, netns: netns.path, offloads: 0x6f });
    tap = closing(t, opened.fd);
    run('ip', '-n', netns.name, 'addr', 'add', '10.9.0.1/24', 'dev', opened.name);
    run('ip', '-n', netns.name, 'link', 'set', opened.name, 'up');
    run(
      'ip',
      '-n',
      netns.name,
      'neigh',
      'add',
      '10.9.0.9',
      'lladdr',
      '02:00:00:00:00:09',
      'dev',
      opened.name,
    );
    const inside = native.openUdp({ ...udpDefaults, address: '10.9.0.1', netns: netns.path });
    closing(t, inside.fd);
    return { udp, addresses, tap, inside: inside.fd };
  }
  return { udp, addresses, tap, inside: -1 };
}

/** One random call; the list it was given, and whether it writes. */
function callAtRandom(
  handle: number,
  { udp, addresses, tap, inside }: ReturnType<typeof devices>,
  list: Int32Array,
  sums: Int32Array,
  random: Random,
): { returned: number; from: number; count: number; writes: boolean } {
  const count = random(30) === 0 ? cell(random, 40) : random(list.length + 1);
  const from = random(30) === 0 ? cell(random, 40) : random(2) * random(count + 1);
  const fd = udp[random(2)]!.fd;
  const header = random(20) === 0 ? cell(random, 40) : random(2) ? 12 : 24;
  switch (random(6)) {
    case 0:
      return { returned: native.udpReceive(handle, fd, list, count), from: 0, count, writes: true };
    case 1:
      return { returned: native.tapReceive(handle, tap, header, list, count), from: 0, count, writes: true };
    case 2: {
      const returned = native.udpTransmit(handle, fd, addresses, list, from, count);
      return { returned, from, count, writes: false };
    }
    case 3: {
      // Toward the TAP, so that it has something to receive.
      const to = addressTable(...[0, 1, 2].map(() => ({ address: '10.9.0.9', port: 9 })));
      const returned = native.udpTransmit(handle, inside, to, list, from, count);
      return { returned, from, count, writes: false };
    }
    case 4: {
      const returned = native.tapTransmit(handle, tap, header, list, from, count);
      return { returned, from, count, writes: false };
    }
    default: {
      const ranges = Int32Array.from(list, () => cell(random, SLOTS * SLOT));
      native.sums(handle, ranges, list, sums, count);
      return { returned: 0, from: 0, count: Math.max(0, count), writes: false };
    }
  }
}

test('random columns never make a call write outside of the slots and records of its packets', (t) => {
  const small = smallPool(t, native.allocate);
  const { bytes, columns, status, handle } = small;
  const random = seeded(20_240);
  const used = devices(t);
  const list = new Int32Array(12);
  const sums = new Int32Array(12);
  const records = new Uint8Array(columns.buffer, 4 * COLUMN_COUNT * PACKETS);
  let refused = 0;
  let moved = 0;
  for (let round = 0; round < 4000; round++) {
    scramble(columns, random);
    for (let i = 0; i < list.length; i++)
      list[i] = random(12) === 0 ? cell(random, PACKETS) : random(PACKETS);
    for (let i = 0; i < records.length; i += 5) records[i] = random(4) === 0 ? random(256) : 0;
    const [slab, before, record] = [bytes.slice(), columns.slice(0, COLUMN_COUNT * PACKETS), records.slice()];
    const { returned, from, count, writes } = callAtRandom(handle, used, list, sums, random);
    if (status[1] !== 0) refused++;
    moved += returned - from;
    if (count >= from && from >= 0 && count <= list.length) {
      if (returned < from || returned > count) t.fail(`${returned} of ${from}..${count}`);
    }
    const listed = new Set(writes ? list : []);
    const slots = new Set([...listed].map((packet) => before[SLOT_COLUMN! * PACKETS + packet]));
    for (let slot = 0; slot < SLOTS; slot++) {
      if (slots.has(slot)) continue;
      const range = [slot * SLOT, (slot + 1) * SLOT] as const;
      if (Buffer.compare(bytes.subarray(...range), slab.subarray(...range)) !== 0)
        t.fail(`slot ${slot} was written to`);
    }
    for (let packet = 0; packet < PACKETS; packet++) {
      if (listed.has(packet)) continue;
      const range = [32 * packet, 32 * packet + 32] as const;
      if (Buffer.compare(records.subarray(...range), record.subarray(...range)) !== 0)
        t.fail(`record ${packet}`);
      for (const column of [OFFSET, LENGTH, SEGMENT, SLOT_COLUMN, VTEP]) {
        if (columns[column! * PACKETS + packet] !== before[column! * PACKETS + packet])
          t.fail(`column ${column}`);
      }
    }
    for (const { fd } of used.udp) if (round % 50 === 0) native.udpReceive(handle, fd, list, list.length);
  }
  t.log(`${refused} of 4000 calls stopped early, ${moved} packets were moved`);
  t.true(refused > 200 && moved > (isRoot ? 200 : 20));
});

test('random segments stay within the slab', (t) => {
  const { bytes, status, handle } = smallPool(t, native.allocate);
  const random = seeded(77);
  const sums = new Int32Array(300);
  let done = 0;
  for (let round = 0; round < 20_000; round++) {
    const numbers = [SLOTS * SLOT, SLOTS * SLOT, 80, 200, 3000].map((limit) => cell(random, limit));
    const [from, to, header, segment, payload] = numbers as [number, number, number, number, number];
    const segments = native.copySegments(handle, from, to, header, segment, payload, sums);
    if (segments > 0) {
      done++;
      const end = to + segments * header + payload;
      if (to < 0 || end > bytes.length || (from < end && to < from + header + payload)) t.fail(`${numbers}`);
    } else if (status[1] === 0 && payload !== 0) t.fail(`${numbers}`);
  }
  t.true(done > 500, `${done}`);
});

asRoot('another thread may scribble on the columns in the midst of a call', async (t) => {
  const shared = (bytes: number) => new SharedArrayBuffer(bytes) as unknown as ArrayBuffer;
  const { columns, handle } = smallPool(t, shared);
  const worker = new Worker(
    `const { workerData: columns } = require('node:worker_threads');
     const values = [0, 1, -1, 2047, 2048, 2049, 16383, 16384, 0x7fffffff, -0x80000000, 7, 31, 300];
     for (let i = 0, at = 0; ; i++) {
       at = (Math.imul(at, 1103515245) + 12345) & 0x7fffffff;
       columns[at % columns.length] = at & 64 ? values[i % values.length] : at % 2048;
     }`,
    { eval: true, workerData: columns.subarray(0, COLUMN_COUNT * PACKETS) },
  );
  t.teardown(() => worker.terminate());
  await new Promise((resolve) => worker.once('online', resolve));
  const random = seeded(5);
  const used = devices(t);
  const list = new Int32Array(new SharedArrayBuffer(48));
  const end = performance.now() + 500;
  while (performance.now() < end) {
    for (let i = 0; i < list.length; i++) list[i] = random(PACKETS);
    callAtRandom(handle, used, list, new Int32Array(12), random);
  }
  t.pass();
});
