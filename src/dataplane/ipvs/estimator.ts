/**
 * Rates as IPVS estimates them (net/netfilter/ipvs/ip_vs_est.c): every two seconds a quarter of what was counted in
 * them goes into the average, so that it tells of about the last eight. In whole numbers, scaled by 2^10 for
 * connections and packets and by 2^5 for bytes, shifted as the kernel shifts; the kernel's words have 64 bits, and
 * 53 take rates up to 2^47 bytes a second.
 */
import { FIELDS, IN_BYTES } from './traffic.js';

export const ESTIMATE_MS = 2_000;

/** Of each field: what a count within two seconds is times, as a rate; what rates are scaled by; what rounds them up. */
const byField = (packets: number, bytes: number): readonly number[] =>
  Array.from({ length: FIELDS }, (_, field) => (field < IN_BYTES ? packets : bytes));
const PER_COUNT = byField(1 << 9, 1 << 4);
const SCALE = byField(1 << 10, 1 << 5);
const ROUND = byField(0x1ff, 0xf);

export class Estimator {
  /** counts at the last estimate */
  readonly #last = new Float64Array(FIELDS);
  readonly #average = new Float64Array(FIELDS);

  /** Every ESTIMATE_MS. @param counts a field each (traffic.ts) */
  estimate(counts: Float64Array): void {
    const average = this.#average;
    for (let field = 0; field < FIELDS; field++) {
      const rate = (counts[field]! - this.#last[field]!) * PER_COUNT[field]!;
      this.#last[field] = counts[field]!;
      // A shift of a negative difference rounds down, as floor does.
      average[field]! += Math.floor((rate - average[field]!) / 4);
    }
  }

  /** Rates are 0, and counted from here on (ip_vs_zero_estimator). */
  zero(counts: Float64Array): void {
    this.#last.set(counts);
    this.#average.fill(0);
  }

  /** A second, of a field (ip_vs_read_estimator). */
  rate(field: number): number {
    return Math.floor((this.#average[field]! + ROUND[field]!) / SCALE[field]!);
  }
}
