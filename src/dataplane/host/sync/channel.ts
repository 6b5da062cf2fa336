/**
 * One end of the authenticated way between directors. It knows no socket: datagrams go in and come out.
 *
 * A session that isn't known is challenged before anything of it counts, so that what was recorded of an earlier one
 * can't be played again. Who listens then asks for all there is, from then on for each number that lacks, and again
 * for all when one is too old to be had.
 *
 *     master                     backup
 *     DATA, BEAT (0, 1, 2 …) →
 *                              ← CHALLENGE c
 *     PROOF c                  →
 *                              ← RESYNC            (which the master challenges in turn, and it is asked again)
 *     DATA, BEAT               →
 *                              ← MISSING 17, 19
 *     the same DATA again      →
 */
import { randomBytes } from 'node:crypto';
import { SyncWindow } from '../../ipvs/sync/window.js';
import {
  BEAT,
  CHALLENGE,
  DATA,
  MISSING,
  type Opened,
  Opener,
  PROOF,
  RESYNC,
  SESSION,
  Sealer,
} from './envelope.js';

/** Messages that are kept to be sent again, and after which one that lacks is given up. */
const KEPT = 8192;
/** Numbers that are asked for at once: 2 KB. */
const ASKED = 150;
/** Sessions that are known, and that wait for their proof. */
const SESSIONS = 32;
/** How long a session is asked for its proof or for all it has before it is asked again. */
const AGAIN_MS = 200;
/** How often all may be asked for: it is told at once for all who listen. */
const RESYNC_MS = 1000;

export interface ChannelEvents<Address> {
  send(bytes: Uint8Array, to: Address): void;
  /** A message came. @param order of messages: a later one has a greater */
  message?(bytes: Uint8Array, order: number): void;
  /** All is to be told anew. */
  resync?(): void;
  /** Something was not taken. */
  refused(reason: 'forged' | 'replayed' | 'unproven'): void;
}

interface Session<Address> {
  from: Address;
  /** what it has to echo; undefined: it has */
  challenge: Buffer | undefined;
  askedAt: number;
  window: SyncWindow;
  /** below this number what lacks is no longer only late */
  due: number;
  /** greater for a session that was proven later */
  base: number;
  /** all there is has been asked for and nothing has come of it yet */
  wantsAll: boolean;
  /** an answer with a smaller number is one to an earlier wish */
  wantsFrom: number;
}

export class Channel<Address> {
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #events: ChannelEvents<Address>;
  readonly #listens: boolean;
  readonly #sessions = new Map<string, Session<Address>>();
  readonly #kept: Buffer[] = [];
  #lastOrder = 0;
  #resyncAt = -Infinity;

  /** @param listens it is told of connections; otherwise it tells */
  constructor(key: Buffer, listens: boolean, events: ChannelEvents<Address>) {
    this.#sealer = new Sealer(key);
    this.#opener = new Opener(key);
    this.#listens = listens;
    this.#events = events;
  }

  /** For all: what is given back is to be sent to each of them. */
  data(message: Uint8Array): Buffer {
    return this.#seal(DATA, message);
  }

  /** Also for all, so that they see what they lack when nothing else is sent. */
  beat(): Buffer {
    return this.#seal(BEAT, new Uint8Array(0));
  }

  receive(bytes: Uint8Array, from: Address, nowMs: number): void {
    const opened = this.#opener.open(bytes);
    if (opened === undefined) return void this.#events.refused('forged');
    if (opened.session === this.#sealer.session.toString('hex')) return void this.#events.refused('replayed');
    if (opened.kind === CHALLENGE) {
      // A proof tells nobody anything.
      if (opened.contents.length === SESSION) this.#events.send(this.#seal(PROOF, opened.contents), from);
      return;
    }
    const session = this.#sessions.get(opened.session);
    if (session?.challenge !== undefined && opened.kind === PROOF)
      return void this.#prove(session, opened, from);
    if (session === undefined || session.challenge !== undefined) {
      this.#events.refused('unproven');
      this.#challenge(opened.session, from, nowMs);
      return;
    }
    const { fresh, lost } = session.window.take(opened.number);
    if (lost && this.#listens) {
      session.wantsAll = true;
      session.wantsFrom = session.window.next;
    }
    if (!fresh) return void this.#events.refused('replayed');
    session.from = from;
    this.#perform(session, opened, from, nowMs);
  }

  /** Asks for what lacks. Ten times a second. */
  tick(nowMs: number): void {
    if (!this.#listens) return;
    for (const [name, session] of this.#sessions) {
      if (session.challenge !== undefined) continue;
      const id = Buffer.from(name, 'hex');
      if (session.wantsAll && nowMs - session.askedAt >= AGAIN_MS) {
        session.askedAt = nowMs;
        this.#events.send(this.#seal(RESYNC, id), session.from);
      }
      const numbers = session.window.missing(session.due, ASKED);
      session.due = session.window.next;
      if (numbers.length === 0) continue;
      const list = Buffer.alloc(8 * numbers.length);
      for (const [i, number] of numbers.entries()) list.writeBigUInt64BE(BigInt(number), 8 * i);
      this.#events.send(this.#seal(MISSING, Buffer.concat([id, list])), session.from);
    }
  }

  #seal(kind: number, contents: Uint8Array): Buffer {
    const { number } = this.#sealer;
    const sealed = this.#sealer.seal(kind, contents);
    this.#kept[number % KEPT] = sealed;
    return sealed;
  }

  #challenge(name: string, from: Address, nowMs: number): void {
    let session = this.#sessions.get(name);
    if (session !== undefined && nowMs - session.askedAt < AGAIN_MS) return;
    if (session === undefined) {
      this.#forget();
      const window = new SyncWindow(0, 1);
      const challenge = randomBytes(SESSION);
      session = { from, challenge, askedAt: nowMs, window, due: 0, base: 0, wantsAll: false, wantsFrom: 0 };
      this.#sessions.set(name, session);
    }
    session.askedAt = nowMs;
    this.#events.send(this.#seal(CHALLENGE, session.challenge!), from);
  }

  /** Makes room for one more session: the oldest goes that has no proof, or simply the oldest. */
  #forget(): void {
    if (this.#sessions.size < SESSIONS) return;
    const unproven = [...this.#sessions].find(([, { challenge }]) => challenge !== undefined);
    this.#sessions.delete(unproven?.[0] ?? this.#sessions.keys().next().value!);
  }

  #prove(session: Session<Address>, { number, contents }: Opened, from: Address): void {
    if (!contents.equals(session.challenge!)) return void this.#events.refused('replayed');
    session.challenge = undefined;
    session.from = from;
    session.window = new SyncWindow(number, KEPT);
    session.window.take(number);
    session.due = number;
    session.base = this.#lastOrder + 1 - number;
    session.askedAt = -Infinity;
    session.wantsAll = this.#listens;
    session.wantsFrom = number;
  }

  #perform(session: Session<Address>, opened: Opened, from: Address, nowMs: number): void {
    const { kind, contents, number } = opened;
    if (this.#listens && kind === DATA) {
      const order = session.base + number;
      this.#lastOrder = Math.max(this.#lastOrder, order);
      this.#events.message?.(contents, order);
      return;
    }
    // All that is told anew comes behind the answer.
    if (this.#listens && kind === RESYNC) {
      if (contents.equals(this.#sealer.session) && number >= session.wantsFrom) session.wantsAll = false;
      return;
    }
    if (this.#listens || !contents.subarray(0, SESSION).equals(this.#sealer.session)) return;
    if (kind === MISSING) this.#again(contents.subarray(SESSION), from);
    else if (kind === RESYNC) {
      // Who began to listen since the last time has missed the beginning: it asks again until it may.
      if (nowMs - this.#resyncAt < RESYNC_MS) return;
      this.#resyncAt = nowMs;
      this.#events.send(this.#seal(RESYNC, Buffer.from(opened.session, 'hex')), from);
      this.#events.resync?.();
    }
  }

  #again(list: Buffer, to: Address): void {
    const { number: end } = this.#sealer;
    for (let at = 0; at + 8 <= list.length && at < 8 * ASKED; at += 8) {
      const number = Number(list.readBigUInt64BE(at));
      if (number < end && number >= end - KEPT) this.#events.send(this.#kept[number % KEPT]!, to);
    }
  }
}
