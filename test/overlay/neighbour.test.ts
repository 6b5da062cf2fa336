import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { type AddressWords, Neighbours } from '../../src/dataplane/overlay/neighbour.js';

const mapped = (address: number): AddressWords => [0, 0, 0xffff, address | 0];

test('an IPv4 address is found under its mapped words, in its own network', (t) => {
  const neighbours = new Neighbours(Neighbours.allocate(8));
  t.true(neighbours.set(1, mapped(0xc0a80001), 0x0242, -5));
  t.true(neighbours.find4(1, 0xc0a80001), 'unsigned');
  t.true(neighbours.find4(1, 0xc0a80001 | 0), 'signed');
  t.deepEqual([neighbours.macHigh, neighbours.macLow], [0x0242, -5]);
  t.false(neighbours.find4(2, 0xc0a80001));
  t.false(neighbours.find4(1, 0xc0a80002));
  t.true(neighbours.find6(1, 0, 0, 0xffff, 0xc0a80001 | 0));
});

test('a MAC of 0 in its upper half is no missing one', (t) => {
  const neighbours = new Neighbours(Neighbours.allocate(8));
  neighbours.set(1, [0, 0, 0, 1], 0, 7);
  t.true(neighbours.find6(1, 0, 0, 0, 1));
  t.deepEqual([neighbours.macHigh, neighbours.macLow], [0, 7]);
});

test('neighbours do what a Map would do, random operations long', (t) => {
  const random = new Random(4);
  const neighbours = new Neighbours(Neighbours.allocate(200));
  const model = new Map<string, [number, number]>();
  for (let i = 0; i < 30_000; i++) {
    const network = 1 + random.below(3);
    const address: AddressWords = random.chance(0.5)
      ? mapped(0x0a000000 + random.below(40))
      : [0xfd000000 | 0, random.below(2), 0, random.below(20)];
    const key = [network, ...address].join();
    const known = model.get(key);
    const what = random.below(3);
    if (what === 0) {
      const macs: [number, number] = [random.below(65_536), random.word() | 0];
      t.true(neighbours.set(network, address, ...macs));
      model.set(key, macs);
    } else if (what === 1) {
      t.is(neighbours.remove(network, address), model.delete(key));
    } else {
      t.is(neighbours.find6(network, ...address), known !== undefined);
      if (known !== undefined) t.deepEqual([neighbours.macHigh, neighbours.macLow], known);
    }
  }
  t.deepEqual(
    [...neighbours.entries()]
      .map(({ network, address, macHigh, macLow }) => [network, ...address, macHigh, macLow].join())
      .sort(),
    [...model].map(([key, macs]) => [key, ...macs].join()).sort(),
  );
});
