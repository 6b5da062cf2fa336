/** A data plane as a user starts it: `viaduct dataplane` in its host's namespace, asked over its socket. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Finished, Host } from '../../../src/cli/lab/lab.js';
import { ask } from '../../../src/cli/socket/client.js';
import type { Written } from '../../../src/dataplane/config/schema.js';
import type { DropReason, Stats } from '../../../src/dataplane/report.js';
import { until } from './until.js';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

/** Configurations, sockets and captures of this process's tests. */
export const scratch = mkdtempSync(join(tmpdir(), 'viaduct-system-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

export class Plane {
  readonly host: Host;
  readonly socket: string;
  readonly file: string;
  readonly #args: string[];
  #child: ChildProcess | undefined;
  #log = '';

  constructor(host: Host, args: string[] = []) {
    this.host = host;
    this.socket = join(scratch, `${host.netns}.sock`);
    this.file = join(scratch, `${host.netns}.json`);
    this.#args = args;
  }

  /** All that it logged, of each of its lives. */
  get log(): string {
    return this.#log;
  }

  get child(): ChildProcess {
    if (this.#child === undefined) throw new Error('the data plane was not started');
    return this.#child;
  }

  async write(config: Written): Promise<void> {
    await writeFile(this.file, JSON.stringify(config, null, 2));
  }

  /** Starts it with the file as it is, and waits until it is ready. */
  async start(config?: Written): Promise<void> {
    if (config !== undefined) await this.write(config);
    const from = this.#log.length;
    const child = this.host.spawn(process.execPath, [
      ...[MAIN, 'dataplane', '--config', this.file, '--socket', this.socket],
      ...this.#args,
    ]);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
    await until(
      `the data plane of ${this.host.netns} is ready`,
      () => {
        if (child.exitCode !== null) throw new Error(`the data plane ended\n${this.#log}`);
        return this.#log.slice(from).includes('"ready"');
      },
      60,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#log}`);
    });
  }

  /** Has it read its file again, and waits for its answer: true when the new file is in force. */
  async reload(config?: Written): Promise<boolean> {
    if (config !== undefined) await this.write(config);
    const from = this.#log.length;
    this.child.kill('SIGHUP');
    const said = await until('the data plane has read its file again', () =>
      /configuration (applied|refused|not applied)/.exec(this.#log.slice(from)),
    );
    return said[1] === 'applied';
  }

  /** Ends it with a signal; its exit code. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }

  get socketExists(): boolean {
    return existsSync(this.socket);
  }

  ask<T>(table: string): Promise<T> {
    return ask<T>(this.socket, `/v1/${table}`);
  }

  stats(): Promise<Stats> {
    return this.ask<Stats>('stats');
  }

  async drops(reason: DropReason): Promise<number> {
    return (await this.stats()).drops[reason];
  }

  /** The command `viaduct …` against this data plane. */
  command(...args: string[]): Promise<Finished> {
    return this.host.run(process.execPath, [MAIN, ...args, '--socket', this.socket], { check: false });
  }

  /** The same, left running; `said` is its stdout so far. */
  spawnCommand(...args: string[]): { child: ChildProcess; said: () => string } {
    const child = this.host.spawn(process.execPath, [MAIN, ...args, '--socket', this.socket]);
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.stderr?.resume();
    return { child, said: () => text };
  }
}
