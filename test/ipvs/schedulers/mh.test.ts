import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Destination } from '../../../src/dataplane/ipvs/destination.js';
import {
  fill,
  inTableOrder,
  KERNEL_TABLE_SIZES,
  turnsOf,
} from '../../../src/dataplane/ipvs/schedulers/maglev.js';
import { mh } from '../../../src/dataplane/ipvs/schedulers/mh.js';
import { sipHash13 } from './siphash.js';
import {
  agree,
  destinationsOf,
  flowOf,
  type Model,
  newCounts,
  type Plain,
  poolOf,
  spec,
  usable,
} from './world.js';

const OFFSET = 2654435761n;
const SKIP = 2654446892n;
const word = (n: number): bigint => BigInt.asUintN(32, BigInt(n));

function hash(key: bigint, address: readonly number[], port: number, offset = 0): number {
  const folded = address.reduce((sum, each) => sum ^ word(each), 0n);
  const bytes = new Uint8Array(new BigUint64Array([word(offset) + BigInt(port) + folded]).buffer, 0, 4);
  return Number(sipHash13([key, key], bytes) & 0xffffffffn);
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** The paper's table: orders of all slots written out, and turns as IPVS counts them; rows by slot. */
function table(list: readonly Plain[], size: number): number[] {
  const sixteenBytes = ({ address }: Plain) =>
    address.map((each) => word(each).toString(16).padStart(8, '0'));
  const isSix = ({ address }: Plain) => Number(address.slice(1).some((each) => each !== 0));
  const key = (each: Plain) => `${isSix(each)} ${sixteenBytes(each)} ${String(each.port).padStart(5, '0')}`;
  const sorted = [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const weighed = sorted.filter(({ lastWeight }) => lastWeight > 0);
  if (weighed.length === 0) return [];
  const divisor = weighed.map(({ lastWeight }) => lastWeight).reduce(gcd);
  const tableBits = Math.floor(size.toString(2).length / 2);
  const heaviest = Math.max(...weighed.map(({ lastWeight }) => lastWeight)) / divisor;
  const shift = Math.max(0, heaviest.toString(2).length - tableBits);
  const turns = weighed.map(({ lastWeight }) => Math.max(1, Math.floor(lastWeight / divisor / 2 ** shift)));
  const orders = weighed.map(({ address, port }) => {
    const offset = hash(OFFSET, address, port) % size;
    const skip = (hash(SKIP, address, port) % (size - 1)) + 1;
    return Array.from({ length: size }, (_, i) => (offset + i * skip) % size);
  });
  const slots = new Array<number>(size).fill(-1);
  for (let left = size; left > 0; ) {
    for (const [i, { row }] of weighed.entries()) {
      for (let turn = 0; turn < turns[i]! && left > 0; turn++, left--) {
        slots[orders[i]!.find((slot) => slots[slot] === -1)!] = row;
      }
    }
  }
  return slots;
}

function model(port: boolean, fallback: boolean, size: number): Model {
  let slots: number[] = [];
  return {
    changed: (list) => {
      slots = table(list, size);
    },
    pick(list, { source0, source1, source2, source3, sourcePort }) {
      if (slots.length === 0) return -1;
      const address = [source0, source1, source2, source3];
      const first = hash(OFFSET, address, port ? sourcePort : 0) % size;
      const able = new Set(usable(list).map(({ row }) => row));
      if (able.has(slots[first]!)) return slots[first]!;
      for (let i = 0; fallback && able.size > 0 && i < size; i++) {
        const next = hash(OFFSET, address, port ? sourcePort : 0, (first + i) % size) % size;
        if (able.has(slots[next]!)) return slots[next]!;
      }
      return -1;
    },
  };
}

for (const [port, fallback, tableSize] of [
  [false, false, 251],
  [true, true, 251],
  [true, false, 1021],
  [false, true, 1021],
] as const) {
  const words = `${port ? 'with' : 'without'} port, ${fallback ? 'with' : 'without'} fallback`;
  test(`Maglev hashing over ${tableSize} slots, ${words}`, (t) => {
    const flags = { port, fallback, tableSize };
    agree(t, { make: mh, flags, model: () => model(port, fallback, tableSize), rounds: 40, steps: 100 });
  });
}

/** Rows by slot. */
function slotsOf(destinations: readonly Destination[], size: number): number[] {
  const sorted = inTableOrder(destinations);
  const slots = new Int32Array(size);
  fill(slots, sorted, turnsOf(sorted, size));
  return Array.from(slots, (place) => sorted[place]!.row);
}

const share = (slots: readonly number[], row: number): number =>
  slots.filter((each) => each === row).length / slots.length;

test('the table of every size of IPVS is that of the model', (t) => {
  const destinations = destinationsOf([3, 1, 0, 4, 65535, 10]);
  const list = destinations.map((each) => ({
    ...{
      row: each.row,
      weight: each.weight,
      lastWeight: each.lastWeight,
      active: 0,
      inactive: 0,
      latency: 0,
    },
    ...{ overloaded: false, address: each.spec.address, port: each.spec.port },
  }));
  for (const size of KERNEL_TABLE_SIZES.filter((each) => each <= 4093)) {
    t.deepEqual(slotsOf(destinations, size), table(list, size), `${size} slots`);
  }
});

test('each of 100 destinations has its share of 65537 slots within 1 %', (t) => {
  const weights = Array.from({ length: 100 }, (_, i) => 1 + (i % 10));
  const all = weights.reduce((sum, weight) => sum + weight);
  const slots = slotsOf(destinationsOf(weights), 65537);
  for (const [row, weight] of weights.entries()) {
    const relative = share(slots, row) / (weight / all);
    t.true(Math.abs(relative - 1) < 0.01, `${row}: ${relative}`);
  }
});

test('clients are spread over 100 destinations by weight within 2 %', (t) => {
  const weights = Array.from({ length: 100 }, (_, i) => 1 + (i % 4));
  const scheduler = mh(poolOf(destinationsOf(weights), { tableSize: 65537, port: true }), new Random(1));
  const counts = [0, 0, 0, 0, 0];
  const random = new Random(1);
  const flows = 400_000;
  for (let i = 0; i < flows; i++) {
    counts[weights[scheduler.pick(flowOf(random.word() | 0, random.below(65536)), 0)!.row]!]!++;
  }
  for (const weight of [1, 2, 3, 4]) {
    const relative = counts[weight]! / ((flows * weight) / 10);
    t.true(Math.abs(relative - 1) < 0.02, `weight ${weight}: ${relative}`);
  }
});

test('when one of 100 leaves, at most 1 % of the slots of others change hands', (t) => {
  const destinations = destinationsOf(new Array<number>(100).fill(1));
  const before = slotsOf(destinations, 65537);
  for (const leaver of [0, 17, 50, 99]) {
    const after = slotsOf(
      destinations.filter(({ row }) => row !== leaver),
      65537,
    );
    const moved = before.filter((row, slot) => row !== leaver && after[slot] !== row).length;
    t.true(moved / 65537 < 0.01, `${moved} of 65537 moved without need`);
    t.true(moved > 0);
  }
});

test('the order in which control gives the destinations changes nothing: all nodes choose the same', (t) => {
  const random = new Random(3);
  const counts = newCounts();
  // Three ports of each address, and addresses on both sides of the sign bit, of both families.
  const destinations = Array.from({ length: 30 }, (_, row) => {
    const high = row < 15 ? 0x0a000000 : -0x40000000;
    const address = [high + Math.floor(row / 3), 0, 0, row % 2 === 0 ? 1 : 0] as const;
    const changes = { address, family: row % 2 === 0 ? 6 : 4, port: 80 + (row % 3) } as const;
    return new Destination(spec(row, 1 + random.below(9), changes), counts);
  });
  const flags = { tableSize: 4093, port: true, fallback: true };
  const one = mh(poolOf(destinations, flags), new Random(1));
  for (let order = 0; order < 5; order++) {
    const shuffled = [...destinations].sort(() => random.below(3) - 1);
    const other = mh(poolOf(shuffled, flags), new Random(2));
    for (let i = 0; i < 2000; i++) {
      const flow = flowOf(random.word() | 0, random.below(65536));
      if (one.pick(flow, 0) !== other.pick(flow, 0)) {
        t.fail(`flow ${i} of order ${order}`);
        return;
      }
    }
  }
  t.pass();
});

test('draining leaves the table as it is, and only the drained one’s clients move', (t) => {
  const destinations = destinationsOf([2, 3, 4]);
  const scheduler = mh(poolOf(destinations, { fallback: true }), new Random(1));
  const picks = () => Array.from({ length: 500 }, (_, i) => scheduler.pick(flowOf(i * 7919), 0)!.row);
  const before = picks();
  destinations[1]!.spec = { ...destinations[1]!.spec, weight: 0 };
  scheduler.update(poolOf(destinations, { fallback: true }));
  const after = picks();
  t.true(after.every((row, i) => (before[i] === 1 ? row !== 1 : row === before[i])));
  destinations[1]!.spec = { ...destinations[1]!.spec, weight: 3 };
  scheduler.update(poolOf(destinations, { fallback: true }));
  t.deepEqual(picks(), before);
});

test('weights whose turns are more than the table has slots leave nobody without', (t) => {
  const weights = Array.from({ length: 200 }, (_, i) => (i === 0 ? 101 : 100));
  const slots = slotsOf(destinationsOf(weights), 1021);
  for (const row of weights.keys()) t.true(share(slots, row) > 0.5 / 200, `row ${row}`);
});

test('when all are down, a connection is refused at once', (t) => {
  const counts = newCounts();
  const destinations = destinationsOf([1, 1, 1], counts);
  for (const row of [0, 1, 2]) counts.setOverloaded(row, true);
  const scheduler = mh(poolOf(destinations, { tableSize: 65537, fallback: true }), new Random(1));
  const started = performance.now();
  for (let i = 0; i < 10_000; i++) t.is(scheduler.pick(flowOf(i), 0), undefined);
  t.true(performance.now() - started < 2000, '10,000 searches of 65,537 slots');
});
