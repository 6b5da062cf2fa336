/**
 * The sources from which a service takes connections: prefixes, kept as ranges that lie apart and in order, so that one
 * binary search says whether an address is in any of them. It is asked when a connection begins, not for its packets.
 */
import type { Words } from '../../wire/ipv6.js';
import type { PacketFlow } from '../flow.js';

export interface Prefix {
  /** as on the wire, signed; an IPv4 address in the first, the others 0 */
  address: Words;
  /** of IPv4 at most 32 */
  bits: number;
}

/** Words of a range: its first address, its last one. */
const LAST = 4;
const WORDS = 8;

export class AllowList {
  /** ranges in order, unsigned words */
  readonly #ranges: Uint32Array;

  constructor(prefixes: readonly Prefix[]) {
    const ranges = prefixes.map(rangeOf).sort(compareRanges);
    const apart: Uint32Array[] = [];
    for (const range of ranges) {
      const before = apart.at(-1);
      // Of two prefixes one contains the other, or they have nothing in common.
      if (before !== undefined && compare(range, 0, before, LAST) <= 0) continue;
      apart.push(range);
    }
    this.#ranges = new Uint32Array(apart.length * WORDS);
    apart.forEach((range, i) => {
      this.#ranges.set(range, i * WORDS);
    });
  }

  /** Whether the packet's source is in one of the prefixes. */
  has(flow: PacketFlow): boolean {
    const ranges = this.#ranges;
    // The last range that begins at or before the address.
    let low = 0;
    let high = ranges.length / WORDS;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareSource(flow, ranges, middle * WORDS) < 0) high = middle;
      else low = middle + 1;
    }
    return low > 0 && compareSource(flow, ranges, (low - 1) * WORDS + LAST) <= 0;
  }
}

function rangeOf({ address, bits }: Prefix): Uint32Array {
  const range = new Uint32Array(WORDS);
  for (let i = 0; i < 4; i++) {
    const fixed = Math.min(32, Math.max(0, bits - 32 * i));
    const mask = fixed === 0 ? 0 : -1 << (32 - fixed);
    range[i] = address[i]! & mask;
    range[LAST + i] = address[i]! | ~mask;
  }
  return range;
}

function compare(one: Uint32Array, from: number, other: Uint32Array, at: number): number {
  for (let i = 0; i < 4; i++) {
    const difference = one[from + i]! - other[at + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** By their first address; of those that begin together the largest comes first. */
const compareRanges = (one: Uint32Array, other: Uint32Array): number =>
  compare(one, 0, other, 0) || compare(other, LAST, one, LAST);

/** Negative: the source comes before the address at `at`. */
function compareSource(flow: PacketFlow, ranges: Uint32Array, at: number): number {
  const first = (flow.source0 >>> 0) - ranges[at]!;
  if (first !== 0 || flow.family === 4) return first;
  const second = (flow.source1 >>> 0) - ranges[at + 1]!;
  if (second !== 0) return second;
  const third = (flow.source2 >>> 0) - ranges[at + 2]!;
  return third !== 0 ? third : (flow.source3 >>> 0) - ranges[at + 3]!;
}
