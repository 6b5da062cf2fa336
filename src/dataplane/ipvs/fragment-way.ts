/**
 * The way of a packet's fragments: the first one, which has the ports, is balanced as a whole packet would be, and which
 * connection it went by is kept for the later ones (fragments.ts). They follow it under the same addresses; nothing is
 * put together, as IPVS does it (ip_vs_gather_frags), so the path's MTU is what it was.
 *
 * Every engine knows what it has seen itself. The kernel hands all fragments of the same two addresses to one of them: a
 * TUN's queue is chosen by a hash that leaves out the ports of fragments, of the first one too (tun_automq_select_queue),
 * or is the one by which the other direction went last, which comes to the same engine once it has answered.
 */
import { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import { Fragments, UNDECIDED } from './fragments.js';
import type { Parsed } from './packet.js';
import { CLIENT, VIRTUAL } from './record.js';
import { PASS, type Verdict } from './verdict.js';

/** Decisions besides the reference of a connection. */
const PASSES = -2;
const ENDS = -3;

/** Fragments that wait at the same time, at most, and the part of the pool's slots that they may keep. */
const HELD = 128;
const HELD_PART = 4;

export class FragmentWay {
  /** fragments that had waited for the one that was decided last, in their order: to be balanced now */
  readonly released: Batch;
  /** `follow` found no connection because the packet belongs to none: the fragment is still the caller's */
  passes = false;

  readonly #path: Path;
  readonly #connections: Connections;
  readonly #fragments: Fragments;

  constructor(path: Path, connections: Connections) {
    const { packets, slots } = path.pool;
    this.#path = path;
    this.#connections = connections;
    this.#fragments = new Fragments(path, undefined, Math.min(HELD, Math.floor(slots / HELD_PART)));
    this.released = new Batch(packets);
  }

  /** Fragments that wait. */
  get held(): number {
    return this.#fragments.held;
  }

  /**
   * What becomes of the packet of which this is the first fragment, before its addresses are rewritten.
   * @param reference of its connection, or NO_CONNECTION: then the verdict goes for the later ones as well
   */
  decide(packet: number, parsed: Parsed, reference: number, verdict: Verdict, nowMs: number): void {
    const decision = reference !== NO_CONNECTION ? reference : verdict === PASS ? PASSES : ENDS;
    this.#fragments.decide(packet, parsed, decision, nowMs, this.released);
  }

  /** The connection that a later fragment goes by. NO_CONNECTION: unless it `passes`, it waits or was dropped. */
  follow(packet: number, parsed: Parsed, nowMs: number): number {
    const decision = this.#fragments.later(packet, parsed, nowMs);
    this.passes = decision === PASSES;
    if (decision === UNDECIDED || this.passes) return NO_CONNECTION;
    if (decision !== ENDS && this.#goesOn(decision, parsed)) return decision;
    this.#path.drop(packet, drop['fragment-lost']);
    return NO_CONNECTION;
  }

  /** For the engine's clock: drops what has waited too long. */
  expire(nowMs: number): void {
    this.#fragments.expire(nowMs);
  }

  /** Drops all that waits. */
  clear(): void {
    this.#fragments.clear();
  }

  /** Whether the connection is still the one of the first fragment: one that ended leaves its record to another. */
  #goesOn(reference: number, parsed: Parsed): boolean {
    const { records, expires } = this.#connections;
    const at = this.#connections.at(reference >> 1) + ((reference & 1) === 0 ? VIRTUAL : CLIENT);
    return (
      expires[reference >> 1] !== 0 &&
      records[at] === parsed.destination0 &&
      records[at + 1] === parsed.destination1 &&
      records[at + 2] === parsed.destination2 &&
      records[at + 3] === parsed.destination3
    );
  }
}
