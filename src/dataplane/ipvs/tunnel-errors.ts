/**
 * ICMP errors about packets in a tunnel (ip_vs_in_icmp): they quote the outer packet, and who sent what is within knows
 * only that. It is told the same of its own packet; "fragmentation needed" with what the tunnel leaves of the MTU.
 */
import type { Batch } from '../core/batch.js';
import type { Pool } from '../core/pool.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import type { Answers } from './answers.js';
import { Parsed, parseAt } from './packet.js';
import { carried } from './tunnel.js';
import type { Ways } from './ways.js';

/** Linux quotes no packet of which less MTU is left. */
const LEAST_MTU4 = 68;

export class TunnelErrors {
  /** the packet within the tunnel, once `read` has found one */
  readonly inner = new Parsed();

  readonly #pool: Pool;
  readonly #ways: Ways;
  readonly #answers: Answers;

  constructor(pool: Pool, ways: Ways, answers: Answers) {
    this.#pool = pool;
    this.#ways = ways;
    this.#answers = answers;
  }

  /** Whether the quoted packet was in a tunnel of ours; `inner` is what it carries. */
  read(quoted: Parsed): boolean {
    if (quoted.family !== 4 || !this.#ways.isTunnel(quoted)) return false;
    const at = carried(this.#pool, quoted, quoted.destinationPort);
    return at >= 0 && parseAt(this.#pool, at, quoted.end, this.inner);
  }

  /** @param outer what was read of the error, of whose quote `inner` was read */
  answer(packet: number, outer: Parsed, quoted: Parsed, out: Batch): void {
    const { inner } = this;
    const { bytes } = this.#pool;
    const { flags: type, code } = outer;
    const needed = type === icmp.UNREACHABLE && code === icmp.FRAGMENTATION_NEEDED;
    const mtu = needed ? icmp.mtu(bytes, outer.transport) - (inner.ip - quoted.ip) : 0;
    if (inner.family === 4) {
      if (!needed || mtu >= LEAST_MTU4) this.#answers.pass(packet, inner, type, code, mtu, out);
    } else if (needed) {
      const most = Math.max(mtu, icmpv6.ANSWER_MAX);
      this.#answers.pass(packet, inner, icmpv6.PACKET_TOO_BIG, 0, most, out);
    } else if (type === icmp.UNREACHABLE || type === icmp.TIME_EXCEEDED) {
      this.#answers.pass(packet, inner, icmpv6.UNREACHABLE, icmpv6.ADDRESS_UNREACHABLE, 0, out);
    }
  }
}
