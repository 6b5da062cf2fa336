/** System tests need root, the addon and programs of others: where one lacks, the test is skipped, and its title says why. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Lab } from '../../../src/cli/lab/lab.js';
import { addon } from '../../../src/dataplane/io/native.js';

function onPath(program: string): boolean {
  const folders = program.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What lacks here for a test that uses these programs. */
export function missing(programs: readonly string[]): string[] {
  const lacking = programs.filter((program) => !onPath(program));
  if (addon === undefined) lacking.unshift('the native addon');
  if (process.getuid?.() !== 0) lacking.unshift('root');
  return lacking;
}

/** A test with a lab of its own, that is removed when it ends, however it ends. */
export function labTest(
  title: string,
  programs: readonly string[],
  body: (t: ExecutionContext, lab: Lab) => Promise<void>,
): void {
  const lacking = missing(['ip', ...programs]);
  if (lacking.length > 0) {
    test.serial.skip(`${title} (needs ${lacking.join(', ')})`, () => {});
    return;
  }
  test.serial(title, async (t) => {
    t.timeout(300_000);
    const lab = new Lab();
    try {
      await body(t, lab);
    } finally {
      await lab.remove();
    }
  });
}
