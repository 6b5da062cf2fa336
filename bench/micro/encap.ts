/** The way out in memory: bridge (table look-up), VXLAN header and flow hash, outer Ethernet, IP and UDP headers. */
import { Batch } from '../../src/dataplane/core/batch.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { encap } from '../../src/dataplane/overlay/encap.js';
import type { Case } from './case.js';
import { BATCH, expect, FRAME_BYTES, rewind, type Stage, stage } from './stage.js';

/** Bridge, encapsulation and outer headers of one batch, as the engine and the tunnel device do it. */
export function sendBatch(built: Stage, local: Batch, remote: Batch): void {
  const { path, pool, networks, vteps, bridge, batch } = built;
  bridge.forward(batch, local, remote);
  encap(path, networks, remote);
  for (let i = 0; i < remote.count; i++) {
    const packet = remote.packets[i]!;
    const vtep = pool.vtep[packet]!;
    const port = 49_152 + (pool.flow[packet]! & 0x3fff);
    const length = pool.length[packet]!;
    outer.write(pool, packet, vteps.rows, vteps.outerAt(vtep), vteps.family(vtep), port, length);
    if (pool.ecn[packet] !== 0) outer.mark(pool, packet, vteps.family(vtep));
  }
}

export function encapCases(): Case[] {
  return [1000, 100_000].map((n) => {
    const built = stage(n, 'remote');
    const local = new Batch(built.pool.packets);
    const remote = new Batch(built.pool.packets);
    const pass = () => {
      rewind(built);
      remote.count = 0;
      sendBatch(built, local, remote);
    };
    pass();
    expect(remote.count === BATCH, `${BATCH - remote.count} of ${BATCH} frames were dropped`);
    expect(built.pool.length[built.packets[0]!] === FRAME_BYTES + 50, 'the outer headers are not 50 bytes');
    const name = `encap, ${n.toLocaleString('en-US')} entries`;
    return { name, unit: 'packet', units: BATCH, pass, reference: ['encap', n] as const };
  });
}
