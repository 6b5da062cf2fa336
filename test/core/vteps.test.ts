import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { ADDRESS_BYTES, OVERHEAD_IPV4, OVERHEAD_IPV6, Vteps } from '../../src/dataplane/core/vteps.js';

type Address = [family: number, a0: number, a1: number, a2: number, a3: number];

const V4: Address = [4, 0x0a000002, 0, 0, 0];
const V6: Address = [6, 0xfd000000 | 0, 0, 0, 2];

const newVteps = (capacity = 4) => {
  const vteps = new Vteps(Vteps.allocate(capacity));
  vteps.setDefaults(4789, 1500);
  return vteps;
};

test('rows are added once, found by address, removed, and used again, as an obvious model has it', (t) => {
  const random = new Random(3);
  const memory = Vteps.allocate(20);
  const [vteps, other] = [new Vteps(memory), new Vteps(memory)];
  const model = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const n = random.below(30);
    const address: Address = n % 2 === 0 ? [4, n, 0, 0, 0] : [6, 0x20010db8, n, -n, n];
    const known = model.get(address.join());
    const before = vteps.generation;
    if (random.chance(0.5)) {
      const vtep = vteps.add(...address, random.chance(0.5));
      if (known !== undefined) t.is(vtep, known);
      else if (model.size === 20) t.is(vtep, -1);
      else {
        t.false([...model.values()].includes(vtep), 'a row of its own');
        model.set(address.join(), vtep);
      }
    } else if (known !== undefined) {
      vteps.remove(known);
      model.delete(address.join());
    }
    t.is(other.find(...address), model.get(address.join()) ?? -1);
    t.is(other.generation > before, model.get(address.join()) !== known);
    const [family, ...words] = address;
    const now = model.get(address.join());
    if (now !== undefined) t.deepEqual([other.family(now), ...other.addressWords(now)], [family, ...words]);
    t.deepEqual(
      [...other.used()],
      [...model.values()].sort((a, b) => a - b),
    );
  }
});

test('a row holds the socket address as the kernel takes it, and nothing of who was there before', (t) => {
  const vteps = newVteps(1);
  const six = vteps.add(...V6);
  t.deepEqual(
    [...vteps.addresses.subarray(six * ADDRESS_BYTES, (six + 1) * ADDRESS_BYTES)],
    [10, 0, 0x12, 0xb5, 0, 0, 0, 0, 0xfd, ...Array<number>(14).fill(0), 2, ...Array<number>(8).fill(0)],
  );
  vteps.remove(six);
  const four = vteps.add(...V4);
  t.is(four, six);
  t.deepEqual(
    [...vteps.addresses.subarray(0, ADDRESS_BYTES)],
    [2, 0, 0x12, 0xb5, 10, 0, 0, 2, ...Array<number>(24).fill(0)],
  );
});

test('a new port is that of all rows, a new MTU that of new ones', (t) => {
  const vteps = newVteps();
  const old = vteps.add(...V4);
  vteps.setDefaults(8472, 9000);
  const young = vteps.add(...V6);
  t.deepEqual([vteps.pathMtu(old), vteps.pathMtu(young)], [1500, 9000]);
  for (const vtep of [old, young]) {
    const port = vteps.addresses.subarray(vtep * ADDRESS_BYTES + 2, vtep * ADDRESS_BYTES + 4);
    t.deepEqual([...port], [8472 >> 8, 8472 & 255]);
  }
});

test('the largest frame is what the path takes without the outer headers behind Ethernet', (t) => {
  const vteps = newVteps();
  t.deepEqual([OVERHEAD_IPV4, OVERHEAD_IPV6], [36, 56]);
  const [four, six] = [vteps.add(...V4), vteps.add(...V6)];
  t.is(vteps.largestFrame(four), 1464, 'an inner packet of 1450 bytes and its Ethernet header');
  t.is(vteps.largestFrame(six), 1444);
  vteps.setPathMtu(four, 9000);
  t.is(vteps.largestFrame(four), 8964);
});

test('the tunnel is open while its outer headers are known', (t) => {
  const vteps = newVteps();
  const vtep = vteps.add(...V4);
  t.false(vteps.isTunnel(vtep));
  t.is(vteps.nextHop(vtep), null);
  const outer = Uint8Array.from({ length: 42 }, (_, i) => i + 1);
  vteps.openTunnel(vtep, outer);
  t.true(vteps.isTunnel(vtep));
  t.deepEqual(vteps.nextHop(vtep), Uint8Array.of(1, 2, 3, 4, 5, 6));
  const bytes = new Uint8Array(vteps.memory.rows, vteps.outerAt(vtep) * 4, 42);
  t.deepEqual([...bytes], [...outer]);
  vteps.openTunnel(
    vtep,
    outer.map((byte) => byte ^ 1),
  );
  t.is(vteps.nextHop(vtep)![0], 0);
  vteps.closeTunnel(vtep);
  t.false(vteps.isTunnel(vtep));
  vteps.openTunnel(vtep, outer);
  vteps.remove(vtep);
  t.false(vteps.isTunnel(vteps.add(...V6)), 'whoever gets the row next starts without');
});

test('an engine that finds the table busy goes without, and control waits', (t) => {
  const vteps = newVteps();
  t.true(Atomics.compareExchange(new Int32Array(vteps.memory.index.memory), 0, 0, 1) === 0);
  t.is(vteps.add(...V4, false), -1);
  Atomics.store(new Int32Array(vteps.memory.index.memory), 0, 0);
  t.is(vteps.add(...V4, false), 0);
});

test('a retired row is found by nobody, leads where it led, and is given out when it is released', (t) => {
  const vteps = newVteps(2);
  const [four, six] = [vteps.add(...V4), vteps.add(...V6)];
  vteps.retire(four);
  t.is(vteps.find(...V4), -1);
  t.deepEqual([[...vteps.used()], vteps.size], [[six], 1]);
  t.deepEqual([vteps.family(four), ...vteps.addressWords(four)], V4);
  t.is(vteps.add(...V4), -1, 'there is no other row');
  t.is(vteps.size, 1);
  vteps.release(four);
  t.is(vteps.add(...V4), four);
});
