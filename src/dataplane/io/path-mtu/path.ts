/**
 * What is known of the MTU of one path and which sizes to probe next, in the spirit of RFC 8899. It does no I/O and reads
 * no clock: sizes to send come out of `step`, answers go in. Sizes are bytes of IP packet.
 *
 *     idle ── each interval ──► verify ── answered at full size ──► idle
 *                                 │ lost three times, or a router names a size
 *                                 ├── small ones are answered ──► search ──► idle, with another MTU
 *                                 └── nothing is answered ──► idle: silence proves nothing
 *
 * A lowered path is searched upward once in a while. A router's word counts by itself only where no echo is answered;
 * elsewhere a probe of that size has to pass, and one of the full size to be lost.
 */
import { ALIVE, SizeSearch } from './size-search.js';

export interface Timing {
  /** between verifications */
  readonly intervalMs: number;
  /** of one probe */
  readonly timeoutMs: number;
  /** between attempts to raise a lowered MTU, and between verifications of a path that answers nothing */
  readonly raiseMs: number;
}

const ATTEMPTS = 3;
const HEARSAY_MS = 600_000; // as long as Linux believes a router (net.ipv4.route.mtu_expires)
const MIN_PAUSE_MS = 1000; // between rounds, whatever routers say
const PATIENCE = 3; // rounds without any answer before it is asked less often

export class Path {
  mtu: number;
  readonly #timing: Timing;
  readonly #minimum: number;
  #ceiling: number;
  #phase: 'idle' | 'verify' | SizeSearch = 'idle';
  /** when to go on, if nothing comes in before */
  #deadline: number;
  /** sizes to send before that */
  #outgoing: number[] = [];
  #roundEnd = Number.NEGATIVE_INFINITY;
  #raiseAt = 0;
  /** since when the MTU rests on a router's word alone; undefined when it doesn't */
  #hearsaySince: number | undefined;
  #silentRounds = 0;

  // of the round
  #attempts = 0;
  #alive = false;
  /** size that a router named, 0 for none */
  #hint = 0;
  #hintPassed = false;

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
    if (this.#phase instanceof SizeSearch) {
      this.#phase.tooBig(named, now);
      this.#follow(now);
      return;
    }
    if (named === this.mtu && this.#hearsaySince !== undefined) this.#hearsaySince = now;
    if (named >= this.mtu || named === this.#hint) return;
    this.#hint = named;
    this.#hintPassed = false;
    if (this.#phase === 'verify') this.#outgoing.push(named);
    else this.#deadline = Math.min(this.#deadline, Math.max(now, this.#roundEnd + MIN_PAUSE_MS));
  }

  answered(size: number, now: number): void {
    this.#alive = true;
    this.#silentRounds = 0;
    if (this.#phase instanceof SizeSearch) {
      this.#phase.answered(size, now);
      this.#follow(now);
    } else if (this.#phase === 'verify' && size >= this.mtu) this.#verified(now);
    else if (size === this.#hint) this.#hintPassed = true;
  }

  /** Sizes to send now. */
  step(now: number): number[] {
    if (now >= this.#deadline) {
      if (this.#phase === 'idle') this.#begin(now);
      else if (this.#phase === 'verify') this.#verifyTimeout(now);
      else {
        this.#phase.timeout(now);
        this.#follow(now);
      }
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
    this.#hearsaySince = undefined;
    if (this.mtu < this.#ceiling && now >= this.#raiseAt)
      this.#search(this.mtu, this.#ceiling + 1, this.#ceiling, now);
    else this.#rest(now, now + this.#timing.intervalMs);
  }

  #verifyTimeout(now: number): void {
    const lowest = Math.min(this.#minimum, this.mtu);
    if (this.#hintPassed) this.#believe(now);
    else if (this.#attempts < ATTEMPTS) this.#attempt(now);
    else if (!this.#alive) this.#silence(now);
    else if (this.#hint > 0) this.#search(lowest, this.#hint + 1, this.#hint, now);
    else this.#search(lowest, this.mtu, 0, now);
  }

  /** The size that a router named passes, and the full one was lost. Should that have been chance, the next round mends it. */
  #believe(now: number): void {
    this.#settle(this.#hint, now);
    this.#raiseAt = now;
  }

  /** Nothing is answered: a router's word is all that may count. */
  #silence(now: number): void {
    if (this.#hint > 0) {
      this.#settle(this.#hint, now);
      this.#hearsaySince = now;
      return;
    }
    if (this.#hearsaySince !== undefined && now - this.#hearsaySince >= HEARSAY_MS) {
      this.mtu = this.#ceiling;
      this.#hearsaySince = undefined;
    }
    this.#silentRounds++;
    const { intervalMs, raiseMs } = this.#timing;
    this.#rest(now, now + (this.#silentRounds > PATIENCE ? raiseMs : intervalMs));
  }

  #search(low: number, high: number, first: number, now: number): void {
    this.#phase = new SizeSearch(low, high, first, this.#timing.timeoutMs, now);
    this.#follow(now);
  }

  /** Does what the search says. */
  #follow(now: number): void {
    if (!(this.#phase instanceof SizeSearch)) return;
    const { result, outgoing, deadline } = this.#phase;
    if (result === undefined) {
      this.#outgoing.push(...outgoing.splice(0));
      this.#deadline = deadline;
    } else if (result === 0) this.#rest(now, now + this.#timing.intervalMs);
    else this.#settle(result, now);
  }

  #settle(mtu: number, now: number): void {
    this.mtu = mtu;
    this.#hearsaySince = undefined;
    this.#raiseAt = now + this.#timing.raiseMs;
    this.#rest(now, now + this.#timing.intervalMs);
  }

  #rest(now: number, until: number): void {
    this.#phase = 'idle';
    this.#outgoing = [];
    this.#hint = 0;
    this.#hintPassed = false;
    this.#roundEnd = now;
    this.#deadline = until;
  }
}
