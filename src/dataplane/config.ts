/** The configuration: text or object in, a validated passive value out, or a ConfigError that lists every fault. */
import { ConfigError } from './config/error.js';
import type { Config } from './config/types.js';

export type * from './config/types.js';
export { OFFLOADS, UNDERLAY_DEVICES } from './config/types.js';
export { ConfigError };

/** The path of a network namespace as an endpoint names it. */
export function netnsPath(netns: string): string {
  return netns.startsWith('/') ? netns : `/run/netns/${netns}`;
}

/** `where` names the source in the error, e.g. the file. Throws ConfigError. */
export function parseConfig(_input: string | object, where: string): Config {
  throw new ConfigError(where, ['not written yet']);
}
