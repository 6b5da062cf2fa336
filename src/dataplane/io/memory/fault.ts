/** Any device made unreliable, for tests: seeded loss, duplication, reordering, latency and bit errors in either direction. */
import { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { NO_PACKET } from '../../core/pool.js';
import type { Device, Underlay } from '../device.js';
import { Delayed, Dice, type Faults } from './misfortune.js';

/** Family, port and address, as core/pool.ts lays out the sender. */
const SENDER_BYTES = 20;

export interface FaultOptions {
  seed?: number;
  transmit?: Faults;
  receive?: Faults;
  /** virtual milliseconds */
  clock?: () => number;
}

/**
 * Any device, with faults in either direction. It keeps the packets that it delays: held ones leave at the next
 * call of `receive` or `transmit` that finds them due, `pending` tells whether there are any.
 */
export class FaultDevice implements Underlay {
  /** the wrapped underlay's; of no meaning around another device */
  readonly kind: Underlay['kind'];
  readonly #path: Path;
  readonly #inner: Device;
  readonly #clock: (() => number) | undefined;
  readonly #transmitDice: Dice;
  readonly #receiveDice: Dice;
  readonly #outward: Delayed;
  readonly #inward: Delayed;
  readonly #batch: Batch;
  #turn = 0;

  constructor(path: Path, inner: Device | Underlay, options: FaultOptions) {
    const seed = options.seed ?? 1;
    this.kind = 'kind' in inner ? inner.kind : 'pair';
    this.#path = path;
    this.#inner = inner;
    this.#clock = options.clock;
    this.#transmitDice = new Dice(options.transmit ?? {}, seed);
    this.#receiveDice = new Dice(options.receive ?? {}, seed + 1);
    this.#outward = new Delayed(path.pool.packets);
    this.#inward = new Delayed(path.pool.packets);
    this.#batch = new Batch(path.pool.packets);
  }

  /** Packets held back in either direction. */
  get pending(): number {
    return this.#outward.count + this.#inward.count;
  }

  receive(into: Batch): void {
    const now = this.#now();
    this.#send(now);
    this.#inner.receive(this.#batch);
    this.#befall(this.#batch, this.#receiveDice, this.#inward, now);
    this.#inward.take(now, into);
    this.#turn++;
  }

  transmit(batch: Batch): void {
    const now = this.#now();
    this.#befall(batch, this.#transmitDice, this.#outward, now);
    this.#send(now);
  }

  close(): void {
    this.#outward.drop(this.#path);
    this.#inward.drop(this.#path);
    this.#inner.close();
  }

  #now(): number {
    return this.#clock === undefined ? this.#turn : this.#clock();
  }

  #send(now: number): void {
    this.#outward.take(now, this.#batch);
    if (this.#batch.count > 0) this.#inner.transmit(this.#batch);
  }

  #befall(batch: Batch, dice: Dice, queue: Delayed, now: number): void {
    const { pool } = this.#path;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      if (dice.lost()) {
        this.#path.drop(packet, drop['injected-loss']);
        continue;
      }
      const twin = dice.duplicated() ? this.#copy(packet) : NO_PACKET;
      dice.corrupt(pool, packet);
      queue.push(packet, now + dice.delay());
      if (twin === NO_PACKET) continue;
      dice.corrupt(pool, twin);
      queue.push(twin, now + dice.delay());
    }
    batch.count = 0;
  }

  /** A copy with the sender that stands at the slot's start. A full pool means no duplicate, and no loss either. */
  #copy(packet: number): number {
    const { pool } = this.#path;
    const twin = pool.copy(packet);
    if (twin === NO_PACKET) return NO_PACKET;
    const from = pool.slotStart(packet);
    pool.bytes.copyWithin(pool.slotStart(twin), from, from + SENDER_BYTES);
    return twin;
  }
}
