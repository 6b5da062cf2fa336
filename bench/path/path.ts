/** `npm run bench -- path`: a packet's whole walk through an engine, the kernel left out. */
import type { Case } from '../micro/case.js';
import { measureAll } from '../micro/micro.js';
import { expect } from '../micro/stage.js';
import type { Options } from '../options.js';
import { BATCH, passOf, world } from './world.js';

/** Four batches of 64 in a pass, as in the C reference's one of 256. */
const UNITS = 4 * BATCH;

function pathPass(way: 'out' | 'in', networks: number, entriesEach: number, active: number): () => void {
  const built = world(way, networks, entriesEach, active);
  const pass = passOf(built, way, active);
  pass();
  expect(
    built.count() === UNITS,
    `${UNITS - built.count()} of ${UNITS} packets were dropped on the way ${way}`,
  );
  expect(built.engine.path.pool.allocated === 0, 'packets are still allocated after the pass');
  return pass;
}

export function pathCase(way: 'out' | 'in', networks: number, entriesEach: number, active: number): Case {
  const entries = networks * entriesEach;
  const what = `${networks.toLocaleString('en-US')} network${networks > 1 ? 's' : ''}, ${entries.toLocaleString('en-US')} entries${active > 1 ? ', traffic in all' : ''}`;
  const prepare = () => pathPass(way, networks, entriesEach, active);
  const reference = [way === 'out' ? 'encap' : 'decap', entries] as const;
  return { name: `${way}, ${what}`, unit: 'packet', units: UNITS, prepare, reference };
}

const casesOf = (way: 'out' | 'in') => () => [
  pathCase(way, 1, 1000, 1),
  pathCase(way, 1000, 100, 1),
  pathCase(way, 1000, 100, 1000),
];

export const PATH_CASES = [casesOf('out'), casesOf('in')];

export const benchPath = (options: Options) => measureAll('path', PATH_CASES, options);

/**
 * How much slower the path is with 1,000 networks and 100,000 entries, as a share of its rate. The two take turns in
 * slices of some milliseconds, and the fastest slices are compared: whatever else runs only makes slices slower.
 */
export function slowdown(way: 'out' | 'in', seconds: number): number {
  const small = pathPass(way, 1, 100, 1);
  const large = pathPass(way, 1000, 100, 1);
  const slice = (pass: () => void) => {
    const start = performance.now();
    for (let i = 0; i < 20; i++) pass();
    return performance.now() - start;
  };
  let [fastest, slowest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const end = performance.now() + 2000 * seconds; performance.now() < end; ) {
    fastest = Math.min(fastest, slice(small));
    slowest = Math.min(slowest, slice(large));
  }
  return 1 - fastest / slowest;
}
