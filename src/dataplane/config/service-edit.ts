/**
 * Edits of the virtual server as a pure function: all of them in their order, or a refusal in ipvsadm's own words
 * (the error texts of libipvs, by what the kernel would answer).
 */
import { unicastFault } from './address.js';
import { parseListen, parseSocket, socketText } from './service-address.js';
import {
  type DestinationRule,
  type Edit,
  EditRefused,
  EVERYWHERE,
  type ServiceRule,
} from './service-edit-types.js';
import { newService } from './service-normalise.js';
import { serviceFaults } from './service-relations.js';
import {
  type Destination,
  SCHEDULER_FLAGS,
  SCHEDULERS,
  type Service,
  type VirtualServer,
} from './service-types.js';

/** EINVAL, ERANGE, ENOENT */
const INVALID = 'Invalid operation.  Possibly wrong module version, address not unicast, ...';
const OUT_OF_RANGE = 'Numerical result out of range';
const NO_SCHEDULER = 'Scheduler or persistence engine not found';

export interface Edited {
  readonly services: readonly Service[];
  readonly virtualServer: VirtualServer;
}

interface Draft {
  service: Service;
  destinations: Map<string, Destination>;
  /** the edit that touched it last */
  touched: number;
}

type Drafts = Map<string, Draft>;
type Of = { readonly network: string | null; readonly listen: string };

/** @param networks names of the networks that there are. Throws EditRefused. */
export function edit(before: Edited, edits: readonly Edit[], networks: ReadonlySet<string>): Edited {
  const editor = new Editor(before);
  for (const [at, each] of edits.entries()) editor.perform(each, at);
  return editor.result(networks);
}

class Editor {
  #drafts: Drafts;
  /** what a `replace` took away */
  #replaced: Drafts = new Map();
  #virtualServer: VirtualServer;

  constructor({ services, virtualServer }: Edited) {
    this.#drafts = new Map(services.map((service) => [keyOf(service), draftOf(service, -1)]));
    this.#virtualServer = virtualServer;
  }

  perform(step: Edit, at: number): void {
    switch (step.do) {
      case 'add-service':
        if (this.#drafts.has(keyOf(step))) throw new EditRefused('Service already exists', at);
        if (parseListen(step.listen) === undefined || listenFault(step.listen))
          throw new EditRefused(INVALID, at);
        this.#set(step, this.#replaced.get(keyOf(step))?.service ?? newService(step), step.rule, at);
        break;
      case 'edit-service':
        this.#set(step, this.#draft(step, 'No such service', at).service, step.rule, at);
        break;
      case 'delete-service':
        this.#draft(step, 'No such service', at);
        this.#drafts.delete(keyOf(step));
        break;
      case 'put-service':
        if (this.#drafts.has(keyOf(step.service))) throw new EditRefused('Service already exists', at);
        this.#drafts.set(keyOf(step.service), draftOf(step.service, at));
        break;
      case 'add-destination': {
        const draft = this.#draft(step, 'Service not defined', at);
        const address = addressOf(step.destination.address, at);
        if (draft.destinations.has(address)) throw new EditRefused('Destination already exists', at);
        const old = this.#replaced.get(keyOf(step))?.destinations.get(address);
        draft.destinations.set(address, destinationOf(step.destination, address, old?.near ?? false, at));
        break;
      }
      case 'edit-destination': {
        const draft = this.#draft(step, 'Service not defined', at);
        const address = addressOf(step.destination.address, at);
        const old = draft.destinations.get(address);
        if (old === undefined) throw new EditRefused('No such destination', at);
        draft.destinations.set(address, destinationOf(step.destination, address, old.near, at));
        break;
      }
      case 'delete-destination': {
        const draft = this.#draft(step, 'Service not defined', at);
        if (!draft.destinations.delete(addressOf(step.address, at))) {
          throw new EditRefused('No such destination', at);
        }
        break;
      }
      case 'flush':
        this.#take(step.network);
        break;
      case 'replace':
        this.#replaced = this.#take(step.network);
        if (step.network === EVERYWHERE) this.#setDaemon({ master: null, backup: null });
        break;
      case 'zero':
        if (step.listen !== null) this.#draft({ ...step, listen: step.listen }, 'No such service', at);
        break;
      case 'set-timeouts': {
        const { tcpSeconds, tcpFinSeconds, udpSeconds } = this.#virtualServer;
        this.#virtualServer = {
          ...this.#virtualServer,
          tcpSeconds: step.tcpSeconds || tcpSeconds,
          tcpFinSeconds: step.tcpFinSeconds || tcpFinSeconds,
          udpSeconds: step.udpSeconds || udpSeconds,
        };
        break;
      }
      case 'put-virtual-server':
        this.#virtualServer = step.virtualServer;
        break;
      case 'start-daemon':
        if (this.#virtualServer.sync[step.role] !== null) throw new EditRefused('Daemon has already run', at);
        this.#setDaemon({ [step.role]: step.daemon });
        break;
      case 'stop-daemon':
        if (this.#virtualServer.sync[step.role] === null) throw new EditRefused('No daemon is running', at);
        this.#setDaemon({ [step.role]: null });
        break;
    }
  }

  result(networks: ReadonlySet<string>): Edited {
    const services: Service[] = [];
    for (const { service, destinations, touched } of this.#drafts.values()) {
      const whole = touched < 0 ? service : { ...service, destinations: [...destinations.values()] };
      if (touched >= 0) refuseFaulty(whole, networks, touched);
      services.push(whole);
    }
    return { services, virtualServer: this.#virtualServer };
  }

  #draft(of: Of, missing: string, at: number): Draft {
    const draft = this.#drafts.get(keyOf(of));
    if (draft === undefined) throw new EditRefused(missing, at);
    draft.touched = at;
    return draft;
  }

  #set(of: Of, base: Service, rule: ServiceRule, at: number): void {
    const draft = this.#drafts.get(keyOf(of));
    const service = { ...base, ...ruleOf(rule, base, at) };
    if (draft === undefined) this.#drafts.set(keyOf(of), { service, destinations: new Map(), touched: at });
    else draft.service = service;
  }

  /** Takes the services of a network out. */
  #take(network: string | null): Drafts {
    const taken: Drafts = new Map();
    const left: Drafts = new Map();
    for (const [key, draft] of this.#drafts) {
      const ours = network === EVERYWHERE || draft.service.network === network;
      (ours ? taken : left).set(key, draft);
    }
    this.#drafts = left;
    return taken;
  }

  #setDaemon(change: Partial<VirtualServer['sync']>): void {
    this.#virtualServer = { ...this.#virtualServer, sync: { ...this.#virtualServer.sync, ...change } };
  }
}

function keyOf({ network, listen }: Of): string {
  return `${network ?? ''}\0${listen}`;
}

function draftOf(service: Service, touched: number): Draft {
  return {
    service,
    destinations: new Map(service.destinations.map((each) => [each.address, each])),
    touched,
  };
}

function ruleOf(rule: ServiceRule, { listen }: Service, at: number) {
  const { persistence, onePacket } = rule;
  const scheduler = SCHEDULERS.find((known) => known === rule.scheduler);
  const engine: 'sip' | null = persistence?.engine === 'sip' ? 'sip' : null;
  if (scheduler === undefined || engine !== (persistence?.engine ?? null))
    throw new EditRefused(NO_SCHEDULER, at);
  const schedulerFlags = SCHEDULER_FLAGS.filter((flag) => rule.schedulerFlags.includes(flag)).sort();
  if (schedulerFlags.length < rule.schedulerFlags.length) throw new EditRefused(INVALID, at);
  const mask = persistence?.mask ?? (parseListen(listen)?.family === 6 ? 128 : 32);
  const whole = persistence && { timeoutSeconds: persistence.timeoutSeconds, mask, engine };
  return { scheduler, schedulerFlags, persistence: whole, onePacket };
}

/** The canonical address with its port. */
function addressOf(text: string, at: number): string {
  const socket = parseSocket(text);
  if (socket === undefined || unicastFault(socket.address) !== undefined) throw new EditRefused(INVALID, at);
  return socketText(socket.address, socket.port ?? 0);
}

function destinationOf(rule: DestinationRule, address: string, near: boolean, at: number): Destination {
  if (rule.lowerThreshold > rule.upperThreshold) throw new EditRefused(OUT_OF_RANGE, at);
  return { ...rule, address, near };
}

function listenFault(listen: string): boolean {
  const found = parseListen(listen);
  return found !== undefined && found.protocol !== 'mark' && unicastFault(found.address) !== undefined;
}

/** What only shows in the service as a whole, in the configuration's words. */
function refuseFaulty(service: Service, networks: ReadonlySet<string>, at: number): void {
  const [fault] = serviceFaults([service], networks);
  if (fault !== undefined) throw new EditRefused(fault.replace(/^services\[0\]/, service.listen), at);
}
