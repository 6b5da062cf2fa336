/**
 * The connections of the virtual server, in shared memory: any engine finds, adds and changes them, so that both
 * directions of a flow meet the same one wherever they arrive. The table has a fixed size and nothing is allocated
 * per connection.
 *
 *     records   24 words each: both ends, the destination, state, timers (below)
 *     index     two words an entry, (hash, reference), open addressing; a connection has an entry for the packets
 *               of its client and, where replies come through here, one for those of its destination
 *     expires   a tick each, 0 for a record that is free: one pass over this column finds what has run out, 1 ms for
 *               a million
 *
 * Readers take no lock. An entry counts only if its record has the whole key; what isn't found is looked for again
 * while the version says that a writer was at work. Adding and removing happen under the lock. A record that was
 * freed is given out again after all others, so that nobody still holds its number.
 */

import {
  CLIENT,
  CLIENT_PORTS,
  DESTINATION,
  ENGINE_HASH,
  FLAG_REPLIES,
  KIND,
  KIND_DESTINATION_IPV6,
  KIND_IPV6,
  KIND_TEMPLATE,
  NETWORK,
  STATE,
  TIMEOUT,
  VIRTUAL,
  WORDS,
} from './record.js';
import { hashOf, hashRecord, protocolKind, type Tuple } from './tuple.js';

/** Header words of the shared memory. */
const LOCK = 0;
const COUNT = 1;
const HIGH_WATER = 2; // records ever used
const FREE_HEAD = 3; // 1 + record, 0: none
const FREE_TAIL = 4;
const FREE_COUNT = 5;
const SPARES_GIVEN = 6;
const BYPASSED = 7; // tick when a packet went without a connection for want of room last, 0: never
const VERSION = 16; // in a cache line of its own
const HEADER_WORDS = 32;

/** A freed record waits behind so many others before it is used again, as long as fresh ones are left. */
const QUARANTINE = 1024;
/** Index entries per connection: a load of two thirds when the table is full and every connection has both. */
const ENTRIES_EACH = 3;
/** Records behind the table, which no packet finds: an engine's each. */
const SPARES = 64;

const FIXED_WORDS = HEADER_WORDS + SPARES * WORDS;

export const NO_CONNECTION = -1;

export class Connections {
  readonly memory: SharedArrayBuffer;
  readonly capacity: number;
  readonly records: Int32Array;
  readonly expires: Int32Array;
  readonly #header: Int32Array;
  readonly #index: Int32Array;
  readonly #entries: number;
  readonly #perHash: number;

  /** At most 124 bytes a connection; the pages are the system's until they are used. */
  static allocate(connections: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (FIXED_WORDS + connections * (WORDS + 1 + 2 * ENTRIES_EACH)));
  }

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    const each = 4 * (WORDS + 1 + 2 * ENTRIES_EACH);
    const capacity = Math.floor((memory.byteLength - 4 * FIXED_WORDS) / each);
    this.capacity = capacity;
    this.#entries = capacity * ENTRIES_EACH;
    this.#perHash = this.#entries / 2 ** 32;
    let at = 0;
    const part = (words: number) => {
      const array = new Int32Array(memory, at, words);
      at += 4 * words;
      return array;
    };
    this.#header = part(HEADER_WORDS);
    this.records = part((capacity + SPARES) * WORDS);
    this.#index = part(this.#entries * 2);
    this.expires = part(capacity);
  }

  /** Connections and templates that exist. */
  get size(): number {
    return this.#header[COUNT]!;
  }

  /** Records below this number may be in use. */
  get highWater(): number {
    return this.#header[HIGH_WATER]!;
  }

  /** Word index of the record; add CLIENT … DESTINATION_ACK. */
  at(connection: number): number {
    return connection * WORDS;
  }

  /**
   * The connection that a packet belongs to: `connection × 2`, plus 1 when the packet is a reply of the
   * destination; NO_CONNECTION when there is none.
   */
  find(tuple: Tuple): number {
    const hash = hashOf(tuple);
    let version = Atomics.load(this.#header, VERSION);
    let found = this.#find(tuple, hash);
    // A removal moves entries: look again until none was under way. A writer's lock lasts some hundred nanoseconds.
    for (let tries = 0; found < 0 && tries < 100; tries++) {
      const now = Atomics.load(this.#header, VERSION);
      if (now === version && (version & 1) === 0) break;
      version = now;
      found = this.#find(tuple, hash);
    }
    return found;
  }

  #find(tuple: Tuple, hash: number): number {
    const index = this.#index;
    const end = this.#entries;
    let entry = this.#home(hash);
    for (let probes = 0; probes < end; probes++) {
      const known = index[2 * entry]!;
      if (known === 0) return NO_CONNECTION;
      if (known === hash) {
        const reference = index[2 * entry + 1]!;
        if (this.#matches(reference, tuple)) return reference;
      }
      entry = entry + 1 === end ? 0 : entry + 1;
    }
    return NO_CONNECTION;
  }

  #home(hash: number): number {
    return Math.floor((hash >>> 0) * this.#perHash);
  }

  /** Whether the record of the reference has the tuple as its key in that direction. */
  #matches(reference: number, tuple: Tuple): boolean {
    const { records } = this;
    const at = (reference >> 1) * WORDS;
    const kind = records[at + KIND]!;
    if ((kind & ((0xff << 8) | KIND_TEMPLATE)) !== protocolKind(tuple.protocol)) return false;
    const ports = records[at + CLIENT_PORTS]!;
    if (records[at + NETWORK] !== tuple.network) return false;
    if ((kind & KIND_TEMPLATE) !== 0 && records[at + ENGINE_HASH] !== tuple.engine) return false;
    let source = at + CLIENT;
    let target = at + VIRTUAL;
    if ((reference & 1) === 0) {
      if (ports !== tuple.ports || ((kind & KIND_IPV6) !== 0) !== (tuple.family === 6)) return false;
    } else {
      if (((kind & 0xffff0000) | (ports >>> 16)) !== tuple.ports) return false;
      if (((kind & KIND_DESTINATION_IPV6) !== 0) !== (tuple.family === 6)) return false;
      source = at + DESTINATION;
      target = at + CLIENT;
    }
    return (
      records[source] === tuple.source0 &&
      records[target] === tuple.target0 &&
      records[source + 1] === tuple.source1 &&
      records[source + 2] === tuple.source2 &&
      records[source + 3] === tuple.source3 &&
      records[target + 1] === tuple.target1 &&
      records[target + 2] === tuple.target2 &&
      records[target + 3] === tuple.target3
    );
  }

  /** Runs `change` under the writers' lock; a lock that stays taken belongs to a thread that died, and is taken over. */
  locked<T>(change: () => T, patience = 50_000_000): T {
    const header = this.#header;
    for (let tries = 0; Atomics.compareExchange(header, LOCK, 0, 1) !== 0 && tries < patience; tries++);
    Atomics.store(header, LOCK, 1);
    try {
      return change();
    } finally {
      Atomics.store(header, LOCK, 0);
    }
  }

  /**
   * Under the lock: a record for the tuple of a client's packet, with `kind` and the rest still 0;
   * NO_CONNECTION when the table is full. The caller fills it in and calls `publish`.
   */
  take(tuple: Tuple, kindBits: number): number {
    const connection = this.#takeFree();
    if (connection < 0) return NO_CONNECTION;
    this.describe(connection * WORDS, tuple, kindBits);
    return connection;
  }

  /** The record says the tuple, and nothing else yet. */
  describe(at: number, tuple: Tuple, kindBits: number): void {
    const { records } = this;
    records.fill(0, at, at + WORDS);
    records[at + CLIENT] = tuple.source0;
    records[at + CLIENT + 1] = tuple.source1;
    records[at + CLIENT + 2] = tuple.source2;
    records[at + CLIENT + 3] = tuple.source3;
    records[at + VIRTUAL] = tuple.target0;
    records[at + VIRTUAL + 1] = tuple.target1;
    records[at + VIRTUAL + 2] = tuple.target2;
    records[at + VIRTUAL + 3] = tuple.target3;
    records[at + CLIENT_PORTS] = tuple.ports;
    records[at + NETWORK] = tuple.network;
    records[at + ENGINE_HASH] = tuple.engine;
    records[at + KIND] = protocolKind(tuple.protocol) | kindBits | (tuple.family === 6 ? KIND_IPV6 : 0);
  }

  /** Number of a record behind the table, for the caller's use alone. */
  spare(): number {
    return this.capacity + (Atomics.add(this.#header, SPARES_GIVEN, 1) % SPARES);
  }

  /** Tick when a packet went without a connection last, for want of room; 0: never. */
  get bypassed(): number {
    return this.#header[BYPASSED]!;
  }

  noteBypass(tick: number): void {
    this.#header[BYPASSED] = tick || 1;
  }

  /** Under the lock: from now on packets find it; replies too when FLAG_REPLIES is set. */
  publish(connection: number, tuple: Tuple, expires: number): void {
    const at = connection * WORDS;
    this.expires[connection] = expires || 1;
    this.#enter(hashOf(tuple), connection * 2);
    if ((this.records[at + STATE]! & FLAG_REPLIES) !== 0) {
      this.#enter(this.#replyHash(connection), connection * 2 + 1);
    }
    this.#header[COUNT]!++;
  }

  /** Under the lock: nobody finds it any more, and its record is free. */
  remove(connection: number): void {
    const header = this.#header;
    this.hide(connection);
    this.expires[connection] = 0;
    header[COUNT]!--;
    this.#giveBack(connection);
  }

  /** Under the lock: nobody finds it any more, but its record stays until it is removed. */
  hide(connection: number): void {
    const header = this.#header;
    Atomics.add(header, VERSION, 1);
    this.#leave(this.#clientHash(connection), connection * 2);
    if ((this.records[connection * WORDS + STATE]! & FLAG_REPLIES) !== 0) {
      this.#leave(this.#replyHash(connection), connection * 2 + 1);
    }
    Atomics.add(header, VERSION, 1);
  }

  /** The first connection from `from` on that has run out at `now`; -1 when there is none below the high-water mark. */
  nextExpired(from: number, now: number): number {
    const { expires } = this;
    const end = this.#header[HIGH_WATER]!;
    for (let connection = from; connection < end; connection++) {
      const at = expires[connection]!;
      if (at !== 0 && ((at - now) | 0) <= 0) return connection;
    }
    return -1;
  }

  /** A packet came: it lives for its timeout from now on. Ticks are never 0 in the column. */
  touch(connection: number, now: number): void {
    const expires = (now + this.records[connection * WORDS + TIMEOUT]!) | 0 || 1;
    if (this.expires[connection] !== expires) this.expires[connection] = expires;
  }

  #takeFree(): number {
    const header = this.#header;
    const fresh = header[HIGH_WATER]!;
    const free = header[FREE_COUNT]!;
    if (free > QUARANTINE || (fresh === this.capacity && free > 0)) {
      const connection = header[FREE_HEAD]! - 1;
      header[FREE_HEAD] = this.records[connection * WORDS]!;
      header[FREE_COUNT] = free - 1;
      if (free === 1) header[FREE_TAIL] = 0;
      return connection;
    }
    if (fresh === this.capacity) return NO_CONNECTION;
    header[HIGH_WATER] = fresh + 1;
    return fresh;
  }

  /** The record joins the end of the free ones; its first word is the link, and its kind matches no packet. */
  #giveBack(connection: number): void {
    const header = this.#header;
    const { records } = this;
    records[connection * WORDS + KIND] = 0;
    records[connection * WORDS] = 0;
    if (header[FREE_COUNT] === 0) header[FREE_HEAD] = connection + 1;
    else records[(header[FREE_TAIL]! - 1) * WORDS] = connection + 1;
    header[FREE_TAIL] = connection + 1;
    header[FREE_COUNT]!++;
  }

  #clientHash(connection: number): number {
    const { records } = this;
    const at = connection * WORDS;
    const kind = records[at + KIND]!;
    return hashRecord(records, at, at + CLIENT, at + VIRTUAL, records[at + CLIENT_PORTS]!, kind);
  }

  #replyHash(connection: number): number {
    const { records } = this;
    const at = connection * WORDS;
    const kind = records[at + KIND]!;
    const ports = (kind & 0xffff0000) | (records[at + CLIENT_PORTS]! >>> 16);
    return hashRecord(records, at, at + DESTINATION, at + CLIENT, ports, kind);
  }

  #enter(hash: number, reference: number): void {
    const index = this.#index;
    let entry = this.#home(hash);
    while (index[2 * entry] !== 0) entry = entry + 1 === this.#entries ? 0 : entry + 1;
    index[2 * entry + 1] = reference;
    Atomics.store(index, 2 * entry, hash);
  }

  /** Takes an entry out, and moves up what would be cut off from its home (Knuth 6.4, R). */
  #leave(hash: number, reference: number): void {
    const index = this.#index;
    const end = this.#entries;
    const next = (entry: number) => (entry + 1 === end ? 0 : entry + 1);
    let hole = this.#home(hash);
    for (let probes = 0; index[2 * hole] !== hash || index[2 * hole + 1] !== reference; hole = next(hole)) {
      if (index[2 * hole] === 0 || ++probes > end) return; // a writer died before it had entered it
    }
    for (let entry = next(hole); index[2 * entry] !== 0; entry = next(entry)) {
      const ahead = distance(this.#home(index[2 * entry]!), entry, end);
      if (ahead < distance(hole, entry, end)) continue;
      Atomics.store(index, 2 * hole, 0);
      index[2 * hole + 1] = index[2 * entry + 1]!;
      Atomics.store(index, 2 * hole, index[2 * entry]!);
      hole = entry;
    }
    Atomics.store(index, 2 * hole, 0);
  }
}

/** Entries from `from` on to `to`, around the end. */
const distance = (from: number, to: number, entries: number): number =>
  to >= from ? to - from : to - from + entries;
