import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { HSipHash } from '../../../src/dataplane/ipvs/schedulers/hsiphash.js';
import { sipHash13 } from './siphash.js';

/** Linux's self-test (lib/tests/siphash_kunit.c, 64 bits): of the bytes 0, 1, 2, … n - 1 with the key 00 01 … 0f. */
const VECTORS = [
  ...[0x050fc4dc, 0x7d57ca93, 0x4dc7d44d, 0xe7ddf7fb, 0x88d38328, 0x49533b67, 0xc59f22a7, 0x9bb11140],
  ...[0x8d299a8e, 0x6c063de4, 0x92ff097f, 0xf94dc352, 0x57b4d9a2, 0x1229ffa7, 0xc0f95d34, 0x2a519956],
];
const KEY = [0x0706050403020100n, 0x0f0e0d0c0b0a0908n] as const;

test("the model gives Linux's vectors at every length", (t) => {
  for (const [length, expected] of VECTORS.entries()) {
    const bytes = Uint8Array.from({ length }, (_, i) => i);
    t.is(Number(sipHash13(KEY, bytes) & 0xffffffffn), expected, `${length} bytes`);
  }
});

test("a word's hash is Linux's vector of four bytes", (t) => {
  t.is(new HSipHash([0x07060504, 0x03020100], [0x0f0e0d0c, 0x0b0a0908]).of(0x03020100) >>> 0, 0x88d38328);
});

test('any word under any key hashes as in the model', (t) => {
  const random = new Random(1);
  let wrong = 0;
  for (let i = 0; i < 20_000; i++) {
    const [a, b, c, d, word] = [random.word(), random.word(), random.word(), random.word(), random.word()];
    const wide = (high: number, low: number) => (BigInt(high) << 32n) | BigInt(low);
    const bytes = new Uint8Array(Uint32Array.of(word).buffer);
    const expected = Number(sipHash13([wide(a, b), wide(c, d)], bytes) & 0xffffffffn);
    const hash = new HSipHash([a, b], [c, d]);
    if (hash.of(word) !== (expected | 0) || hash.of(word | 0) !== (expected | 0)) wrong++;
  }
  t.is(wrong, 0);
});
