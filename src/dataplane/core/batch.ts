import type { Pool } from './pool.js';

/**
 * A batch: packet numbers in order. A packet is in exactly one batch; whoever is given a batch puts each of
 * its packets into another, or drops it with a reason, and leaves the batch empty.
 */
export class Batch {
  readonly packets: Int32Array;
  readonly capacity: number;
  count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.packets = new Int32Array(capacity);
  }

  get room(): number {
    return this.capacity - this.count;
  }

  /** Callers keep `count` below `capacity`: every batch of an engine takes as many packets as its pool has. */
  push(packet: number): void {
    this.packets[this.count++] = packet;
  }

  /** Drops the first `count` from the batch, which were put elsewhere. */
  keepFrom(count: number): void {
    this.packets.copyWithin(0, count, this.count);
    this.count -= count;
  }

  /** Frees every packet; for teardown and tests, where no drop is counted. */
  release(pool: Pool): void {
    for (let i = 0; i < this.count; i++) pool.free(this.packets[i]!);
    this.count = 0;
  }
}
