/**
 * The virtual server's place on the host: a TUN device, and rules of policy routing (host-rules.ts) that lead to it what
 * is for a service, and what comes back from its destinations. Packets that it sends are routed as if they had just arrived.
 *
 * All of it but the rules ends with the process; without the TUN, our table is empty and they lead on to 200.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { ApplyError, type Logger } from '../face.js';
import { need } from '../io/native.js';
import { HEADER_BYTES } from '../io/offload/virtio.js';
import { addAddress } from '../io/rtnetlink/address.js';
import { linkByName, setLink } from '../io/rtnetlink/link.js';
import { addRoute } from '../io/rtnetlink/route.js';
import { addRule, type Rule, removeRule } from '../io/rtnetlink/rule.js';
import { type TapOffloads, tapOffloadBits } from '../io/tap.js';
import { type Catch, fromTun, ownAddresses, ownAddressesByDefault, rulesOf } from './host-rules.js';

/** Number of our table: this and the index of the TUN. */
const TABLE = 0x5644_0000;
const SEND_BUFFER_BYTES = 16 << 20;
/** IPv4's dummy address (RFC 7600): the kernel takes packets of others only from an interface that has one. */
const DUMMY = '192.0.0.8/32';
const FAMILIES = [4, 6] as const;

export class HostPlace {
  /** one queue an engine */
  readonly fds: number[] = [];
  readonly offloads: TapOffloads;
  readonly #table: number;
  /** those of `lead`, and those that stay as long as we do */
  readonly #rules = new Map<string, Rule>();
  readonly #kept: Rule[] = [];

  /** Throws ApplyError when the host doesn't let us. */
  constructor(queues: number, offloads: TapOffloads, logger: Logger) {
    this.offloads = { ...offloads };
    let name = 'viaduct%d';
    let index = 0;
    try {
      for (let queue = 0; queue < queues; queue++) {
        const tun = need().openTap({
          ...{ name, netns: '', tun: true, multiQueue: queues > 1, headerBytes: HEADER_BYTES },
          ...{ offloads: tapOffloadBits(this.offloads), sendBuffer: SEND_BUFFER_BYTES },
        });
        this.fds.push(tun.fd);
        ({ name, index } = tun);
      }
      this.#table = TABLE + index;
      // What the host forwards comes with its sender's address, also when that is one of its own.
      sysctl(`ipv4/conf/${name}/rp_filter`, '2');
      sysctl(`ipv4/conf/${name}/accept_local`, '1');
      for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
        if (sysctl(path, '1'))
          logger.info({ sysctl: path }, 'the host forwards from now on, as a director must');
      }
      // What a destination sends to a socket of the host, as a health check's, comes through here too; early demux, of
      // both families, would have tied it to the socket before, and what is tied is not forwarded (ip_forward).
      const path = 'ipv4/ip_early_demux';
      if (sysctl(path, '0')) logger.info({ sysctl: path }, 'the host finds sockets after routes from now on');
      addAddress('', index, DUMMY, { scope: 'host' });
      setLink('', index, { mtu: largestMtu(), up: true });
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

  /** Services and destinations (those that answer through here) that are led to the TUN from now on. */
  lead(services: readonly Catch[], destinations: readonly Catch[]): void {
    const wanted = new Map<string, Rule>();
    for (const rule of rulesOf(services, destinations, this.#table)) wanted.set(JSON.stringify(rule), rule);
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
    for (const fd of this.fds.splice(0)) need().close(fd);
  }
}

/** True if it was something else before. */
function sysctl(path: string, value: string): boolean {
  const file = `/proc/sys/net/${path}`;
  if (readFileSync(file, 'utf8').trim() === value) return false;
  writeFileSync(file, value);
  return true;
}

/** Of the interfaces of the host that are up, so that none of their packets is too big for the TUN. */
function largestMtu(): number {
  const mtus = Object.keys(networkInterfaces())
    .filter((name) => name !== 'lo')
    .map((name) => linkByName('', name)?.mtu ?? 0);
  return Math.max(1500, ...mtus);
}
