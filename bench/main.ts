/** `npm run bench [-- GROUP… OPTIONS]`: runs the groups one after another, prints tables or JSON, cleans up. */

import { record } from './history.js';
import { closeLabs, closeOnSignals, sweep } from './labs.js';
import { describe } from './machine.js';
import { type Group, type Options, parse } from './options.js';

interface Result {
  text: string;
  json: unknown;
  /** whether something that was to run did not */
  failed?: boolean;
}

type Bench = (options: Options) => Promise<Result>;

/** Loaded when asked for, so that one group's missing part doesn't stop the others. */
const BENCHES: Record<Group, () => Promise<Bench>> = {
  micro: async () => (await import('./micro/micro.js')).benchMicro,
  path: async () => (await import('./path/path.js')).benchPath,
  system: async () => (await import('./system/system.js')).benchSystem,
  director: async () => (await import('./system/director/director.js')).benchDirector,
  flood: async () => (await import('./system/director/flood.js')).benchFlood,
  idle: async () => (await import('./system/idle.js')).benchIdle,
  scale: async () => (await import('./system/scale.js')).benchScale,
};

const NEED_ROOT: readonly Group[] = ['system', 'director', 'flood', 'idle', 'scale'];

async function main(): Promise<number> {
  const options = parse(process.argv.slice(2));
  closeOnSignals();
  const machine = await describe();
  const asRoot = process.getuid?.() === 0;
  if (asRoot) await sweep();

  const results: Partial<Record<Group, unknown>> = {};
  let failed = false;
  const print = (line: string) => (options.json ? console.error(line) : console.log(line));
  print(
    `Viaduct ${machine.commit}${machine.dirty ? ' (with changes)' : ''}, Linux ${machine.kernel}, ` +
      `Node ${machine.node}, ${machine.cores} × ${machine.cpu}, ${machine.date}`,
  );
  if (machine.busy > 0.2)
    print(`The machine is busy: ${machine.busy} cores are in use by others. These are smoke values.`);

  for (const group of options.groups) {
    if (NEED_ROOT.includes(group) && !asRoot) {
      print(`\n## ${group}\n\nskipped: needs root, for network namespaces`);
      continue;
    }
    try {
      const result = await (await BENCHES[group]())(options);
      results[group] = result.json;
      failed ||= result.failed ?? false;
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
      print(`\n## ${group}\n\n${result.text}`);
    } catch (error) {
      failed = true;
      print(`\n## ${group}\n\nfailed: ${(error as Error).message}`);
    } finally {
      await closeLabs();
    }
  }
  if (options.json) console.log(JSON.stringify({ ...machine, ...results }, null, 2));
  if (options.record) await record(machine, results);
  return failed ? 1 : 0;
}

process.exit(await main().finally(closeLabs));
