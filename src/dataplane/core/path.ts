import type { Counters } from './counters.js';
import type { Pool } from './pool.js';
import { NO_TRACER, type Tracer } from './tracer.js';

/** What every stage of an engine shares: where packets lie, where they are counted, and the one way to drop them. */
export class Path {
  readonly pool: Pool;
  readonly counters: Counters;
  tracer: Tracer;

  constructor(pool: Pool, counters: Counters, tracer: Tracer = NO_TRACER) {
    this.pool = pool;
    this.counters = counters;
    this.tracer = tracer;
  }

  /** Ends a packet: counts the reason (core/drops.ts), tells the tracer if one follows it, frees it. */
  drop(packet: number, reason: number): void {
    this.counters.drop(reason);
    if (this.pool.trace[packet] !== 0) this.tracer.dropped(packet, reason);
    this.pool.free(packet);
  }
}
