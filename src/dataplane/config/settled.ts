/** A configuration that leaves services or virtual server alone, together with those that run. */
import { normaliseVirtualServer } from './service-normalise.js';
import { VIRTUAL_SERVER_DEFAULTS } from './service-schema.js';
import type { Service, VirtualServer } from './service-types.js';
import type { Config } from './types.js';

export interface Settled extends Config {
  readonly services: readonly Service[];
  readonly virtualServer: VirtualServer;
}

/** What runs as long as no configuration has said anything of it. */
export const NOTHING: Pick<Settled, 'services' | 'virtualServer'> = {
  services: [],
  virtualServer: normaliseVirtualServer(VIRTUAL_SERVER_DEFAULTS),
};

/** @param before what runs; null: nothing yet */
export function settle(config: Config, before: Pick<Config, 'services' | 'virtualServer'> | null): Settled {
  return {
    ...config,
    services: config.services ?? before?.services ?? NOTHING.services,
    virtualServer: config.virtualServer ?? before?.virtualServer ?? NOTHING.virtualServer,
  };
}
