/**
 * A helper that changes the length of a TCP segment shifts all that is sent after it: the numbers of later segments of
 * this direction, and what the other direction acknowledges of them (RFC 9293 §3.4; SACK: RFC 2018 §3). As
 * ip_vs_app.c keeps it, and a synchronisation message carries it: the last change and the one before.
 */
import type { Pool } from '../core/pool.js';
import * as tcp from '../wire/tcp.js';
import { adjusted, isUnfinished, replaced32 } from './nat.js';
import type { Parsed } from './packet.js';

const OPTION_NOTHING = 1;
const OPTION_SACK = 5;

/** Of one direction of a connection. Numbers are the sender's own, unsigned 32 bits; deltas signed. */
export interface Shift {
  /** number of the segment that was last changed: what comes after it shifts by `delta`, what before by `previous` */
  initial: number;
  delta: number;
  previous: number;
  /** no segment has been changed yet */
  unused: boolean;
}

export const newShift = (): Shift => ({ initial: 0, delta: 0, previous: 0, unused: true });

/** A segment with the number got `change` bytes longer. A retransmission of it is not taken for another. */
export function noteChange(shift: Shift, sequence: number, change: number): void {
  if (change === 0 || (!shift.unused && !isAfter(sequence, shift.initial))) return;
  shift.previous = shift.delta;
  shift.delta = (shift.delta + change) | 0;
  shift.initial = sequence >>> 0;
  shift.unused = false;
}

/** The number of a segment of the direction that was changed. The packet was read. */
export function adjustSequence(pool: Pool, packet: number, parsed: Parsed, shift: Shift): void {
  if (shift.unused) return;
  const at = parsed.transport + 4;
  const sequence = pool.view.getUint32(at);
  replace(
    pool,
    packet,
    parsed,
    at,
    sequence + (isAfter(sequence, shift.initial) ? shift.delta : shift.previous),
  );
}

/** What a segment of the other direction acknowledges, and says in SACK blocks that it has. */
export function adjustAcknowledgment(pool: Pool, packet: number, parsed: Parsed, shift: Shift): void {
  if (shift.unused || (parsed.flags & tcp.ACK) === 0) return;
  const { view, bytes } = pool;
  const { transport } = parsed;
  replace(pool, packet, parsed, transport + 8, unshifted(view.getUint32(transport + 8), shift));
  const optionsEnd = Math.min(parsed.end, transport + tcp.headerLength(bytes, transport));
  let option = transport + tcp.HEADER;
  while (option + 2 <= optionsEnd) {
    const kind = bytes[option]!;
    if (kind === 0) return;
    if (kind === OPTION_NOTHING) {
      option++;
      continue;
    }
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > optionsEnd) return;
    if (kind === OPTION_SACK) {
      for (let edge = option + 2; edge + 4 <= option + length; edge += 4) {
        replace(pool, packet, parsed, edge, unshifted(view.getUint32(edge), shift));
      }
    }
    option += length;
  }
}

/** Unlike ip_vs_app.c, which takes what is acknowledged before a segment that got shorter for part of it. */
const unshifted = (number: number, { initial, delta, previous }: Shift): number =>
  number - (isAfter(number - previous, initial) ? delta : previous);

const isAfter = (one: number, other: number): boolean => ((one - other) | 0) > 0;

/** Writes the 32 bits at `at` of the TCP header, and its checksum follows. At an odd offset bytes weigh the other way round (RFC 1071 §2 (B)). */
export function replace(pool: Pool, packet: number, parsed: Parsed, at: number, word: number): void {
  const { view } = pool;
  const before = view.getUint32(at);
  const after = word >>> 0;
  if (before === after) return;
  view.setUint32(at, after);
  if (isUnfinished(pool, packet, parsed)) return;
  const field = parsed.transport + tcp.CHECKSUM;
  const odd = ((at - parsed.transport) & 1) !== 0;
  const change = odd ? replaced32(rotate(before), rotate(after)) : replaced32(before, after);
  view.setUint16(field, adjusted(view.getUint16(field), change));
}

const rotate = (word: number): number => (word >>> 8) | (word << 24);
