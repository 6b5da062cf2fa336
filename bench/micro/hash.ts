/** The hash of a frame's flow. */
import * as flow from '../../src/dataplane/wire/flow.js';
import type { Case } from './case.js';
import { BATCH, FRAME_BYTES, rewinder, stage } from './stage.js';

export function hashCases(): Case[] {
  const built = stage(1000, 'remote');
  const { pool, packets } = built;
  rewinder(built)();
  const pass = () => {
    for (let i = 0; i < BATCH; i++) {
      const packet = packets[i]!;
      const at = pool.offset[packet]!;
      pool.flow[packet] = flow.of(pool.view, pool.bytes, at, at + FRAME_BYTES);
    }
  };
  return [{ name: 'flow hash', unit: 'frame', units: BATCH, prepare: () => pass, reference: ['hash', 1000] }];
}
