/** `viaduct apply` and `viaduct reload`: another configuration for the running data plane. */
import type { Applied } from '../dataplane/report.js';
import { configName, readConfig } from './config-file.js';
import { ask } from './socket/client.js';
import { socketPath } from './socket/place.js';
import { appliedText } from './text/views.js';

export interface ApplyOptions {
  socket?: string;
}

/** '-' is stdin. */
export async function apply(file: string, options: ApplyOptions): Promise<number> {
  const body = await readConfig(file);
  const request = { method: 'PUT', body, query: { source: configName(file) } } as const;
  return report(await ask<Applied>(socketPath(options.socket), '/v1/config', request));
}

export async function reload(options: ApplyOptions): Promise<number> {
  return report(await ask<Applied>(socketPath(options.socket), '/v1/reload', { method: 'POST' }));
}

function report(applied: Applied): number {
  process.stdout.write(`${appliedText(applied)}\n`);
  return 0;
}
