/**
 * A hash table in shared memory, open addressing, fixed capacity: read by every engine without a lock, written
 * under one. An entry is `stride` words: the key (2 or 5 words, the first never 0 nor -1), the value, and a check;
 * a second value word stands behind the value, or with 2-word keys in an array of its own.
 *
 * Readers and writers agree on this: the first key word of an entry is stored last, and while an entry changes or
 * moves it is CHANGING. The check is the key's hash and the value mixed, so an entry of which a reader saw two
 * halves is noticed without any atomic load (which V8 makes a call of). A new entry goes into an empty cell; all
 * other changes, removals among them, which move up what stood behind so that chains stay short, happen while the
 * version is odd. What isn't found at once is looked for again under one even version; if that doesn't come, for a
 * writer lost the processor, an entry that is whole is right.
 */

const LOCK = 0;
const COUNT = 1;
/** In a cache line of its own: new entries don't touch it. */
const VERSION = 16;
/** Words before the first entry. */
export const HEADER_WORDS = 32;

const EMPTY = 0;
const CHANGING = -1;

/** A change lasts some hundred nanoseconds. */
const FIND_TRIES = 100;

export const NOT_FOUND = -1;

export interface TableMemory {
  memory: SharedArrayBuffer;
  keyWords: 2 | 5;
  stride: 4 | 8;
}

export class Table {
  /** Second value word of the entry that `find` found last. */
  second = 0;

  readonly memory: SharedArrayBuffer;
  readonly capacity: number;
  readonly words: Int32Array;
  readonly keyWords: 2 | 5;
  readonly stride: 4 | 8;
  /** Cells − 1. */
  readonly mask: number;
  /** Word index of the second words of 2-word keys, one a cell. */
  readonly secondsAt: number;

  /** Shared memory for at least `entries` entries at a load of one half. */
  static allocate(entries: number, keyWords: 2 | 5): TableMemory {
    const stride = keyWords === 2 ? 4 : 8;
    const cells = 2 ** Math.ceil(Math.log2(Math.max(16, entries * 2)));
    return {
      memory: new SharedArrayBuffer(4 * (HEADER_WORDS + cells * cellWords(keyWords))),
      keyWords,
      stride,
    };
  }

  constructor({ memory, keyWords, stride }: TableMemory) {
    this.memory = memory;
    this.words = new Int32Array(memory);
    this.keyWords = keyWords;
    this.stride = stride;
    const cells = (this.words.length - HEADER_WORDS) / cellWords(keyWords);
    this.mask = cells - 1;
    this.secondsAt = HEADER_WORDS + cells * stride;
    this.capacity = cells / 2;
  }

  get shared(): TableMemory {
    return { memory: this.memory, keyWords: this.keyWords, stride: this.stride };
  }

  get size(): number {
    return this.words[COUNT]!;
  }

  /** The first value word of the entry, the second in `second`; NOT_FOUND otherwise. Value words are never negative. */
  find(k0: number, k1: number, k2 = 0, k3 = 0, k4 = 0): number {
    const { words } = this;
    const at = this.#locate(k0, k1, k2, k3, k4);
    if (at >= 0) {
      const value = words[at + this.keyWords]!;
      const second = words[this.#secondAt(at)]!;
      const mixed = hash(k0, k1, k2, k3, k4);
      if (
        words[at + this.stride - 1] === check(mixed, value, this.keyWords === 5 ? second : 0) &&
        (this.keyWords === 5 || this.#stands(at, value, second))
      ) {
        this.second = second;
        return value;
      }
    }
    return this.#findAgain(k0, k1, k2, k3, k4);
  }

  /** The same for 2-word keys, without the second word: the look-up of the packet path. */
  find2(k0: number, k1: number): number {
    const { words } = this;
    const mask = this.mask;
    const mixed = hash2(k0, k1);
    let at = HEADER_WORDS + ((mixed & mask) << 2);
    let first = words[at]!;
    // Nearly always the first or second cell; long chains are left to the slow path.
    if (first !== k0 || words[at + 1] !== k1) {
      at = HEADER_WORDS + (((mixed + 1) & mask) << 2);
      first = words[at]!;
    }
    if (first === k0 && words[at + 1] === k1) {
      const value = words[at + 2]!;
      if (words[at + 3] === (mixed ^ value)) return value;
    }
    return this.find(k0, k1);
  }

  #findAgain(k0: number, k1: number, k2: number, k3: number, k4: number): number {
    const { words } = this;
    for (let tries = 0; tries < FIND_TRIES; tries++) {
      const version = Atomics.load(words, VERSION);
      if ((version & 1) !== 0) continue;
      const at = this.#locate(k0, k1, k2, k3, k4);
      const value = at < 0 ? NOT_FOUND : words[at + this.keyWords]!;
      const second = at < 0 ? this.second : words[this.#secondAt(at)]!;
      if (Atomics.load(words, VERSION) === version) {
        this.second = second;
        return value;
      }
    }
    const at = this.#locate(k0, k1, k2, k3, k4);
    if (at < 0) return NOT_FOUND;
    const value = words[at + this.keyWords]!;
    const second = words[this.#secondAt(at)]!;
    if (Atomics.load(words, at) !== k0 || !this.#holds(at, k1, k2, k3, k4)) return NOT_FOUND;
    this.second = second;
    return value;
  }

  /** Word index of the entry, or -1. Without the lock a hint: the next removal may move the entry. */
  locate(k0: number, k1: number, k2 = 0, k3 = 0, k4 = 0): number {
    return this.#locate(k0, k1, k2, k3, k4);
  }

  #locate(k0: number, k1: number, k2: number, k3: number, k4: number): number {
    const { words, stride } = this;
    const mask = this.mask;
    let cell = hash(k0, k1, k2, k3, k4) & mask;
    for (let probes = 0; probes <= mask; probes++) {
      const at = HEADER_WORDS + cell * stride;
      const first = words[at]!;
      if (first === EMPTY) return -1;
      if (first === k0 && this.#holds(at, k1, k2, k3, k4)) return at;
      cell = (cell + 1) & mask;
    }
    return -1;
  }

  /** Whether the rest of the key stands there. */
  #holds(at: number, k1: number, k2: number, k3: number, k4: number): boolean {
    const { words } = this;
    if (words[at + 1] !== k1) return false;
    return this.keyWords === 2 || (words[at + 2] === k2 && words[at + 3] === k3 && words[at + 4] === k4);
  }

  /**
   * Whether both words of a 2-word key still are what was read, after the check: it doesn't cover the second one, and a
   * change writes value, second word and check in this order, so of two halves one has changed by now.
   */
  #stands(at: number, value: number, second: number): boolean {
    return this.words[at + 2] === value && this.words[this.#secondAt(at)] === second;
  }

  /** Value and second word of the entry at a word index. */
  valueAt(at: number): number {
    return this.words[at + this.keyWords]!;
  }

  secondAt(at: number): number {
    return this.words[this.#secondAt(at)]!;
  }

  /** A second word of a 2-word key may be set without the lock: at worst another entry gets it, which is moving here. */
  stampSecond(at: number, second: number): void {
    this.words[this.#secondAt(at)] = second;
  }

  #secondAt(at: number): number {
    return this.keyWords === 5 ? at + 6 : this.secondsAt + ((at - HEADER_WORDS) >> 2);
  }

  /** Takes the writer's lock if nobody has it. */
  tryLock(): boolean {
    return Atomics.compareExchange(this.words, LOCK, 0, 1) === 0;
  }

  unlock(): void {
    Atomics.store(this.words, LOCK, 0);
  }

  /**
   * Runs `change` under the lock. Writers hold it for less than a microsecond, so a lock that stays taken for
   * `patience` tries belongs to a thread that died, and is taken over.
   */
  locked<T>(change: () => T, patience = 50_000_000): T {
    for (let tries = 0; !this.tryLock() && tries < patience; tries++);
    Atomics.store(this.words, LOCK, 1);
    try {
      return change();
    } finally {
      this.unlock();
    }
  }

  /** Under the lock: sets an entry. False when the table is full. */
  set(key: ArrayLike<number>, value: number, second: number): boolean {
    const { words, stride } = this;
    const k0 = key[0]!;
    const found = this.#locate(k0, key[1]!, key[2] ?? 0, key[3] ?? 0, key[4] ?? 0);
    if (found >= 0) {
      if (this.valueAt(found) === value && this.secondAt(found) === second) return true;
      this.#beginChange();
      Atomics.store(words, found, CHANGING);
      this.#fill(found, key, value, second);
      Atomics.store(words, found, k0);
      this.#endChange();
      return true;
    }
    if (words[COUNT]! >= this.capacity) return false;
    let cell = hash(k0, key[1]!, key[2] ?? 0, key[3] ?? 0, key[4] ?? 0) & this.mask;
    let at = HEADER_WORDS + cell * stride;
    while (words[at] !== EMPTY) {
      cell = (cell + 1) & this.mask;
      at = HEADER_WORDS + cell * stride;
    }
    this.#fill(at, key, value, second);
    Atomics.store(words, at, k0);
    words[COUNT]!++;
    return true;
  }

  /** All of an entry but the first word of its key. */
  #fill(at: number, key: ArrayLike<number>, value: number, second: number): void {
    const { words, keyWords } = this;
    const mixed = hash(key[0]!, key[1]!, key[2] ?? 0, key[3] ?? 0, key[4] ?? 0);
    for (let i = 1; i < keyWords; i++) words[at + i] = key[i]!;
    words[at + keyWords] = value;
    words[this.#secondAt(at)] = second;
    words[at + this.stride - 1] = check(mixed, value, keyWords === 5 ? second : 0);
  }

  /** Under the lock: removes an entry; false when there was none. */
  remove(key: ArrayLike<number>): boolean {
    const at = this.#locate(key[0]!, key[1]!, key[2] ?? 0, key[3] ?? 0, key[4] ?? 0);
    if (at < 0) return false;
    this.removeAt(at);
    return true;
  }

  /** Under the lock: removes the entry at a word index, and moves up what would be cut off from its place (Knuth 6.4, R). */
  removeAt(at: number): void {
    const { words, stride } = this;
    const mask = this.mask;
    words[COUNT]!--;
    this.#beginChange();
    let hole = at;
    Atomics.store(words, hole, CHANGING);
    for (let cell = this.#cellAt(at); ; ) {
      cell = (cell + 1) & mask;
      const from = HEADER_WORDS + cell * stride;
      const first = words[from]!;
      if (first === EMPTY) break;
      if (first === CHANGING) continue; // the writer that was at it died
      const ahead = (cell - this.#home(from)) & mask;
      if (ahead < ((cell - this.#cellAt(hole)) & mask)) continue;
      words.copyWithin(hole + 1, from + 1, from + stride);
      if (this.keyWords === 2) this.stampSecond(hole, this.secondAt(from));
      Atomics.store(words, hole, first);
      Atomics.store(words, from, CHANGING);
      hole = from;
    }
    Atomics.store(words, hole, EMPTY);
    this.#endChange();
  }

  /** Word index of each entry, in no order. */
  *entries(): Generator<number> {
    const end = HEADER_WORDS + (this.mask + 1) * this.stride;
    for (let at = HEADER_WORDS; at < end; at += this.stride) {
      const first = this.words[at]!;
      if (first !== EMPTY && first !== CHANGING) yield at;
    }
  }

  #cellAt(at: number): number {
    return (at - HEADER_WORDS) / this.stride;
  }

  /** The cell where the entry at a word index would stand if it were alone. */
  #home(at: number): number {
    const { words } = this;
    const wide = this.keyWords === 5;
    const [k2, k3, k4] = wide ? [words[at + 2]!, words[at + 3]!, words[at + 4]!] : [0, 0, 0];
    return hash(words[at]!, words[at + 1]!, k2, k3, k4) & this.mask;
  }

  /** Odd, and another number than before, even if a writer died in the midst of a change. */
  #beginChange(): void {
    Atomics.store(this.words, VERSION, (this.words[VERSION]! & ~1) + 3);
  }

  #endChange(): void {
    Atomics.add(this.words, VERSION, 1);
  }
}

/** An entry, and for 2-word keys its second word apart. */
const cellWords = (keyWords: 2 | 5): number => (keyWords === 2 ? 5 : 8);

/** Mixes a key; all inputs are Int32, unused words 0. */
function hash(k0: number, k1: number, k2: number, k3: number, k4: number): number {
  if ((k2 | k3 | k4) === 0) return hash2(k0, k1);
  let h = Math.imul(k0 ^ Math.imul(k1, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ k2, 0xc2b2ae35) ^ (h >>> 15);
  h = Math.imul(h ^ k3, 0x27d4eb2f) ^ (h >>> 13);
  h = Math.imul(h ^ k4, 0x165667b1) ^ (h >>> 16);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return h ^ (h >>> 13);
}

/** Of a 2-word key: the cell where its entry begins to look for a place, after the mask. */
export function hash2(k0: number, k1: number): number {
  // The upper bits of k1 come down before the next product, for in memory's order MACs that count up differ in those.
  let h = Math.imul(k1, 0x9e3779b1);
  h = Math.imul(k0 ^ h ^ (h >>> 15), 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return h ^ (h >>> 13);
}

/** What stands in an entry's last word. */
function check(mixed: number, value: number, second: number): number {
  return mixed ^ value ^ Math.imul(second, 0x9e3779b1);
}
