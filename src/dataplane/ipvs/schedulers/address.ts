/** Addresses as IPVS's hashing schedulers see them: an IPv6 address folded into 32 bits, and buckets of a power of 2. */
import type { Words } from '../../wire/ipv6.js';
import type { Flow } from './scheduler.js';

/** An IPv4 address stands in the first word and the others are 0, so that it is its own fold. */
export const foldSource = (flow: Flow): number => flow.source0 ^ flow.source1 ^ flow.source2 ^ flow.source3;
export const foldTarget = (flow: Flow): number => flow.target0 ^ flow.target1 ^ flow.target2 ^ flow.target3;
export const fold = (words: Words): number => words[0] ^ words[1] ^ words[2] ^ words[3];

/** Linux's hash_32: a multiplication by 2^32 / golden ratio², of which the upper bits count. */
const GOLDEN_RATIO = 0x61c88647;
export const bucketOf = (word: number, bits: number): number => Math.imul(word, GOLDEN_RATIO) >>> (32 - bits);
