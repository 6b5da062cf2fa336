/**
 * The TCP options that matter in a handshake: maximum segment size (RFC 9293 §3.7.1), window scale and timestamps
 * (RFC 7323 §2, §3), selective acknowledgment permitted (RFC 2018 §2). One `TcpOptions` serves packet after packet.
 */
import * as tcp from '../../wire/tcp.js';
import type { Memory, Parsed } from '../packet.js';

const END = 0;
const NOTHING = 1;
const MSS = 2;
const SCALE = 3;
const SACK_PERMITTED = 4;
const TIMESTAMPS = 8;
/** RFC 7323 §2.3: a larger one counts as this. */
export const SCALE_MAX = 14;

/** Two of nothing, then the timestamps: what nearly all segments with timestamps begin with. */
const ALIGNED_TIMESTAMPS = 0x0101080a;

/** Bytes of the longest that `writeOptions` writes. */
export const OPTIONS_MAX = 20;

export class TcpOptions {
  /** 0: not there */
  mss = 0;
  /** -1: not there */
  scale = -1;
  sack = false;
  timestamps = false;
  /** of the timestamps, signed words */
  value = 0;
  echo = 0;

  clear(): void {
    this.mss = 0;
    this.scale = -1;
    this.sack = false;
    this.timestamps = false;
    this.value = 0;
    this.echo = 0;
  }
}

/** Reads the options of the segment, up to the first that is malformed. Of several of a kind the last counts, as Linux has it. */
export function readOptions({ view, bytes }: Memory, parsed: Parsed, into: TcpOptions): void {
  into.clear();
  const { transport } = parsed;
  // A first fragment may end within them.
  const end = Math.min(parsed.end, transport + tcp.headerLength(bytes, transport));
  for (let at = transport + tcp.HEADER; at < end; ) {
    const kind = bytes[at]!;
    if (kind === END) return;
    if (kind === NOTHING) {
      at++;
      continue;
    }
    if (at + 2 > end) return;
    const length = bytes[at + 1]!;
    if (length < 2 || at + length > end) return;
    if (kind === MSS && length === 4) into.mss = view.getUint16(at + 2);
    else if (kind === SCALE && length === 3) into.scale = Math.min(bytes[at + 2]!, SCALE_MAX);
    else if (kind === SACK_PERMITTED && length === 2) into.sack = true;
    else if (kind === TIMESTAMPS && length === 10) {
      into.timestamps = true;
      into.value = view.getInt32(at + 2);
      into.echo = view.getInt32(at + 6);
    }
    at += length;
  }
}

/** Where the timestamps' first word stands in the segment; -1: it has none. */
export function findTimestamps({ view, bytes }: Memory, { transport, end: packetEnd }: Parsed): number {
  const end = Math.min(packetEnd, transport + tcp.headerLength(bytes, transport));
  let at = transport + tcp.HEADER;
  if (at + 12 <= end && view.getInt32(at) === ALIGNED_TIMESTAMPS) return at + 4;
  while (at + 10 <= end) {
    const kind = bytes[at]!;
    if (kind === END) return -1;
    if (kind === NOTHING) {
      at++;
      continue;
    }
    const length = bytes[at + 1]!;
    if (length < 2) return -1;
    if (kind === TIMESTAMPS && length === 10) return at + 2;
    at += length;
  }
  return -1;
}

/** Writes the options in Linux's order. Their bytes, a multiple of four. */
export function writeOptions({ view }: Memory, out: number, options: TcpOptions): number {
  let at = out;
  if (options.mss > 0) {
    view.setInt32(at, (MSS << 24) | (4 << 16) | options.mss);
    at += 4;
  }
  if (options.timestamps) {
    const before = options.sack ? (SACK_PERMITTED << 8) | 2 : (NOTHING << 8) | NOTHING;
    view.setInt32(at, (before << 16) | (TIMESTAMPS << 8) | 10);
    view.setInt32(at + 4, options.value);
    view.setInt32(at + 8, options.echo);
    at += 12;
  } else if (options.sack) {
    view.setInt32(at, (NOTHING << 24) | (NOTHING << 16) | (SACK_PERMITTED << 8) | 2);
    at += 4;
  }
  if (options.scale >= 0) {
    view.setInt32(at, (NOTHING << 24) | (SCALE << 16) | (3 << 8) | options.scale);
    at += 4;
  }
  return at - out;
}
