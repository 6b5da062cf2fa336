/**
 * A connection of the SYN proxy from the client's valid cookie until the server has answered: the SYN to the server, again
 * after 1, 2, 4 and 8 seconds, at last a RST to the client, which believes to be connected all the while. When the server
 * answers, both are told what the other has said, and how far their numbers lie apart is kept for the rest.
 */
import type { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { NO_PACKET } from '../../core/pool.js';
import * as tcp from '../../wire/tcp.js';
import { type Connections, NO_CONNECTION } from '../connections.js';
import { readEnds, TO_CLIENT, TO_SERVER, type Way } from '../ends.js';
import { noEnds, type Parsed } from '../packet.js';
import type { Progress } from '../progress.js';
import {
  CLIENT_ACK,
  DESTINATION_ACK,
  FLAG_OPENING,
  FLAG_PROXIED,
  PACKETS,
  STAMP,
  STATE,
  serviceOf,
  TICKS_PER_SECOND,
  TIMEOUT,
  ticksAt,
} from '../record.js';
import type { Preparation } from '../scheduling.js';
import { replace } from '../sequence.js';
import type { Services } from '../service.js';
import { DROPPED, PASS, type Verdict } from '../verdict.js';
import * as proxied from './proxied.js';
import { makeSegment, noSegment } from './segment.js';
import { readOptions, TcpOptions } from './tcp-options.js';

/** The unit of the windows that clients are told: 128 bytes, so 8 MiB at most. */
export const SCALE = 7;

/** Beside verdicts: nothing that may come now, to be dropped. */
const BAD = -1;

const FIRST_WAIT = TICKS_PER_SECOND;
const LAST_WAIT = 16 * TICKS_PER_SECOND;

export interface OpeningParts {
  path: Path;
  connections: Connections;
  services: Services;
  progress: Progress;
  rows: proxied.Proxied;
  /** takes what is sent besides the packet in hand */
  made: Batch;
}

export class Opening implements Preparation {
  readonly #path: Path;
  readonly #connections: Connections;
  readonly #services: Services;
  readonly #progress: Progress;
  readonly #rows: proxied.Proxied;
  readonly #made: Batch;
  readonly #options = new TcpOptions();
  readonly #segment = noSegment();
  readonly #ends = noEnds();
  /** the row of the connection that is about to be */
  readonly #next: Int32Array;
  /** the connection that got it; NO_CONNECTION: another engine had made one already */
  #prepared = NO_CONNECTION;

  constructor({ path, connections, services, progress, rows, made }: OpeningParts) {
    this.#path = path;
    this.#connections = connections;
    this.#services = services;
    this.#progress = progress;
    this.#rows = rows;
    this.#made = made;
    this.#next = new Int32Array(proxied.WORDS);
  }

  /** What the client said, for the connection that is scheduled next. @param window of its last segment, as it stands there */
  remember(offered: TcpOptions, sequence: number, cookie: number, window: number): void {
    const next = this.#next;
    next.fill(0);
    next[proxied.CLIENT_SEQUENCE] = sequence;
    next[proxied.COOKIE] = cookie;
    next[proxied.OPTIONS] =
      offered.mss |
      ((offered.scale + 1) << 16) |
      (offered.sack ? proxied.SACK : 0) |
      (offered.timestamps ? proxied.TIMESTAMPS : 0);
    next[proxied.CLIENT_TIME] = offered.value;
    next[proxied.OUR_TIME] = offered.echo;
    next[proxied.WINDOW] = window;
    this.#prepared = NO_CONNECTION;
  }

  /** Under the lock, before anybody finds it. */
  prepare(connection: number): void {
    this.#rows.words.set(this.#next, this.#rows.at(connection));
    this.#connections.records[this.#connections.at(connection) + STATE]! |= FLAG_PROXIED | FLAG_OPENING;
    this.#prepared = connection;
  }

  /** The connection was scheduled: its state is that after a client's SYN, and the server is asked. */
  begin(packet: number, parsed: Parsed, nowMs: number): void {
    const connection = this.#prepared;
    if (connection === NO_CONNECTION) return;
    const connections = this.#connections;
    const at = connections.at(connection);
    this.#advance(at, parsed, tcp.SYN, false);
    connections.records[at + TIMEOUT] = FIRST_WAIT;
    // What the answer's latency is counted from (latency.ts).
    connections.records[at + PACKETS] = 1;
    connections.records[at + STAMP] = (nowMs * 1000) | 0 || 1;
    const now = ticksAt(nowMs);
    connections.touch(connection, now);
    this.#ask(connection, packet, now);
  }

  /** A segment of a connection that is being opened. PASS: it goes on as those of others do. */
  carry(packet: number, parsed: Parsed, connection: number, reply: boolean, now: number): Verdict {
    const verdict = reply
      ? this.#fromServer(packet, parsed, connection, now)
      : this.#fromClient(packet, parsed, connection, now);
    if (verdict === DROPPED) this.#path.pool.free(packet);
    else if (verdict !== PASS) {
      this.#path.drop(packet, drop['syn-proxy']);
      return DROPPED;
    }
    return verdict;
  }

  /**
   * Under the lock, when its time is over: whether it goes on. The server is asked again, or the client is told that
   * there is nobody.
   */
  again(connection: number, now: number): boolean {
    const connections = this.#connections;
    const { records } = connections;
    const at = connections.at(connection);
    if ((records[at + STATE]! & FLAG_OPENING) === 0) return false;
    const waited = records[at + TIMEOUT]!;
    if (waited >= LAST_WAIT) {
      this.#reset(connection, NO_PACKET);
      return false;
    }
    records[at + TIMEOUT] = 2 * waited;
    records[at + STAMP] = 0;
    connections.touch(connection, now);
    this.#ask(connection, NO_PACKET, now);
    return true;
  }

  /** DROPPED: it has done its work. BAD: nothing that may come now. */
  #fromClient(packet: number, parsed: Parsed, connection: number, now: number): Verdict | typeof BAD {
    const { view } = this.#path.pool;
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const { transport, flags } = parsed;
    const sequence = view.getInt32(transport + 4);
    const next = (words[row + proxied.CLIENT_SEQUENCE]! + 1) | 0;
    if ((flags & tcp.RST) !== 0) {
      if (sequence !== next) return BAD;
      // The server hears of it, and soon nobody knows the connection.
      const at = this.#connections.at(connection);
      Atomics.and(this.#connections.records, at + STATE, ~FLAG_OPENING);
      this.#connections.records[at + TIMEOUT] = 1;
      return PASS;
    }
    if ((flags & tcp.SYN) !== 0) return DROPPED;
    if (view.getInt32(transport + 8) !== ((words[row + proxied.COOKIE]! + 1) | 0)) return BAD;
    words[row + proxied.WINDOW] = view.getUint16(transport + 14);
    if (((now - words[row + proxied.ASKED]!) | 0) >= FIRST_WAIT) this.#ask(connection, packet, now);
    return DROPPED;
  }

  #fromServer(packet: number, parsed: Parsed, connection: number, now: number): Verdict | typeof BAD {
    const { pool } = this.#path;
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const { transport, flags } = parsed;
    const next = (words[row + proxied.CLIENT_SEQUENCE]! + 1) | 0;
    if ((flags & tcp.ACK) === 0 || pool.view.getInt32(transport + 8) !== next) return BAD;
    if ((flags & tcp.RST) !== 0) {
      replace(pool, packet, parsed, transport + 4, words[row + proxied.COOKIE]! + 1);
      Atomics.and(this.#connections.records, this.#connections.at(connection) + STATE, ~FLAG_OPENING);
      return PASS;
    }
    if ((flags & tcp.SYN) === 0) return BAD;
    this.#open(packet, parsed, connection, now);
    return DROPPED;
  }

  /**
   * 1. what the server lacks that the client was promised  2. how far apart both are, before anybody goes by it
   * 3. the state: both handshakes are done  4. both are told
   */
  #open(packet: number, parsed: Parsed, connection: number, now: number): void {
    const { pool, counters } = this.#path;
    const connections = this.#connections;
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const at = connections.at(connection);
    const server = this.#options;
    readOptions(pool, parsed, server);
    const promised = words[row + proxied.OPTIONS]!;
    const timed = (promised & proxied.TIMESTAMPS) !== 0;
    // 1.
    const learned = this.#services.at(serviceOf(connections.records, at))?.learned;
    if (learned !== undefined && server.mss > 0) {
      learned.mss = learned.mss === 0 ? server.mss : Math.min(learned.mss, server.mss);
    }
    if (timed && !server.timestamps) {
      if (learned !== undefined) learned.timestamps = false;
      counters.drop(drop['syn-proxy']);
      this.#reset(connection, packet);
      Atomics.and(connections.records, at + STATE, ~FLAG_OPENING);
      connections.records[at + TIMEOUT] = 1;
      connections.touch(connection, now);
      return;
    }
    // 2.
    const sequence = pool.view.getInt32(parsed.transport + 4);
    const scaled = ((promised >>> 16) & 0xff) > 0;
    words[row + proxied.SHIFT] = (words[row + proxied.COOKIE]! - sequence) | 0;
    words[row + proxied.TIME_SHIFT] = timed ? (words[row + proxied.OUR_TIME]! - server.value) | 0 : 0;
    connections.records[at + CLIENT_ACK] = (words[row + proxied.COOKIE]! + 1) | 0;
    connections.records[at + DESTINATION_ACK] = (words[row + proxied.CLIENT_SEQUENCE]! + 1) | 0;
    words[row + proxied.SCALE_SHIFT] = scaled ? Math.max(0, server.scale) - SCALE : 0;
    if ((Atomics.and(connections.records, at + STATE, ~FLAG_OPENING) & FLAG_OPENING) === 0) return;
    // 3.
    this.#advance(at, parsed, parsed.flags, true);
    this.#advance(at, parsed, tcp.ACK, false);
    connections.touch(connection, now);
    // 4.
    const segment = this.#segment;
    segment.sequence = (words[row + proxied.CLIENT_SEQUENCE]! + 1) | 0;
    segment.acknowledgment = (sequence + 1) | 0;
    segment.flags = tcp.ACK;
    segment.window = words[row + proxied.WINDOW]!;
    server.timestamps = timed;
    const { value, echo } = server;
    const ours = words[row + proxied.OUR_TIME]!;
    this.#say(connection, TO_SERVER, packet, words[row + proxied.CLIENT_TIME]!, value);
    segment.acknowledgment = segment.sequence;
    segment.sequence = (words[row + proxied.COOKIE]! + 1) | 0;
    const window = pool.view.getUint16(parsed.transport + 14);
    segment.window = scaled ? window >>> SCALE : window;
    this.#say(connection, TO_CLIENT, packet, ours, echo);
  }

  /** The SYN to the server, with what the client had offered. */
  #ask(connection: number, packet: number, now: number): void {
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const offered = words[row + proxied.OPTIONS]!;
    const scale = ((offered >>> 16) & 0xff) - 1;
    const segment = this.#segment;
    segment.sequence = words[row + proxied.CLIENT_SEQUENCE]!;
    segment.acknowledgment = 0;
    segment.flags = tcp.SYN;
    // The window of a SYN has no unit (RFC 7323 §2.2).
    segment.window = Math.min(0xffff, words[row + proxied.WINDOW]! * 2 ** Math.max(0, scale));
    words[row + proxied.ASKED] = now;
    const options = this.#options;
    options.clear();
    options.mss = offered & 0xffff;
    options.scale = scale;
    options.sack = (offered & proxied.SACK) !== 0;
    options.timestamps = (offered & proxied.TIMESTAMPS) !== 0;
    options.value = words[row + proxied.CLIENT_TIME]!;
    this.#send(connection, TO_SERVER, packet);
  }

  /** RST to the client, and to a server that has answered. */
  #reset(connection: number, answer: number): void {
    const { words } = this.#rows;
    const row = this.#rows.at(connection);
    const segment = this.#segment;
    const options = this.#options;
    options.clear();
    segment.window = 0;
    segment.flags = tcp.RST | tcp.ACK;
    segment.sequence = (words[row + proxied.COOKIE]! + 1) | 0;
    segment.acknowledgment = (words[row + proxied.CLIENT_SEQUENCE]! + 1) | 0;
    this.#send(connection, TO_CLIENT, answer);
    if (answer === NO_PACKET) return;
    segment.flags = tcp.RST;
    segment.sequence = segment.acknowledgment;
    segment.acknowledgment = 0;
    this.#send(connection, TO_SERVER, answer);
  }

  /** An ACK, with timestamps where both have them. */
  #say(connection: number, way: Way, packet: number, value: number, echo: number): void {
    const options = this.#options;
    const { timestamps } = options;
    options.clear();
    options.timestamps = timestamps;
    options.value = value;
    options.echo = echo;
    this.#send(connection, way, packet);
  }

  /** @param packet what it is made of, or NO_PACKET */
  #send(connection: number, way: Way, packet: number): void {
    readEnds(this.#connections.records, this.#connections.at(connection), way, this.#ends);
    const made = makeSegment(this.#path, this.#ends, this.#segment, this.#options);
    if (made === NO_PACKET) return;
    if (packet !== NO_PACKET) this.#path.pool.inherit(made, packet);
    this.#made.push(made);
  }

  /** The state after a segment with these flags. */
  #advance(at: number, parsed: Parsed, flags: number, reply: boolean): void {
    const before = parsed.flags;
    parsed.flags = flags;
    this.#progress.advance(at, parsed, reply);
    parsed.flags = before;
  }
}
