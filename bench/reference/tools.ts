/** Builds the C side (make, gcc) and starts its programs. */
import { fileURLToPath } from 'node:url';
import { run } from '../../src/cli/lab/lab.js';

/** dist/bench/reference/tools.js → bench/reference/ */
const directory = fileURLToPath(new URL('../../../bench/reference/', import.meta.url));

let built: Promise<unknown> | undefined;

/** Path of a built program: loop, blast, pingpong. */
export async function reference(program: string): Promise<string> {
  built ??= run('make', ['-s', '-C', directory]);
  await built;
  return `${directory}build/${program}`;
}
