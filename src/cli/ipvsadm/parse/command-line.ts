/**
 * An ipvsadm command line, read in its order and refused in ipvsadm's words. What it becomes is edits, or what to print.
 */
import type { Edit } from '../../../dataplane/config/service-edit-types.js';
import { TIMEOUT_MAX } from '../../../dataplane/config/service-schema.js';
import type { Names } from '../names.js';
import { DaemonOptions } from './daemon-options.js';
import { COMMANDS, type CommandName, illegal, OPTIONS, type OptionName } from './options.js';
import { ServiceOptions } from './service-options.js';
import { type Token, tokens } from './tokens.js';
import { UNREAD, UsageFault } from './usage-fault.js';
import { numberOf } from './values.js';

/** How a list is printed. */
export interface Format {
  numeric: boolean;
  stats: boolean;
  rate: boolean;
  thresholds: boolean;
  persistentConn: boolean;
  tunInfo: boolean;
  exact: boolean;
  sorted: boolean;
}

export type Wanted =
  | { readonly kind: 'edits'; readonly edits: readonly Edit[] }
  | {
      readonly kind: 'list';
      readonly what: 'services' | 'connections' | 'timeouts' | 'daemons';
      /** only this service */
      readonly listen: string | null;
    }
  | { readonly kind: 'save' | 'restore' | 'help' | 'version' };

export interface Extras {
  readonly format: Format;
  readonly json: boolean;
  /** restore: the rules are the whole state; save: all that rules can say */
  readonly replace: boolean;
  /** undefined: not given; then what is changed is the host's own side */
  readonly network: string | undefined;
  readonly socket: string | undefined;
}

export type Parsed = Wanted & Extras;

const NO_FORMAT: Format = {
  ...{ numeric: false, stats: false, rate: false, thresholds: false },
  ...{ persistentConn: false, tunInfo: false, exact: false, sorted: true },
};

/** @param program how it was called. Throws UsageFault. */
export async function parse(program: string, words: readonly string[], names: Names): Promise<Parsed> {
  return new CommandLine(names).read(program, words);
}

class CommandLine {
  readonly #given = new Set<OptionName>();
  readonly #format = { ...NO_FORMAT };
  readonly #arguments: string[] = [];
  readonly #service: ServiceOptions;
  readonly #daemon = new DaemonOptions();
  #network: string | undefined;
  #socket: string | undefined;

  constructor(names: Names) {
    this.#service = new ServiceOptions(names);
  }

  async read(program: string, words: readonly string[]): Promise<Parsed> {
    const all = tokens(words, OPTIONS);
    const command = this.#command(all);
    if (command === undefined) {
      throw new UsageFault(`Try \`${program} -h' or '${program} --help' for more information.`, UNREAD);
    }
    const extras = (): Extras => ({
      format: this.#format,
      json: this.#given.has('json'),
      replace: this.#given.has('replace'),
      network: this.#network,
      socket: this.#socket,
    });
    if (command === 'help' || command === 'version') return { kind: command, ...extras() };
    for (let step = all.next(); !step.done; step = all.next()) {
      const token = step.value;
      if (token.kind === 'fault') throw new UsageFault(token.sentence, UNREAD);
      if (token.kind === 'argument') this.#arguments.push(token.text);
      else await this.#option(token.tag, token.value ?? '', token);
    }
    const times = command === 'set' ? this.#times() : [];
    if (this.#arguments.length > 0) throw new UsageFault(`unexpected argument ${this.#arguments[0]}`);
    this.#service.checkFlags();
    const wrong = illegal(command, this.#given);
    if (wrong !== undefined) throw new UsageFault(wrong);
    return { ...this.#wanted(command, times), ...extras() };
  }

  /** The command is the first option; words that are none may stand before it. */
  #command(all: Generator<Token, void, undefined>): CommandName | 'help' | 'version' | undefined {
    for (let step = all.next(); !step.done; step = all.next()) {
      const token = step.value;
      if (token.kind === 'fault') return undefined;
      if (token.kind === 'argument') {
        this.#arguments.push(token.text);
        continue;
      }
      const { tag, value } = token;
      // These two of ours may stand before it, where a program puts them.
      if (tag === 'socket' || tag === 'network') {
        this.#ours(tag, value ?? '');
        continue;
      }
      if (tag === 'help' || tag === 'version') return tag;
      if (!(tag in COMMANDS)) return undefined;
      if (tag === 'startDaemon')
        this.#daemon.setRole(value ?? '', 'illegal start-daemon parameter specified');
      if (tag === 'stopDaemon') this.#daemon.setRole(value ?? '', 'illegal start_daemon specified');
      return tag as CommandName;
    }
    return undefined;
  }

  #once(name: OptionName): void {
    if (this.#given.has(name)) throw new UsageFault(`multiple '${name}' options specified`);
    this.#given.add(name);
  }

  #ours(tag: 'socket' | 'network', value: string): void {
    this.#once(tag);
    if (tag === 'socket') this.#socket = value;
    else this.#network = value;
  }

  async #option(
    tag: string,
    value: string,
    { word, value: raw }: Extract<Token, { kind: 'option' }>,
  ): Promise<void> {
    const printing = PRINTING[tag];
    if (printing !== undefined) {
      const [name, change] = printing;
      if (name !== null) this.#once(name);
      Object.assign(this.#format, change);
      return;
    }
    if (tag === 'socket' || tag === 'network') return this.#ours(tag, value);
    const name = this.#daemon.nameOf(tag) ?? this.#service.nameOf(tag);
    if (name === undefined) throw new UsageFault(`invalid option \`${word}'`);
    if (name !== null) this.#once(name);
    if (this.#daemon.nameOf(tag) !== undefined) this.#daemon.take(tag, value);
    else await this.#service.take(tag, raw);
  }

  /** --set has its three values as arguments. */
  #times(): number[] {
    const texts = this.#arguments.splice(0, 3);
    if (texts.length < 3) throw new UsageFault('--set option requires 3 timeout values');
    return texts.map((text) => {
      const seconds = numberOf(text, 0, TIMEOUT_MAX);
      if (seconds === undefined) throw new UsageFault(`invalid timeout value \`${text}' specified`);
      return seconds;
    });
  }

  #wanted(
    command: CommandName,
    [tcpSeconds = 0, tcpFinSeconds = 0, udpSeconds = 0]: readonly number[],
  ): Wanted {
    const service = this.#service;
    const network = this.#network ?? null;
    const edits = (...list: Edit[]): Wanted => ({ kind: 'edits', edits: list });
    switch (command) {
      case 'add':
      case 'edit':
        return edits({ do: `${command}-service`, network, ...service.rule() });
      case 'delete':
        return edits({ do: 'delete-service', network, listen: service.listen() });
      case 'addServer':
      case 'editServer': {
        const destination = service.destination(this.#given);
        const verb = command === 'addServer' ? 'add-destination' : 'edit-destination';
        return edits({ do: verb, network, listen: service.listen(), destination });
      }
      case 'deleteServer':
        return edits({
          do: 'delete-destination',
          network,
          listen: service.listen(),
          address: service.address(),
        });
      case 'flush':
        return edits({ do: 'flush', network });
      case 'zero': {
        const listen = this.#given.has('service-address') ? service.listen() : null;
        return edits({ do: 'zero', network, listen });
      }
      case 'set':
        return edits({ do: 'set-timeouts', tcpSeconds, tcpFinSeconds, udpSeconds });
      case 'startDaemon':
        return edits({ do: 'start-daemon', role: this.#daemon.role, daemon: this.#daemon.daemon() });
      case 'stopDaemon':
        return edits({ do: 'stop-daemon', role: this.#daemon.role });
      case 'list':
        return this.#list();
      case 'save':
      case 'restore':
        return { kind: command };
    }
  }

  #list(): Wanted {
    const given = (...names: OptionName[]) => names.some((name) => this.#given.has(name));
    if (
      (given('connection', 'timeout', 'daemon') && given('stats', 'rate', 'thresholds')) ||
      (given('timeout', 'daemon') && given('persistent-conn'))
    ) {
      throw new UsageFault('options conflicts in the list command');
    }
    if (given('connection')) return { kind: 'list', what: 'connections', listen: null };
    if (given('timeout')) return { kind: 'list', what: 'timeouts', listen: null };
    if (given('daemon')) return { kind: 'list', what: 'daemons', listen: null };
    return {
      kind: 'list',
      what: 'services',
      listen: given('service-address') ? this.#service.listen() : null,
    };
  }
}

/** Options that only say how to print: their name (null: it may come several times), and what they change. */
const PRINTING: Readonly<Record<string, readonly [OptionName | null, Partial<Format>]>> = {
  numeric: ['numeric', { numeric: true }],
  connection: ['connection', {}],
  timeout: ['timeout', {}],
  daemon: ['daemon', {}],
  stats: ['stats', { stats: true }],
  rate: ['rate', { rate: true }],
  thresholds: ['thresholds', { thresholds: true }],
  persistentConn: ['persistent-conn', { persistentConn: true }],
  tunInfo: ['tun-info', { tunInfo: true }],
  nosort: ['nosort', { sorted: false }],
  sort: [null, {}],
  exact: ['exact', { exact: true }],
  json: ['json', {}],
  replace: ['replace', {}],
};
