/**
 * Finds the largest size that passes, between one that does and one that doesn't, by volleys of a few sizes. It does no
 * I/O and reads no clock: `outgoing` is what to send, `result` what came of it.
 */

/** Small enough for every path: shows that echoes are answered at all. */
export const ALIVE = 68;

/** Where MTUs are likely to lie: jumbo, FDDI, Ethernet, PPPoE, tunnels in it, the minima of IPv6 and IPv4. */
const COMMON = [9000, 8950, 4470, 1500, 1492, 1472, 1450, 1430, 1420, 1400, 1380, 1280, 576];

const VOLLEY = 3; // sizes in flight at once, besides ALIVE
const RESOLUTION = 8;

export class SizeSearch {
  /** the size found; 0 when the path answers nothing any more; undefined until then */
  result: number | undefined;
  /** when to call `timeout`, if nothing comes in before */
  deadline = 0;
  /** taken and emptied by the owner */
  outgoing: number[] = [];
  readonly #timeoutMs: number;
  /** largest size known to pass, smallest known not to */
  #low: number;
  #high: number;
  /** sizes of the volley that may still be answered */
  #pending: number[] = [];
  #alive = false;
  #resent = false;
  /** size that a router named, 0 for none */
  #named = 0;

  /** `first`: a size to begin with, 0 for none. */
  constructor(low: number, high: number, first: number, timeoutMs: number, now: number) {
    this.#low = low;
    this.#high = high;
    this.#timeoutMs = timeoutMs;
    if (first > low) this.#volley([first], now);
    else this.#next(now);
  }

  answered(size: number, now: number): void {
    this.#alive = true;
    if (size >= this.#high) {
      this.result = size; // its loss was chance, or the path has been mended
      return;
    }
    this.#low = Math.max(this.#low, size);
    this.#pending = this.#pending.filter((other) => other > size);
    if (this.#pending.length === 0) this.#next(now);
  }

  /** A router's word: true if that size passes and one byte more doesn't. */
  tooBig(size: number, now: number): void {
    if (size === this.#named || size < this.#low || size + 1 >= this.#high) return;
    this.#named = size;
    this.#volley(size > this.#low ? [size, size + 1] : [size + 1], now);
  }

  timeout(now: number): void {
    if (!this.#resent) {
      this.#resent = true;
      this.outgoing = this.#alive ? [...this.#pending] : [...this.#pending, ALIVE];
      this.deadline = now + this.#timeoutMs;
    } else if (this.#alive) {
      this.#high = Math.min(this.#high, ...this.#pending);
      this.#next(now);
    } else this.result = 0;
  }

  #next(now: number): void {
    if (this.#high - this.#low <= RESOLUTION) this.result = this.#low;
    else this.#volley(between(this.#low, this.#high), now);
  }

  #volley(sizes: number[], now: number): void {
    this.#pending = sizes;
    this.#resent = false;
    this.#alive = false;
    this.outgoing = [...sizes, ALIVE];
    this.deadline = now + this.#timeoutMs;
  }
}

/** Up to VOLLEY sizes that divide what lies between: common ones while there are some, then evenly. */
function between(low: number, high: number): number[] {
  const common = COMMON.filter((size) => size > low && size < high);
  const parts = Array.from({ length: VOLLEY }, (_, part) => (part + 1) / (VOLLEY + 1));
  const sizes =
    common.length > 0
      ? parts.map((part) => common[Math.floor(part * common.length)])
      : parts.map((part) => Math.floor(low + part * (high - low)));
  return [...new Set(sizes)];
}
