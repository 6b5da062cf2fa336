/** Compares sides as the command line says, and puts the outcome into words and JSON. */
import type { Options } from '../options.js';
import { lines, report } from './report.js';
import { compare, type Plan } from './run.js';

export async function sideBySide(
  { only, rounds, ipv6, quick, say }: Options,
  sides: Plan['sides'],
  wires: Plan['wires'],
): Promise<{ text: string; json: unknown; failed: boolean }> {
  const outcome = await compare({ sides, wires, only, rounds, ipv6, seconds: quick ? 1 : 2, say });
  return {
    text: report(outcome),
    json: { lines: lines(outcome.samples), ...outcome },
    failed: outcome.failed,
  };
}
