/** The committed history: one JSON line a run, so that a regression is seen. */
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Machine } from './machine.js';

/** dist/bench/history.js → bench/history/system.jsonl */
const file = fileURLToPath(new URL('../../bench/history/system.jsonl', import.meta.url));

/** What only explains a table, and single samples, stay out. */
const OMITTED = new Set(['notes', 'lines', 'values']);

const rounded = (value: number) => (Number.isInteger(value) ? value : Number(value.toPrecision(4)));

export async function record(machine: Machine, results: object): Promise<void> {
  const line = JSON.stringify({ ...machine, ...results }, (key, value) =>
    OMITTED.has(key) ? undefined : typeof value === 'number' ? rounded(value) : value,
  );
  await mkdir(dirname(file), { recursive: true });
  await appendFile(file, `${line}\n`);
}
