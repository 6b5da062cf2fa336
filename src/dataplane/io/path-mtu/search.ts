/**
 * What is known of one path's MTU and which sizes to probe next, in the spirit of RFC 8899. It does no I/O and reads no
 * clock: sizes to send come out of `step`, answers go in. Sizes are bytes of IP packet.
 *
 *     idle ── each interval ──► verify ── answered at full size ──► idle
 *                                 │ lost three times, or a router names a size
 *                                 ├── small ones are answered ──► search ──► idle, with another MTU
 *                                 └── nothing is answered ──► idle: silence proves nothing
 *
 * A lowered path is searched upward once in a while. A router's word counts by itself only where no echo is answered;
 * elsewhere a probe of that size has to pass, and one of the full size to be lost.
 */

export interface Timing {
  /** between verifications */
  readonly intervalMs: number;
  /** of one probe */
  readonly timeoutMs: number;
  /** between attempts to raise a lowered MTU, and between verifications of a path that answers nothing */
  readonly raiseMs: number;
}

/** Small enough for every path: shows that echoes are answered at all. */
const ALIVE = 68;

/** Where MTUs are likely to lie: jumbo, FDDI, Ethernet, PPPoE, tunnels in it, the minima of IPv6 and IPv4. */
const COMMON = [9000, 8950, 4470, 1500, 1492, 1472, 1450, 1430, 1420, 1400, 1380, 1280, 576];

const ATTEMPTS = 3;
const VOLLEY = 3; // sizes in flight at once
const RESOLUTION = 8;
const HEARSAY_MS = 600_000; // as long as Linux believes a router (net.ipv4.route.mtu_expires)
const MIN_PAUSE_MS = 1000; // between rounds, whatever routers say
const PATIENCE = 3; // rounds without any answer before it is asked less often

export class PathSearch {
  mtu: number;
  readonly #timing: Timing;
  readonly #minimum: number;
  #ceiling: number;
  #phase: 'idle' | 'verify' | 'search' = 'idle';
  /** when to go on, if nothing comes in before */
  #deadline: number;
  /** sizes to send before that */
  #outgoing: number[] = [];
  #roundEnd = Number.NEGATIVE_INFINITY;
  #raiseAt = 0;
  /** since when the MTU rests on a router's word alone; 0 when it doesn't */
  #hearsaySince = 0;
  #silentRounds = 0;

  // of the round
  #attempts = 0;
  #alive = false;
  /** size that a router named, 0 for none */
  #hint = 0;
  #hintPassed = false;
  /** largest size known to pass, smallest known not to */
  #low = 0;
  #high = 0;
  /** size that a router named during the search */
  #named = 0;
  /** sizes of the volley that may still be answered */
  #pending: number[] = [];
  #resent = false;

  constructor(family: 4 | 6, interfaceMtu: number, timing: Timing, now: number) {
    this.#minimum = family === 4 ? 576 : 1280;
    this.#timing = timing;
    this.#ceiling = interfaceMtu;
    this.#deadline = now;
    this.mtu = interfaceMtu;
  }

  get idle(): boolean {
    return this.#phase === 'idle';
  }

  /** When `step` wants to be called. */
  get due(): number {
    return this.#outgoing.length > 0 ? Number.NEGATIVE_INFINITY : this.#deadline;
  }

  /** The interface or the route takes another size from now on. */
  setCeiling(ceiling: number, now: number): void {
    if (ceiling === this.#ceiling) return;
    const lowered = this.mtu < this.#ceiling;
    this.mtu = lowered ? Math.min(this.mtu, ceiling) : ceiling;
    this.#ceiling = ceiling;
    this.#rest(now, now);
    this.#raiseAt = now;
  }

  /** A router says that packets of more than `size` bytes don't pass. */
  tooBig(size: number, now: number): void {
    const named = Math.max(size, Math.min(this.#minimum, this.mtu));
    if (this.#phase === 'search') {
      this.#narrow(named, now);
      return;
    }
    if (named === this.mtu && this.#hearsaySince > 0) this.#hearsaySince = now;
    if (named >= this.mtu || named === this.#hint) return;
    this.#hint = named;
    this.#hintPassed = false;
    if (this.#phase === 'verify') this.#outgoing.push(named);
    else this.#deadline = Math.min(this.#deadline, Math.max(now, this.#roundEnd + MIN_PAUSE_MS));
  }

  answered(size: number, now: number): void {
    this.#alive = true;
    this.#silentRounds = 0;
    if (this.#phase === 'search') this.#widen(size, now);
    else if (this.#phase === 'verify' && size >= this.mtu) this.#verified(now);
    else if (size === this.#hint) this.#hintPassed = true;
  }

  /** Sizes to send now. */
  step(now: number): number[] {
    if (now >= this.#deadline) {
      if (this.#phase === 'idle') this.#begin(now);
      else if (this.#phase === 'verify') this.#verifyTimeout(now);
      else this.#searchTimeout(now);
    }
    return this.#outgoing.splice(0);
  }

  #begin(now: number): void {
    this.#phase = 'verify';
    this.#attempts = 0;
    this.#alive = false;
    this.#attempt(now);
  }

  #attempt(now: number): void {
    this.#attempts++;
    this.#deadline = now + this.#timing.timeoutMs;
    this.#outgoing = [this.mtu];
    if (this.#hint > 0) this.#outgoing.push(this.#hint);
    if (this.#attempts > 1) this.#outgoing.push(ALIVE);
  }

  #verified(now: number): void {
    this.#hearsaySince = 0;
    if (this.mtu < this.#ceiling && now >= this.#raiseAt) this.#search(this.mtu, this.#ceiling + 1, now);
    else this.#rest(now, now + this.#timing.intervalMs);
  }

  #verifyTimeout(now: number): void {
    if (this.#hintPassed) this.#believe(now);
    else if (this.#attempts < ATTEMPTS) this.#attempt(now);
    else if (this.#alive) this.#searchDown(now);
    else this.#silence(now);
  }

  /** The size that a router named passes, and the full one was lost. Should that have been chance, the next round mends it. */
  #believe(now: number): void {
    this.#settle(this.#hint, now);
    this.#raiseAt = now;
  }

  /** Small echoes are answered, those of the full size aren't. */
  #searchDown(now: number): void {
    const high = this.#hint > 0 ? this.#hint + 1 : this.mtu;
    this.#search(Math.min(this.#minimum, this.mtu), high, now);
  }

  /** Nothing is answered: a router's word is all that may count. */
  #silence(now: number): void {
    if (this.#hint > 0) {
      this.#settle(this.#hint, now);
      this.#hearsaySince = now;
      return;
    }
    if (this.#hearsaySince > 0 && now - this.#hearsaySince >= HEARSAY_MS) {
      this.mtu = this.#ceiling;
      this.#hearsaySince = 0;
    }
    this.#silentRounds++;
    const { intervalMs, raiseMs } = this.#timing;
    this.#rest(now, now + (this.#silentRounds > PATIENCE ? raiseMs : intervalMs));
  }

  /** Looks for the size between one that passes and one that doesn't; the first guess is the largest that might. */
  #search(low: number, high: number, now: number): void {
    this.#phase = 'search';
    this.#low = low;
    this.#high = high;
    this.#named = 0;
    if (high === this.mtu) this.#next(now);
    else this.#volley([high - 1], now);
  }

  #next(now: number): void {
    if (this.#high - this.#low <= RESOLUTION) this.#settle(this.#low, now);
    else this.#volley(between(this.#low, this.#high), now);
  }

  #volley(sizes: number[], now: number): void {
    this.#pending = sizes;
    this.#resent = false;
    this.#alive = false;
    this.#outgoing = [...sizes, ALIVE];
    this.#deadline = now + this.#timing.timeoutMs;
  }

  #searchTimeout(now: number): void {
    if (!this.#resent) {
      this.#resent = true;
      this.#outgoing = this.#alive ? [...this.#pending] : [...this.#pending, ALIVE];
      this.#deadline = now + this.#timing.timeoutMs;
    } else if (this.#alive) {
      this.#high = Math.min(this.#high, ...this.#pending);
      this.#next(now);
    } else this.#rest(now, now + this.#timing.intervalMs); // the path itself is gone
  }

  /** An answer during the search. */
  #widen(size: number, now: number): void {
    if (size >= this.#high) {
      this.#settle(size, now); // its loss was chance, or the path has been mended
      return;
    }
    this.#low = Math.max(this.#low, size);
    this.#pending = this.#pending.filter((other) => other > size);
    if (this.#pending.length === 0) this.#next(now);
  }

  /** A router's word during the search: true if that size passes and one byte more doesn't. */
  #narrow(size: number, now: number): void {
    if (size === this.#named || size < this.#low || size + 1 >= this.#high) return;
    this.#named = size;
    this.#volley(size > this.#low ? [size, size + 1] : [size + 1], now);
  }

  #settle(mtu: number, now: number): void {
    this.mtu = mtu;
    this.#hearsaySince = 0;
    this.#raiseAt = now + this.#timing.raiseMs;
    this.#rest(now, now + this.#timing.intervalMs);
  }

  #rest(now: number, until: number): void {
    this.#phase = 'idle';
    this.#outgoing = [];
    this.#pending = [];
    this.#hint = 0;
    this.#hintPassed = false;
    this.#roundEnd = now;
    this.#deadline = until;
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
  return [...new Set(sizes)].filter((size) => size > low && size < high);
}
