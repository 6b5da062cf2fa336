import type { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import type { NativePool } from './native.js';

export interface CoalesceOptions {
  tcp4: boolean;
  tcp6: boolean;
  udp: boolean;
}

export class Coalescer {
  constructor(_path: Path, _native?: NativePool) {}

  /** Marks the runs of the batch that can be written as one super-packet; see DESIGN §5. */
  coalesce(_batch: Batch, _options: CoalesceOptions): void {}
}
