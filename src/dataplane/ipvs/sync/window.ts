/** Which of a sender's messages have come: each counts once, and what lacks between them is known. */
export class SyncWindow {
  /** the number that the next message in order has */
  #next: number;
  #from: number;
  readonly #size: number;
  /** of the `size` numbers below `next`, at the number modulo the size: 1 that it has come */
  readonly #come: Uint8Array;

  /** @param first number that counts; what was before it never comes */
  constructor(first: number, size: number) {
    this.#from = first;
    this.#next = first;
    this.#size = size;
    this.#come = new Uint8Array(size);
  }

  get next(): number {
    return this.#next;
  }

  /** False: it has come before, or is too old to tell. `lost`: one has fallen out of the window that never came. */
  take(number: number): { fresh: boolean; lost: boolean } {
    if (number < this.#from || number < this.#next - this.#size) return { fresh: false, lost: false };
    let lost = false;
    // Behind a leap over the whole window nothing of before is of use.
    if (number >= this.#next + this.#size) {
      this.#come.fill(0);
      this.#next = number;
      this.#from = number;
      lost = true;
    }
    for (; this.#next <= number; this.#next++) {
      const oldest = this.#next - this.#size;
      if (oldest >= this.#from && this.#come[oldest % this.#size] === 0) lost = true;
      this.#come[this.#next % this.#size] = 0;
    }
    const at = number % this.#size;
    if (this.#come[at] === 1) return { fresh: false, lost };
    this.#come[at] = 1;
    return { fresh: true, lost };
  }

  /** The first numbers below `end` that lack, at most so many. */
  missing(end: number, most: number): number[] {
    const found: number[] = [];
    const last = Math.min(end, this.#next);
    for (let number = Math.max(this.#from, this.#next - this.#size); number < last; number++) {
      if (this.#come[number % this.#size] === 1) continue;
      found.push(number);
      if (found.length === most) break;
    }
    return found;
  }
}
