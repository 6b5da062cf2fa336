/**
 * What the data path itself sees of a destination that is not well, for passive health checks: a reset while a
 * connection opens, a SYN that nobody has answered when its connection runs out, "unreachable" about a packet that went
 * there. Each counts once at the destination (DestinationCounts.failures).
 */
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as tcp from '../wire/tcp.js';
import type { Connections } from './connections.js';
import type { DestinationCounts } from './destination.js';
import type { Parsed } from './packet.js';
import { FLAG_SYNCED, KIND, protocolOf, rowOf, STATE, STATE_MASK, UNANSWERED } from './record.js';
import { TCP_STATE } from './states.js';

export class Faults {
  readonly #connections: Connections;
  readonly #counts: DestinationCounts;

  constructor(connections: Connections, counts: DestinationCounts) {
    this.#connections = connections;
    this.#counts = counts;
  }

  /** A packet of the destination that changes the connection's state. @param state before the packet */
  replied(at: number, parsed: Parsed, state: number): void {
    if (parsed.protocol !== tcp.PROTOCOL || (parsed.flags & tcp.RST) === 0 || !opening(state)) return;
    this.#counts.addFailure(rowOf(this.#connections.records, at));
  }

  /** The connection has run out. */
  expired(at: number): void {
    const { records } = this.#connections;
    const state = records[at + STATE]!;
    if (protocolOf(records[at + KIND]!) !== tcp.PROTOCOL || !opening(state & STATE_MASK)) return;
    if ((state & (UNANSWERED | FLAG_SYNCED)) !== UNANSWERED) return;
    this.#counts.addFailure(rowOf(records, at));
  }

  /** An ICMP error about a packet that went to the destination. */
  refused(at: number, error: Parsed): void {
    if (!isUnreachable(error)) return;
    this.#counts.addFailure(rowOf(this.#connections.records, at));
  }
}

/** Before the client has acknowledged the destination's SYN. */
const opening = (state: number): boolean =>
  state === TCP_STATE.synReceived || state === TCP_STATE.synSent || state === TCP_STATE.synAck;

/** A packet that was too big says nothing of who should have had it. */
function isUnreachable({ family, flags, code }: Parsed): boolean {
  if (family === 6) return flags === icmpv6.UNREACHABLE;
  return flags === icmp.UNREACHABLE && code !== icmp.FRAGMENTATION_NEEDED;
}
