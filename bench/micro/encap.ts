/** The way out in memory: bridge (table look-up), VXLAN header and flow hash, outer Ethernet, IP and UDP headers. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { expressWrite } from '../../src/dataplane/io/express/write.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { encap } from '../../src/dataplane/overlay/encap.js';
import { Outbound } from '../../src/dataplane/overlay/outbound.js';
import type { Case } from './case.js';
import { BATCH, expect, FRAME_BYTES, PORT_IN, rewinder, type Stage, stage } from './stage.js';

/** Source ports are as many as there are hashes, so that the flow is one as it stands. */
const PORT_STEP = 1;

/** Bridge, encapsulation and outer headers of one batch, by the path that handles every case. */
export function sendBatch(built: Stage, local: Batch, remote: Batch): void {
  const { path, pool, networks, vteps, bridge, batch } = built;
  bridge.forward(batch, local, remote);
  encap(path, networks, remote);
  for (let i = 0; i < remote.count; i++) {
    const packet = remote.packets[i]!;
    const vtep = pool.vtep[packet]!;
    const port = 49_152 + (pool.flow[packet]! & 0x3fff);
    const length = pool.length[packet]!;
    const ipVersion = vteps.family(vtep);
    outer.write(pool, packet, vteps.rows, vteps.outerAt(vtep), ipVersion, port, length);
    if (pool.ecn[packet] !== 0) outer.mark(pool, packet, ipVersion);
  }
}

/** The same as the engine and the tunnel device do it, on the express path. */
function expressPass(n: number): () => void {
  const built = stage(n, 'remote');
  const { pool, vteps, batch } = built;
  const local = new Batch(pool.packets);
  const remote = new Batch(pool.packets);
  const outbound = new Outbound({ ...built, express: true }, batch, local, remote);
  const write = expressWrite(pool, vteps, remote);
  const rewind = rewinder(built);
  let written = 0;
  const pass = () => {
    rewind();
    remote.count = 0;
    outbound.forward(PORT_IN);
    written = write(0, PORT_STEP);
  };
  pass();
  expect(remote.count === BATCH, `${BATCH - remote.count} of ${BATCH} frames were dropped`);
  expect(written === BATCH, `${BATCH - written} of ${BATCH} frames were left to the general path`);
  expect(pool.length[built.packets[0]!] === FRAME_BYTES + 50, 'the outer headers are not 50 bytes');
  return pass;
}

function generalPass(n: number): () => void {
  const built = stage(n, 'remote');
  const local = new Batch(built.pool.packets);
  const remote = new Batch(built.pool.packets);
  const rewind = rewinder(built);
  const pass = () => {
    rewind();
    remote.count = 0;
    sendBatch(built, local, remote);
  };
  pass();
  expect(remote.count === BATCH, `${BATCH - remote.count} of ${BATCH} frames were dropped`);
  return pass;
}

export function encapCases(): Case[] {
  const common = { unit: 'packet', units: BATCH };
  const cases: Case[] = [1000, 100_000].map((n) => ({
    ...{ ...common, name: `encap, ${n.toLocaleString('en-US')} entries`, reference: ['encap', n] as const },
    prepare: () => expressPass(n),
  }));
  return [
    ...cases,
    {
      ...common,
      name: 'encap by the general path',
      prepare: () => generalPass(1000),
      reference: ['encap', 1000],
    },
  ];
}
