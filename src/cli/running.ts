/** The data plane that runs and the configuration it runs with. One change at a time, in the order they were asked for. */
import { type Config, type OffloadName, parseConfig, type UnderlayDevice } from '../dataplane/config.js';
import type { Dataplane } from '../dataplane/face.js';
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
  #config: Config | null = null;
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
  get config(): Config | null {
    return this.#config;
  }

  /** What the file says now. Throws UnreadableError or ConfigError. */
  async read(): Promise<Config> {
    return parseConfig(await readConfig(this.#file), this.#file);
  }

  /** Throws ApplyError; then nothing has changed. */
  apply(written: Config): Promise<Applied> {
    return this.#inTurn(async () => {
      const config = overridden(written, this.#overrides);
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
