/**
 * The TCP header (RFC 9293 §3.1) and its maximum segment size option (§3.7.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source Port          |       Destination Port        |
 *     +-------------------------------+-------------------------------+
 *     |                        Sequence Number                        |
 *     +---------------------------------------------------------------+
 *     |                    Acknowledgment Number                      |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     |  Data |       |C|E|U|A|P|R|S|F|                               |
 *     | Offset|  Rsrvd|W|C|R|C|S|S|Y|I|            Window             |
 *     |       |       |R|E|G|K|H|T|N|N|                               |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     |           Checksum            |         Urgent Pointer        |
 *     +-------------------------------+-------------------------------+
 *     |                    Options (Data Offset > 5) ...              |
 */

import { update16 } from './checksum.js';

/** Bytes of a header without options. */
export const HEADER = 20;
export const PROTOCOL = 6;

/** Bits of `flags`. */
export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

/** Where the checksum stands in the header. */
export const CHECKSUM = 16;

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_MSS = 2;
const OPTION_MSS_LENGTH = 4;

export const sourcePort = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

export const destinationPort = (bytes: Uint8Array, at: number): number =>
  (bytes[at + 2] << 8) | bytes[at + 3];

/** Unsigned 32 bits; compare as (a - b) | 0. */
export const sequence = (bytes: Uint8Array, at: number): number => word(bytes, at + 4) >>> 0;

/** Unsigned 32 bits; compare as (a - b) | 0. */
export const acknowledgment = (bytes: Uint8Array, at: number): number => word(bytes, at + 8) >>> 0;

/** Header length in bytes, options included. */
export const headerLength = (bytes: Uint8Array, at: number): number => (bytes[at + 12] >>> 4) << 2;

export const flags = (bytes: Uint8Array, at: number): number => bytes[at + 13];

export const window = (bytes: Uint8Array, at: number): number => (bytes[at + 14] << 8) | bytes[at + 15];

export const checksum = (bytes: Uint8Array, at: number): number => (bytes[at + 16] << 8) | bytes[at + 17];

const word = (bytes: Uint8Array, at: number): number =>
  (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];

/** A header that can be trusted for its length: five words at least, all of them before `end`. */
export function valid(bytes: Uint8Array, at: number, end: number): boolean {
  if (at + HEADER > end) return false;
  const header = headerLength(bytes, at);
  return header >= HEADER && at + header <= end;
}

export function writeSourcePort(bytes: Uint8Array, at: number, port: number): void {
  bytes[at] = port >>> 8;
  bytes[at + 1] = port;
}

export function writeDestinationPort(bytes: Uint8Array, at: number, port: number): void {
  bytes[at + 2] = port >>> 8;
  bytes[at + 3] = port;
}

export function writeChecksum(bytes: Uint8Array, at: number, checksum: number): void {
  bytes[at + 16] = checksum >>> 8;
  bytes[at + 17] = checksum;
}

/**
 * Lowers the MSS that the SYN at `at` offers to `mss`, where it offers more; true if it did. Segments that are
 * no SYN, or malformed from some option on, are left as they are from there.
 *
 * @param unfinished the checksum field holds only the pseudo-header's sum (pool: CHECKSUM_UNFINISHED), which
 *   no option enters: it stays
 */
export function clampMss(
  bytes: Uint8Array,
  at: number,
  end: number,
  mss: number,
  unfinished = false,
): boolean {
  if (!valid(bytes, at, end) || (flags(bytes, at) & SYN) === 0) return false;
  const optionsEnd = at + headerLength(bytes, at);
  let option = at + HEADER;
  let changed = false;
  // Not only the first MSS option: of several, Linux believes the last.
  while (option < optionsEnd) {
    const kind = bytes[option];
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOTHING) {
      option++;
      continue;
    }
    if (option + 2 > optionsEnd) break;
    const length = bytes[option + 1];
    if (length < 2 || option + length > optionsEnd) break;
    if (kind === OPTION_MSS && length === OPTION_MSS_LENGTH) {
      changed = lower(bytes, at, option + 2, mss, unfinished) || changed;
    }
    option += length;
  }
  return changed;
}

function lower(bytes: Uint8Array, at: number, value: number, mss: number, unfinished: boolean): boolean {
  const offered = (bytes[value] << 8) | bytes[value + 1];
  if (offered <= mss) return false;
  bytes[value] = mss >>> 8;
  bytes[value + 1] = mss;
  if (unfinished) return true;
  // At an odd offset its bytes weigh the other way round in the sum (RFC 1071 §2 (B)).
  const odd = ((value - at) & 1) !== 0;
  const before = odd ? swapBytes(offered) : offered;
  const after = odd ? swapBytes(mss) : mss;
  writeChecksum(bytes, at, update16(checksum(bytes, at), before, after));
  return true;
}

const swapBytes = (word: number): number => ((word & 0xff) << 8) | (word >>> 8);
