import type { Path } from '../core/path.js';
import type { NativePool } from './native.js';

/**
 * Completes an unfinished L4 checksum in place and marks it verified; a finished one is left alone.
 * False: the columns contradict the packet, and it was dropped ('inner-malformed').
 */
export function finishChecksum(_path: Path, _packet: number, _native?: NativePool): boolean {
  throw new Error('not yet');
}
