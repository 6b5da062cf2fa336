/**
 * An ICMPv6 error about a reply that came to the host itself, and not by the way of packets: of a service whose address is
 * the host's own. It is turned into the error that the destination must hear (ip_vs_nat_icmp_v6). Not for the fast path.
 */
import { FRAME_AT, Pool } from '../core/pool.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv6 from '../wire/ipv6.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import { noFlow, readFlow } from './flow.js';
import { TO_SERVER, translateError } from './icmp.js';
import { noEnds, Parsed, parse, parseQuoted, turn } from './packet.js';
import { DESTINATION, FLAG_REPLIES, HOST_SIDE, KIND, STATE, wordsAt } from './record.js';

export class QuotedReply {
  /** of the destination that `translate` found */
  destination: ipv6.Words = [0, 0, 0, 0];

  readonly #connections: Connections;
  readonly #pool = new Pool(1, 1);
  readonly #packet = this.#pool.take(FRAME_AT);
  readonly #outer = new Parsed();
  readonly #quoted = new Parsed();
  readonly #turned = noEnds();
  readonly #flow = noFlow();

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /**
   * @param message an ICMPv6 error without its IPv6 header
   * @returns the same for `destination`, its checksum to be done; undefined: it is of no connection
   */
  translate(message: Uint8Array): Uint8Array | undefined {
    const pool = this.#pool;
    const at = pool.offset[this.#packet]!;
    const quotedSource = icmpv6.HEADER + ipv6.SOURCE;
    if (message.length < icmpv6.HEADER + ipv6.HEADER) return undefined;
    ipv6.write(pool.bytes, at, message.length, icmpv6.PROTOCOL);
    // It came to whom the quoted packet was of; who sent it matters to the checksum alone.
    pool.bytes.fill(0, at + ipv6.SOURCE, at + ipv6.DESTINATION);
    pool.bytes.set(message.subarray(quotedSource, quotedSource + 16), at + ipv6.DESTINATION);
    pool.bytes.set(message, at + ipv6.HEADER);
    const end = at + ipv6.HEADER + message.length;
    pool.length[this.#packet] = end - at;
    const outer = this.#outer;
    const quoted = this.#quoted;
    if (parse(pool, at, end, outer) !== 0 || !outer.isError) return undefined;
    if (!parseQuoted(pool, outer, quoted) || quoted.family !== 6) return undefined;

    const { records } = this.#connections;
    turn(quoted, this.#turned);
    readFlow(this.#flow, quoted.protocol, this.#turned, HOST_SIDE);
    const found = this.#connections.find(this.#flow);
    if (found === NO_CONNECTION || (found & 1) !== 0) return undefined;
    const connection = this.#connections.at(found >> 1);
    if ((records[connection + STATE]! & FLAG_REPLIES) === 0) return undefined;
    const to = wordsAt(records, connection + DESTINATION);
    const port = records[connection + KIND]! >>> 16;
    translateError(pool, this.#packet, outer, quoted, TO_SERVER, ...to, port);
    this.destination = to;
    return pool.bytes.slice(at + ipv6.HEADER, end);
  }
}
