/** How a packet of a connection goes on: to its destination, or back to its client, under the addresses that they know. */
import type { Path } from '../core/path.js';
import { CLIENT_PORTS, type Connections, DESTINATION, KIND, VIRTUAL } from './connections.js';
import { TO_CLIENT, TO_SERVER, translateError } from './icmp.js';
import { rewriteDestination4, rewriteDestination6, rewriteSource4, rewriteSource6 } from './nat.js';
import type { Parsed } from './packet.js';
import { DROPPED, SEND, type Verdict } from './verdict.js';

export class Forwarding {
  readonly #path: Path;
  readonly #connections: Connections;

  constructor(path: Path, connections: Connections) {
    this.#path = path;
    this.#connections = connections;
  }

  /** Masquerading (ip_vs_nat_xmit). @param at of the connection's record */
  send(packet: number, parsed: Parsed, at: number, reply: boolean): Verdict {
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
   * end knows it (ip_vs_nat_icmp). The state of the connection stays.
   * @param quoted what was read of the packet that it is about
   * @param toClient that packet came from the client
   */
  sendError(packet: number, outer: Parsed, quoted: Parsed, at: number, toClient: boolean): Verdict {
    const { records } = this.#connections;
    const { pool } = this.#path;
    if (toClient) {
      const port = records[at + CLIENT_PORTS]! & 0xffff;
      translateError(pool, packet, outer, quoted, TO_CLIENT, ...words(records, at + VIRTUAL), port);
    } else {
      const port = records[at + KIND]! >>> 16;
      translateError(pool, packet, outer, quoted, TO_SERVER, ...words(records, at + DESTINATION), port);
    }
    return SEND;
  }
}

function words(records: Int32Array, at: number): [number, number, number, number] {
  return [records[at]!, records[at + 1]!, records[at + 2]!, records[at + 3]!];
}
