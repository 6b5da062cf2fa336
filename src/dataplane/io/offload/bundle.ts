import type { Batch } from '../../core/batch.js';
import type { Path } from '../../core/path.js';
import { OPEN_RUNS, Runs } from './runs.js';

/** What one segmented send may have: segments, and bytes of UDP payload (the kernel's bounds). */
export const MAX_SEGMENTS = 64;
export const MAX_BYTES = 65_507;

/** Toward the underlay: same-size datagrams of one flow to one VTEP leave in one segmented send. */
export class Bundler {
  readonly #path: Path;
  readonly #runs: Runs;
  readonly #ends: Int32Array;
  /** Of each open run: bytes of its first packet, its ECN field, and bytes of the send as a whole. */
  readonly #size = new Int32Array(OPEN_RUNS);
  readonly #ecn = new Int32Array(OPEN_RUNS);
  readonly #total = new Int32Array(OPEN_RUNS);

  constructor(path: Path) {
    this.#path = path;
    this.#runs = new Runs(path.pool.packets);
    this.#ends = new Int32Array(path.pool.packets);
  }

  /**
   * Makes packets of one (vtep, flow) adjacent, where they have one ECN field and one length (the last may be shorter), and
   * sets `bundle` and `bundleSkip` of the first. Packets with `segment` > 0 stay alone, and end the run of their flow.
   * Checksums are the caller's: each datagram of a bundle must leave finished.
   * @param maxBytes of one send, `skip` counted once
   * @param skip header bytes that only the first packet of a bundle keeps
   */
  bundle(batch: Batch, maxSegments: number, maxBytes: number, skip = 0): void {
    if (batch.count < 2) return;
    const { pool, counters } = this.#path;
    const runs = this.#runs;
    const ends = this.#ends;

    // 1. Runs.
    runs.begin();
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i];
      // `flow` counts source ports by now, of which there are fewer.
      const key = (pool.vtep[packet] << 14) | pool.flow[packet];
      const length = pool.length[packet];
      const run = runs.find(key);
      if (pool.segment[packet] !== 0 || length <= skip) {
        if (run >= 0) runs.close(run);
        runs.alone(packet);
        continue;
      }
      if (run >= 0) {
        const total = this.#total[run] + length - skip;
        const alike = length <= this.#size[run] && pool.ecn[packet] === this.#ecn[run];
        if (alike && total <= maxBytes && runs.count[run] < maxSegments) {
          runs.join(run, packet);
          this.#total[run] = total;
          if (length < this.#size[run]) runs.close(run);
          continue;
        }
        runs.close(run);
      }
      const opened = runs.open(key, packet);
      this.#size[opened] = length;
      this.#ecn[opened] = pool.ecn[packet];
      this.#total[opened] = length;
    }
    if (runs.joined === 0) return;

    // 2. Marks.
    runs.arrange(batch, ends);
    for (let group = 0, at = 0; group < runs.groups; at = ends[group++]) {
      const count = ends[group] - at;
      if (count < 2) continue;
      pool.bundle[batch.packets[at]] = count;
      pool.bundleSkip[batch.packets[at]] = skip;
      counters.add('bundlesSent');
      counters.add('bundledPackets', count);
    }
  }
}
