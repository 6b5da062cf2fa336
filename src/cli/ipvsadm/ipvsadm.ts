/** `viaduct ipvsadm`: the virtual server by ipvsadm's command line, spoken over the control socket. */
import { text as readAll } from 'node:stream/consumers';
import { type Edit, EVERYWHERE } from '../../dataplane/config/service-edit-types.js';
import type { Service, VirtualServer } from '../../dataplane/config/service-types.js';
import type { Applied, VirtualServerReport } from '../../dataplane/report.js';
import { IPVSADM_NAMES } from '../choices.js';
import { FAILED, Failure, Refused } from '../failure.js';
import { ask } from '../socket/client.js';
import { socketPath } from '../socket/place.js';
import { printer } from '../text/printer.js';
import { listConnections } from './connections.js';
import { type Names, numeric, type Spell, SystemNames, spelledBy } from './names.js';
import { type Extras, type Parsed, parse } from './parse/command-line.js';
import { UNREAD, UsageFault } from './parse/usage-fault.js';
import { helpText, versionText } from './print/help.js';
import { daemonText, header, serviceList, socketsOf, timeoutText } from './print/listing.js';
import { serviceRules, settingRules } from './print/rules.js';
import { sorted } from './print/sorting.js';
import { readRules } from './restore.js';

interface Saved {
  services: Service[];
  virtualServer: VirtualServer;
}

/** What a command line comes to. */
export interface Outcome {
  code: number;
  out: string;
  error: string;
}

export interface Surroundings {
  version: string;
  /** what is restored */
  input: () => Promise<string>;
  names: Names;
  /** takes lists of any length a piece at a time; without it they are in the outcome */
  print?: (text: string) => Promise<void>;
}

/** @param program how it was called. Returns the exit code. */
export async function ipvsadm(program: string, words: readonly string[], version: string): Promise<number> {
  const input = () => readAll(process.stdin);
  const print = printer(process.stdout);
  const { code, out, error } = await perform(program, words, {
    ...{ version, input, names: new SystemNames(), print },
  });
  process.stdout.write(out);
  process.stderr.write(error);
  return code;
}

/** Without arguments it lists. Errors are said in ipvsadm's way. */
export async function perform(
  program: string,
  words: readonly string[],
  surroundings: Surroundings,
): Promise<Outcome> {
  const all = [...(IPVSADM_NAMES[program] ?? []), ...words];
  const command = new Ipvsadm(program, surroundings);
  try {
    await command.run(all.length === 0 ? ['-L'] : all);
    return { code: 0, out: command.out, error: command.error };
  } catch (error) {
    if (!(error instanceof Failure || error instanceof UsageFault)) throw error;
    return { code: error.exitCode, out: command.out, error: `${command.error}${error.message}\n` };
  }
}

class Ipvsadm {
  out = '';
  error = '';
  readonly #program: string;
  readonly #version: string;
  readonly #names: Names;
  readonly #input: () => Promise<string>;
  readonly #print: (text: string) => Promise<void>;

  constructor(program: string, { version, input, names, print }: Surroundings) {
    this.#program = program;
    this.#version = version;
    this.#names = names;
    this.#input = input;
    this.#print = print ?? (async (text) => this.#write(text));
  }

  async run(words: readonly string[]): Promise<void> {
    const wanted = await parse(this.#program, words, this.#names);
    const socket = socketPath(wanted.socket);
    switch (wanted.kind) {
      case 'help':
        return this.#write(helpText(this.#program, this.#version));
      case 'version':
        return this.#write(versionText(this.#version));
      case 'edits':
        return this.#edit(socket, wanted.edits, [], wanted.json);
      case 'restore':
        return this.#restore(socket, wanted);
      case 'save':
        return this.#save(socket, wanted);
      case 'list':
        return this.#list(socket, wanted);
    }
  }

  async #edit(
    socket: string,
    edits: readonly Edit[],
    lines: readonly number[],
    json: boolean,
  ): Promise<void> {
    if (edits.length === 0) return;
    const request = { method: 'POST', body: JSON.stringify(edits) } as const;
    const applied = await ask<Applied>(socket, '/v1/ipvs/edits', request).catch((error: unknown) => {
      if (!(error instanceof Refused)) throw error;
      const { code, message, edit } = error.answer;
      const line = edit === undefined ? undefined : lines[edit];
      throw new Failure(
        line === undefined ? message : `line ${line}: ${message}`,
        code === 'EDIT_REFUSED' ? UNREAD : FAILED,
      );
    });
    if (json) this.#write(`${JSON.stringify(applied)}\n`);
  }

  async #restore(socket: string, { replace, network, json }: Extras): Promise<void> {
    const { edits, lines } = await readRules(await this.#input(), this.#program, this.#names, network);
    // The script of that name clears before it restores; what it clears are the services that the real one knows.
    const script = this.#program === 'ipvsadm-restore';
    if (!replace && !script) return this.#edit(socket, edits, lines, json);
    const first: Edit = { do: 'replace', network: network ?? (script ? null : EVERYWHERE) };
    return this.#edit(socket, [first, ...edits], [0, ...lines], json);
  }

  async #save(socket: string, { format, replace, network, json }: Extras): Promise<void> {
    const saved = await ask<Saved>(socket, '/v1/ipvs/wanted');
    const named = saved.services.filter((service) => network === undefined || service.network === network);
    if (json) {
      const document = network === undefined ? saved : { services: named };
      return this.#write(`${JSON.stringify(document, null, 2)}\n`);
    }
    // The real one has no word for networks: its rules are the host's own, or those of the one that was named.
    const services = sorted(
      replace || network !== undefined ? named : named.filter((each) => each.network === null),
    );
    const left = named.length - services.length;
    if (left > 0) {
      this.error += `${left} services of networks are left out; --replace or --json has them\n`;
    }
    const spell = await this.#spell(format.numeric, socketsOf(services));
    this.#write(
      `${replace && network === undefined ? settingRules(saved.virtualServer) : ''}${serviceRules(services, spell, replace)}`,
    );
  }

  async #list(socket: string, wanted: Extract<Parsed, { kind: 'list' }>): Promise<void> {
    const { format, what, network, json } = wanted;
    const show = (value: unknown, text: () => string | Promise<string>) =>
      json ? `${JSON.stringify(value, null, 2)}\n` : text();
    if (what === 'connections') {
      const spell = (sockets: readonly string[]) => this.#spell(format.numeric, sockets);
      return listConnections(socket, { format, network, json }, spell, this.#print);
    }
    const report = await ask<VirtualServerReport>(socket, '/v1/ipvs');
    if (what === 'timeouts') return this.#write(await show(report.timeouts, () => timeoutText(report)));
    if (what === 'daemons') return this.#write(await show(report.daemons, () => daemonText(report)));
    const { listen } = wanted;
    const found = report.services.filter((service) =>
      listen === null
        ? network === undefined || service.network === network
        : service.listen === listen && service.network === (network ?? null),
    );
    if (listen !== null && found.length === 0) throw new Failure('No such service', FAILED);
    const services = format.sorted ? sorted(found) : found;
    const text = async () => {
      const list = serviceList(services, format, await this.#spell(format.numeric, socketsOf(services)));
      return listen === null ? header(report) + list : list;
    };
    return this.#write(await show(listen === null ? { ...report, services } : services[0], text));
  }

  async #spell(numbers: boolean, sockets: readonly string[]): Promise<Spell> {
    return numbers ? numeric : spelledBy(this.#names, sockets);
  }

  #write(text: string): void {
    this.out += text;
  }
}
