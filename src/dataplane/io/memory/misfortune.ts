/**
 * Seeded misfortune on a wire in memory: what befalls a packet, and the packets that are on their way meanwhile.
 * Time is counted in ticks: virtual milliseconds where a clock is given, otherwise turns (calls of `receive`).
 */
import type { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { CHECKSUM_UNFINISHED, CHECKSUM_VERIFIED, type Pool } from '../../core/pool.js';
import { Random } from '../../core/random.js';

/** What befalls the packets of one direction. Probabilities are 0 to 1, and 0 unless given. */
export interface Faults {
  loss?: number;
  duplicate?: number;
  /** probability that a packet is held back for `hold` ticks, while later ones pass */
  reorder?: number;
  /** 1 unless given */
  hold?: number;
  /** ticks that every packet takes */
  latency?: number;
  /** probability that one bit is flipped */
  corrupt?: number;
}

/** The decisions of one direction, the same ones for the same seed and packets. */
export class Dice {
  readonly #faults: Required<Faults>;
  readonly #random: Random;

  constructor(faults: Faults, seed: number) {
    this.#faults = { loss: 0, duplicate: 0, reorder: 0, hold: 1, latency: 0, corrupt: 0, ...faults };
    this.#random = new Random(seed);
  }

  lost(): boolean {
    return this.#random.chance(this.#faults.loss);
  }

  duplicated(): boolean {
    return this.#random.chance(this.#faults.duplicate);
  }

  /** Ticks until the packet arrives. */
  delay(): number {
    const { latency, reorder, hold } = this.#faults;
    return this.#random.chance(reorder) ? latency + hold : latency;
  }

  /** Perhaps flips a bit. A packet whose checksum is unfinished is spared: nobody could notice, and no wire carries such. */
  corrupt(pool: Pool, packet: number): void {
    if (!this.#random.chance(this.#faults.corrupt)) return;
    if (pool.length[packet] === 0 || (pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) return;
    const bit = this.#random.below(8 * pool.length[packet]!);
    pool.bytes[pool.offset[packet]! + (bit >> 3)]! ^= 1 << (bit & 7);
    pool.offload[packet]! &= ~CHECKSUM_VERIFIED;
  }
}

/** Packets on their way, in order of arrival; those that arrive at the same time in the order they were sent. */
export class Delayed {
  readonly #packets: Int32Array;
  readonly #due: Float64Array;
  #first = 0;
  #end = 0;

  /** @param capacity at least the packets of the pool, so that it never overflows */
  constructor(capacity: number) {
    this.#packets = new Int32Array(2 * capacity);
    this.#due = new Float64Array(2 * capacity);
  }

  get count(): number {
    return this.#end - this.#first;
  }

  push(packet: number, due: number): void {
    if (this.#end === this.#packets.length) {
      this.#packets.copyWithin(0, this.#first, this.#end);
      this.#due.copyWithin(0, this.#first, this.#end);
      this.#end -= this.#first;
      this.#first = 0;
    }
    let i = this.#end++;
    for (; i > this.#first && this.#due[i - 1]! > due; i--) {
      this.#packets[i] = this.#packets[i - 1]!;
      this.#due[i] = this.#due[i - 1]!;
    }
    this.#packets[i] = packet;
    this.#due[i] = due;
  }

  /** Moves what has arrived by `now` to `into`, as far as it has room. */
  take(now: number, into: Batch): void {
    while (this.#first < this.#end && this.#due[this.#first]! <= now && into.room > 0)
      into.push(this.#packets[this.#first++]!);
    if (this.#first === this.#end) this.#first = this.#end = 0;
  }

  drop(path: Path): void {
    for (let i = this.#first; i < this.#end; i++) path.drop(this.#packets[i]!, drop['device-closed']);
    this.#first = this.#end = 0;
  }
}
