/**
 * The virtual server's place on the host: a TUN device, and rules of policy routing (host-rules.ts) that lead to it what
 * is for a service, and what comes back from its destinations. Packets that it sends are routed as if they had just arrived.
 *
 * All of it but the rules ends with the process; without the TUN, our table is empty and they lead on to 200.
 */

import { ApplyError, type Logger } from '../face.js';
import { need } from '../io/native.js';
import { addRoute } from '../io/rtnetlink/route.js';
import { addRule, type Rule, removeRule } from '../io/rtnetlink/rule.js';
import type { TapOffloads } from '../io/tap.js';
import { type Catch, errorsTo, fromTun, ownAddresses, ownAddressesByDefault, rulesOf } from './host-rules.js';
import { openHostTun, sysctl } from './host-tun.js';
import { OwnAddresses } from './own-addresses.js';

const FAMILIES = [4, 6] as const;

export class HostPlace {
  /** one queue an engine */
  readonly fds: number[] = [];
  readonly offloads: TapOffloads;
  readonly #table: number;
  /** those of `lead`, and those that stay as long as we do */
  readonly #rules = new Map<string, Rule>();
  readonly #kept: Rule[] = [];
  readonly #own = new OwnAddresses();

  /** Throws ApplyError when the host doesn't let us. */
  constructor(queues: number, offloads: TapOffloads, logger: Logger) {
    this.offloads = { ...offloads };
    try {
      const { name, index, table, fds } = openHostTun(queues, this.offloads);
      this.fds.push(...fds);
      this.#table = table;
      for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
        if (sysctl(path, '1'))
          logger.info({ sysctl: path }, 'the host forwards from now on, as a director must');
      }
      // What a destination sends to a socket of the host, as a health check's, comes through here too; early demux, of
      // both families, would have tied it to the socket before, and what is tied is not forwarded (ip_forward).
      const path = 'ipv4/ip_early_demux';
      if (sysctl(path, '0')) logger.info({ sysctl: path }, 'the host finds sockets after routes from now on');
      addRoute('', { to: '0.0.0.0/0', via: null, index, table: this.#table });
      addRoute('', { to: '::/0', via: null, index, table: this.#table });
      for (const family of FAMILIES) {
        addRule('', ownAddresses(family));
        removeRule('', ownAddressesByDefault(family));
        const rule = fromTun(family, name);
        addRule('', rule);
        this.#kept.push(rule);
      }
    } catch (error) {
      this.close();
      throw new ApplyError(`the virtual server's TUN device: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * Services and destinations (those that answer through here) that are led to the TUN from now on.
   * @param tunnels addresses of the host that tunnels have as their source
   * @param own addresses of services that this host serves itself: what comes back from the TUN for them is delivered here
   */
  lead(
    services: readonly Catch[],
    destinations: readonly Catch[],
    tunnels: readonly string[],
    own: readonly string[],
  ): void {
    this.#own.keep(own);
    const wanted = new Map<string, Rule>();
    const rules = [
      ...tunnels.map((address) => errorsTo(address, this.#table)),
      ...rulesOf(services, destinations, this.#table),
    ];
    for (const rule of rules) wanted.set(JSON.stringify(rule), rule);
    // In their order, and the other way round: what has ports is never led here for want of rule 103.
    for (const [key, rule] of wanted) this.#add(key, rule);
    for (const [key, rule] of [...this.#rules].reverse()) if (!wanted.has(key)) this.#remove(key, rule);
  }

  #add(key: string, rule: Rule): void {
    if (this.#rules.has(key)) return;
    addRule('', rule);
    this.#rules.set(key, rule);
  }

  #remove(key: string, rule: Rule): void {
    removeRule('', rule);
    this.#rules.delete(key);
  }

  /** The host's own addresses stay at 200, where they do no harm: another data plane may count on it. */
  close(): void {
    for (const rule of [...this.#rules.values()].reverse().concat(this.#kept)) {
      try {
        removeRule('', rule);
      } catch {} // the namespace is going
    }
    this.#rules.clear();
    this.#kept.length = 0;
    this.#own.keep([]);
    for (const fd of this.fds.splice(0)) need().close(fd);
  }
}
