/**
 * What lblc and lblcr remember by the address that the client sent to: a number for each address, below `capacity`, so that
 * the schedulers keep theirs in columns. An address that nobody asked for in so long goes; of too many the longest
 * unasked. IPVS looks for such ones once a minute and grows meanwhile; here the bound always holds, and memory is taken once.
 */
import { bucketOf, foldTarget } from './address.js';
import type { Flow } from './scheduler.js';

const BITS = 10;
/** IPVS's 2^10 buckets of 16. */
export const CAPACITY = 16 << BITS;
/** Stale ones taken out at a pick, so that a night's worth doesn't fall on one connection. */
const SWEEP = 2;
const NONE = -1;

export class TargetCache {
  readonly capacity: number;
  #size = 0;
  readonly #heads = new Int32Array(1 << BITS).fill(NONE);
  /** of the bucket, or of the free ones */
  readonly #next: Int32Array;
  readonly #keys: Int32Array;
  readonly #usedMs: Float64Array;
  /** the order of use, a ring; place `capacity` is its anchor: the newest is older than it, and it is older than the oldest */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #free = 0;

  constructor(capacity = CAPACITY) {
    this.capacity = capacity;
    this.#next = Int32Array.from({ length: capacity }, (_, i) => (i + 1 < capacity ? i + 1 : NONE));
    this.#keys = new Int32Array(4 * capacity);
    this.#usedMs = new Float64Array(capacity);
    this.#older = new Int32Array(capacity + 1).fill(capacity);
    this.#newer = new Int32Array(capacity + 1).fill(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** The address's number, and it is used now; -1 if it isn't there, or unused for `expirationMs`. */
  use(flow: Flow, nowMs: number, expirationMs: number): number {
    for (let i = 0; i < SWEEP && this.#size > 0; i++) {
      const oldest = this.#newer[this.capacity]!;
      if (nowMs < this.#usedMs[oldest]! + expirationMs) break;
      this.#remove(oldest);
    }
    const keys = this.#keys;
    let at = this.#heads[bucketOf(foldTarget(flow), BITS)]!;
    for (; at !== NONE; at = this.#next[at]!) {
      const key = 4 * at;
      if (
        keys[key] === flow.target0 &&
        keys[key + 1] === flow.target1 &&
        keys[key + 2] === flow.target2 &&
        keys[key + 3] === flow.target3
      ) {
        break;
      }
    }
    if (at === NONE) return NONE;
    if (nowMs >= this.#usedMs[at]! + expirationMs) {
      this.#remove(at);
      return NONE;
    }
    this.#unlink(at);
    this.#link(at, nowMs);
    return at;
  }

  /** A number for an address that isn't there; if all are taken, the longest unused one's. */
  add(flow: Flow, nowMs: number): number {
    if (this.#size === this.capacity) this.#remove(this.#newer[this.capacity]!);
    const at = this.#free;
    this.#free = this.#next[at]!;
    const key = 4 * at;
    this.#keys[key] = flow.target0;
    this.#keys[key + 1] = flow.target1;
    this.#keys[key + 2] = flow.target2;
    this.#keys[key + 3] = flow.target3;
    const bucket = this.#bucket(at);
    this.#next[at] = this.#heads[bucket]!;
    this.#heads[bucket] = at;
    this.#link(at, nowMs);
    this.#size++;
    return at;
  }

  #remove(at: number): void {
    const bucket = this.#bucket(at);
    let before = this.#heads[bucket]!;
    if (before === at) this.#heads[bucket] = this.#next[at]!;
    else {
      while (this.#next[before] !== at) before = this.#next[before]!;
      this.#next[before] = this.#next[at]!;
    }
    this.#unlink(at);
    this.#next[at] = this.#free;
    this.#free = at;
    this.#size--;
  }

  #bucket(at: number): number {
    const key = 4 * at;
    const keys = this.#keys;
    return bucketOf(keys[key]! ^ keys[key + 1]! ^ keys[key + 2]! ^ keys[key + 3]!, BITS);
  }

  /** As the latest. */
  #link(at: number, nowMs: number): void {
    this.#usedMs[at] = nowMs;
    const latest = this.#older[this.capacity]!;
    this.#older[at] = latest;
    this.#newer[at] = this.capacity;
    this.#newer[latest] = at;
    this.#older[this.capacity] = at;
  }

  #unlink(at: number): void {
    this.#older[this.#newer[at]!] = this.#older[at]!;
    this.#newer[this.#older[at]!] = this.#newer[at]!;
  }
}
