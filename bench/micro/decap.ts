/** The way in: outer headers and VXLAN header checked and taken off, bridge (table look-up) to the port. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { FRAME_AT } from '../../src/dataplane/core/pool.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Decap } from '../../src/dataplane/overlay/decap.js';
import type { Case } from './case.js';
import { sendBatch } from './encap.js';
import { BATCH, expect, FRAME_BYTES, PORT, rewind, stage, THERE } from './stage.js';

const OUTER = outer.OUTER_IPV4 + 8;

export function decapCases(): Case[] {
  return [1000, 100_000].map((n) => {
    // The frames are encapsulated once; their slots then hold what comes from the wire again and again.
    const built = stage(n, 'local');
    const sender = stage(n, 'remote');
    const remote = new Batch(sender.pool.packets);
    sendBatch(sender, new Batch(sender.pool.packets), remote);
    built.pool.bytes.set(sender.pool.bytes);

    const { path, pool, batch } = built;
    const here = { address4: THERE, address6: undefined, port: PORT };
    const decap = new Decap(path, built.networks, built.vteps);
    const frames = new Batch(pool.packets);
    const local = new Batch(pool.packets);
    let refused = 0;
    const pass = () => {
      rewind(built, FRAME_AT - OUTER, FRAME_BYTES + OUTER);
      local.count = 0;
      for (let i = 0; i < BATCH; i++) refused += outer.strip(pool, batch.packets[i]!, here);
      decap.decap(batch, frames);
      built.bridge.deliver(frames, local);
    };
    pass();
    expect(
      refused === 0 && local.count === BATCH,
      `${BATCH - local.count} of ${BATCH} datagrams were dropped`,
    );
    const name = `decap, ${n.toLocaleString('en-US')} entries`;
    return { name, unit: 'packet', units: BATCH, pass, reference: ['decap', n] as const };
  });
}
