/**
 * Runs: packets of a batch that will leave in one system call. They may be interleaved with those of other flows; a
 * few runs are kept open at a time, and at the end each run lies in the batch where its first packet lay.
 *
 * Order: a packet joins only an open run, and whoever finds that a packet doesn't fit its flow's run closes that
 * before beginning another. So packets with one key never change places.
 */
import type { Batch } from '../../core/batch.js';

/** Runs open at a time; more flows than that in turn, and the oldest is closed. */
export const OPEN_RUNS = 8;

const NONE = -1;

export class Runs {
  /** Of each open run: its first packet, and how many there are. */
  readonly first = new Int32Array(OPEN_RUNS);
  readonly count = new Int32Array(OPEN_RUNS);
  /** How many packets joined a run that another began; 0: the batch is as it was. */
  joined = 0;
  /** Runs and lone packets, in the order in which they began. */
  groups = 0;
  readonly #key = new Int32Array(OPEN_RUNS);
  readonly #last = new Int32Array(OPEN_RUNS);
  readonly #next: Int32Array;
  readonly #heads: Int32Array;
  #oldest = 0;
  #open = 0;

  /** @param packets how many packets the pool has */
  constructor(packets: number) {
    this.#next = new Int32Array(packets);
    this.#heads = new Int32Array(packets);
  }

  begin(): void {
    this.joined = 0;
    this.groups = 0;
    this.closeAll();
  }

  /** The first open run with this key from `from` on, or -1. Keys may collide: the caller compares, and asks again. */
  find(key: number, from = 0): number {
    if (this.#open === 0) return NONE;
    for (let run = from; run < OPEN_RUNS; run++) {
      if (this.#key[run] === key && this.count[run] !== 0) return run;
    }
    return NONE;
  }

  /** A packet that no other joins. */
  alone(packet: number): void {
    this.#next[packet] = NONE;
    this.#heads[this.groups++] = packet;
  }

  /** Begins a run. */
  open(key: number, packet: number): number {
    this.alone(packet);
    let run = this.#oldest;
    if (this.#open === OPEN_RUNS) this.#oldest = (run + 1) % OPEN_RUNS;
    else {
      while (this.count[run] !== 0) run = (run + 1) % OPEN_RUNS;
      this.#open++;
    }
    this.#key[run] = key;
    this.first[run] = packet;
    this.#last[run] = packet;
    this.count[run] = 1;
    return run;
  }

  join(run: number, packet: number): void {
    this.#next[packet] = NONE;
    this.#next[this.#last[run]] = packet;
    this.#last[run] = packet;
    this.count[run]++;
    this.joined++;
  }

  close(run: number): void {
    if (this.count[run] !== 0) this.#open--;
    this.count[run] = 0;
  }

  closeAll(): void {
    if (this.#open !== 0) this.count.fill(0);
    this.#open = 0;
  }

  /** Puts the batch in order, runs adjacent. `ends[i]` is the index behind the i-th group. */
  arrange(batch: Batch, ends: Int32Array): void {
    let at = 0;
    for (let group = 0; group < this.groups; group++) {
      for (let packet = this.#heads[group]; packet !== NONE; packet = this.#next[packet]) {
        batch.packets[at++] = packet;
      }
      ends[group] = at;
    }
  }
}
