/** A connection's record as a synchronisation message says it, and what of it can't be said. */
import * as tcp from '../../wire/tcp.js';
import type { Connections } from '../connections.js';
import {
  ENGINE_DATA,
  ENGINE_LENGTH,
  EXPECTED,
  type Extras,
  HELPER_FLAGS,
  SHIFT_TO_CLIENT,
  SHIFT_TO_SERVER,
} from '../extras.js';
import {
  CLIENT,
  CLIENT_PORTS,
  DESTINATION,
  EXTRA,
  FLAG_ACTIVE,
  FLAG_NO_REPLY_YET,
  FLAG_OPENING,
  FLAG_PROXIED,
  forwardOf,
  KIND,
  KIND_DESTINATION_IPV6,
  KIND_IPV6,
  KIND_TEMPLATE,
  NETWORK,
  protocolOf,
  STATE,
  STATE_MASK,
  TICKS_PER_SECOND,
  TIMEOUT,
  VIRTUAL,
  wordsAt,
} from '../record.js';
import { FLAG, type SyncConnection, type SyncSequence } from '../sync-message.js';

/** Of the SYN proxy's the other director would have to know far more than the message has room for. */
const UNSPEAKABLE = FLAG_PROXIED | FLAG_OPENING;

/** Whether a message can say it: on the host's own side, one family throughout, begun, and nothing of the SYN proxy's. */
export function isSpeakable({ records }: Connections, extras: Extras, at: number): boolean {
  if (records[at + NETWORK] !== 0 || (records[at + STATE]! & UNSPEAKABLE) !== 0) return false;
  const kind = records[at + KIND]!;
  if (((kind & KIND_IPV6) !== 0) !== ((kind & KIND_DESTINATION_IPV6) !== 0)) return false;
  const extra = records[at + EXTRA]!;
  if ((kind & KIND_TEMPLATE) !== 0 || extra === 0) return true;
  return (extras.words[extras.at(extra - 1) + HELPER_FLAGS]! & EXPECTED) === 0;
}

/** Under the lock. @param fwmark of its service; 0: it has none */
export function describe(
  { records }: Connections,
  extras: Extras,
  at: number,
  fwmark: number,
): SyncConnection {
  const kind = records[at + KIND]!;
  const state = records[at + STATE]!;
  const ports = records[at + CLIENT_PORTS]!;
  const template = (kind & KIND_TEMPLATE) !== 0;
  const protocol = protocolOf(kind);
  const connection: SyncConnection = {
    family: (kind & KIND_IPV6) === 0 ? 4 : 6,
    protocol,
    flags:
      forwardOf(records, at) |
      (template ? FLAG.template : 0) |
      (!template && (state & FLAG_NO_REPLY_YET) !== 0 ? FLAG.noOutput : 0) |
      (!template && (state & FLAG_ACTIVE) === 0 ? FLAG.inactive : 0),
    state: state & STATE_MASK,
    ...{ clientPort: ports >>> 16, virtualPort: ports & 0xffff, destinationPort: kind >>> 16, fwmark },
    timeout: Math.ceil(records[at + TIMEOUT]! / TICKS_PER_SECOND),
    ...{ client: wordsAt(records, at + CLIENT), virtual: wordsAt(records, at + VIRTUAL) },
    destination: wordsAt(records, at + DESTINATION),
  };
  const extra = records[at + EXTRA]!;
  if (extra === 0) return connection;
  const row = extras.at(extra - 1);
  if (template) {
    const from = 4 * row + ENGINE_DATA;
    connection.engineData = extras.bytes.slice(from, from + extras.words[row + ENGINE_LENGTH]!);
    connection.engineName = 'sip';
  } else if (protocol === tcp.PROTOCOL) {
    const [inwards, outwards] = [row + SHIFT_TO_SERVER, row + SHIFT_TO_CLIENT];
    if (extras.words[inwards + 3] !== 0) connection.flags |= FLAG.inSequence;
    if (extras.words[outwards + 3] !== 0) connection.flags |= FLAG.outSequence;
    if ((connection.flags & (FLAG.inSequence | FLAG.outSequence)) === 0) return connection;
    connection.inSequence = sequence(extras.words, inwards);
    connection.outSequence = sequence(extras.words, outwards);
  }
  return connection;
}

function sequence(words: Int32Array, at: number): SyncSequence {
  return { initial: words[at]! >>> 0, delta: words[at + 1]!, previous: words[at + 2]! };
}
