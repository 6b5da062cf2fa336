/**
 * IPVS's synchronisation messages (ip_vs_sync.c): how directors tell each other of connections, UDP to 224.0.0.81, port
 * 8848. Version 0 is read, version 1 read and written. What comes is of anybody: every length is checked.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |       0       |    Sync id    |   Size of the whole message   |
 *     +---------------+---------------+-------------------------------+
 *     |  Connections  |  Version: 1   |               0               |
 *     +---------------+---------------+-------+-----------------------+
 *     |  Type (IPv6)  |   Protocol    |   0   |  Size, options and all |  each aligned to 4
 *     +---------------+---------------+-------+-----------------------+
 *     |                             Flags                             |
 *     +-------------------------------+-------------------------------+
 *     |             State             |          Client port          |
 *     +-------------------------------+-------------------------------+
 *     |         Virtual port          |       Destination port        |
 *     +-------------------------------+-------------------------------+
 *     |                             Fwmark                            |
 *     +---------------------------------------------------------------+
 *     |                       Timeout in seconds                      |
 *     +---------------------------------------------------------------+
 *     |       Client, virtual, destination address (4 or 16 bytes)    |
 *     +---------------+---------------+-------------------------------+
 *     | Option type   | Option length |  Option ...                   |
 */
import * as ipv6 from '../wire/ipv6.js';

export const GROUP = 0xe0000051 | 0; // 224.0.0.81
export const PORT = 8848;

/** Flags of a connection that mean something to others (ip_vs.h); the low three bits are the forwarding method. */
export const FLAG = {
  ...{ forward: 0x0007, sync: 0x0020, hashed: 0x0040, noOutput: 0x0080, inactive: 0x0100 },
  ...{ outSequence: 0x0200, inSequence: 0x0400, noClientPort: 0x0800, template: 0x1000, onePacket: 0x2000 },
} as const;
const SEQUENCES = FLAG.outSequence | FLAG.inSequence;

/** What is taken of another's flags (IP_VS_CONN_F_BACKUP_MASK). */
const BACKUP = FLAG.forward | FLAG.noOutput | FLAG.inactive | SEQUENCES | FLAG.noClientPort | FLAG.template;

/** Bytes: headers of a message, a connection without options, the option of sequence numbers, and of one of those. */
const HEADER_0 = 4;
const HEADER_1 = 8;
const CONNECTION_0 = 24;
const CONNECTION_4 = 36;
const CONNECTION_6 = 72;
const SEQUENCES_BYTES = 24;
const SEQUENCE_BYTES = 12;

const TYPE_IPV6 = 1;
const OPTION_SEQUENCES = 1;
const OPTION_ENGINE_DATA = 2;
const OPTION_ENGINE_NAME = 3;
/** Set in the type of an option that may be skipped by who doesn't know it. */
const OPTION_OPTIONAL = 0x40;
const ENGINE_DATA_MAX = 255;
const ENGINE_NAME_MAX = 16;
/** Connections in one message: their count is one byte. */
const CONNECTIONS_MAX = 255;

/** Three numbers of sequence.ts, as they are sent. */
export interface SyncSequence {
  initial: number;
  delta: number;
  previous: number;
}

export interface SyncConnection {
  family: 4 | 6;
  protocol: number;
  /** FLAG */
  flags: number;
  state: number;
  clientPort: number;
  virtualPort: number;
  destinationPort: number;
  fwmark: number;
  /** seconds; 0 where the other knows it by the state (all of version 0) */
  timeout: number;
  /** IPv4 in the first word */
  client: ipv6.Words;
  virtual: ipv6.Words;
  destination: ipv6.Words;
  /** of the client's direction, and the server's */
  inSequence?: SyncSequence;
  outSequence?: SyncSequence;
  /** of the persistence engine: what it found, its name ("sip") */
  engineData?: Uint8Array;
  engineName?: string;
}

export interface SyncMessage {
  version: 0 | 1;
  syncId: number;
  connections: SyncConnection[];
  /** why the rest of it was not read; connections before it were */
  fault?: string;
}

/** Reads a datagram. Undefined: it is none of these messages. */
export function readMessage(bytes: Uint8Array): SyncMessage | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_0 || view.getUint16(2) !== bytes.length) return undefined;
  const isVersion1 =
    bytes.length >= HEADER_1 && bytes[0] === 0 && view.getInt8(5) === 1 && view.getUint16(6) === 0;
  const message: SyncMessage = { version: isVersion1 ? 1 : 0, syncId: bytes[1]!, connections: [] };
  const fault = isVersion1 ? readVersion1(view, message) : readVersion0(view, message);
  if (fault !== undefined) message.fault = fault;
  return message;
}

function readVersion0(view: DataView, { connections }: SyncMessage): string | undefined {
  let at = HEADER_0;
  for (let left = view.getUint8(0); left > 0; left--) {
    if (at + CONNECTION_0 > view.byteLength) return 'a connection is cut short';
    const flags = view.getUint16(at + 20);
    const connection: SyncConnection = {
      ...{
        family: 4,
        protocol: view.getUint8(at + 1),
        flags: flags & BACKUP,
        state: view.getUint16(at + 22),
      },
      ...{ clientPort: view.getUint16(at + 2), virtualPort: view.getUint16(at + 4) },
      ...{ destinationPort: view.getUint16(at + 6), fwmark: 0, timeout: 0 },
      client: [view.getInt32(at + 8), 0, 0, 0],
      virtual: [view.getInt32(at + 12), 0, 0, 0],
      destination: [view.getInt32(at + 16), 0, 0, 0],
    };
    at += CONNECTION_0;
    if ((flags & SEQUENCES) !== 0) {
      if (at + SEQUENCES_BYTES > view.byteLength) return 'sequence numbers are cut short';
      // They are sent in the sender's byte order, whatever it is; nearly all are little-endian.
      connection.inSequence = readSequence(view, at, true);
      connection.outSequence = readSequence(view, at + SEQUENCE_BYTES, true);
      at += SEQUENCES_BYTES;
    }
    connections.push(connection);
  }
  return undefined;
}

function readVersion1(view: DataView, { connections }: SyncMessage): string | undefined {
  let at = HEADER_1;
  for (let left = view.getUint8(4); left > 0; left--) {
    if (at + CONNECTION_4 > view.byteLength) return 'a connection is cut short';
    const size = view.getUint16(at + 2) & 0x0fff;
    if (view.getUint16(at + 2) >>> 12 !== 0) return 'a connection has an unknown version';
    if (at + size > view.byteLength) return 'a connection is longer than the message';
    const type = view.getUint8(at);
    // A bit beside that of IPv6 makes it neither.
    if ((type & TYPE_IPV6) === 0 && type !== 0) return 'a connection has an unknown type';
    const isIpv6 = (type & TYPE_IPV6) !== 0;
    const head = isIpv6 ? CONNECTION_6 : CONNECTION_4;
    if (size < head) return 'a connection is shorter than its addresses';
    const bytes = isIpv6 ? 16 : 4;
    const connection: SyncConnection = {
      family: isIpv6 ? 6 : 4,
      protocol: view.getUint8(at + 1),
      flags: view.getUint32(at + 4) & BACKUP,
      state: view.getUint16(at + 8),
      clientPort: view.getUint16(at + 10),
      virtualPort: view.getUint16(at + 12),
      destinationPort: view.getUint16(at + 14),
      fwmark: view.getUint32(at + 16),
      timeout: view.getUint32(at + 20),
      client: readAddress(view, at + 24, isIpv6),
      virtual: readAddress(view, at + 24 + bytes, isIpv6),
      destination: readAddress(view, at + 24 + 2 * bytes, isIpv6),
    };
    const known = readOptions(view, at + head, at + size, connection);
    if (typeof known === 'string') return known;
    if (known) connections.push(connection);
    at += (size + 3) & ~3;
  }
  return undefined;
}

/** False: an option that must be known is not, and the connection is left out. A text: the message is broken. */
function readOptions(
  view: DataView,
  from: number,
  end: number,
  connection: SyncConnection,
): boolean | string {
  let at = from;
  let seen = 0;
  while (at < end) {
    if (at + 2 > end) return 'an option is cut short';
    const type = view.getUint8(at);
    const length = view.getUint8(at + 1);
    at += 2;
    if (length === 0 || at + length > end) return 'an option has no or too much length';
    const what = type & ~OPTION_OPTIONAL;
    if (what >= OPTION_SEQUENCES && what <= OPTION_ENGINE_NAME) {
      if ((seen & (1 << what)) !== 0) return 'an option comes twice';
      seen |= 1 << what;
    }
    if (what === OPTION_SEQUENCES) {
      if (length !== SEQUENCES_BYTES) return 'sequence numbers have another length';
      connection.inSequence = readSequence(view, at, false);
      connection.outSequence = readSequence(view, at + SEQUENCE_BYTES, false);
    } else if (what === OPTION_ENGINE_DATA) {
      connection.engineData = bytesOf(view, at, length).slice();
    } else if (what === OPTION_ENGINE_NAME) {
      if (length > ENGINE_NAME_MAX) return "an engine's name is too long";
      connection.engineName = String.fromCharCode(...bytesOf(view, at, length)).replace(/\0.*$/s, '');
    } else if ((type & OPTION_OPTIONAL) === 0) {
      return false;
    }
    at += length;
  }
  // What an engine found is of no use without its name.
  return connection.engineData === undefined || connection.engineName !== undefined;
}

const bytesOf = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length);

const readSequence = (view: DataView, at: number, little: boolean): SyncSequence => ({
  ...{ initial: view.getUint32(at, little), delta: view.getInt32(at + 4, little) },
  previous: view.getInt32(at + 8, little),
});

function readAddress(view: DataView, at: number, isIpv6: boolean): ipv6.Words {
  if (!isIpv6) return [view.getInt32(at), 0, 0, 0];
  return [view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12)];
}

/** Bytes of a connection in a message of version 1, without what aligns the next. */
export function connectionBytes(connection: SyncConnection): number {
  const { family, flags, engineData, engineName } = connection;
  let bytes = family === 6 ? CONNECTION_6 : CONNECTION_4;
  if ((flags & SEQUENCES) !== 0) bytes += 2 + SEQUENCES_BYTES;
  if (engineData !== undefined && engineData.length > 0) {
    bytes += 2 + engineData.length;
    if (engineName !== undefined) bytes += 2 + engineName.length;
  }
  return bytes;
}

/** Fills a message of version 1 with connections, until it is full: one writer for message after message. */
export class SyncWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #syncId: number;
  #length = HEADER_1;
  #count = 0;

  /** @param maxBytes of a message: what a datagram carries on the interface, 28 bytes less for IP and UDP */
  constructor(syncId: number, maxBytes = 1472) {
    this.#bytes = new Uint8Array(maxBytes);
    this.#view = new DataView(this.#bytes.buffer);
    this.#syncId = syncId;
  }

  get count(): number {
    return this.#count;
  }

  /** False: the message is full, and to be taken first. A connection that fits in no message is refused with an error. */
  add(connection: SyncConnection): boolean {
    const size = connectionBytes(connection);
    const { engineData, engineName } = connection;
    if ((engineData?.length ?? 0) > ENGINE_DATA_MAX || (engineName?.length ?? 0) > ENGINE_NAME_MAX) {
      throw new RangeError(
        `what engine ${engineName} found has ${engineData?.length} bytes, more than fit in an option`,
      );
    }
    if (HEADER_1 + size > this.#bytes.length) {
      throw new RangeError(
        `a connection of ${size} bytes fits in no message of ${this.#bytes.length}; raise sync-maxlen`,
      );
    }
    // The padding is the sender's that begins another connection: a message ends with the last one's own bytes.
    const at = (this.#length + 3) & ~3;
    if (this.#count === CONNECTIONS_MAX || at + size > this.#bytes.length) return false;
    this.#bytes.fill(0, this.#length, at + size);
    this.#write(connection, at, size);
    this.#length = at + size;
    this.#count++;
    return true;
  }

  /** The message, a copy; the next one begins empty. Undefined when nothing is in it. */
  take(): Uint8Array | undefined {
    if (this.#count === 0) return undefined;
    const view = this.#view;
    view.setUint32(0, (this.#syncId << 16) | this.#length);
    view.setUint32(4, (this.#count << 24) | (1 << 16));
    const message = this.#bytes.slice(0, this.#length);
    this.#length = HEADER_1;
    this.#count = 0;
    return message;
  }

  #write(connection: SyncConnection, at: number, size: number): void {
    const view = this.#view;
    const bytes = this.#bytes;
    const isIpv6 = connection.family === 6;
    view.setUint8(at, isIpv6 ? TYPE_IPV6 : 0);
    view.setUint8(at + 1, connection.protocol);
    view.setUint16(at + 2, size);
    view.setUint32(at + 4, connection.flags & ~FLAG.hashed & 0xffff);
    view.setUint16(at + 8, connection.state);
    view.setUint16(at + 10, connection.clientPort);
    view.setUint16(at + 12, connection.virtualPort);
    view.setUint16(at + 14, connection.destinationPort);
    view.setUint32(at + 16, connection.fwmark);
    view.setUint32(at + 20, connection.timeout);
    let to = at + 24;
    for (const address of [connection.client, connection.virtual, connection.destination]) {
      if (isIpv6) ipv6.writeAddress(bytes, to, ...address);
      else view.setInt32(to, address[0]);
      to += isIpv6 ? 16 : 4;
    }
    if ((connection.flags & SEQUENCES) !== 0) {
      view.setUint16(to, (OPTION_SEQUENCES << 8) | SEQUENCES_BYTES);
      writeSequence(view, to + 2, connection.inSequence);
      writeSequence(view, to + 2 + SEQUENCE_BYTES, connection.outSequence);
      to += 2 + SEQUENCES_BYTES;
    }
    const { engineData, engineName } = connection;
    if (engineData === undefined || engineData.length === 0) return;
    view.setUint16(to, (OPTION_ENGINE_DATA << 8) | engineData.length);
    bytes.set(engineData, to + 2);
    if (engineName === undefined) return;
    to += 2 + engineData.length;
    view.setUint16(to, (OPTION_ENGINE_NAME << 8) | engineName.length);
    for (let i = 0; i < engineName.length; i++) bytes[to + 2 + i] = engineName.charCodeAt(i);
  }
}

function writeSequence(view: DataView, at: number, sequence: SyncSequence | undefined): void {
  view.setUint32(at, sequence?.initial ?? 0);
  view.setInt32(at + 4, sequence?.delta ?? 0);
  view.setInt32(at + 8, sequence?.previous ?? 0);
}
