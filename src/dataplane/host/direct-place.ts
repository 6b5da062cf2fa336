/**
 * Direct routing to one destination (ip_vs_dr_xmit): packets go unchanged to its MAC, whatever address they are for. A TUN
 * of its own, and a rule that whatever comes from there goes by a table whose only route leads to the destination:
 *
 *     99   from this TUN   → its table: default via the destination, or via the router that leads there
 *     100  from this TUN   unreachable       while the table is empty, rather than the host's own idea of the address
 *
 * So resolving the MAC, the path MTU and its ICMP errors, super-packets and their segmentation are the kernel's own, as for
 * all else that it forwards. A packet socket with MACs of our own would save its look-up of the route, and would have to do
 * all of that. The price is an interface for each such destination's address.
 */
import { ApplyError } from '../face.js';
import { need } from '../io/native.js';
import { addRoute, removeRoute } from '../io/rtnetlink/route.js';
import { addRule, type Rule, removeRule } from '../io/rtnetlink/rule.js';
import type { TapOffloads } from '../io/tap.js';
import { type HostTun, openHostTun } from './host-tun.js';

const BY_TABLE = 99;
const UNREACHABLE = 100;

/** Where the kernel would send a packet for the destination. */
export interface Hop {
  via: string;
  index: number;
}

export class DirectPlace {
  readonly #tun: HostTun;
  readonly #rules: readonly Rule[];
  readonly #default: string;
  #hop: Hop | undefined;

  /** Throws ApplyError when the host doesn't let us. */
  constructor(address: string, queues: number, offloads: TapOffloads) {
    const family = address.includes(':') ? 6 : 4;
    this.#default = family === 6 ? '::/0' : '0.0.0.0/0';
    try {
      this.#tun = openHostTun(queues, offloads);
    } catch (error) {
      const { message } = error as Error;
      throw new ApplyError(`the TUN device for direct routing to ${address}: ${message}`, { cause: error });
    }
    const { name, table } = this.#tun;
    this.#rules = [
      { family, priority: BY_TABLE, action: { table }, incoming: name },
      { family, priority: UNREACHABLE, action: { unreachable: true }, incoming: name },
    ];
    try {
      for (const rule of this.#rules) addRule('', rule);
    } catch (error) {
      this.close();
      throw new ApplyError(`direct routing to ${address}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** one queue an engine */
  get fds(): readonly number[] {
    return this.#tun.fds;
  }

  /** Throws NetlinkError. */
  lead(hop: Hop | undefined): void {
    const before = this.#hop;
    if (before?.via === hop?.via && before?.index === hop?.index) return;
    const { table } = this.#tun;
    this.#hop = undefined;
    if (before !== undefined) removeRoute('', { to: this.#default, ...before, table });
    if (hop !== undefined) addRoute('', { to: this.#default, ...hop, table, onLink: true });
    this.#hop = hop;
  }

  /** Its routes end with the TUN. */
  close(): void {
    for (const rule of this.#rules) {
      try {
        removeRule('', rule);
      } catch {} // the namespace is going
    }
    for (const fd of this.#tun.fds.splice(0)) need().close(fd);
  }
}
