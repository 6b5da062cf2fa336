/** The committed history: one JSON line a run, so that a regression is seen. */
import { appendFile, mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Machine } from './machine.js';

/** dist/bench/history.js → bench/history/system.jsonl */
const file = fileURLToPath(new URL('../../bench/history/system.jsonl', import.meta.url));

export async function record(machine: Machine, results: object): Promise<void> {
  await mkdir(new URL('.', `file://${file}`), { recursive: true });
  await appendFile(file, `${JSON.stringify({ ...machine, ...results })}\n`);
}
