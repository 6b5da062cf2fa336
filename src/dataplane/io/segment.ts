import type { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import type { NativePool } from './native.js';

export class Segmenter {
  constructor(_path: Path, _native?: NativePool) {}

  /**
   * Splits a super-packet into finished packets, which are appended to `out`; frees it. False: it was dropped.
   * @param prefix bytes before the Ethernet header (8: the packet begins at its VXLAN header), repeated before every segment
   */
  segment(_packet: number, _out: Batch, _prefix = 0): boolean {
    throw new Error('not yet');
  }

  /**
   * The same, but leaves the segments glued: as few packets as possible, whose `segment` column is the bytes per
   * datagram (0 for a packet that is one datagram), at most 65,507 bytes and 64 datagrams each. Their offload is finished.
   */
  glue(_packet: number, _out: Batch, _prefix = 0): boolean {
    throw new Error('not yet');
  }
}
