/** The options that name and describe a service and a destination, taken one by one in the line's order, which matters. */
import { type Protocol, socketText } from '../../../dataplane/config/service-address.js';
import type { DestinationRule, ServiceRule } from '../../../dataplane/config/service-edit-types.js';
import { TIMEOUT_MAX, WEIGHT_MAX } from '../../../dataplane/config/service-schema.js';
import { TUNNELS } from '../../../dataplane/config/service-types.js';
import type { Names } from '../names.js';
import { illegalTunnel, type OptionName } from './options.js';
import { UsageFault } from './usage-fault.js';
import { ipv4Of, markOf, numberOf, type Place, placeOf, prefixOf } from './values.js';

/** Each option's name in sentences; null where it may come several times. */
const NAMES: Readonly<Record<string, OptionName | null>> = {
  ...({
    tcp: 'service-address',
    udp: 'service-address',
    sctp: 'service-address',
    mark: 'service-address',
  } as const),
  ...({
    ipv6: null,
    scheduler: 'scheduler',
    persistent: 'persistent',
    netmask: 'netmask',
    ops: 'ops',
  } as const),
  ...({ pe: 'pe', flags: 'sched-flags', server: 'real-server', nat: 'forwarding-method' } as const),
  ...({ tunnel: 'forwarding-method', route: 'forwarding-method', weight: 'weight' } as const),
  ...({ upper: 'u-threshold', lower: 'l-threshold', tunType: 'tun-type', tunPort: 'tun-port' } as const),
  ...({ tunNocsum: 'tun-nocsum', tunCsum: 'tun-csum', tunRemcsum: 'tun-remcsum' } as const),
};

const DEFAULT_SCHEDULER = 'wlc';
/** As its program has it; its manual says 300. */
const PERSISTENCE_SECONDS = 360;
const THRESHOLD_MAX = 0x7fff_ffff;
/** What fits into the kernel's structures. */
const SCHEDULER_MAX = 15;
const ENGINE_MAX = 16;

/** The numbered flags of the schedulers that have names for them. */
const FLAGS: Readonly<Record<string, readonly (string | undefined)[]>> = {
  sh: ['sh-fallback', 'sh-port'],
  mh: ['mh-fallback', 'mh-port'],
};

export class ServiceOptions {
  readonly #names: Names;
  #protocol: Protocol | null = null;
  #place: Place | undefined;
  #mark: number | undefined;
  #markFamily: 4 | 6 = 4;
  #scheduler = '';
  #persistenceSeconds: number | undefined;
  /** prefix length; undefined: each client for itself */
  #mask: number | undefined;
  #engine: string | null = null;
  #onePacket = false;
  #flagsText = '';
  #flags: readonly string[] = [];
  #server: Place | undefined;
  #serverPort = 0;
  #forward: DestinationRule['forward'] = 'route';
  #weight = 1;
  #upper = 0;
  #lower = 0;
  #tunnelType: DestinationRule['tunnel']['type'] = 'ipip';
  #tunnelPort = 0;
  #checksum: DestinationRule['tunnel']['checksum'] = 'none';

  constructor(names: Names) {
    this.#names = names;
  }

  /** Undefined: none of ours. */
  nameOf(tag: string): OptionName | null | undefined {
    return NAMES[tag];
  }

  /** @param given null where the option has no argument, or its argument was left out */
  async take(tag: string, given: string | null): Promise<void> {
    const text = given ?? '';
    switch (tag) {
      case 'tcp':
      case 'udp':
      case 'sctp':
        this.#protocol = tag;
        this.#place = await placeOf(text, tag, this.#names);
        if (this.#place === undefined)
          throw new UsageFault('illegal virtual server address[:port] specified');
        if (this.#place.family === 6) this.#mask = undefined;
        break;
      case 'mark':
        this.#protocol = 'tcp';
        this.#mark = markOf(text);
        if (this.#mark === undefined) throw new UsageFault(`invalid fwmark value \`${text}' specified`);
        break;
      case 'ipv6':
        if (this.#mark === undefined) throw new UsageFault('-6 used before -f\n');
        this.#markFamily = 6;
        this.#mask = undefined;
        break;
      case 'scheduler':
        this.#scheduler = text.slice(0, SCHEDULER_MAX);
        break;
      case 'persistent':
        this.#persistenceSeconds = given === null ? PERSISTENCE_SECONDS : numberOf(text, 1, TIMEOUT_MAX);
        if (this.#persistenceSeconds === undefined) {
          throw new UsageFault(`invalid timeout value \`${text}' specified`);
        }
        break;
      case 'netmask':
        this.#mask = await this.#maskOf(text);
        break;
      case 'ops':
        this.#onePacket = true;
        break;
      case 'pe':
        this.#engine = text.slice(0, ENGINE_MAX) || null;
        break;
      case 'flags':
        this.#flagsText = text;
        break;
      case 'server':
        this.#server = await placeOf(text, this.#protocol, this.#names);
        if (this.#server === undefined) throw new UsageFault('illegal real server address[:port] specified');
        this.#serverPort = this.#server.port ?? this.#port;
        break;
      case 'nat':
      case 'tunnel':
      case 'route':
        this.#forward = tag;
        break;
      case 'weight':
        this.#weight = within(text, 0, WEIGHT_MAX, 'illegal weight specified');
        break;
      case 'upper':
        this.#upper = within(text, 0, THRESHOLD_MAX, 'illegal u_threshold specified');
        break;
      case 'lower':
        this.#lower = within(text, 0, THRESHOLD_MAX, 'illegal l_threshold specified');
        break;
      case 'tunType': {
        const type = TUNNELS.find((known) => known === text);
        if (type === undefined) throw new UsageFault('illegal tunnel type specified');
        this.#tunnelType = type;
        break;
      }
      case 'tunPort':
        this.#tunnelPort = within(text, 1, 65535, 'illegal tunnel port specified');
        break;
      case 'tunCsum':
        this.#checksum = 'checksum';
        break;
      case 'tunRemcsum':
        this.#checksum = 'remote';
        break;
    }
  }

  /** Flags are of the scheduler, which may be named after them. */
  checkFlags(): void {
    const scheduler = this.#scheduler || DEFAULT_SCHEDULER;
    const flags = this.#flagsText.split(',').filter((flag) => flag !== '');
    for (const flag of flags) {
      const owner = /^(sh|mh)-(fallback|port)$/.exec(flag)?.[1];
      if (owner === undefined && !/^flag-[123]$/.test(flag)) {
        throw new UsageFault(`invalid scheduler flag \`${flag}'`);
      }
      if (owner !== undefined && owner !== scheduler) {
        throw new UsageFault(`incompatible scheduler flag \`${flag}'`);
      }
    }
    const named = FLAGS[scheduler];
    const meant = flags.flatMap((flag) => {
      const number = /^flag-([123])$/.exec(flag)?.[1];
      // A third flag means nothing to these two.
      return number === undefined || named === undefined ? flag : (named[Number(number) - 1] ?? []);
    });
    this.#flags = [...new Set(meant)].sort();
  }

  listen(): string {
    if (this.#mark !== undefined) return `${this.#markFamily === 6 ? 'mark6' : 'mark'}://${this.#mark}`;
    return `${this.#protocol}://${socketText(this.#place!.address, this.#port)}`;
  }

  rule(): { listen: string; rule: ServiceRule } {
    const persistent = this.#persistenceSeconds !== undefined;
    if (this.#mark === undefined && this.#port === 0 && !persistent) {
      throw new UsageFault('Zero port specified for non-persistent service');
    }
    if (this.#onePacket && this.#mark === undefined && this.#protocol !== 'udp') {
      throw new UsageFault('One-Packet Scheduling is only for UDP virtual services');
    }
    const timeoutSeconds = this.#persistenceSeconds;
    const rule: ServiceRule = {
      scheduler: this.#scheduler || DEFAULT_SCHEDULER,
      schedulerFlags: this.#flags,
      persistence:
        timeoutSeconds === undefined
          ? null
          : { timeoutSeconds, mask: this.#mask ?? null, engine: this.#engine },
      onePacket: this.#onePacket,
    };
    return { listen: this.listen(), rule };
  }

  destination(given: ReadonlySet<OptionName>): DestinationRule {
    if (this.#server!.family !== this.#family && this.#forward !== 'tunnel') {
      throw new UsageFault('Different address family is allowed only for tunneling servers');
    }
    const tunnelled = [...given].some((name) => name.startsWith('tun-'));
    if (tunnelled && this.#forward !== 'tunnel') {
      throw new UsageFault('Tunnel options conflict with forward method');
    }
    const wrong = illegalTunnel(this.#tunnelType, given);
    if (wrong !== undefined) throw new UsageFault(wrong);
    return {
      address: this.#serverAddress(this.#forward),
      weight: this.#weight,
      forward: this.#forward,
      tunnel: { type: this.#tunnelType, port: this.#tunnelPort, checksum: this.#checksum },
      upperThreshold: this.#upper,
      lowerThreshold: this.#lower,
    };
  }

  /** Of the destination that is to go. */
  address(): string {
    return this.#serverAddress('nat');
  }

  /** What keeps the port has the service's, whatever was said. */
  #serverAddress(forward: DestinationRule['forward']): string {
    const keeps = forward !== 'nat' && this.#mark === undefined;
    return socketText(this.#server!.address, keeps ? this.#port : this.#serverPort);
  }

  get #port(): number {
    return this.#place?.port ?? 0;
  }

  get #family(): 4 | 6 {
    return this.#mark === undefined ? this.#place!.family : this.#markFamily;
  }

  async #maskOf(text: string): Promise<number> {
    if ((this.#place?.family ?? this.#markFamily) === 6) {
      const bits = Number.parseInt(text, 10);
      if (!(bits >= 1 && bits <= 128)) throw new UsageFault('illegal ipv6 netmask specified');
      return bits;
    }
    const mask = ipv4Of(text) ?? (await this.#names.address(text));
    const bits = mask === undefined ? undefined : prefixOf(mask);
    // The kernel takes masks with gaps as well; nobody has missed them.
    if (bits === undefined) throw new UsageFault('illegal virtual server persistent mask specified');
    return bits;
  }
}

function within(text: string, from: number, to: number, sentence: string): number {
  const value = numberOf(text, from, to);
  if (value === undefined) throw new UsageFault(sentence);
  return value;
}
