/** What hostile senders make of valid frames: mutated ones, alone and in VXLAN, the same ones for the same seed. */
import { Random } from '../../../src/dataplane/core/random.js';
import { MOST_BYTES, mutate, mutateVirtio } from '../../fuzz/mutate.js';
import { SEEDS, type Seed } from '../../fuzz/seeds.js';

/** Offset of the frame in a datagram. */
const VXLAN_BYTES = 8;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

export class Hostile {
  readonly #random: Random;
  readonly #buffer = new Uint8Array(MOST_BYTES + 64);
  readonly #macs: readonly Uint8Array[];

  /** @param macs that frames are mostly meant for */
  constructor(seed: number, macs: readonly string[]) {
    this.#random = new Random(seed);
    this.#macs = macs.map((mac) => Uint8Array.from(Buffer.from(mac.replaceAll(':', ''), 'hex')));
  }

  #seed(): Seed {
    return SEEDS[this.#random.below(SEEDS.length)]!;
  }

  /** A seed's frame at `at` in the buffer, mostly with a destination that is here. */
  #put({ bytes }: Seed, at: number): number {
    const length = Math.min(bytes.length, MOST_BYTES - at);
    this.#buffer.set(bytes.subarray(0, length), at);
    if (this.#random.chance(0.7)) this.#buffer.set(this.#macs[this.#random.below(this.#macs.length)]!, at);
    return length;
  }

  /** A VXLAN datagram of the network: header and frame mutated, cut short, or nothing but noise. Good until the next call. */
  datagram(vni: number): Uint8Array {
    const random = this.#random;
    const buffer = this.#buffer;
    if (random.chance(0.02)) {
      const noise = buffer.subarray(0, random.below(200));
      random.fill(noise);
      return noise;
    }
    buffer.set([8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0]);
    let length = VXLAN_BYTES + this.#put(this.#seed(), VXLAN_BYTES);
    if (random.chance(0.9)) {
      // Mostly the frame, so that the header doesn't shield what lies behind it.
      const at = random.chance(0.1) ? 0 : VXLAN_BYTES;
      length = at + mutate(random, buffer, at, length - at);
    }
    return buffer.subarray(0, Math.min(length, 1500));
  }

  /** A frame, in hexadecimal digits. */
  frame(): string {
    const length = this.#put(this.#seed(), 0);
    return hex(this.#buffer.subarray(0, Math.min(1514, mutate(this.#random, this.#buffer, 0, length))));
  }

  /** A frame behind the ten bytes of a virtio-net header as a packet socket takes it, in hexadecimal digits. */
  superFrame(): string {
    const random = this.#random;
    const seed = this.#seed();
    const length = this.#put(seed, 0);
    const size = random.chance(0.5) ? length : mutate(random, this.#buffer, 0, length);
    const v = mutateVirtio(random, seed.virtio);
    const header = Buffer.alloc(10);
    header[0] = v.flags;
    header[1] = v.gso;
    for (const [i, field] of [v.headerLength, v.size, v.start, v.offset].entries()) {
      header.writeUInt16LE(field & 0xffff, 2 + 2 * i);
    }
    return header.toString('hex') + hex(this.#buffer.subarray(0, size));
  }

  /** A whole outer frame around a datagram, its own headers mutated too, in hexadecimal digits. */
  outerFrame(valid: Uint8Array, vni: number): string {
    const random = this.#random;
    const datagram = this.datagram(vni).slice();
    const buffer = this.#buffer;
    buffer.set(valid);
    buffer.set(datagram, valid.length);
    const ip4 = valid[12] === 8;
    const udp = 8 + datagram.length;
    const udpAt = valid.length - 8;
    if (ip4) buffer.set([(20 + udp) >> 8, 20 + udp], 16);
    else buffer.set([udp >> 8, udp], 18);
    buffer.set([udp >> 8, udp], udpAt + 4);
    if (random.chance(0.9)) mutate(random, buffer, 0, valid.length);
    return hex(buffer.subarray(0, Math.min(1514, valid.length + datagram.length)));
  }
}
