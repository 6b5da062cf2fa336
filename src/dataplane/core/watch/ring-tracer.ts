/**
 * The tracer of one engine: takes its orders out of a control block that the main thread writes (core/watch/watch.ts)
 * and answers with records in rings, one ring a watcher and engine.
 *
 * Control block, Int32 cells: [0] version, odd while somebody writes; then a row for each watcher:
 * mode, snap length, generation, instruction count, and from cell 16 of the row the packed filter (core/watch/filter.ts).
 *
 * Record: time f64 (µs) @0, id i32 @8, hop i32 @12 (HOP_DROP for a drop), value i32 @16 (the reason of a drop),
 * length i32 @20, generation of the watcher i32 @24, first bytes of the frame @32.
 */

import type { Pool } from '../pool.js';
import { hop as hops, type Tracer } from '../tracer.js';
import { FILTER_CELLS, FILTER_INSTRUCTIONS_MAX, Filter } from './filter.js';
import { NONE, Ring, ringMemory } from './ring.js';

export const WATCHERS_MAX = 4;

export const MODE_OFF = 0;
export const MODE_TRACE = 1; // every hop of a matching packet
export const MODE_CAPTURE = 2; // only the frame as it enters

export const CONTROL_ROW_AT = 16;
export const ROW_MODE = 0;
export const ROW_SNAP_LENGTH = 1;
export const ROW_GENERATION = 2;
export const ROW_INSTRUCTIONS = 3;
export const ROW_FILTER = 16;
export const CONTROL_ROW = ROW_FILTER + FILTER_INSTRUCTIONS_MAX * FILTER_CELLS;

export const HOP_DROP = -1;
export const RECORD_ID = 8;
export const RECORD_HOP = 12;
export const RECORD_VALUE = 16;
export const RECORD_LENGTH = 20;
export const RECORD_GENERATION = 24;
export const RECORD_FRAME = 32;

/** What the main thread and the engines share for watching; handed to each engine when it starts. */
export interface WatchMemory {
  control: SharedArrayBuffer;
  /** the ring of engine e for watcher w is number e × WATCHERS_MAX + w */
  rings: SharedArrayBuffer[];
}

/** @param ringBytes a power of two; pages that no record has reached take no memory */
export function watchMemory(engines: number, ringBytes: number = 1 << 22): WatchMemory {
  return {
    control: new SharedArrayBuffer(4 * (CONTROL_ROW_AT + WATCHERS_MAX * CONTROL_ROW)),
    rings: Array.from({ length: engines * WATCHERS_MAX }, () => ringMemory(ringBytes)),
  };
}

/** A packet's `trace` is its number, and below that a bit for each watcher that follows it. */
const NUMBER_BITS = 26;
const NUMBER_MASK = 2 ** NUMBER_BITS - 1;
/** How many of the packets matched last are remembered with the length of their frame. */
const REMEMBERED = 1024;

export class RingTracer implements Tracer {
  active = false;

  readonly #pool: Pool;
  readonly #clock: () => number;
  readonly #control: Int32Array;
  readonly #rings: Ring[];
  #version = 0;

  readonly #modes = new Int32Array(WATCHERS_MAX);
  readonly #snapLengths = new Int32Array(WATCHERS_MAX);
  readonly #generations = new Int32Array(WATCHERS_MAX);
  readonly #filters: Filter[];
  /** The last number given before the watcher came: older packets aren't his. */
  readonly #before = new Int32Array(WATCHERS_MAX);

  #number = 0;
  readonly #traceOf = new Int32Array(REMEMBERED);
  readonly #frameLengthOf = new Int32Array(REMEMBERED);

  /** @param clock microseconds since the epoch */
  constructor(pool: Pool, memory: WatchMemory, engine: number, clock: () => number) {
    this.#pool = pool;
    this.#clock = clock;
    this.#control = new Int32Array(memory.control);
    const first = engine * WATCHERS_MAX;
    this.#rings = memory.rings.slice(first, first + WATCHERS_MAX).map((ring) => new Ring(ring));
    this.#filters = this.#rings.map(() => new Filter(new Int32Array(0)));
  }

  refresh(): void {
    const version = Atomics.load(this.#control, 0);
    if (version !== this.#version && (version & 1) === 0) this.#takeOrders(version);
  }

  match(packet: number, hop: number, value: number): void {
    const { bytes, offset, length, trace } = this.#pool;
    const at = offset[packet]!;
    const frameLength = length[packet]!;
    let followers = 0;
    for (let w = 0; w < WATCHERS_MAX; w++) {
      const mode = this.#modes[w]!;
      if (mode === MODE_OFF || this.#filters[w]!.run(bytes, at, frameLength) === 0) continue;
      if (mode === MODE_TRACE) followers |= 1 << w;
      else this.#record(w, this.#clock(), 0, hop, value, at, frameLength);
    }
    if (followers === 0) return;
    this.#number = this.#number === NUMBER_MASK ? 1 : this.#number + 1;
    const id = (this.#number << WATCHERS_MAX) | followers;
    trace[packet] = id;
    this.#traceOf[this.#number % REMEMBERED] = id;
    this.#frameLengthOf[this.#number % REMEMBERED] = frameLength;
    this.note(packet, hop, value);
  }

  note(packet: number, hop: number, value: number): void {
    const id = this.#pool.trace[packet]!;
    const number = id >>> WATCHERS_MAX;
    const outer = hop === hops.encap || hop === hops['underlay.transmit'] || hop === HOP_DROP;
    const skip = outer ? this.#outerLength(packet, id) : 0;
    const at = this.#pool.offset[packet]! + skip;
    const length = this.#pool.length[packet]! - skip;
    const time = this.#clock();
    for (let w = 0; w < WATCHERS_MAX; w++) {
      if ((id & (1 << w)) === 0 || this.#modes[w] !== MODE_TRACE) continue;
      const since = (number - this.#before[w]!) & NUMBER_MASK;
      if (since !== 0 && since <= NUMBER_MASK >> 1) this.#record(w, time, number, hop, value, at, length);
    }
  }

  dropped(packet: number, reason: number): void {
    this.note(packet, HOP_DROP, reason);
  }

  /** How many bytes of outer headers stand before the frame by now: the packet has grown by them since it entered. */
  #outerLength(packet: number, id: number): number {
    const i = (id >>> WATCHERS_MAX) % REMEMBERED;
    if (this.#traceOf[i] !== id) return 0;
    return Math.max(0, this.#pool.length[packet]! - this.#frameLengthOf[i]!);
  }

  #record(
    watcher: number,
    time: number,
    id: number,
    hop: number,
    value: number,
    at: number,
    length: number,
  ): void {
    const ring = this.#rings[watcher]!;
    const kept = Math.min(length, this.#snapLengths[watcher]!, ring.recordMax - RECORD_FRAME);
    const to = ring.reserve(RECORD_FRAME + kept);
    if (to === NONE) return;
    ring.doubles[to >> 3] = time;
    ring.words[(to + RECORD_ID) >> 2] = id;
    ring.words[(to + RECORD_HOP) >> 2] = hop;
    ring.words[(to + RECORD_VALUE) >> 2] = value;
    ring.words[(to + RECORD_LENGTH) >> 2] = length;
    ring.words[(to + RECORD_GENERATION) >> 2] = this.#generations[watcher]!;
    ring.bytes.set(this.#pool.bytes.subarray(at, at + kept), to + RECORD_FRAME);
    ring.commit();
  }

  /** Installs the orders, unless they change while they are read: then the next turn finds them. */
  #takeOrders(version: number): void {
    const control = this.#control;
    const rows = Array.from({ length: WATCHERS_MAX }, (_, w) => {
      const row = CONTROL_ROW_AT + w * CONTROL_ROW;
      const cells = control[row + ROW_INSTRUCTIONS]! * FILTER_CELLS;
      return { header: control.slice(row, row + ROW_FILTER), row, cells };
    });
    const programs = rows.map(({ row, cells }) => control.slice(row + ROW_FILTER, row + ROW_FILTER + cells));
    if (Atomics.load(control, 0) !== version) return;
    this.#version = version;
    this.active = false;
    rows.forEach(({ header }, w) => {
      this.#modes[w] = header[ROW_MODE]!;
      if (header[ROW_MODE] !== MODE_OFF) this.active = true;
      if (header[ROW_GENERATION] === this.#generations[w]) return;
      this.#generations[w] = header[ROW_GENERATION]!;
      this.#snapLengths[w] = header[ROW_SNAP_LENGTH]!;
      this.#filters[w] = new Filter(programs[w]!);
      this.#before[w] = this.#number;
    });
  }
}
