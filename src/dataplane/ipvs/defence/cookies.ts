/**
 * SYN cookies (RFC 4987 §3.6): the answer to a SYN has in its sequence number all that must be known of the client when
 * it acknowledges it, so that nothing is kept until then.
 *
 *     cookie = hash of both ends, the client's sequence number and a key of 64 seconds + data      (mod 2^32)
 *
 * What comes back less the hash is the data, which is one of few: so all 32 bits prove it. A forger hits with one
 * in 2^28 acknowledgments where there are timestamps, one in 2^24 where there are none. A key counts in its 64 seconds
 * and the next; it is made from the secret that all engines share.
 *
 * Clients with timestamps get what they offered back, as Linux does it: the data is the MSS alone, and the rest
 * stands in the low six bits of our timestamp, which they echo. Of others the data has a choice of window scales too:
 *
 *     with      cookie   mss 3 bits                                     timestamp   … | sack | scale 4 bits, 15 for none
 *     without   cookie   scale 3 bits | sack | mss 3 bits
 *
 * What was offered is rounded down to the next that can be said, so that the server believes less of the client, never more.
 */
import type { PacketFlow } from '../flow.js';
import { KEY_WORDS, SipHash } from './siphash.js';
import type { TcpOptions } from './tcp-options.js';

/** Sizes that are common: least, IPv6's least, tunnels, PPPoE, Ethernet, jumbo frames. */
const MSS = {
  4: [536, 1220, 1300, 1360, 1400, 1440, 1460, 8960],
  6: [536, 1220, 1300, 1360, 1400, 1420, 1440, 8940],
} as const;
const SCALES = [-1, 0, 2, 4, 6, 7, 8, 10] as const;

const WITH_TIMESTAMPS = 1 << 3;
const WITHOUT_TIMESTAMPS = 1 << 7;

const TIME_BITS = 6;
const NO_SCALE = 15;
const TIME_SACK = 1 << 4;

const EPOCH_MS = 64_000;
/** Without an MSS option it is this (RFC 9293 §3.7.1). */
const MSS_UNSAID = 536;

export class Cookies {
  readonly #master: SipHash;
  readonly #words = new Int32Array(12);
  #epoch = -1;
  #now: SipHash;
  #before: SipHash;

  constructor(key: Int32Array) {
    this.#master = new SipHash(key);
    this.#now = this.#hashOf(-1);
    this.#before = this.#now;
  }

  /** For the client of the SYN with this sequence number and options; the cookie, signed. */
  make(flow: PacketFlow, sequence: number, options: TcpOptions, nowMs: number): number {
    this.#turn(nowMs);
    const sizes = MSS[flow.family];
    let data = highest(sizes, options.mss || MSS_UNSAID);
    if (!options.timestamps) {
      data |= (options.sack ? 1 << 3 : 0) | (highest(SCALES, options.scale) << 4);
    }
    return (this.#hash(this.#now, flow, sequence) + data) | 0;
  }

  /** Our timestamp in the answer, signed: the clock's milliseconds, never ahead of them. */
  timestamp({ sack, scale }: TcpOptions, nowMs: number): number {
    const low = (sack ? TIME_SACK : 0) | (scale < 0 ? NO_SCALE : scale);
    const now = Math.floor(nowMs) | 0;
    const stamp = ((now >>> TIME_BITS) << TIME_BITS) | low;
    return ((stamp - now) | 0) > 0 ? (stamp - (1 << TIME_BITS)) | 0 : stamp;
  }

  /**
   * Whether an acknowledgment of `cookie` is of an answer of ours; then `options`, which were read from it, become
   * those that the client had offered in its SYN.
   */
  check(flow: PacketFlow, sequence: number, cookie: number, options: TcpOptions, nowMs: number): boolean {
    this.#turn(nowMs);
    const limit = options.timestamps ? WITH_TIMESTAMPS : WITHOUT_TIMESTAMPS;
    let data = (cookie - this.#hash(this.#now, flow, sequence)) >>> 0;
    if (data >= limit) data = (cookie - this.#hash(this.#before, flow, sequence)) >>> 0;
    if (data >= limit) return false;
    options.mss = MSS[flow.family][data & 7]!;
    if (options.timestamps) {
      const { echo } = options;
      options.sack = (echo & TIME_SACK) !== 0;
      options.scale = (echo & 15) === NO_SCALE ? -1 : echo & 15;
    } else {
      options.sack = (data & (1 << 3)) !== 0;
      options.scale = SCALES[data >>> 4]!;
    }
    return true;
  }

  #turn(nowMs: number): void {
    const epoch = Math.floor(nowMs / EPOCH_MS);
    if (epoch === this.#epoch) return;
    this.#before = this.#hashOf(epoch - 1);
    this.#now = this.#hashOf(epoch);
    this.#epoch = epoch;
  }

  /** The key of an epoch. */
  #hashOf(epoch: number): SipHash {
    const key = new Int32Array(KEY_WORDS);
    for (let half = 0; half < 2; half++) {
      this.#words[0] = epoch;
      this.#words[1] = half;
      key[2 * half] = this.#master.of(this.#words, 2);
      key[2 * half + 1] = this.#master.high;
    }
    return new SipHash(key);
  }

  #hash(hash: SipHash, flow: PacketFlow, sequence: number): number {
    const words = this.#words;
    words[0] = sequence;
    words[1] = flow.ports;
    words[2] = flow.network;
    words[3] = flow.source0;
    words[4] = flow.target0;
    if (flow.family === 4) return hash.of(words, 5);
    words[5] = flow.source1;
    words[6] = flow.source2;
    words[7] = flow.source3;
    words[8] = flow.target1;
    words[9] = flow.target2;
    words[10] = flow.target3;
    return hash.of(words, 11);
  }
}

/** Index of the highest choice that is not above the value, the first when all are. */
function highest(choices: readonly number[], value: number): number {
  for (let i = choices.length - 1; i > 0; i--) if (choices[i]! <= value) return i;
  return 0;
}
