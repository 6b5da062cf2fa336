/** `viaduct show`: a table of the running data plane, once or again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Table } from './choices.js';
import { Failure, USAGE } from './failure.js';
import { showConnections } from './show-connections.js';
import { ask } from './socket/client.js';
import { socketPath } from './socket/place.js';
import { painter } from './text/style.js';
import type { Context } from './text/view.js';
import { VIEWS } from './text/views.js';

export interface ShowOptions {
  socket?: string;
  json?: boolean;
  all?: boolean;
  /** seconds, or true for the default */
  watch?: string | true;
}

export async function show(table: Table, options: ShowOptions): Promise<number> {
  const socket = socketPath(options.socket);
  if (options.watch !== undefined) return watch(socket, table, options, watchSeconds(options.watch));
  if (table === 'connections') return showConnections(socket, options.json ?? false);
  const value = await ask<unknown>(socket, `/v1/${table}`);
  process.stdout.write(options.json ? `${JSON.stringify(value, null, 2)}\n` : render(table, value, options));
  return 0;
}

/** On a terminal the table stays in place; elsewhere one follows the other, as JSON one a line. */
async function watch(socket: string, table: Table, options: ShowOptions, seconds: number): Promise<number> {
  const inPlace = process.stdout.isTTY && !options.json;
  let before: { value: unknown; at: number } | undefined;
  for (;;) {
    const value = await ask<unknown>(socket, `/v1/${table}`);
    const at = performance.now();
    if (options.json) process.stdout.write(`${JSON.stringify(value)}\n`);
    else {
      const elapsed = before && { value: before.value, seconds: (at - before.at) / 1000 };
      const text = render(table, value, options, elapsed);
      process.stdout.write(inPlace ? `\x1b[H${text.replaceAll('\n', '\x1b[K\n')}\x1b[J` : `${text}\n`);
    }
    before = { value, at };
    await sleep(seconds * 1000);
  }
}

function watchSeconds(option: string | true): number {
  if (option === true) return 1;
  const seconds = Number(option);
  if (seconds >= 0.1 && seconds <= 86_400) return seconds;
  throw new Failure(`--watch '${option}': expected seconds, from 0.1 on`, USAGE);
}

/** The value came over the socket as the view's type. */
function render(
  table: Table,
  value: unknown,
  options: ShowOptions,
  before?: { value: unknown; seconds: number },
): string {
  const view = VIEWS[table] as (value: unknown, context: Context<unknown>) => string;
  const context = { paint: painter(process.stdout), all: options.all ?? false };
  return view(value, before === undefined ? context : { ...context, before });
}
