/**
 * FTP announces its data connections in the text of its control connection: the client by PORT (RFC 959 §4.1.2) and
 * EPRT (RFC 2428 §2), the server by its answers 227 to PASV and 229 to EPSV. Who forwards with other addresses
 * has to read them, and write its own.
 *
 *     PORT 192,0,2,7,156,64                     EPRT |1|192.0.2.7|40000|      EPRT |2|2001:db8::7|40000|
 *     227 Entering Passive Mode (10,1,2,3,195,80).       229 Entering Extended Passive Mode (|||50000|)
 *
 * A line counts where it begins in the segment, or behind another line in it; it has to end in it. Announcements are
 * rare: their text is built as a string.
 */
import { type Pool, SLOT_BYTES } from '../core/pool.js';
import * as checksums from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import { adjusted, isUnfinished, replaced16 } from './nat.js';
import type { Memory, Parsed } from './packet.js';

/** Values of `kind`. */
export const NOTHING = 0;
/** The client, whom the server shall connect to. */
export const PORT = 1;
export const EPRT = 2;
/** The server, whom the client shall connect to; EXTENDED names a port alone. */
export const PASSIVE = 3;
export const EXTENDED = 4;
/** An announcement that goes on in the next segment. */
export const INCOMPLETE = 5;

/** What was found; one object serves segment after segment. */
export class Announcement {
  kind: number = NOTHING;
  family: 4 | 6 = 4;
  address: ipv6.Words = [0, 0, 0, 0];
  port = 0;
  /** the bytes that say it */
  from = 0;
  to = 0;
  /** what separates, in EPRT and 229 */
  delimiter = 0;
  /** after `rewrite`: bytes that the segment got longer */
  change = 0;
}

/** Bytes of a segment that are looked at; a control connection carries short lines. */
const LOOK = 2048;
/** Bytes of a line up to the end of its announcement. */
const LINE = 200;
const LF = 10;
const CR = 13;

/** Finds the first announcement in the payload of the TCP segment that was read. */
export function find(memory: Memory, parsed: Parsed, fromServer: boolean, found: Announcement): boolean {
  const { bytes } = memory;
  const { transport } = parsed;
  const start = transport + tcp.headerLength(bytes, transport);
  const end = Math.min(parsed.end, start + LOOK);
  found.kind = NOTHING;
  found.change = 0;
  let line = start;
  while (line < end) {
    let stop = line;
    while (stop < end && bytes[stop] !== LF && bytes[stop] !== CR) stop++;
    const kind = kindOf(bytes, line, stop, fromServer);
    if (kind !== NOTHING) {
      const whole = stop < end && stop - line <= LINE;
      const read = kind === PORT || kind === PASSIVE ? readCommas : readDelimited;
      found.kind = !whole ? INCOMPLETE : read(bytes, line, stop, kind, found) ? kind : NOTHING;
      if (found.kind !== NOTHING) return found.kind !== INCOMPLETE;
    }
    line = stop + 1;
  }
  return false;
}

/** Whether the client asks for a passive connection: PASV or EPSV begins a line of the segment. */
export function asksPassive(memory: Memory, parsed: Parsed): boolean {
  const { bytes } = memory;
  const start = parsed.transport + tcp.headerLength(bytes, parsed.transport);
  const end = Math.min(parsed.end, start + LOOK);
  for (let at = start; at < end; at++) {
    if (at > start && bytes[at - 1] !== LF) continue;
    if (begins(bytes, at, end, 'PASV') || begins(bytes, at, end, 'EPSV')) return true;
  }
  return false;
}

function kindOf(bytes: Uint8Array, line: number, stop: number, fromServer: boolean): number {
  if (fromServer) {
    if (begins(bytes, line, stop, '227 ')) return PASSIVE;
    return begins(bytes, line, stop, '229 ') ? EXTENDED : NOTHING;
  }
  if (begins(bytes, line, stop, 'PORT ')) return PORT;
  return begins(bytes, line, stop, 'EPRT ') ? EPRT : NOTHING;
}

/** Upper or lower case. */
function begins(bytes: Uint8Array, at: number, end: number, word: string): boolean {
  if (at + word.length > end) return false;
  for (let i = 0; i < word.length; i++) {
    const byte = bytes[at + i]!;
    const upper = byte >= 97 && byte <= 122 ? byte - 32 : byte;
    if (upper !== word.charCodeAt(i)) return false;
  }
  return true;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57;

/** Results of `readNumber`. */
let number = 0;
let after = 0;

/** The digits at `at`, at most five. */
function readNumber(bytes: Uint8Array, at: number, stop: number): boolean {
  number = 0;
  after = at;
  while (after < stop && after - at < 5 && isDigit(bytes[after])) number = number * 10 + bytes[after++]! - 48;
  return after > at && !(after < stop && isDigit(bytes[after]));
}

/** Six numbers with commas, the first digits behind the line's first word: brackets and words before them vary (RFC 1123 §4.1.2.6). */
function readCommas(
  bytes: Uint8Array,
  line: number,
  stop: number,
  kind: number,
  found: Announcement,
): boolean {
  let at = line + (kind === PORT ? 5 : 4);
  while (at < stop && !isDigit(bytes[at])) at++;
  found.from = at;
  let address = 0;
  let port = 0;
  for (let i = 0; i < 6; i++) {
    if (!readNumber(bytes, at, stop) || number > 255) return false;
    if (i < 4) address = (address << 8) | number;
    else port = (port << 8) | number;
    at = after;
    if (i < 5 && bytes[at++] !== 44) return false;
  }
  found.to = after;
  found.family = 4;
  found.address = [address, 0, 0, 0];
  found.port = port;
  return found.to <= stop && port !== 0;
}

/** `|family|address|port|`, of a 229 the first two empty; the delimiter may be any printing character. */
function readDelimited(
  bytes: Uint8Array,
  line: number,
  stop: number,
  kind: number,
  found: Announcement,
): boolean {
  let at = line + 5;
  if (kind === EXTENDED) {
    while (at < stop && bytes[at - 1] !== 40) at++;
  }
  if (at >= stop) return false;
  const delimiter = bytes[at]!;
  if (delimiter < 33 || delimiter > 126 || isDigit(delimiter)) return false;
  found.from = at++;
  found.delimiter = delimiter;
  if (kind === EXTENDED) {
    if (bytes[at] !== delimiter || bytes[at + 1] !== delimiter) return false;
    at += 2;
  } else {
    if (!readNumber(bytes, at, stop) || (number !== 1 && number !== 2) || bytes[after] !== delimiter)
      return false;
    found.family = number === 1 ? 4 : 6;
    const from = after + 1;
    at = from;
    while (at < stop && bytes[at] !== delimiter && at - from < 46) at++;
    if (!readAddress(bytes, from, at, found)) return false;
    if (bytes[at++] !== delimiter) return false;
  }
  if (!readNumber(bytes, at, stop) || number === 0 || number > 0xffff) return false;
  if (after >= stop || bytes[after] !== delimiter) return false;
  found.port = number;
  found.to = after + 1;
  return true;
}

function readAddress(bytes: Uint8Array, from: number, to: number, found: Announcement): boolean {
  let text = '';
  for (let at = from; at < to; at++) text += String.fromCharCode(bytes[at]!);
  try {
    found.address = found.family === 4 ? [ipv4.parse(text), 0, 0, 0] : ipv6.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The announcement's text for another address and port. */
function textOf(found: Announcement, address: ipv6.Words, port: number): string {
  const d = String.fromCharCode(found.delimiter);
  if (found.kind === EXTENDED) return `${d}${d}${d}${port}${d}`;
  if (found.kind === EPRT) {
    const text = found.family === 4 ? ipv4.format(address[0]) : ipv6.format(...address);
    return `${d}${found.family === 4 ? 1 : 2}${d}${text}${d}${port}${d}`;
  }
  return [...ipv4.format(address[0]).split('.'), port >>> 8, port & 255].join();
}

/**
 * Writes the announcement anew; what follows it moves, lengths and checksum stay right, a super-packet stays one.
 * `found.change` is for `noteChange`.
 *
 * 1. room: a segment that grows may have another packet behind it in its slot, so it moves to one of its own
 * 2. the text, and what is behind it  3. lengths  4. checksum, for what moved and for the length
 *
 * @param address of the announcement's family; without meaning for EXTENDED
 * @returns false: no room, and the packet says what it said; `parsed` follows it wherever it moved
 */
export function rewrite(
  pool: Pool,
  packet: number,
  parsed: Parsed,
  found: Announcement,
  address: ipv6.Words,
  port: number,
): boolean {
  const text = textOf(found, address, port);
  const change = text.length - (found.to - found.from);
  found.change = 0;

  // 1.
  if (change > 0) {
    if (parsed.length + change > 0xffff) return false;
    const before = pool.offset[packet]!;
    if (!pool.move(packet)) return false;
    const distance = pool.offset[packet]! - before;
    parsed.ip += distance;
    parsed.transport += distance;
    parsed.end += distance;
    found.from += distance;
    found.to += distance;
    const room = pool.slotStart(packet) + SLOT_BYTES - pool.offset[packet]! - pool.length[packet]!;
    if (room < change) return false;
  }

  // 2.
  const { bytes, view } = pool;
  const { ip, transport, end } = parsed;
  const even = found.from - ((found.from - transport) & 1);
  const before = checksums.sum(bytes, even, end - even);
  const segment = end - transport;
  bytes.copyWithin(found.to + change, found.to, pool.offset[packet]! + pool.length[packet]!);
  for (let i = 0; i < text.length; i++) bytes[found.from + i] = text.charCodeAt(i);
  parsed.end = end + change;
  found.to += change;
  found.change = change;
  found.port = port;
  pool.length[packet]! += change;

  // 3.
  if (parsed.family === 4) {
    const total = view.getUint16(ip + 2);
    view.setUint16(ip + 2, total + change);
    view.setUint16(ip + 10, adjusted(view.getUint16(ip + 10), replaced16(total, total + change)));
  } else {
    view.setUint16(ip + 4, view.getUint16(ip + 4) + change);
  }

  // 4.
  const field = transport + tcp.CHECKSUM;
  const length = replaced16(segment, segment + change);
  if (isUnfinished(pool, packet, parsed)) {
    view.setUint16(field, ~adjusted(~view.getUint16(field), length) & 0xffff);
  } else {
    const now = checksums.sum(bytes, even, parsed.end - even);
    view.setUint16(field, adjusted(view.getUint16(field), length + replaced16(before, now)));
  }
  return true;
}
