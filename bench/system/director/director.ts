/** `npm run bench -- director`: the virtual server beside nftables, HAProxy, nginx and its C reference. */
import type { Options } from '../../options.js';
import { lines, report } from '../report.js';
import { compare } from '../run.js';
import { SIDES } from './sides.js';

export async function benchDirector(
  options: Options,
): Promise<{ text: string; json: unknown; failed: boolean }> {
  const sides = new Map([...SIDES].filter(([name]) => !options.without.includes(name)));
  const outcome = await compare({
    sides,
    wires: ['director'],
    only: options.only,
    rounds: options.rounds,
    ipv6: options.ipv6,
    seconds: options.quick ? 1 : 2,
    say: options.say,
  });
  return {
    text: report(outcome),
    json: { lines: lines(outcome.samples), ...outcome },
    failed: outcome.failed,
  };
}
