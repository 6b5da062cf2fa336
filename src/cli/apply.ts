/** `viaduct apply` and `viaduct reload`: another configuration for the running data plane. */
import { readFile } from 'node:fs/promises';
import type { Applied } from '../dataplane/report.js';
import { Failure } from './failure.js';
import { ask } from './socket/client.js';
import { socketPath } from './socket/place.js';
import { appliedText } from './text/views.js';

export interface ApplyOptions {
  socket?: string;
}

export async function apply(file: string, options: ApplyOptions): Promise<number> {
  const body = await readFile(file, 'utf8').catch((error: Error) => {
    throw new Failure(`${file} can't be read: ${error.message}`);
  });
  const request = { method: 'PUT', body, query: { source: file } } as const;
  return report(await ask<Applied>(socketPath(options.socket), '/v1/config', request));
}

export async function reload(options: ApplyOptions): Promise<number> {
  return report(await ask<Applied>(socketPath(options.socket), '/v1/reload', { method: 'POST' }));
}

function report(applied: Applied): number {
  process.stdout.write(`${appliedText(applied)}\n`);
  return 0;
}
