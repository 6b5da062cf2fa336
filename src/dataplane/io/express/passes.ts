import { Batch } from '../../core/batch.js';
import type { Pool } from '../../core/pool.js';
import type { Vteps } from '../../core/vteps.js';
import { type ExpressStrip, expressStrip } from './strip.js';
import { type ExpressWrite, expressWrite } from './write.js';

/**
 * The express passes over outer headers, and the batches that they work on. An engine's thread makes them once, however
 * often its tunnel device is opened anew: V8 makes them fast only if they are the only ones on their thread.
 */
export class OuterPasses {
  readonly leaving: Batch;
  readonly arriving: Batch;
  readonly write: ExpressWrite;
  readonly strip: ExpressStrip;

  constructor(pool: Pool, vteps: Vteps) {
    this.leaving = new Batch(pool.packets);
    this.arriving = new Batch(pool.packets);
    this.write = expressWrite(pool, vteps, this.leaving);
    this.strip = expressStrip(pool, this.arriving);
  }
}
