/**
 * Segments of a connection that the SYN proxy has opened: the server counts from another number than the client was
 * told, its clock shows another time, and its windows have another unit. Super-packets stay whole, for all of it stands
 * in their headers.
 *
 *     of the server   sequence number, timestamp, window
 *     of the client   acknowledgment and SACK blocks, echoed timestamp
 */
import type { Pool } from '../../core/pool.js';
import * as tcp from '../../wire/tcp.js';
import { adjusted, isUnfinished, replaced16, replaced32 } from '../nat.js';
import type { Parsed } from '../packet.js';
import { adjustAcknowledgment, adjustSequence, newShift, replace } from '../sequence.js';
import { type Proxied, SCALE_SHIFT, SHIFT, TIME_SHIFT } from './proxied.js';
import { findTimestamps } from './tcp-options.js';

const WINDOW = 14;
const ICMP_CHECKSUM = 2;

export class ProxyShift {
  readonly #pool: Pool;
  readonly #rows: Proxied;
  readonly #shift = { ...newShift(), unused: false };

  constructor(pool: Pool, rows: Proxied) {
    this.#pool = pool;
    this.#rows = rows;
  }

  /** The packet was read. @param reply it is of the server */
  carry(packet: number, parsed: Parsed, connection: number, reply: boolean): void {
    const pool = this.#pool;
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const shift = this.#shift;
    // The same before and behind whatever number.
    shift.delta = words[row + SHIFT]!;
    shift.previous = shift.delta;
    const time = words[row + TIME_SHIFT]!;
    const stamp = time === 0 ? -1 : findTimestamps(pool, parsed);
    if (reply) {
      adjustSequence(pool, packet, parsed, shift);
      if (stamp >= 0) replace(pool, packet, parsed, stamp, pool.view.getInt32(stamp) + time);
      // The window of a SYN has no unit.
      if ((parsed.flags & tcp.SYN) === 0) this.#convertWindow(packet, parsed, words[row + SCALE_SHIFT]!);
    } else {
      adjustAcknowledgment(pool, packet, parsed, shift);
      if (stamp >= 0 && (parsed.flags & tcp.ACK) !== 0) {
        replace(pool, packet, parsed, stamp + 4, pool.view.getInt32(stamp + 4) - time);
      }
    }
  }

  /** The segment that an ICMP error quotes, which the server had sent: its sender knows it by its own number. */
  carryQuoted(packet: number, outer: Parsed, quoted: Parsed, connection: number): void {
    const { transport, end } = quoted;
    if (transport + 8 > end) return;
    const pool = this.#pool;
    const { view } = pool;
    const before = view.getInt32(transport + 4);
    const after = (before - this.#rows.words[this.#rows.at(connection) + SHIFT]!) | 0;
    view.setInt32(transport + 4, after);
    const change = replaced32(before, after);
    // Where the quote has its checksum too, the sum over both stays.
    if (transport + tcp.CHECKSUM + 2 <= end) adjustAt(view, transport + tcp.CHECKSUM, change);
    else if (!isUnfinished(pool, packet, outer)) adjustAt(view, outer.transport + ICMP_CHECKSUM, change);
  }

  #convertWindow(packet: number, parsed: Parsed, scale: number): void {
    if (scale === 0) return;
    const pool = this.#pool;
    const { view } = pool;
    const at = parsed.transport + WINDOW;
    const before = view.getUint16(at);
    const after = scale > 0 ? Math.min(0xffff, before << scale) : before >>> -scale;
    if (before === after) return;
    view.setUint16(at, after);
    if (isUnfinished(pool, packet, parsed)) return;
    adjustAt(view, parsed.transport + tcp.CHECKSUM, replaced16(before, after));
  }
}

function adjustAt(view: DataView, field: number, change: number): void {
  view.setUint16(field, adjusted(view.getUint16(field), change));
}
