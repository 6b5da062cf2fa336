import { NO_PACKET, type Pool, SLOT_BYTES } from '../core/pool.js';

/**
 * Empty packets kept ready for the next receive, so that a lone packet doesn't pay for taking and freeing a whole
 * batch. One for all devices of an engine. What a receive has used up is replaced from the pool's top, where the
 * packets freed last, still warm in the cache, lie.
 */
export class Posted {
  readonly list: Int32Array;
  readonly #pool: Pool;
  /** list[#from .. #to) are ready; list[0 .. #from) have been used up. */
  #from = 0;
  #to = 0;

  constructor(pool: Pool, capacity: number) {
    this.#pool = pool;
    this.list = new Int32Array(capacity);
  }

  /** Makes list[0 .. result) ready, at most `want`, each beginning at `at` in its slot. */
  prepare(want: number, at: number): number {
    const { list } = this;
    const pool = this.#pool;
    while (this.#from > 0) {
      const packet = pool.take();
      if (packet === NO_PACKET) break;
      list[--this.#from] = packet;
    }
    if (this.#from > 0) {
      list.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    while (this.#to < want) {
      const packet = pool.take();
      if (packet === NO_PACKET) break;
      list[this.#to++] = packet;
    }
    const count = Math.min(want, this.#to);
    for (let i = 0; i < count; i++) pool.offset[list[i]!] = pool.slot[list[i]!]! * SLOT_BYTES + at;
    return count;
  }

  /** list[0 .. count), as prepared last, belong to the receiver from now on. */
  consume(count: number): void {
    this.#from = count;
  }

  release(): void {
    while (this.#to > this.#from) this.#pool.free(this.list[--this.#to]!);
    this.#from = 0;
    this.#to = 0;
  }
}

/** Arrivals of this size and more on average are super-packets or glued; some of them fill the cache. */
const LARGE_BYTES = 8192;
const LARGE_BATCH = 8;

/** How many packets the next receive should ask for, after one that brought `count` with `bytes` in all; at most `most`. */
export function nextReceive(count: number, bytes: number, most: number): number {
  return bytes >= count * LARGE_BYTES ? Math.min(LARGE_BATCH, most) : most;
}
