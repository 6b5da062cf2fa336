/**
 * Fragments (RFC 791 §3.2, RFC 8200 §4.5) are not put together: what was decided for a packet's first fragment, which has
 * the ports, goes for the later ones. Those that overtook the first wait for it, in the pool, few and not for long.
 *
 * Entries lie in a ring, oldest first, all with the same lifetime: to make room or to expire is to take from its end.
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { NO_PACKET } from '../core/pool.js';
import { mix } from '../wire/flow.js';
import type { Parsed } from './packet.js';

/** The first fragment has not been seen: the packet waits, or has been dropped. */
export const UNDECIDED = -1;

const NONE = -1;
const SEED = 0x1f83d9ab;

/** Words of a key: addresses, what tells families and protocols apart, id, network. */
const KEY = 11;

export class Fragments {
  readonly #path: Path;
  readonly #capacity: number;
  readonly #lifetimeMs: number;
  readonly #heldMax: number;
  readonly #keys: Int32Array;
  readonly #heads: Int32Array;
  /** next entry of the same bucket */
  readonly #next: Int32Array;
  readonly #bucket: Int32Array;
  readonly #decision: Int32Array;
  /** when the entry ends; 0: it is not in use */
  readonly #deadline: Float64Array;
  /** packets that wait, first and last; `#follower` by packet */
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  readonly #follower: Int32Array;
  readonly #wanted = new Int32Array(KEY);
  /** entries ever begun and ended; the ring's place is the remainder */
  #begun = 0;
  #ended = 0;
  #held = 0;

  /**
   * @param capacity packets whose fragments are told apart at the same time
   * @param heldMax fragments that wait at the same time; each keeps a slot of the pool
   * @param lifetimeMs how long a decision goes, and how long a fragment waits
   */
  constructor(path: Path, capacity = 4096, heldMax = 128, lifetimeMs = 2000) {
    this.#path = path;
    this.#capacity = capacity;
    this.#heldMax = heldMax;
    this.#lifetimeMs = lifetimeMs;
    this.#keys = new Int32Array(KEY * capacity);
    this.#heads = new Int32Array(2 ** Math.ceil(Math.log2(capacity))).fill(NONE);
    this.#next = new Int32Array(capacity).fill(NONE);
    this.#bucket = new Int32Array(capacity);
    this.#decision = new Int32Array(capacity);
    this.#deadline = new Float64Array(capacity);
    this.#first = new Int32Array(capacity).fill(NO_PACKET);
    this.#last = new Int32Array(capacity).fill(NO_PACKET);
    this.#follower = new Int32Array(path.pool.packets).fill(NO_PACKET);
  }

  /** Fragments that wait. */
  get held(): number {
    return this.#held;
  }

  /**
   * What was decided for a first fragment, any number but UNDECIDED. Later fragments that waited for it are appended to
   * `released` in the order in which they came.
   */
  decide(packet: number, parsed: Parsed, decision: number, nowMs: number, released: Batch): void {
    this.expire(nowMs);
    const bucket = this.#seek(packet, parsed);
    const before = this.#find(bucket);
    let waiting = NO_PACKET;
    if (before !== NONE) {
      waiting = this.#first[before]!;
      this.#first[before] = NO_PACKET;
      this.#remove(before);
    }
    const entry = this.#begin(bucket, nowMs);
    this.#decision[entry] = decision;
    while (waiting !== NO_PACKET) {
      const follower = this.#follower[waiting]!;
      this.#follower[waiting] = NO_PACKET;
      this.#held--;
      released.push(waiting);
      waiting = follower;
    }
  }

  /**
   * What was decided for the packet that a later fragment is of. UNDECIDED: the fragment is no longer the caller's; it
   * waits, and comes back from `decide`, or it is dropped.
   */
  later(packet: number, parsed: Parsed, nowMs: number): number {
    this.expire(nowMs);
    const bucket = this.#seek(packet, parsed);
    let entry = this.#find(bucket);
    if (entry !== NONE && this.#decision[entry] !== UNDECIDED) return this.#decision[entry]!;
    if (this.#held >= this.#heldMax) {
      this.#path.drop(packet, drop['fragments-full']);
      return UNDECIDED;
    }
    if (entry === NONE) entry = this.#begin(bucket, nowMs);
    const last = this.#last[entry]!;
    if (this.#first[entry] === NO_PACKET) this.#first[entry] = packet;
    else this.#follower[last] = packet;
    this.#last[entry] = packet;
    this.#held++;
    return UNDECIDED;
  }

  /** Ends what is too old; what still waited is dropped. For the engine's clock; the other calls do it as well. */
  expire(nowMs: number): void {
    while (this.#ended < this.#begun) {
      const entry = this.#ended % this.#capacity;
      const deadline = this.#deadline[entry]!;
      if (deadline > nowMs) return;
      if (deadline !== 0) this.#end(entry, drop['fragment-lost']);
      this.#ended++;
    }
  }

  /** Ends everything. */
  clear(): void {
    this.expire(Number.POSITIVE_INFINITY);
  }

  /** Sets the key that `#find` and `#begin` use. Its bucket. */
  #seek(packet: number, parsed: Parsed): number {
    const key = this.#wanted;
    key[0] = parsed.source0;
    key[1] = parsed.source1;
    key[2] = parsed.source2;
    key[3] = parsed.source3;
    key[4] = parsed.destination0;
    key[5] = parsed.destination1;
    key[6] = parsed.destination2;
    key[7] = parsed.destination3;
    // IPv6's later fragments don't show the protocol behind further extension headers, and its ids don't go by it.
    key[8] = parsed.family === 4 ? 0x400 | parsed.protocol : 0x600;
    key[9] = parsed.fragmentId;
    key[10] = this.#path.pool.network[packet]!;
    let state = SEED;
    for (let i = 0; i < KEY; i++) state = mix(state, key[i]!);
    return (state ^ (state >>> 16)) & (this.#heads.length - 1);
  }

  #find(bucket: number): number {
    const keys = this.#keys;
    const wanted = this.#wanted;
    let entry = this.#heads[bucket]!;
    for (; entry !== NONE; entry = this.#next[entry]!) {
      const at = entry * KEY;
      let i = 0;
      while (i < KEY && keys[at + i] === wanted[i]) i++;
      if (i === KEY) return entry;
    }
    return NONE;
  }

  #begin(bucket: number, nowMs: number): number {
    if (this.#begun - this.#ended === this.#capacity) {
      const oldest = this.#ended % this.#capacity;
      if (this.#deadline[oldest] !== 0) this.#end(oldest, drop['fragments-full']);
      this.#ended++;
    }
    const entry = this.#begun % this.#capacity;
    this.#begun++;
    this.#keys.set(this.#wanted, entry * KEY);
    this.#bucket[entry] = bucket;
    this.#next[entry] = this.#heads[bucket]!;
    this.#heads[bucket] = entry;
    this.#decision[entry] = UNDECIDED;
    this.#deadline[entry] = nowMs + this.#lifetimeMs;
    this.#first[entry] = NO_PACKET;
    return entry;
  }

  #end(entry: number, reason: number): void {
    let waiting = this.#first[entry]!;
    while (waiting !== NO_PACKET) {
      const follower = this.#follower[waiting]!;
      this.#follower[waiting] = NO_PACKET;
      this.#held--;
      this.#path.drop(waiting, reason);
      waiting = follower;
    }
    this.#remove(entry);
  }

  /** Out of its bucket; its place in the ring stays until its turn comes. */
  #remove(entry: number): void {
    const bucket = this.#bucket[entry]!;
    const next = this.#next[entry]!;
    let before = this.#heads[bucket]!;
    if (before === entry) this.#heads[bucket] = next;
    else {
      while (this.#next[before] !== entry) before = this.#next[before]!;
      this.#next[before] = next;
    }
    this.#deadline[entry] = 0;
    this.#first[entry] = NO_PACKET;
  }
}
