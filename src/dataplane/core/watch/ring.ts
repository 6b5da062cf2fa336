/**
 * A ring of byte records in shared memory, from one producer (an engine's thread) to one consumer (the main
 * thread). Neither waits: a record that finds no room is counted as lost.
 *
 *     0        64       128
 *     | head   | tail   | records ...                    capacity, a power of two |
 *     | lost   |        |
 *
 * head and tail count bytes for ever (mod 2^32), so head - tail is what waits. Each stands in a cache line of its
 * own, for each has one writer. A record is its length (Int32), four unused bytes, and its bytes, padded to a
 * multiple of 8; it never wraps: where the end is too near, a length of SKIP sends the reader to the beginning.
 */
const HEAD = 0;
const LOST = 1;
const TAIL = 16;
const RECORDS_AT = 128;
const PREFIX = 8;
const SKIP = -1;

/** What `reserve` and `peek` return when there is no room, no record. */
export const NONE = -1;

/** Memory for a ring. @param capacity bytes, a power of two from 64 to 2^30 */
export function ringMemory(capacity: number): SharedArrayBuffer {
  if (capacity < 64 || capacity > 2 ** 30 || (capacity & (capacity - 1)) !== 0)
    throw new RangeError(`A ring's capacity is a power of two from 64 to 2^30, not ${capacity}.`);
  return new SharedArrayBuffer(RECORDS_AT + capacity);
}

export class Ring {
  /** The whole memory: records are written and read in place, at the byte offsets that `reserve` and `peek` return. */
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** Every record up to this many bytes fits an empty ring; a longer one may never. */
  readonly recordMax: number;
  /** Length of the record that `peek` returned last. */
  length = 0;

  readonly #capacity: number;
  /** Producer: head once the reserved record is committed. Consumer: tail once the peeked one is released. */
  #next = 0;

  constructor(memory: SharedArrayBuffer) {
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.doubles = new Float64Array(memory);
    this.#capacity = memory.byteLength - RECORDS_AT;
    this.recordMax = this.#capacity / 2 - PREFIX;
  }

  /** Producer: room for a record, a multiple of 8 into `bytes`; it is the consumer's after `commit`. NONE counts it as lost. */
  reserve(length: number): number {
    const need = (PREFIX + length + 7) & ~7;
    const head = this.words[HEAD]!; // this side is its only writer
    const room = this.#capacity - ((head - Atomics.load(this.words, TAIL)) | 0);
    let at = head & (this.#capacity - 1);
    let skipped = this.#capacity - at;
    if (skipped >= need) skipped = 0;
    if (need + skipped > room) {
      Atomics.add(this.words, LOST, 1);
      return NONE;
    }
    if (skipped !== 0) {
      this.words[(RECORDS_AT + at) >> 2] = SKIP;
      at = 0;
    }
    this.words[(RECORDS_AT + at) >> 2] = length;
    this.#next = (head + skipped + need) | 0;
    return RECORDS_AT + at + PREFIX;
  }

  commit(): void {
    Atomics.store(this.words, HEAD, this.#next);
  }

  /** Consumer: where the oldest record begins in `bytes`, with `length` set; it stays until `release`. NONE when empty. */
  peek(): number {
    let tail = this.words[TAIL]!;
    if (Atomics.load(this.words, HEAD) === tail) return NONE;
    let at = tail & (this.#capacity - 1);
    if (this.words[(RECORDS_AT + at) >> 2] === SKIP) {
      tail = (tail + this.#capacity - at) | 0;
      at = 0;
    }
    this.length = this.words[(RECORDS_AT + at) >> 2]!;
    this.#next = (tail + ((PREFIX + this.length + 7) & ~7)) | 0;
    return RECORDS_AT + at + PREFIX;
  }

  release(): void {
    Atomics.store(this.words, TAIL, this.#next);
  }

  /** Consumer: forgets what waits. */
  clear(): void {
    Atomics.store(this.words, TAIL, Atomics.load(this.words, HEAD));
  }

  /** Records that found no room, since the ring's memory was made (mod 2^32). */
  get lost(): number {
    return Atomics.load(this.words, LOST) >>> 0;
  }
}
