/** How a packet of a connection goes on: to its destination, or back to its client, under the addresses that they know. */
import { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { Answers } from './answers.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import { FORWARD } from './destination.js';
import { TO_CLIENT, TO_SERVER, translateError } from './icmp.js';
import { rewriteDestination4, rewriteDestination6, rewriteSource4, rewriteSource6 } from './nat.js';
import type { Parsed } from './packet.js';
import { CLIENT_PORTS, DESTINATION, forwardOf, KIND, rowOf, VIRTUAL, wordsAt } from './record.js';
import { TunnelErrors } from './tunnel-errors.js';
import { Tunnelling } from './tunnelling.js';
import { DROPPED, PASS, SEND, TAKEN, type Verdict } from './verdict.js';
import type { Ways } from './ways.js';

export interface ForwardingParts {
  path: Path;
  connections: Connections;
  ways: Ways;
}

export class Forwarding {
  /** where packets go that are made on the way; whoever asks the director sets it */
  out: Batch;
  /** packets of direct routing, each with the port that it leaves by; who set `out` empties it */
  readonly routed: Batch;

  readonly #path: Path;
  readonly #connections: Connections;
  readonly #ways: Ways;
  readonly #answers: Answers;
  readonly #tunnelling: Tunnelling;
  readonly #tunnelErrors: TunnelErrors;

  constructor({ path, connections, ways }: ForwardingParts) {
    this.#path = path;
    this.#connections = connections;
    this.#ways = ways;
    this.#answers = new Answers(path);
    this.#tunnelling = new Tunnelling(path, this.#answers);
    this.#tunnelErrors = new TunnelErrors(path.pool, ways, this.#answers);
    this.out = new Batch(path.pool.packets);
    this.routed = new Batch(path.pool.packets);
  }

  /** @param at of the connection's record */
  send(packet: number, parsed: Parsed, at: number, reply: boolean): Verdict {
    const forward = forwardOf(this.#connections.records, at);
    if (forward === FORWARD.nat) return this.#masquerade(packet, parsed, at, reply);
    return this.#sendUnchanged(packet, parsed, at);
  }

  /** Direct routing, tunnel, local node (ip_vs_dr_xmit, ip_vs_tunnel_xmit, ip_vs_null_xmit). */
  #sendUnchanged(packet: number, parsed: Parsed, at: number): Verdict {
    const way = this.#ways.at(rowOf(this.#connections.records, at));
    if (way === undefined || way.reach === 'none') {
      this.#answers.unreachable(packet, parsed, this.out);
      this.#path.drop(packet, drop['destination-unreachable']);
      return DROPPED;
    }
    if (way.reach === 'local') return SEND;
    if (way.forward === 'tunnel') {
      this.#tunnelling.send(packet, parsed, way, this.out);
    } else {
      this.#path.pool.port[packet] = way.port;
      this.routed.push(packet);
    }
    return TAKEN;
  }

  /** Masquerading (ip_vs_nat_xmit). */
  #masquerade(packet: number, parsed: Parsed, at: number, reply: boolean): Verdict {
    const { pool } = this.#path;
    const { records } = this.#connections;
    const port = reply ? records[at + CLIENT_PORTS]! & 0xffff : records[at + KIND]! >>> 16;
    const end = at + (reply ? VIRTUAL : DESTINATION);
    const a = records[end]!;
    let reason: number;
    if (parsed.family === 4) {
      const rewrite = reply ? rewriteSource4 : rewriteDestination4;
      reason = rewrite(pool, packet, parsed, a, port);
    } else {
      const rewrite = reply ? rewriteSource6 : rewriteDestination6;
      const [b, c, d] = [records[end + 1]!, records[end + 2]!, records[end + 3]!];
      reason = rewrite(pool, packet, parsed, a, b, c, d, port);
    }
    if (reason === 0) return SEND;
    this.#path.drop(packet, reason);
    return DROPPED;
  }

  /**
   * An ICMP error about a packet of the connection goes on to whom that packet came from, and speaks of it as that
   * end knows it (ip_vs_nat_icmp); unchanged, by the way of all others, where nothing is masqueraded (ip_vs_icmp_xmit). The
   * state of the connection stays.
   * @param quoted what was read of the packet that it is about
   * @param toClient that packet came from the client
   */
  sendError(packet: number, outer: Parsed, quoted: Parsed, at: number, toClient: boolean): Verdict {
    const { records } = this.#connections;
    const { pool } = this.#path;
    if (forwardOf(records, at) !== FORWARD.nat) return this.#sendUnchanged(packet, outer, at);
    if (toClient) {
      const port = records[at + CLIENT_PORTS]! & 0xffff;
      translateError(pool, packet, outer, quoted, TO_CLIENT, ...wordsAt(records, at + VIRTUAL), port);
    } else {
      const port = records[at + KIND]! >>> 16;
      translateError(pool, packet, outer, quoted, TO_SERVER, ...wordsAt(records, at + DESTINATION), port);
    }
    return SEND;
  }

  /**
   * An ICMP error about a packet that may have been in a tunnel: its client is told, if there is such a connection.
   * @param find number × 2 of the connection that the packet is of, NO_CONNECTION if there is none
   */
  answerError(packet: number, outer: Parsed, quoted: Parsed, find: (inner: Parsed) => number): Verdict {
    if (!this.#tunnelErrors.read(quoted)) return PASS;
    const found = find(this.#tunnelErrors.inner);
    if (found === NO_CONNECTION || (found & 1) !== 0) return PASS;
    this.#tunnelErrors.answer(packet, outer, quoted, this.out);
    this.#path.pool.free(packet);
    return TAKEN;
  }
}
