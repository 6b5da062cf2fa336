/** The data plane that runs and the configuration it runs with. One change at a time, in the order they were asked for. */

import { edit } from '../dataplane/config/service-edit.js';
import type { Edit } from '../dataplane/config/service-edit-types.js';
import { type Settled, settle } from '../dataplane/config/settled.js';
import { type Config, type OffloadName, parseConfig, type UnderlayDevice } from '../dataplane/config.js';
import { ApplyError, type Dataplane } from '../dataplane/face.js';
import type { Applied } from '../dataplane/report.js';
import { readConfig } from './config-file.js';

/** What the command line says, whatever the configuration says. */
export interface Overrides {
  offload: { readonly [N in OffloadName]?: boolean };
  device?: UnderlayDevice;
}

export class Running {
  readonly dataplane: Dataplane;
  readonly #file: string;
  readonly #overrides: Overrides;
  #config: Settled | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #setReady: () => void = () => {};
  /** Resolves when a configuration runs. */
  readonly ready = new Promise<void>((resolve) => {
    this.#setReady = resolve;
  });

  constructor(dataplane: Dataplane, file: string, overrides: Overrides = { offload: {} }) {
    this.dataplane = dataplane;
    this.#file = file;
    this.#overrides = overrides;
  }

  /** Null until the first apply. */
  get config(): Settled | null {
    return this.#config;
  }

  /** What the file says now. Throws UnreadableError or ConfigError. */
  async read(): Promise<Config> {
    return parseConfig(await readConfig(this.#file), this.#file);
  }

  /** Throws ApplyError; then nothing has changed. */
  apply(written: Config): Promise<Applied> {
    return this.#inTurn(async () => {
      const config = settle(overridden(written, this.#overrides), this.#config);
      const applied = await this.dataplane.apply(config);
      this.#config = config;
      this.#setReady();
      return applied;
    });
  }

  /** Reads the file again and applies it. Throws UnreadableError, ConfigError or ApplyError; then nothing has changed. */
  async reload(): Promise<Applied> {
    return this.apply(await this.read());
  }

  /** Changes the virtual server, with all else as it is. Throws EditRefused or ApplyError; then nothing has changed. */
  edit(edits: readonly Edit[]): Promise<Applied> {
    return this.#inTurn(async () => {
      const before = this.#config;
      if (before === null) throw new ApplyError('nothing is configured yet, so nothing can be edited');
      const networks = new Set(before.networks.map(({ name }) => name));
      const config = { ...before, ...edit(before, edits, networks) };
      const applied = await this.dataplane.apply(config);
      this.#config = config;
      for (const step of edits) {
        if (step.do !== 'zero') continue;
        const { network, listen } = step;
        this.dataplane.zero(listen === null ? undefined : { network, listen });
      }
      return applied;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

function overridden(config: Config, { offload, device }: Overrides): Config {
  return {
    ...config,
    offload: { ...config.offload, ...offload },
    underlay:
      device === undefined || config.underlay === null ? config.underlay : { ...config.underlay, device },
  };
}
