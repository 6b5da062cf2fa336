/**
 * What some connections need beyond their record: how far helpers have shifted sequence numbers, what a persistence
 * engine goes by. Rows of a slab in shared memory, taken and freed under the lock of the connections; the record's
 * EXTRA is 1 + the row.
 */

/** Words of a row. */
export const SHIFT_TO_SERVER = 0; // initial, delta, previous, 1 when used: of what the client sends (sequence.ts)
export const SHIFT_TO_CLIENT = 4;
export const HELPER = 8; // four words of the helper's own: HELPER_FLAGS, HELPER_CONTROLLER
export const HELPER_FLAGS = HELPER; // EXPECTED, and bits of the helper
export const HELPER_CONTROLLER = HELPER + 1; // 1 + the connection that announced this one, 0: none
export const ENGINE_LENGTH = 12; // bytes of what the persistence engine goes by
const WORDS = 80;
/** Where in the row's bytes those are; at most 255 (IP_VS_PEDATA_MAXLEN). */
export const ENGINE_DATA = 4 * 13;

export const NO_EXTRA = -1;

/** Of a connection that was announced and has not begun: one of its ports is 0, for nobody knows it yet. */
export const EXPECTED = 1;

/** Header words. */
const HIGH_WATER = 0; // rows ever used
const FREE_HEAD = 1; // 1 + row, 0: none
const COUNT = 2;
const EXPECTATIONS = 3;
const HEADER_WORDS = 16;

export class Extras {
  readonly capacity: number;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly #header: Int32Array;

  /** The pages are the system's until they are used. */
  static allocate(rows: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (HEADER_WORDS + rows * WORDS));
  }

  constructor(memory: SharedArrayBuffer) {
    this.capacity = Math.floor((memory.byteLength / 4 - HEADER_WORDS) / WORDS);
    this.#header = new Int32Array(memory, 0, HEADER_WORDS);
    this.words = new Int32Array(memory, 4 * HEADER_WORDS);
    this.bytes = new Uint8Array(memory, 4 * HEADER_WORDS);
  }

  /** Rows in use. */
  get size(): number {
    return this.#header[COUNT]!;
  }

  /** Connections that are expected: while there are none, nobody needs to look for one. */
  get expectations(): number {
    return this.#header[EXPECTATIONS]!;
  }

  /** Under the lock: the row's connection is expected from now on, or no longer. */
  setExpected(row: number, expected: boolean): void {
    const at = row * WORDS + HELPER_FLAGS;
    const flags = this.words[at]!;
    if (((flags & EXPECTED) !== 0) === expected) return;
    this.words[at] = flags ^ EXPECTED;
    this.#header[EXPECTATIONS]! += expected ? 1 : -1;
  }

  /** Index of the row's first word; four times it is that of its first byte. */
  at(row: number): number {
    return row * WORDS;
  }

  /** Under the lock: a row of zeros; NO_EXTRA when all are in use. */
  take(): number {
    const header = this.#header;
    let row = header[FREE_HEAD]! - 1;
    if (row >= 0) header[FREE_HEAD] = this.words[row * WORDS]!;
    else if (header[HIGH_WATER] === this.capacity) return NO_EXTRA;
    else row = header[HIGH_WATER]!++;
    this.words.fill(0, row * WORDS, (row + 1) * WORDS);
    header[COUNT]!++;
    return row;
  }

  /** Under the lock. */
  free(row: number): void {
    const header = this.#header;
    this.setExpected(row, false);
    this.words[row * WORDS] = header[FREE_HEAD]!;
    header[FREE_HEAD] = row + 1;
    header[COUNT]!--;
  }
}
