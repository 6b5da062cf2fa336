/**
 * The IPv6 header and its extension headers (RFC 8200 §3-4; addresses: RFC 4291; their text: RFC 5952).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+---------------+---------------------------------------+
 *     |Version| Traffic Class |              Flow Label               |
 *     +-------+-------+-------+-------+---------------+---------------+
 *     |        Payload Length         |  Next Header  |   Hop Limit   |
 *     +-------------------------------+---------------+---------------+
 *     |                 Source Address (4 words)                      |
 *     +---------------------------------------------------------------+
 *     |               Destination Address (4 words)                   |
 *     +---------------------------------------------------------------+
 *
 * An address is four signed int32 words. An IPv4 address in a table of such is ::ffff:a.b.c.d (RFC 4291
 * §2.5.5.2): the words 0, 0, MAPPED, and the IPv4 word.
 */

import { isIPv6 } from 'node:net';
import { AddressError } from './address-error.js';
import { format as format4, parse as parse4 } from './ipv4.js';

export const HEADER = 40;

/** Third word of an IPv4 address mapped into IPv6. */
export const MAPPED = 0xffff;

/** Where the addresses stand in the header; `word` reads from there. */
export const SOURCE = 8;
export const DESTINATION = 24;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
export const NO_NEXT_HEADER = 59;
const DESTINATION_OPTIONS = 60;
const MAX_EXTENSIONS = 8;

export type Words = readonly [number, number, number, number];

export const version = (bytes: Uint8Array, at: number): number => bytes[at] >>> 4;

/** DSCP and, in the low two bits, ECN. */
export const trafficClass = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] & 0x0f) << 4) | (bytes[at + 1] >>> 4);

export const flowLabel = (bytes: Uint8Array, at: number): number =>
  ((bytes[at + 1] & 0x0f) << 16) | (bytes[at + 2] << 8) | bytes[at + 3];

/** Bytes behind the 40 of this header, extension headers included. */
export const payloadLength = (bytes: Uint8Array, at: number): number => (bytes[at + 4] << 8) | bytes[at + 5];

export const nextHeader = (bytes: Uint8Array, at: number): number => bytes[at + 6];

export const hopLimit = (bytes: Uint8Array, at: number): number => bytes[at + 7];

/** Word `index` (0-3) of the address that stands at `at` (header + SOURCE or + DESTINATION), signed. */
export function word(bytes: Uint8Array, at: number, index: number): number {
  const from = at + (index << 2);
  return (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
}

export const sourceWord = (bytes: Uint8Array, at: number, index: number): number =>
  word(bytes, at + SOURCE, index);

export const destinationWord = (bytes: Uint8Array, at: number, index: number): number =>
  word(bytes, at + DESTINATION, index);

/** ff00::/8, of the address at `at`. */
export const isMulticast = (bytes: Uint8Array, at: number): boolean => bytes[at] === 0xff;

/** ::, the address at `at`. */
export const isUnspecified = (bytes: Uint8Array, at: number): boolean =>
  (word(bytes, at, 0) | word(bytes, at, 1) | word(bytes, at, 2) | word(bytes, at, 3)) === 0;

/** ::1, the address at `at`. */
export const isLoopback = (bytes: Uint8Array, at: number): boolean =>
  (word(bytes, at, 0) | word(bytes, at, 1) | word(bytes, at, 2)) === 0 && word(bytes, at, 3) === 1;

/** A header that can be trusted for its length: version 6, all of the packet within `available` bytes. */
export const valid = (bytes: Uint8Array, at: number, available: number): boolean =>
  available >= HEADER && version(bytes, at) === 6 && HEADER + payloadLength(bytes, at) <= available;

/** Results of the last `transport` besides its return value; read them before anything calls it again. */

/** The protocol of the upper layer, or of the header where the walk ended. */
export let transportProtocol = NO_NEXT_HEADER;
/** Whether the packet is a fragment, the first among them; an atomic fragment (RFC 6946) is none. */
export let fragmented = false;
/** Offset of its fragment header, also of an atomic fragment's; -1 when there is none. */
export let fragmentHeader = -1;

/**
 * Offset of the upper layer's header behind the extension headers of the packet at `at`; at most `end`, the
 * caller checks that its header fits. -1: cut short before, no upper layer here (a later fragment, or none at
 * all), or more than MAX_EXTENSIONS headers. Which protocol it is stands in `transportProtocol`.
 */
export function transport(bytes: Uint8Array, at: number, end: number): number {
  fragmented = false;
  fragmentHeader = -1;
  transportProtocol = NO_NEXT_HEADER;
  let found = at + HEADER;
  if (found > end) return -1;
  transportProtocol = nextHeader(bytes, at);
  for (let n = 0; n <= MAX_EXTENSIONS; n++) {
    switch (transportProtocol) {
      case HOP_BY_HOP:
      case ROUTING:
      case DESTINATION_OPTIONS:
        if (found + 8 > end) return -1;
        transportProtocol = bytes[found];
        found += (bytes[found + 1] + 1) << 3;
        break;
      case FRAGMENT: {
        if (found + 8 > end) return -1;
        const field = (bytes[found + 2] << 8) | bytes[found + 3];
        if ((field & 0xfff9) !== 0) fragmented = true;
        fragmentHeader = found;
        transportProtocol = bytes[found];
        if (field >>> 3 !== 0) return -1;
        found += 8;
        break;
      }
      case NO_NEXT_HEADER:
        return -1;
      default:
        return found <= end ? found : -1;
    }
  }
  return -1;
}

/** A header of 40 bytes but its addresses, which `writeAddress` puts in; flow label 0 unless given. */
export function write(
  bytes: Uint8Array,
  at: number,
  payloadLength: number,
  nextHeader: number,
  hopLimit = 64,
  trafficClass = 0,
  flowLabel = 0,
): void {
  bytes[at] = 0x60 | (trafficClass >>> 4);
  bytes[at + 1] = ((trafficClass & 0x0f) << 4) | (flowLabel >>> 16);
  bytes[at + 2] = flowLabel >>> 8;
  bytes[at + 3] = flowLabel;
  writePayloadLength(bytes, at, payloadLength);
  bytes[at + 6] = nextHeader;
  bytes[at + 7] = hopLimit;
}

export function writePayloadLength(bytes: Uint8Array, at: number, length: number): void {
  bytes[at + 4] = length >>> 8;
  bytes[at + 5] = length;
}

export function writeWord(bytes: Uint8Array, at: number, index: number, word: number): void {
  const to = at + (index << 2);
  bytes[to] = word >>> 24;
  bytes[to + 1] = word >>> 16;
  bytes[to + 2] = word >>> 8;
  bytes[to + 3] = word;
}

/** Four words as the address at `at` (header + SOURCE or + DESTINATION). */
export function writeAddress(
  bytes: Uint8Array,
  at: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  writeWord(bytes, at, 0, a);
  writeWord(bytes, at, 1, b);
  writeWord(bytes, at, 2, c);
  writeWord(bytes, at, 3, d);
}

/** Last word of the solicited-node multicast address (ff02::1:ff00:0/104, RFC 4291 §2.7.1) of an address with the last word `d`. */
export const solicitedNodeWord = (d: number): number => 0xff000000 | (d & 0xffffff);

export function writeSolicitedNode(bytes: Uint8Array, at: number, d: number): void {
  writeAddress(bytes, at, 0xff020000, 0, 1, solicitedNodeWord(d));
}

/** Whether a solicited-node multicast address stands at `at`. */
export const isSolicitedNode = (bytes: Uint8Array, at: number): boolean =>
  word(bytes, at, 0) === (0xff020000 | 0) &&
  word(bytes, at, 1) === 0 &&
  word(bytes, at, 2) === 1 &&
  bytes[at + 12] === 0xff;

export const isMapped = (a: number, b: number, c: number): boolean => (a | b) === 0 && c === MAPPED;

/** The words of an IPv4 address mapped into IPv6. */
export const mapped = (ipv4: number): Words => [0, 0, MAPPED, ipv4];

/** The address's text to its words; no zone, no prefix. Throws AddressError. */
export function parse(text: string): Words {
  if (!isIPv6(text) || text.includes('%')) throw new AddressError(text, 'an IPv6 address like fd00::2');
  const dotted = text.replace(/[\d.]+$/, (tail) => {
    if (!tail.includes('.')) return tail;
    const low = parse4(tail) >>> 0;
    return `${(low >>> 16).toString(16)}:${(low & 0xffff).toString(16)}`;
  });
  const [head, tail] = dotted.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = tail === undefined ? [] : Array<string>(8 - head.length - tail.length).fill('0');
  const groups = [...head, ...zeros, ...(tail ?? [])].map((group) => Number.parseInt(group, 16));
  const at = (index: number) => (groups[2 * index] << 16) | groups[2 * index + 1];
  return [at(0), at(1), at(2), at(3)];
}

/** RFC 5952: lower case, the longest run of zero groups (two at least, the first of equals) as ::, IPv4-mapped dotted. */
export function format(a: number, b: number, c: number, d: number): string {
  if (isMapped(a, b, c)) return `::ffff:${format4(d)}`;
  const groups = [a, b, c, d].flatMap((word) => [word >>> 16, word & 0xffff]);
  let from = 0;
  let run = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > run) [from, run] = [i, n];
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return run === 1 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + run))}`;
}
