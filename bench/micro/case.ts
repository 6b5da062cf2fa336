/**
 * A case of the micro and path benches: TypeScript by `benchmark`, and the C reference beside it. Each case runs on a thread of
 * its own (case-thread.ts), as each engine does: V8 treats what there is one of on a thread as constant.
 */
import { Worker } from 'node:worker_threads';
import Benchmark from 'benchmark';
import { run } from '../../src/cli/lab/lab.js';
import { reference } from '../reference/tools.js';
import { median } from '../statistics.js';

export interface Case {
  name: string;
  /** what one unit is: 'packet', 'lookup', … */
  unit: string;
  /** makes what is measured: one pass over a batch, of so many `units` */
  prepare: () => () => void;
  units: number;
  /** arguments of bench/reference/loop, where it does the same work */
  reference?: readonly [name: string, n: number];
}

export interface Rate {
  name: string;
  unit: string;
  /** millions a second */
  mpps: number;
  nanoseconds: number;
  /** the C reference's, of the same run */
  reference?: number;
  ratio?: number;
}

/** ANCHORS.md: in memory, JavaScript ÷ C. */
export const FIRST_GOAL = 0.6;
export const FAR_GOAL = 0.9;

/** Results go here, so that no work is left out. */
export const sunk = { value: 0 };

async function runReference([name, n]: readonly [string, number], seconds: number): Promise<number> {
  const { stdout } = await run(await reference('loop'), [name, String(n), String(seconds)]);
  return (JSON.parse(stdout) as { mpps: number }).mpps;
}

/** Millions of units a second, the median of benchmark's samples, so that an interruption doesn't count. */
export function runPass({ name, prepare, units }: Case, seconds: number): number {
  const bench = new Benchmark(name, prepare(), { maxTime: seconds, minSamples: 10 });
  bench.run();
  if (bench.error !== undefined) throw bench.error;
  return units / median(bench.stats.sample) / 1e6;
}

/** Which case it is: the index of its maker in the list of `bench`, and its own in what that makes. */
export interface Place {
  bench: 'micro' | 'path';
  maker: number;
  index: number;
}

function runApart(place: Place, seconds: number): Promise<number> {
  const worker = new Worker(new URL('./case-thread.js', import.meta.url), { workerData: { place, seconds } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** C before and after, TypeScript between: what else goes on in the machine meets both. */
export async function measure(each: Case, place: Place, seconds: number): Promise<Rate> {
  const before = each.reference && (await runReference(each.reference, seconds / 2));
  const mpps = await runApart(place, seconds);
  const rate: Rate = { name: each.name, unit: each.unit, mpps, nanoseconds: 1000 / mpps };
  if (each.reference === undefined || before === undefined) return rate;
  const c = (before + (await runReference(each.reference, seconds / 2))) / 2;
  return { ...rate, reference: c, ratio: mpps / c };
}
