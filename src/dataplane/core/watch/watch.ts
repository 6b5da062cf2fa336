/** The main thread's side of tracing and capturing: gives the engines their orders and reads what they recorded. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DROPS, type DropReason } from '../drops.js';
import { HOPS, type Hop } from '../tracer.js';
import { FILTER_CELLS, type FilterInstruction, packFilter } from './filter.js';
import { NONE, Ring } from './ring.js';
import {
  CONTROL_ROW,
  CONTROL_ROW_AT,
  HOP_DROP,
  MODE_CAPTURE,
  MODE_OFF,
  MODE_TRACE,
  RECORD_FRAME,
  RECORD_GENERATION,
  RECORD_HOP,
  RECORD_ID,
  RECORD_LENGTH,
  RECORD_VALUE,
  ROW_FILTER,
  ROW_GENERATION,
  ROW_INSTRUCTIONS,
  ROW_MODE,
  ROW_SNAP_LENGTH,
  WATCHERS_MAX,
  type WatchMemory,
} from './ring-tracer.js';

/** Between two looks at the rings, while somebody watches. */
const POLL_MS = 20;
const SNAP_LENGTH_MAX = 262_144;

export interface WatchOptions {
  /** compiled pcap filter over Ethernet frames; empty: everything */
  filter: FilterInstruction[];
  /** bytes of each frame to keep */
  snapLength: number;
}

/** A captured frame: as the workload sent or receives it (super-packets whole). */
export interface CapturedFrame {
  time: number;
  frame: Uint8Array;
  length: number;
}

/** One hop of one traced packet. */
export interface TraceEvent {
  /** id that all hops of the packet share */
  packet: number;
  /** seconds since the epoch, with microseconds */
  time: number;
  hop: Hop | 'drop';
  /** where: interface, VTEP, VNI, source port or drop reason, as the hop has it */
  detail: string;
  /** first bytes of the frame, for decoding */
  frame: Uint8Array;
  length: number;
}

/** A hop as the engine recorded it, before ports and VTEPs have names. */
export interface RawHop {
  hop: Hop | 'drop';
  /** what core/tracer.ts says of the hop; the reason's code for a drop */
  value: number;
  /** why it was dropped */
  reason: DropReason | undefined;
}

/** What a watcher sees, once over. Ends when its signal fires, after what had been recorded until then. */
export interface Watch<T> extends AsyncIterable<T> {
  /** records that found the ring full, so far */
  readonly lost: number;
}

export class WatchersBusyError extends Error {
  readonly code = 'WATCHERS_BUSY';
}

interface Row {
  engine: number;
  time: number;
  id: number;
  hop: number;
  value: number;
  length: number;
  frame: Uint8Array;
}

export class Watchers {
  readonly #control: Int32Array;
  readonly #rings: Ring[];
  readonly #engines: number;
  readonly #taken: boolean[] = new Array(WATCHERS_MAX).fill(false);
  #generation = 0;

  constructor(memory: WatchMemory) {
    this.#control = new Int32Array(memory.control);
    this.#rings = memory.rings.map((ring) => new Ring(ring));
    this.#engines = memory.rings.length / WATCHERS_MAX;
  }

  /**
   * Every hop of each packet that matches, in order of time. Throws FilterError or WatchersBusyError.
   * @param describe the text of an event's `detail`
   */
  trace(options: WatchOptions, describe: (raw: RawHop) => string, signal: AbortSignal): Watch<TraceEvent> {
    return this.#watch(MODE_TRACE, options, signal, (row) => {
      const dropped = row.hop === HOP_DROP;
      const hop = dropped ? 'drop' : HOPS[row.hop]!;
      const reason = dropped ? DROPS[row.value]![0] : undefined;
      return {
        packet: row.id * this.#engines + row.engine,
        time: row.time / 1e6,
        hop,
        detail: describe({ hop, value: row.value, reason }),
        frame: row.frame,
        length: row.length,
      };
    });
  }

  /** Each frame that matches, once, as it entered. Throws as `trace`. */
  capture(options: WatchOptions, signal: AbortSignal): Watch<CapturedFrame> {
    return this.#watch(MODE_CAPTURE, options, signal, ({ time, frame, length }) => ({
      time: time / 1e6,
      frame,
      length,
    }));
  }

  #watch<T>(mode: number, options: WatchOptions, signal: AbortSignal, decode: (row: Row) => T): Watch<T> {
    const program = packFilter(options.filter);
    const watcher = this.#taken.indexOf(false);
    if (watcher < 0)
      throw new WatchersBusyError(`${WATCHERS_MAX} watchers are at work already; end one of them.`);
    this.#taken[watcher] = true;
    const rings = this.#rings.filter((_, i) => i % WATCHERS_MAX === watcher);
    const generation = ++this.#generation;
    for (const ring of rings) ring.clear();
    const before = rings.map((ring) => ring.lost);
    const lost = () => rings.reduce((sum, ring, i) => sum + ((ring.lost - before[i]!) >>> 0), 0);
    const look = () =>
      rings.flatMap((ring, engine) => drain(ring, engine, generation)).sort((a, b) => a.time - b.time);
    const snapLength = Math.max(0, Math.min(Math.trunc(options.snapLength), SNAP_LENGTH_MAX));
    this.#order(watcher, mode, snapLength, generation, program);

    /** What was left when the watch ended; its place is free from then on. */
    let rest: Row[] | undefined;
    let lostInAll = 0;
    const end = () => {
      if (rest !== undefined) return;
      this.#order(watcher, MODE_OFF, 0, generation);
      rest = look();
      lostInAll = lost();
      this.#taken[watcher] = false;
      signal.removeEventListener('abort', end);
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);

    async function* read(): AsyncGenerator<T, void, undefined> {
      try {
        while (rest === undefined) {
          for (const row of look()) yield decode(row);
          await sleep(POLL_MS, undefined, { signal }).catch(() => {});
        }
        for (const row of rest.splice(0)) yield decode(row);
      } finally {
        end();
      }
    }
    return {
      get lost() {
        return rest === undefined ? lost() : lostInAll;
      },
      [Symbol.asyncIterator]: read,
    };
  }

  /** Writes a watcher's row of the control block; the version is odd meanwhile. */
  #order(watcher: number, mode: number, snapLength: number, generation: number, program?: Int32Array): void {
    const row = CONTROL_ROW_AT + watcher * CONTROL_ROW;
    Atomics.add(this.#control, 0, 1);
    this.#control[row + ROW_MODE] = mode;
    this.#control[row + ROW_SNAP_LENGTH] = snapLength;
    this.#control[row + ROW_GENERATION] = generation;
    this.#control[row + ROW_INSTRUCTIONS] = (program?.length ?? 0) / FILTER_CELLS;
    if (program !== undefined) this.#control.set(program, row + ROW_FILTER);
    Atomics.add(this.#control, 0, 1);
  }
}

/** What a ring holds, without what its engine recorded for an earlier watcher. */
function drain(ring: Ring, engine: number, generation: number): Row[] {
  const rows: Row[] = [];
  for (let at = ring.peek(); at !== NONE; at = ring.peek()) {
    const { words } = ring;
    if (words[(at + RECORD_GENERATION) >> 2] === generation)
      rows.push({
        engine,
        time: ring.doubles[at >> 3]!,
        id: words[(at + RECORD_ID) >> 2]!,
        hop: words[(at + RECORD_HOP) >> 2]!,
        value: words[(at + RECORD_VALUE) >> 2]!,
        length: words[(at + RECORD_LENGTH) >> 2]!,
        frame: Uint8Array.from(ring.bytes.subarray(at + RECORD_FRAME, at + ring.length)),
      });
    ring.release();
  }
  return rows;
}
