/** `npm run bench -- micro`: single stages over a batch in memory, each beside the same loop in C. */
import type { Options } from '../options.js';
import { format, table } from '../statistics.js';
import { type Case, FAR_GOAL, FIRST_GOAL, measure, type Place, type Rate } from './case.js';
import { checksumCases } from './checksum.js';
import { decapCases } from './decap.js';
import { directorCases } from './director.js';
import { encapCases } from './encap.js';
import { hashCases } from './hash.js';
import { natCases } from './nat.js';
import { scheduleCases } from './schedule.js';
import { splitCases } from './split.js';
import { tableCases } from './table.js';

export const MICRO_CASES: readonly (() => Case[])[] = [
  tableCases,
  hashCases,
  checksumCases,
  encapCases,
  decapCases,
  splitCases,
  scheduleCases,
  natCases,
  directorCases,
];

export function rateTable(rates: readonly Rate[]): string {
  const rows = rates.map(({ name, unit, mpps, nanoseconds, reference, ratio }) => [
    ...[name, unit, format(nanoseconds), format(mpps)],
    ...(ratio === undefined || reference === undefined
      ? ['', '', '', '']
      : [
          ...[format(reference), ratio.toFixed(2), `${FIRST_GOAL} / ${FAR_GOAL}`],
          ratio >= FAR_GOAL ? 'far' : ratio >= FIRST_GOAL ? 'first' : 'no',
        ]),
  ]);
  return table([['', 'unit', 'ns', 'M/s', 'C: M/s', 'ratio', 'goals', 'met'], ...rows], 2);
}

export async function measureAll(
  bench: Place['bench'],
  makers: readonly (() => Case[])[],
  options: Options,
): Promise<{ text: string; json: Rate[]; failed: boolean }> {
  const rates: Rate[] = [];
  const notes: string[] = [];
  for (const [maker, make] of makers.entries()) {
    try {
      for (const [index, each] of make().entries()) {
        if (options.only.length > 0 && !options.only.some((name) => each.name.startsWith(name))) continue;
        options.say(each.name);
        rates.push(await measure(each, { bench, maker, index }, options.quick ? 0.3 : 1));
      }
    } catch (error) {
      notes.push(`- skipped: ${make.name}: ${(error as Error).message}`);
    }
  }
  return { text: [rateTable(rates), ...notes].join('\n'), json: rates, failed: notes.length > 0 };
}

export const benchMicro = (options: Options) => measureAll('micro', MICRO_CASES, options);
