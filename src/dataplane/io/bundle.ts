import type { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';

export class Bundler {
  constructor(_path: Path) {}

  /**
   * Makes runs of equal-sized packets of one (vtep, flow) adjacent and marks them as one segmented send.
   * @param maxBytes of one send, counting `skip` once
   * @param skip bundleSkip: bytes that only the first packet of a bundle keeps (0 for UDP sockets)
   */
  bundle(_batch: Batch, _maxSegments: number, _maxBytes: number, _skip = 0): void {}
}
