import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { SipHash } from '../../../src/dataplane/ipvs/defence/siphash.js';

const M = (1n << 64n) - 1n;
const left = (x: bigint, n: bigint) => ((x << n) | (x >> (64n - n))) & M;

/** The reference, in the paper's own words. */
function plain(key: Uint8Array, message: Uint8Array): bigint {
  const read = (bytes: Uint8Array, at: number) =>
    [...bytes.slice(at, at + 8)].reduce((word, byte, i) => word | (BigInt(byte) << BigInt(8 * i)), 0n);
  const [k0, k1] = [read(key, 0), read(key, 8)];
  const v = [
    ...[k0 ^ 0x736f6d6570736575n, k1 ^ 0x646f72616e646f6dn],
    ...[k0 ^ 0x6c7967656e657261n, k1 ^ 0x7465646279746573n],
  ] as [bigint, bigint, bigint, bigint];
  const round = () => {
    v[0] = (v[0] + v[1]) & M;
    v[1] = left(v[1], 13n) ^ v[0];
    v[0] = left(v[0], 32n);
    v[2] = (v[2] + v[3]) & M;
    v[3] = left(v[3], 16n) ^ v[2];
    v[0] = (v[0] + v[3]) & M;
    v[3] = left(v[3], 21n) ^ v[0];
    v[2] = (v[2] + v[1]) & M;
    v[1] = left(v[1], 17n) ^ v[2];
    v[2] = left(v[2], 32n);
  };
  const padded = new Uint8Array((Math.floor(message.length / 8) + 1) * 8);
  padded.set(message);
  padded[padded.length - 1] = message.length & 255;
  for (let at = 0; at < padded.length; at += 8) {
    const block = read(padded, at);
    v[3] ^= block;
    round();
    round();
    v[0] ^= block;
  }
  v[2] ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

const wordsOf = (bytes: Uint8Array) => new Int32Array(bytes.slice().buffer);
const count = (length: number) => Uint8Array.from({ length }, (_, i) => i);

function hash(key: Uint8Array, message: Uint8Array): bigint {
  const sip = new SipHash(wordsOf(key));
  const low = sip.of(wordsOf(message), message.length / 4);
  return (BigInt(sip.high >>> 0) << 32n) | BigInt(low >>> 0);
}

test('the vectors of the reference implementation', (t) => {
  // vectors.h: the key is 00 01 … 0f, the message 00 01 … of so many bytes.
  const vectors = { 0: 0x726fdb47dd0e0e31n, 4: 0xcf2794e0277187b7n, 8: 0x93f5f5799a932462n };
  for (const [length, wanted] of Object.entries(vectors)) {
    t.is(hash(count(16), count(Number(length))), wanted);
    t.is(plain(count(16), count(Number(length))), wanted);
  }
  // Appendix A of the paper, whose message of 15 bytes only the slow one can take.
  t.is(plain(count(16), count(15)), 0xa129ca6149be45e5n);
});

test('as the slow one, whatever the key and the words', (t) => {
  const random = new Random(7);
  for (let round = 0; round < 200; round++) {
    const key = new Uint8Array(16);
    const message = new Uint8Array(4 * random.below(14));
    random.fill(key);
    random.fill(message);
    t.is(hash(key, message), plain(key, message));
  }
});
