/**
 * The persistence engine "sip" (ip_vs_pe_sip.c): a client's calls stay each at its server by the Call-ID of their messages
 * (RFC 3261 §20.8, UDP); the service's mask says who is one client. The header's name in upper or lower case, or its short form `i` (§7.3.3); folded
 * lines (§7.3.1); lines end in CR LF, CR or LF, as RFC 2543 had it.
 */
import { mix } from '../wire/flow.js';
import * as udp from '../wire/udp.js';
import { LATER_FRAGMENT, type Memory, type Parsed } from './packet.js';

/** Bytes of the longest Call-ID that counts (IP_VS_PEDATA_MAXLEN). */
export const CALL_ID_MAX = 255;

/** Where a Call-ID stands; one object serves message after message. */
export interface CallId {
  from: number;
  length: number;
}

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const AT = 64;
const SHORT = 0x69;
const NAME = 'call-id';

/** What a word is made of (RFC 3261 §25.1), 1 at each such byte. */
const WORD = new Uint8Array(256);
for (let byte = 0; byte < 128; byte++) {
  if (/[A-Za-z0-9\-.!%*_+`'~()<>:\\"/[\]?{}]/.test(String.fromCharCode(byte))) WORD[byte] = 1;
}

/**
 * Finds the Call-ID of the SIP message in the UDP datagram that was read. False: there is none, or it is not whole or too
 * long.
 */
export function findCallId(memory: Memory, parsed: Parsed, found: CallId): boolean {
  const { bytes, view } = memory;
  if (parsed.protocol !== udp.PROTOCOL || parsed.fragment === LATER_FRAGMENT) return false;
  const length = view.getUint16(parsed.transport + 4);
  const end = Math.min(parsed.end, parsed.transport + Math.max(length, udp.HEADER));
  // The first line is the request or the status.
  let line = nextLine(bytes, parsed.transport + udp.HEADER, end);
  for (; line < end && bytes[line] !== CR && bytes[line] !== LF; line = nextLine(bytes, line, end)) {
    const value = valueStart(bytes, line, end);
    if (value < 0) continue;
    let to = wordEnd(bytes, value, end);
    if (to > value && to < end && bytes[to] === AT) to = wordEnd(bytes, to + 1, end);
    if (to === value || to - value > CALL_ID_MAX) return false;
    let after = to;
    while (after < end && (bytes[after] === SPACE || bytes[after] === TAB)) after++;
    if (after === end || (bytes[after] !== CR && bytes[after] !== LF)) return false;
    found.from = value;
    found.length = to - value;
    return true;
  }
  return false;
}

/** The byte behind the line's end, `end` when it has none. */
function nextLine(bytes: Uint8Array, line: number, end: number): number {
  let at = line;
  while (at < end && bytes[at] !== CR && bytes[at] !== LF) at++;
  if (at + 1 < end && bytes[at] === CR && bytes[at + 1] === LF) at++;
  return Math.min(at + 1, end);
}

/** Where the value of the header line begins, if it is the Call-ID's; -1. */
function valueStart(bytes: Uint8Array, line: number, end: number): number {
  let at = line;
  if (isNamed(bytes, line, end)) at += NAME.length;
  else if ((bytes[at]! | 0x20) === SHORT) at++;
  else return -1;
  at = skipBlanks(bytes, at, end);
  if (at >= end || bytes[at] !== COLON) return -1;
  return skipBlanks(bytes, at + 1, end);
}

function isNamed(bytes: Uint8Array, at: number, end: number): boolean {
  if (at + NAME.length > end) return false;
  for (let i = 0; i < NAME.length; i++) {
    const byte = bytes[at + i]!;
    if ((byte >= 65 && byte <= 90 ? byte | 0x20 : byte) !== NAME.charCodeAt(i)) return false;
  }
  return true;
}

/** Blanks, and line ends that a blank follows. */
function skipBlanks(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  for (;;) {
    while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at++;
    if (at >= end || (bytes[at] !== CR && bytes[at] !== LF)) return at;
    const next = nextLine(bytes, at, end);
    if (next >= end || (bytes[next] !== SPACE && bytes[next] !== TAB)) return at;
    at = next;
  }
}

function wordEnd(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && WORD[bytes[at]!] === 1) at++;
  return at;
}

/** A hash of the Call-ID, signed 32 bits, for the table of templates. */
export function hashCallId(bytes: Uint8Array, { from, length }: CallId, seed: number): number {
  let state = mix(seed, length);
  for (let at = from; at < from + length; at++) state = mix(state, bytes[at]!);
  return state ^ (state >>> 13);
}

/** Whether the Call-ID is the one of `keptLength` bytes that was kept at `at`. */
export function isCallId(
  bytes: Uint8Array,
  { from, length }: CallId,
  kept: Uint8Array,
  at: number,
  keptLength: number,
): boolean {
  if (length !== keptLength) return false;
  for (let i = 0; i < length; i++) if (bytes[from + i] !== kept[at + i]) return false;
  return true;
}
