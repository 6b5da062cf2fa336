/** Mutations: what a careless, broken or hostile sender might make of valid bytes. */
import type { Random } from '../../src/dataplane/core/random.js';
import { SEEDS, type Virtio } from './seeds.js';

const BYTES = [0, 1, 0x7f, 0x80, 0xff, 4, 6, 17, 44, 0x45, 0x4f, 0x60, 58, 43, 60, 59, 135, 136];
const WORDS = [
  0, 1, 7, 8, 14, 20, 0x7fff, 0x8000, 0xffff, 0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 1500, 64, 65,
];

export const MOST_BYTES = 4096;

/** Changes some of the first `length` bytes at `at`; the length that they have then; never beyond MOST_BYTES of them all. */
export function mutate(random: Random, bytes: Uint8Array, at: number, length: number): number {
  let now = length;
  for (let n = 1 + random.below(4); n > 0; n--) {
    // Headers are where decisions are made.
    const reach = Math.max(1, random.chance(0.8) ? Math.min(now, 90) : now);
    const where = at + random.below(reach);
    switch (random.below(9)) {
      case 0:
        bytes[where]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[where] = random.below(256);
        break;
      case 2:
        bytes[where] = BYTES[random.below(BYTES.length)]!;
        break;
      case 3:
      case 4: {
        const word = WORDS[random.below(WORDS.length)]!;
        bytes[where] = word >> 8;
        bytes[where + 1] = word;
        break;
      }
      case 5:
        now = random.below(now + 1);
        break;
      case 6: {
        const more = Math.min(MOST_BYTES - at - now, random.below(random.chance(0.2) ? 2000 : 20));
        bytes.fill(random.below(256), at + now, at + now + more);
        now += more;
        break;
      }
      case 7: {
        const other = SEEDS[random.below(SEEDS.length)]!.bytes;
        const from = random.below(other.length);
        const size = Math.min(random.below(40), other.length - from, at + now - where);
        bytes.set(other.subarray(from, from + Math.max(0, size)), where);
        break;
      }
      default: {
        const size = Math.min(random.below(20), at + now - where);
        if (size > 0) bytes.copyWithin(at + random.below(Math.max(1, now - size)), where, where + size);
      }
    }
  }
  return now;
}

/** Changes fields of a virtio-net header. */
export function mutateVirtio(random: Random, virtio: Virtio): Virtio {
  const field = () =>
    [random.below(100), random.below(65_536), WORDS[random.below(WORDS.length)]!, random.below(4)][
      random.below(4)
    ]!;
  const next = { ...virtio };
  for (let n = random.below(3); n > 0; n--) {
    switch (random.below(6)) {
      case 0:
        next.flags = random.below(16);
        break;
      case 1:
        next.gso = [0, 1, 3, 4, 5, 0x81, 0x84, 0x85, 0x21, 0x41, 0x25, 0x44, random.below(256)][
          random.below(13)
        ]!;
        break;
      case 2:
        next.headerLength = field();
        break;
      case 3:
        next.size = field();
        break;
      case 4:
        next.start = field();
        break;
      default:
        next.offset = [6, 16, field()][random.below(3)]!;
    }
  }
  return next;
}
