/**
 * How long a destination takes to answer a SYN: what p2c compares by. It holds only where nothing was lost: a SYN
 * that came twice says nothing. Times are those of the engine's turns, some ten microseconds apart under load.
 *
 *     first packet of the client    STAMP = when, in microseconds
 *     another before an answer      STAMP = 0
 *     SYN-ACK                       measured, STAMP = 0
 */
import * as tcp from '../wire/tcp.js';
import type { Connections } from './connections.js';
import type { DestinationCounts } from './destination.js';
import type { Parsed } from './packet.js';
import { PACKETS, rowOf, STAMP, STATE, UNANSWERED } from './record.js';

export class Latency {
  readonly #records: Int32Array;
  readonly #counts: DestinationCounts;

  constructor(connections: Connections, counts: DestinationCounts) {
    this.#records = connections.records;
    this.#counts = counts;
  }

  /** A packet of the connection, before anything in its record has followed. */
  note(at: number, parsed: Parsed, reply: boolean, nowMs: number): void {
    const records = this.#records;
    if ((records[at + STATE]! & UNANSWERED) !== UNANSWERED || parsed.protocol !== tcp.PROTOCOL) return;
    // Wraps after 71 minutes; differences don't mind.
    const now = (nowMs * 1000) | 0;
    if (!reply) {
      if (records[at + PACKETS] === 0) records[at + STAMP] = now || 1;
      else if (records[at + PACKETS] === 1) records[at + STAMP] = 0;
      return;
    }
    const asked = records[at + STAMP]!;
    records[at + STAMP] = 0;
    if (asked === 0 || (parsed.flags & ANSWER) !== ANSWER) return;
    this.#counts.noteLatency(rowOf(records, at), (now - asked) | 0);
  }
}

const ANSWER = tcp.SYN | tcp.ACK;
