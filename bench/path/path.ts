/** `npm run bench -- path`: a packet's whole walk through an engine, the kernel left out. */
import { type Case, measure } from '../micro/case.js';
import { measureAll } from '../micro/micro.js';
import { expect } from '../micro/stage.js';
import type { Options } from '../options.js';
import { BATCH, passOf, world } from './world.js';

/** Four batches of 64 in a pass, as in the C reference's one of 256. */
const UNITS = 4 * BATCH;

export function pathCase(way: 'out' | 'in', networks: number, entriesEach: number, active: number): Case {
  const built = world(way, networks, entriesEach, active);
  const pass = passOf(built, way, active);
  pass();
  expect(
    built.count() === UNITS,
    `${UNITS - built.count()} of ${UNITS} packets were dropped on the way ${way}`,
  );
  expect(built.engine.path.pool.allocated === 0, 'packets are still allocated after the pass');
  const entries = networks * entriesEach;
  const what = `${networks.toLocaleString('en-US')} network${networks > 1 ? 's' : ''}, ${entries.toLocaleString('en-US')} entries${active > 1 ? ', traffic in all' : ''}`;
  const reference = [way === 'out' ? 'encap' : 'decap', entries] as const;
  return { name: `${way}, ${what}`, unit: 'packet', units: UNITS, pass, reference };
}

const casesOf = (way: 'out' | 'in') => () => [
  pathCase(way, 1, 1000, 1),
  pathCase(way, 1000, 100, 1),
  pathCase(way, 1000, 100, 1000),
];

export const benchPath = (options: Options) => measureAll([casesOf('out'), casesOf('in')], options);

/** How much slower the path is with 1,000 networks and 100,000 entries: share of the rate lost, round by round. */
export async function slowdown(way: 'out' | 'in', rounds: number, seconds: number): Promise<number[]> {
  const { reference: _1, ...small } = pathCase(way, 1, 100, 1);
  const { reference: _2, ...large } = pathCase(way, 1000, 100, 1);
  const lost: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const before = await measure(small, seconds);
    const after = await measure(large, seconds);
    lost.push(1 - after.mpps / before.mpps);
  }
  return lost;
}
