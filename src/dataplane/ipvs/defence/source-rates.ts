/**
 * New connections per source: a token bucket for each source of each service, in a table of fixed size that all engines
 * share, so that a source has one bucket whatever engine its packets arrive at. An IPv6 source is its /64: whoever has
 * one address there has all of them.
 *
 * A bucket is one number, when it will be full again (GCRA, ITU-T I.371 §A.2): a connection moves that ahead by
 * 1/perSecond, and may not while it is more than burst/perSecond ahead. A bucket that is full need not be remembered.
 *
 *     sets   8 buckets each: two words of a keyed hash of the source and its service, and the time
 *
 * A newcomer takes the place of a bucket that is full; where none of the set is, of the one that lacks least. So a
 * flood from many sources can't make the table grow, nor have a source refused that kept to its rate: who is forgotten
 * has a full bucket again, and the sources that ask most are forgotten last. Nobody can choose the set that his
 * source falls into, for the hash has a secret key.
 *
 * Without `synProxy` a source that is forged uses up the true one's tokens; with it only sources that have echoed a
 * cookie are counted.
 */
import type { PacketFlow } from '../flow.js';
import { SipHash } from './siphash.js';

/** New connections a second, and at once from a source that was idle. */
export interface SourceRate {
  perSecond: number;
  burst: number;
}

const WAYS = 8;
/** 65,536 sources that aren't idle. */
const SETS = 8192;
/** A lock is held for some hundred nanoseconds; one that stays taken belongs to a thread that died. */
const PATIENCE = 10_000_000;

export class SourceRates {
  readonly #sets: number;
  readonly #locks: Int32Array;
  readonly #tags: Int32Array;
  readonly #full: Float64Array;
  readonly #hash: SipHash;
  readonly #words = new Int32Array(4);

  static allocate(sets = SETS): SharedArrayBuffer {
    return new SharedArrayBuffer(sets * (8 * WAYS + 8 * WAYS + 4));
  }

  /** @param key of the hash, secret, the same on every engine */
  constructor(memory: SharedArrayBuffer, key: Int32Array) {
    this.#sets = Math.floor(memory.byteLength / (16 * WAYS + 4));
    const buckets = this.#sets * WAYS;
    this.#full = new Float64Array(memory, 0, buckets);
    this.#tags = new Int32Array(memory, 8 * buckets, 2 * buckets);
    this.#locks = new Int32Array(memory, 16 * buckets, this.#sets);
    this.#hash = new SipHash(key);
  }

  /** Whether a source may begin another connection; then it has. @param service its index */
  take(flow: PacketFlow, service: number, rate: SourceRate, nowMs: number): boolean {
    const words = this.#words;
    words[0] = flow.source0;
    words[1] = flow.source1;
    words[2] = (service << 1) | (flow.family === 6 ? 1 : 0);
    words[3] = flow.network;
    // A tag of zeros is that of a bucket that was never used.
    const low = this.#hash.of(words, 4) || 1;
    const { high } = this.#hash;
    const set = Math.floor(((low ^ Math.imul(high, 0x9e3779b1)) >>> 0) * (this.#sets / 2 ** 32));
    const locks = this.#locks;
    for (let tries = 0; Atomics.compareExchange(locks, set, 0, 1) !== 0 && tries < PATIENCE; tries++);
    const taken = this.#take(set * WAYS, low, high, rate, nowMs);
    Atomics.store(locks, set, 0);
    return taken;
  }

  #take(first: number, low: number, high: number, rate: SourceRate, nowMs: number): boolean {
    const tags = this.#tags;
    const full = this.#full;
    let bucket = -1;
    let least = first;
    for (let i = first; i < first + WAYS; i++) {
      if (tags[2 * i] === low && tags[2 * i + 1] === high) {
        bucket = i;
        break;
      }
      if (full[i]! < full[least]!) least = i;
    }
    const interval = 1000 / rate.perSecond;
    const from = bucket < 0 ? nowMs : Math.max(nowMs, full[bucket]!);
    // A hair more than the burst, for sums of fractions.
    if (from - nowMs > interval * (rate.burst - 1) + 1e-6) return false;
    if (bucket < 0) {
      bucket = least;
      tags[2 * bucket] = low;
      tags[2 * bucket + 1] = high;
    }
    full[bucket] = from + interval;
    return true;
  }
}
