/** The way in: outer headers and VXLAN header checked and taken off, bridge (table look-up) to the port. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { FRAME_AT } from '../../src/dataplane/core/pool.js';
import { expressStrip } from '../../src/dataplane/io/express/strip.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Inbound } from '../../src/dataplane/overlay/inbound.js';
import type { Case } from './case.js';
import { sendBatch } from './encap.js';
import { BATCH, expect, FRAME_BYTES, PORT, rewinder, stage, THERE } from './stage.js';

const OUTER = outer.OUTER_IPV4 + 8;

function decapPass(n: number, express: boolean): () => void {
  // The frames are encapsulated once; their slots then hold what comes from the wire again and again.
  const built = stage(n, 'local');
  const sender = stage(n, 'remote');
  sendBatch(sender, new Batch(sender.pool.packets), new Batch(sender.pool.packets));
  built.pool.bytes.set(sender.pool.bytes);

  const { pool, batch } = built;
  const here = { address4: THERE, address6: undefined, port: PORT };
  const local = new Batch(pool.packets);
  const inbound = new Inbound({ ...built, express }, batch, local);
  const rewind = rewinder(built, FRAME_AT - OUTER, FRAME_BYTES + OUTER);
  const strip = expressStrip(pool, batch);
  let left = 0;
  const pass = () => {
    rewind();
    local.count = 0;
    if (express) left += BATCH - strip(0, here);
    else for (let i = 0; i < BATCH; i++) left += outer.strip(pool, batch.packets[i]!, here);
    inbound.deliver();
  };
  pass();
  expect(left === 0, `outer headers were refused, or left to the general path`);
  expect(local.count === BATCH, `${BATCH - local.count} of ${BATCH} datagrams were dropped`);
  return pass;
}

export function decapCases(): Case[] {
  const common = { unit: 'packet', units: BATCH };
  const cases: Case[] = [1000, 100_000].map((n) => ({
    ...{ ...common, name: `decap, ${n.toLocaleString('en-US')} entries`, reference: ['decap', n] as const },
    prepare: () => decapPass(n, true),
  }));
  return [
    ...cases,
    {
      ...common,
      name: 'decap by the general path',
      prepare: () => decapPass(1000, false),
      reference: ['decap', 1000],
    },
  ];
}
