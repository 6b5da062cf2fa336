import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { AllowList, type Prefix } from '../../../src/dataplane/ipvs/defence/allow-list.js';
import { noFlow, type PacketFlow } from '../../../src/dataplane/ipvs/flow.js';
import type * as ipv6 from '../../../src/dataplane/wire/ipv6.js';
import { wordsOf } from '../specs.js';

function prefix(text: string): Prefix {
  const [address, bits] = text.split('/') as [string, string];
  return { address: wordsOf(address), bits: Number(bits) };
}

function flowOf(family: 4 | 6, [a, b, c, d]: ipv6.Words): PacketFlow {
  return Object.assign(noFlow(), { family, source0: a, source1: b, source2: c, source3: d });
}

const from = (text: string) => flowOf(text.includes(':') ? 6 : 4, wordsOf(text));

test('first and last addresses of prefixes are in, their neighbours are not', (t) => {
  const list = new AllowList(['10.1.0.0/16', '192.0.2.7/32', '224.0.0.0/4'].map(prefix));
  for (const address of ['10.1.0.0', '10.1.255.255', '192.0.2.7', '224.0.0.0', '239.255.255.255'])
    t.true(list.has(from(address)), address);
  for (const address of ['10.0.255.255', '10.2.0.0', '192.0.2.6', '192.0.2.8', '0.0.0.0', '240.0.0.0'])
    t.false(list.has(from(address)), address);
  const six = new AllowList(['fd00::/8', '2001:db8::/33', '2001:db8:ffff::1/128'].map(prefix));
  for (const address of ['fd00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db8:7fff::9'])
    t.true(six.has(from(address)), address);
  for (const address of ['fc00::', 'fe00::', '2001:db8:8000::', '2001:db8:ffff::2', '::'])
    t.false(six.has(from(address)), address);
  for (const all of ['0.0.0.0/0', '::/0']) {
    const family = all.includes(':') ? 6 : 4;
    for (const words of [
      [0, 0, 0, 0],
      [-1, -1, -1, -1],
    ] as const)
      t.true(new AllowList([prefix(all)]).has(flowOf(family, family === 4 ? [words[0], 0, 0, 0] : words)));
  }
});

test('as a look at every prefix, whatever they are', (t) => {
  const random = new Random(3);
  const words = (family: 4 | 6): ipv6.Words => {
    // Few values, so that prefixes contain one another and addresses hit them.
    const word = () => (random.below(4) << 30) | random.below(4);
    return family === 4 ? [word(), 0, 0, 0] : [word(), word(), word(), word()];
  };
  const bit = (address: ipv6.Words, i: number) => (address[i >> 5]! >>> (31 - (i & 31))) & 1;
  for (let round = 0; round < 300; round++) {
    const family = random.chance(0.5) ? 4 : 6;
    const prefixes = Array.from({ length: 1 + random.below(20) }, () => ({
      address: words(family),
      bits: random.below(family === 4 ? 33 : 129),
    }));
    const list = new AllowList(prefixes);
    for (let n = 0; n < 40; n++) {
      const address = words(family);
      const wanted = prefixes.some((each) => {
        for (let i = 0; i < each.bits; i++) if (bit(each.address, i) !== bit(address, i)) return false;
        return true;
      });
      t.is(list.has(flowOf(family, address)), wanted);
    }
  }
});
