/**
 * The table of Maglev hashing (Eisenbud et al., NSDI 2016, §3.4) as IPVS fills it (ip_vs_mh.c): each destination has
 * its own order of all slots, from two hashes of its address and port; in turn each takes the next free ones of its order, as
 * many as its weight gives it turns.
 */
import type { Destination } from '../destination.js';
import { fold } from './address.js';
import { gcdOf } from './gcd.js';
import { HSipHash } from './hsiphash.js';

/** IPVS's two keys, the same on every machine. */
const OFFSET = new HSipHash([0, 2654435761], [0, 2654435761]);
const SKIP = new HSipHash([0, 2654446892], [0, 2654446892]);

/** IPVS's sizes. Ours is 65537 unless the service says otherwise. */
export const KERNEL_TABLE_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071] as const;

/** The slot that the client's address, port and number of tries lead to. */
export const clientSlot = (address: number, port: number, offset: number, size: number): number =>
  (OFFSET.of((offset + port + address) | 0) >>> 0) % size;

/** By address and port, so that every node fills the same table whatever order control gave. */
export function inTableOrder(destinations: readonly Destination[]): Destination[] {
  return [...destinations].sort(({ spec: a }, { spec: b }) => {
    if (a.family !== b.family) return a.family - b.family;
    for (let word = 0; word < 4; word++) {
      const difference = (a.address[word]! >>> 0) - (b.address[word]! >>> 0);
      if (difference !== 0) return difference;
    }
    return a.port - b.port;
  });
}

/**
 * How many slots each takes at a time: its weight over all weights' greatest common divisor, cut to a few bits; at
 * least 1, unless it never had a weight. IPVS leaves destinations without a slot when the turns of one round are more than
 * the table holds; here they are cut further until they aren't.
 */
export function turnsOf(
  destinations: readonly Pick<Destination, 'lastWeight' | 'share'>[],
  tableSize: number,
): number[] {
  const divisor = gcdOf(destinations.map(({ lastWeight }) => ({ weight: lastWeight })));
  if (divisor === 0) return destinations.map(() => 0);
  const shares = destinations.map(({ lastWeight, share }) => (lastWeight / divisor) * share);
  const heaviest = Math.max(...shares);
  const bits = (n: number) => 32 - Math.clz32(n);
  let shift = Math.max(0, bits(heaviest) - (bits(tableSize) >> 1));
  for (; ; shift++) {
    const turns = shares.map((share) => share >> shift || Number(share !== 0));
    const all = turns.reduce((sum, turn) => sum + turn, 0);
    if (all <= tableSize || heaviest >> shift <= 1) return turns;
  }
}

/** Fills `slots`, whose number is a prime, with places in `destinations`; nothing is done where nobody has turns. */
export function fill(
  slots: Int32Array,
  destinations: readonly Destination[],
  turns: readonly number[],
): void {
  const size = slots.length;
  if (!turns.some((turn) => turn > 0)) return;
  const keys = destinations.map(({ spec }) => spec.port + fold(spec.address));
  const at = Int32Array.from(keys, (key) => (OFFSET.of(key) >>> 0) % size);
  const skip = Int32Array.from(keys, (key) => ((SKIP.of(key) >>> 0) % (size - 1)) + 1);
  slots.fill(-1);
  for (let taken = 0; ; ) {
    for (let place = 0; place < destinations.length; place++) {
      for (let turn = turns[place]!; turn > 0; turn--) {
        let slot = at[place]!;
        while (slots[slot] !== -1) {
          slot += skip[place]!;
          if (slot >= size) slot -= size;
        }
        at[place] = slot;
        slots[slot] = place;
        if (++taken === size) return;
      }
    }
  }
}
