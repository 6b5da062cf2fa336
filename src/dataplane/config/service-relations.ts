/**
 * Faults between the values of services: duplicates, families, options that don't go together. It reads what was
 * written, as relations.ts does, also where the schema found faults; a value that is itself faulty takes part in none.
 */
import { familyOf, networkOf, parsePrefix } from './address.js';
import { type Loose, list, record, text, wholeNumber } from './loose.js';
import { type Listen, listenText, parseListen, parseSocket, socketText } from './service-address.js';

/** @param networks names of the networks that there are */
export function serviceFaults(services: unknown, networks: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  const seen = new Map<string, string>();
  const all = list(services);
  for (let i = 0; i < all.length; i++) {
    const service = record(all[i]);
    const at = `services[${i}]`;
    const listen = parseListen(text(service.listen) ?? '');
    const network = text(service.network);
    if (network !== undefined && !networks.has(network)) {
      faults.push(`${at}.network: there is no network ${network}`);
    }
    if (listen === undefined) continue;
    const name = listenText(listen);
    const key = `${network ?? ''}\0${name}`;
    const before = seen.get(key);
    if (before === undefined) seen.set(key, `${at}.listen`);
    else {
      const where = network === undefined ? '' : ` in network ${network}`;
      faults.push(`${at}.listen: ${name}${where} is already used by ${before}`);
    }
    new ServiceRelations(service, listen, at, faults).check();
  }
  return faults;
}

class ServiceRelations {
  readonly #service: Loose;
  readonly #listen: Listen;
  readonly #at: string;
  readonly #faults: string[];

  constructor(service: Loose, listen: Listen, at: string, faults: string[]) {
    this.#service = service;
    this.#listen = listen;
    this.#at = at;
    this.#faults = faults;
  }

  check(): void {
    this.#scheduling();
    this.#persistence();
    this.#allow();
    const { destinations, quorum, quorumHysteresis, sorryServer } = this.#service;
    const seen = new Map<string, string>();
    list(destinations).forEach((written, i) => {
      const path = `destinations[${i}]`;
      const address = this.#destination(record(written), path);
      if (address === undefined) return;
      const before = seen.get(address);
      if (before === undefined) seen.set(address, `${this.#at}.${path}.address`);
      else this.#fault(`${path}.address`, `${address} is already used by ${before}`);
    });
    if (sorryServer !== undefined) this.#destination(record(sorryServer), 'sorryServer');
    const least = wholeNumber(quorum) ?? 1;
    if ((wholeNumber(quorumHysteresis) ?? 0) >= least) {
      const written = wholeNumber(quorumHysteresis);
      if (written !== 0)
        this.#fault('quorumHysteresis', `must be less than quorum (${least}), got ${written}`);
    }
    this.#health();
  }

  #fault(path: string, sentence: string): void {
    this.#faults.push(`${this.#at}.${path}: ${sentence}`);
  }

  /** UDP, or a mark, behind which may be UDP. */
  get #mayBeUdp(): boolean {
    return this.#listen.protocol === 'udp' || this.#listen.protocol === 'mark';
  }

  #scheduling(): void {
    const { onePacket, synProxy, schedulerFlags, scheduler } = this.#service;
    const name = text(scheduler) ?? 'wlc';
    const flags = list(schedulerFlags).map((flag) => text(flag));
    flags.forEach((flag, i) => {
      const owner = /^(sh|mh)-/.exec(flag ?? '')?.[1];
      const numbered = /^flag-[123]$/.test(flag ?? '');
      if (owner !== undefined && owner !== name) {
        this.#fault(`schedulerFlags[${i}]`, `${flag} is of scheduler ${owner}, and this one is ${name}`);
      } else if (numbered && (name === 'sh' || name === 'mh')) {
        this.#fault(
          `schedulerFlags[${i}]`,
          `${name} has names for its flags: ${name}-fallback, ${name}-port`,
        );
      }
      if (flag !== undefined && flags.indexOf(flag) < i)
        this.#fault(`schedulerFlags[${i}]`, `${flag} is there twice`);
    });
    if (onePacket === true && !this.#mayBeUdp) {
      this.#fault('onePacket', `is only for UDP, and this service is ${this.#listen.protocol}`);
    }
    if (synProxy === true && this.#listen.protocol !== 'tcp' && this.#listen.protocol !== 'mark') {
      this.#fault('synProxy', `is only for TCP, and this service is ${this.#listen.protocol}`);
    }
  }

  #persistence(): void {
    const { persistence } = this.#service;
    if (persistence === undefined || persistence === null) {
      if (this.#listen.protocol !== 'mark' && this.#listen.port === 0) {
        this.#fault('listen', 'port 0 stands for every port, and needs persistence');
      }
      return;
    }
    const { mask, engine } = record(persistence);
    const bits = wholeNumber(mask);
    if (bits !== undefined && bits > 32 && bits <= 128 && this.#listen.family === 4) {
      this.#fault('persistence.mask', `must be 1..32 for IPv4, got ${bits}`);
    }
    if (engine === 'sip' && !this.#mayBeUdp) {
      this.#fault('persistence.engine', `sip is only for UDP, and this service is ${this.#listen.protocol}`);
    }
  }

  #allow(): void {
    list(this.#service.allow).forEach((written, i) => {
      const prefix = parsePrefix(text(written) ?? '');
      if (prefix === undefined) return;
      const network = networkOf(prefix.address, prefix.bits);
      if (network !== prefix.address) {
        this.#fault(`allow[${i}]`, `has host bits set; write ${network}/${prefix.bits}`);
      }
      if (prefix.family !== this.#listen.family) {
        this.#fault(`allow[${i}]`, `is IPv${prefix.family}, and the service is IPv${this.#listen.family}`);
      }
    });
  }

  /** The destination's canonical address and port. */
  #destination(destination: Loose, path: string): string | undefined {
    const forward = text(destination.forward) ?? 'nat';
    this.#tunnel(record(destination.tunnel), forward, path);
    const upper = wholeNumber(destination.upperThreshold) ?? 0;
    const lower = wholeNumber(destination.lowerThreshold) ?? 0;
    if (lower > upper) {
      this.#fault(`${path}.lowerThreshold`, `must not exceed upperThreshold (${upper}), got ${lower}`);
    }
    const socket = parseSocket(text(destination.address) ?? '');
    if (socket === undefined) return undefined;
    const { family } = this.#listen;
    if (familyOf(socket.address) !== family && forward !== 'tunnel') {
      const words = `${socket.address} is IPv${socket.family}, and the service is IPv${family}`;
      this.#fault(`${path}.address`, `${words}: only forward: tunnel takes another family`);
    }
    const own = this.#listen.protocol === 'mark' ? 0 : this.#listen.port;
    const port = socket.port ?? own;
    const keeps = forward === 'route' || forward === 'tunnel';
    if (keeps && this.#listen.protocol !== 'mark' && port !== own) {
      this.#fault(`${path}.address`, `forward: ${forward} keeps the service's port, ${own}; got ${port}`);
    }
    return socketText(socket.address, port);
  }

  #tunnel(tunnel: Loose, forward: string, path: string): void {
    const type = text(tunnel.type) ?? 'ipip';
    const port = wholeNumber(tunnel.port) ?? 0;
    const checksum = text(tunnel.checksum) ?? 'none';
    if (forward !== 'tunnel') {
      const untouched = type === 'ipip' && port === 0 && checksum === 'none';
      if (!untouched) this.#fault(`${path}.tunnel`, `is only for forward: tunnel, and this is ${forward}`);
      return;
    }
    if (type === 'gue' && port === 0) this.#fault(`${path}.tunnel.port`, 'is required by gue');
    if (type !== 'gue' && port !== 0)
      this.#fault(`${path}.tunnel.port`, `is only for gue, and this is ${type}`);
    if ((type === 'ipip' && checksum !== 'none') || (type === 'gre' && checksum === 'remote')) {
      this.#fault(`${path}.tunnel.checksum`, `${type} has no checksum mode ${checksum}`);
    }
  }

  #health(): void {
    const { health, destinations } = this.#service;
    const { kind, port } = record(health);
    if (typeof kind !== 'string' || kind === 'icmp' || kind === 'script' || wholeNumber(port) !== undefined)
      return;
    const own = this.#listen.protocol === 'mark' ? 0 : this.#listen.port;
    const without = list(destinations).some((each) => {
      const socket = parseSocket(text(record(each).address) ?? '');
      return socket !== undefined && (socket.port ?? own) === 0;
    });
    if (without)
      this.#fault('health.port', 'is required: a destination has port 0, which stands for every port');
  }
}
