/**
 * SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash whose results nobody without the key can foresee. Of whole
 * 32-bit words, each taken as four bytes in little-endian order. 64-bit words are pairs of 32-bit ones here.
 */

/** "somepseudorandomlygeneratedbytes", the initial state. */
const V0 = [0x736f6d65, 0x70736575] as const;
const V1 = [0x646f7261, 0x6e646f6d] as const;
const V2 = [0x6c796765, 0x6e657261] as const;
const V3 = [0x74656462, 0x79746573] as const;

const COMPRESSION_ROUNDS = 2;
const FINAL_ROUNDS = 4;

/** Words of a key. */
export const KEY_WORDS = 4;

/** The bit that a 32-bit sum carries over; without a branch, as in schedulers/hsiphash.ts. */
const carry = (a: number, b: number, sum: number): number => ((a & b) | ((a | b) & ~sum)) >>> 31;

export class SipHash {
  /** the upper half of the last result, signed */
  high = 0;
  readonly #key: Int32Array;

  /** @param key 16 bytes, as words in little-endian order */
  constructor(key: Int32Array) {
    this.#key = key.slice(0, KEY_WORDS);
  }

  /** The lower half of the hash, signed; the upper one is in `high`. */
  of(words: Int32Array, count: number): number {
    const key = this.#key;
    let v0h = V0[0] ^ key[1]!;
    let v0l = V0[1] ^ key[0]!;
    let v1h = V1[0] ^ key[3]!;
    let v1l = V1[1] ^ key[2]!;
    let v2h = V2[0] ^ key[1]!;
    let v2l = V2[1] ^ key[0]!;
    let v3h = V3[0] ^ key[3]!;
    let v3l = V3[1] ^ key[2]!;
    // Blocks of two words; the last has what is left, and in its highest byte how many bytes there were.
    const blocks = (count >> 1) + 1;
    for (let block = 0; block <= blocks; block++) {
      let low = 0;
      let high = 0;
      let rounds = FINAL_ROUNDS;
      if (block === blocks) {
        v2l ^= 0xff;
      } else {
        const at = 2 * block;
        if (at < count) low = words[at]!;
        high = at + 1 < count ? words[at + 1]! : count << 26;
        rounds = COMPRESSION_ROUNDS;
      }
      v3h ^= high;
      v3l ^= low;
      for (let round = 0; round < rounds; round++) {
        // v0 += v1; v1 = v1 <<< 13; v1 ^= v0; v0 = v0 <<< 32
        let sumLow = (v0l + v1l) | 0;
        let sumHigh = (v0h + v1h + carry(v0l, v1l, sumLow)) | 0;
        let turned = ((v1h << 13) | (v1l >>> 19)) ^ sumHigh;
        v1l = ((v1l << 13) | (v1h >>> 19)) ^ sumLow;
        v1h = turned;
        v0h = sumLow;
        v0l = sumHigh;
        // v2 += v3; v3 = v3 <<< 16; v3 ^= v2
        sumLow = (v2l + v3l) | 0;
        v2h = (v2h + v3h + carry(v2l, v3l, sumLow)) | 0;
        v2l = sumLow;
        turned = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
        v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
        v3h = turned;
        // v0 += v3; v3 = v3 <<< 21; v3 ^= v0
        sumLow = (v0l + v3l) | 0;
        v0h = (v0h + v3h + carry(v0l, v3l, sumLow)) | 0;
        v0l = sumLow;
        turned = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
        v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
        v3h = turned;
        // v2 += v1; v1 = v1 <<< 17; v1 ^= v2; v2 = v2 <<< 32
        sumLow = (v2l + v1l) | 0;
        sumHigh = (v2h + v1h + carry(v2l, v1l, sumLow)) | 0;
        turned = ((v1h << 17) | (v1l >>> 15)) ^ sumHigh;
        v1l = ((v1l << 17) | (v1h >>> 15)) ^ sumLow;
        v1h = turned;
        v2h = sumLow;
        v2l = sumHigh;
      }
      v0h ^= high;
      v0l ^= low;
    }
    this.high = v0h ^ v1h ^ v2h ^ v3h;
    return v0l ^ v1l ^ v2l ^ v3l;
  }
}
