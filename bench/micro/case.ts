/** A case of the micro and path benches: TypeScript by `benchmark`, and the C reference beside it. */
import Benchmark from 'benchmark';
import { run } from '../../src/cli/lab/lab.js';
import { reference } from '../reference/tools.js';
import { median } from '../statistics.js';

export interface Case {
  name: string;
  /** what one unit is: 'packet', 'lookup', … */
  unit: string;
  /** one pass over a batch; `units` of them */
  pass: () => void;
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
function runPass({ name, pass, units }: Case, seconds: number): number {
  const bench = new Benchmark(name, pass, { maxTime: seconds, minSamples: 10 });
  bench.run();
  if (bench.error !== undefined) throw bench.error;
  return units / median(bench.stats.sample) / 1e6;
}

/** C before and after, TypeScript between: what else goes on in the machine meets both. */
export async function measure(each: Case, seconds: number): Promise<Rate> {
  const before = each.reference && (await runReference(each.reference, seconds / 2));
  const mpps = runPass(each, seconds);
  const rate: Rate = { name: each.name, unit: each.unit, mpps, nanoseconds: 1000 / mpps };
  if (each.reference === undefined || before === undefined) return rate;
  const c = (before + (await runReference(each.reference, seconds / 2))) / 2;
  return { ...rate, reference: c, ratio: mpps / c };
}
