/**
 * The director's own resets: to both ends of a TCP connection that ends while they may still believe in it. So that each
 * takes it for one of the other (RFC 5961 §3.2 asks for the exact sequence number), connections of services that want this keep what
 * either end has acknowledged last: what it expects next, when all was quiet since.
 *
 * Resets wait in `answers`, whole frames, for who called the director.
 */
import { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { FRAME_AT, NO_PACKET } from '../core/pool.js';
import * as ethernet from '../wire/ethernet.js';
import * as tcp from '../wire/tcp.js';
import { asFrame } from './answers.js';
import type { Connections } from './connections.js';
import { FORWARD } from './destination.js';
import { readEnds, TO_CLIENT, TO_SERVER, type Way } from './ends.js';
import { noEnds, type Parsed } from './packet.js';
import {
  CLIENT_ACK,
  DESTINATION_ACK,
  FLAG_RESET_ON_EXPIRY,
  forwardOf,
  NETWORK,
  STATE,
  STATE_MASK,
} from './record.js';
import { writeRefusal, writeReset } from './reset.js';
import { TCP_STATE } from './states.js';

/** States in which both ends may still count on the connection: open, or half-closed. */
const BELIEVED = (1 << TCP_STATE.established) | (1 << TCP_STATE.finWait) | (1 << TCP_STATE.closeWait);
/** Answers that wait at most. */
const ROOM = 64;

export class Resets {
  readonly answers = new Batch(ROOM);
  readonly #path: Path;
  readonly #connections: Connections;
  readonly #ends = noEnds();

  constructor(path: Path, connections: Connections) {
    this.#path = path;
    this.#connections = connections;
  }

  /** Whether there is room for those of one more connection. */
  get room(): boolean {
    return this.answers.room >= 2;
  }

  /** Notes what the segment acknowledges, in the numbers of who sent it. @param at of its connection's record */
  note(at: number, parsed: Parsed, reply: boolean): void {
    const { records } = this.#connections;
    const field = at + (reply ? DESTINATION_ACK : CLIENT_ACK);
    const { flags } = parsed;
    const acknowledges = (flags & tcp.ACK) !== 0;
    const acknowledged = acknowledges ? this.#path.pool.view.getInt32(parsed.transport + 8) : 0;
    const before = records[field]!;
    const begins = (flags & tcp.SYN) !== 0;
    if (begins || (acknowledges && (before === 0 || ((acknowledged - before) | 0) > 0))) {
      records[field] = acknowledged;
    }
  }

  /** The connection expires: if it is to be told, and there is something to tell, both are. */
  expired(at: number): void {
    const { records } = this.#connections;
    const state = records[at + STATE]!;
    if ((state & FLAG_RESET_ON_EXPIRY) === 0 || (BELIEVED & (1 << (state & STATE_MASK))) === 0) return;
    if (records[at + NETWORK] !== 0) return;
    const [client, server] = [records[at + CLIENT_ACK]!, records[at + DESTINATION_ACK]!];
    this.#send(at, TO_CLIENT, client, server);
    this.#tellServer(at, server, client);
  }

  /** The connection ends at the client's segment: that is refused, and the destination told in its name. */
  refused(at: number, parsed: Parsed): void {
    const { records } = this.#connections;
    const { pool } = this.#path;
    const answer = this.#take();
    if (answer !== NO_PACKET) {
      const length = writeRefusal(pool, parsed, pool.offset[answer]! + ethernet.HEADER);
      this.#finish(answer, parsed.family, length);
    }
    const expected = records[at + DESTINATION_ACK]! || pool.view.getInt32(parsed.transport + 4);
    const acknowledged = pool.view.getInt32(parsed.transport + 8);
    this.#tellServer(at, expected, acknowledged);
  }

  /** In the client's name. Not where its answers don't come through here: what it expects isn't known then. */
  #tellServer(at: number, sequence: number, acknowledgment: number): void {
    if (forwardOf(this.#connections.records, at) !== FORWARD.nat) return;
    this.#send(at, TO_SERVER, sequence, acknowledgment);
  }

  #send(at: number, way: Way, sequence: number, acknowledgment: number): void {
    const answer = this.#take();
    if (answer === NO_PACKET) return;
    const ends = this.#ends;
    readEnds(this.#connections.records, at, way, ends);
    const { pool } = this.#path;
    const out = pool.offset[answer]! + ethernet.HEADER;
    this.#finish(answer, ends.family, writeReset(pool, out, ends, sequence, acknowledgment));
  }

  /** A slot for an answer, where there is one. */
  #take(): number {
    if (this.answers.room === 0) return NO_PACKET;
    const answer = this.#path.pool.take(FRAME_AT);
    if (answer === NO_PACKET) this.#path.counters.drop(drop['no-packet']);
    return answer;
  }

  #finish(answer: number, family: 4 | 6, length: number): void {
    if (asFrame(this.#path.pool, answer, family, length)) this.answers.push(answer);
  }
}
