/** `viaduct dataplane`: a data plane in the foreground, until SIGTERM or SIGINT; SIGHUP reads its file again. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { ConfigError, OFFLOADS, type OffloadName, type UnderlayDevice } from '../dataplane/config.js';
import { createDataplane } from '../dataplane/dataplane.js';
import { ApplyError, type Logger } from '../dataplane/face.js';
import type { LogLevel } from './choices.js';
import { STDIN, UnreadableError } from './config-file.js';
import { FAILED, Failure, USAGE } from './failure.js';
import { createLogger } from './log.js';
import { type Overrides, Running } from './running.js';
import { listen, removeAtExit, socketPath } from './socket/place.js';
import { createControlServer } from './socket/server.js';

const CLOSE_MS = 500;

export interface DataplaneOptions {
  config: string;
  socket?: string;
  logLevel: LogLevel;
  offload?: string;
  underlayDevice?: UnderlayDevice;
}

export async function dataplane(options: DataplaneOptions): Promise<number> {
  if (options.config === STDIN) {
    throw new Failure(
      "--config '-': SIGHUP and reload read the file again, so it can't be stdin; name a file",
      USAGE,
    );
  }
  const overrides: Overrides = { offload: parseOffload(options.offload ?? '') };
  if (options.underlayDevice !== undefined) overrides.device = options.underlayDevice;
  const logger = createLogger(options.logLevel);
  const signals = new Signals(logger);
  process.on('uncaughtException', (error) => {
    logger.error({ err: error }, 'the data plane failed');
    process.exit(FAILED); // devices and sockets go with the process
  });
  const running = new Running(createDataplane({ logger }), options.config, overrides);
  const config = await running.read().catch((error: unknown) => refuse(error, logger));
  if (config === undefined) return FAILED;

  const closing = new AbortController();
  const server = createControlServer(running, logger, closing.signal);
  const path = socketPath(options.socket);
  await listen(server, path); // before all else, so that of two that start at once only one goes on
  removeAtExit(path);
  try {
    await running.dataplane.start();
    logger.info(await running.apply(config), 'configuration applied');
    logger.info({ socket: path, pid: process.pid }, 'ready');
    signals.onReload(() => void reload(running, logger));
    logger.info({ signal: await signals.stop }, 'stopping');
    return 0;
  } catch (error) {
    refuse(error, logger);
    return FAILED;
  } finally {
    closing.abort();
    await close(server);
    await running.dataplane.stop();
    logger.info({}, 'stopped');
  }
}

async function reload(running: Running, logger: Logger): Promise<void> {
  try {
    logger.info(await running.reload(), 'configuration applied');
  } catch (error) {
    refuse(error, logger);
  }
}

/** Logs why a configuration doesn't run, each fault of it on a line of its own. */
function refuse(error: unknown, logger: Logger): undefined {
  if (error instanceof ConfigError) {
    for (const fault of error.faults) logger.error({ file: error.where, fault }, 'configuration refused');
  } else if (error instanceof UnreadableError) {
    logger.error({ file: error.file, reason: error.reason }, 'configuration not read');
  } else if (error instanceof ApplyError) {
    logger.error({ reason: error.message }, 'configuration not applied');
  } else logger.error({ err: error }, 'the data plane failed');
}

/** Answers that are under way get a moment to end. */
async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  const hard = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearTimeout(hard);
}

/** The process's signals, from before anything is set up: a second request to stop doesn't wait for the first. */
class Signals {
  readonly stop: Promise<NodeJS.Signals>;
  #reload: (() => void) | undefined;
  #early = false;

  constructor(logger: Logger) {
    this.stop = new Promise((asked) => {
      let stopping = false;
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.on(signal, () => {
          if (stopping) process.exit(FAILED);
          stopping = true;
          asked(signal);
        });
      }
    });
    process.on('SIGHUP', () => {
      logger.info({}, 'SIGHUP: reading the configuration again');
      if (this.#reload === undefined) this.#early = true;
      else this.#reload();
    });
  }

  /** Runs at each SIGHUP, also for one that has come already. */
  onReload(reload: () => void): void {
    this.#reload = reload;
    if (this.#early) reload();
  }
}

/** `tso=off,uso=off` */
export function parseOffload(text: string): { [N in OffloadName]?: boolean } {
  const wanted: { [N in OffloadName]?: boolean } = {};
  for (const item of text.split(',').filter((part) => part !== '')) {
    const [name, value] = item.split('=');
    const offload = OFFLOADS.find((known) => known === name);
    if (offload === undefined || (value !== 'on' && value !== 'off')) {
      const forms = OFFLOADS.map((known) => `${known}=on|off`).join(',');
      throw new Failure(`--offload '${item}': expected some of ${forms}`, USAGE);
    }
    wanted[offload] = value === 'on';
  }
  return wanted;
}
