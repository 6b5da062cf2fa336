/**
 * The virtual server on the host's own side: frames with IP packets that the host routed to it come in, and all that
 * lives goes back out to be routed anew. What belongs to no service goes back as it was.
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { FRAME_AT, NO_PACKET } from '../core/pool.js';
import * as ethernet from '../wire/ethernet.js';
import { asFrame } from './answers.js';
import type { Director } from './director.js';
import { writeUnreachable } from './icmp.js';
import { Parsed, parse, parseQuoted } from './packet.js';
import { DROPPED, NO_DESTINATION, PASS, TABLE_FULL, TAKEN, type Verdict } from './verdict.js';

export class Ingress {
  readonly #path: Path;
  readonly #director: Director;
  readonly #parsed = new Parsed();
  readonly #quoted = new Parsed();

  constructor(path: Path, director: Director) {
    this.#path = path;
    this.#director = director;
  }

  /**
   * Leaves `frames` empty: each packet is in `out`, waits for the first fragment, or was dropped with its reason.
   * @param mark of all of them, as the host set it; 0: none
   */
  direct(frames: Batch, out: Batch, mark = 0): void {
    this.#parsed.mark = mark;
    this.#director.forwarding.out = out;
    const { released } = this.#director.fragments;
    for (let i = 0; i < frames.count; i++) {
      this.#directOne(frames.packets[i]!, out);
      if (!this.#director.resets.room) this.takeAnswers(out);
      if (released.count === 0) continue;
      for (let k = 0; k < released.count; k++) this.#directOne(released.packets[k]!, out);
      released.count = 0;
    }
    frames.count = 0;
    this.takeAnswers(out);
  }

  /** What the director sends of its own. */
  takeAnswers(out: Batch): void {
    const { answers } = this.#director.resets;
    for (let i = 0; i < answers.count; i++) out.push(answers.packets[i]!);
    answers.count = 0;
  }

  #directOne(packet: number, out: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const at = pool.offset[packet]!;
    const malformed = parse(pool, at + ethernet.HEADER, at + pool.length[packet]!, this.#parsed);
    if (malformed !== 0) {
      path.drop(packet, malformed);
      return;
    }
    const verdict = this.#verdict(packet);
    if (verdict === NO_DESTINATION) this.#refuse(packet, out);
    else if (verdict === TABLE_FULL) path.drop(packet, drop['connections-full']);
    else if (verdict !== DROPPED && verdict !== TAKEN) out.push(packet);
  }

  #verdict(packet: number): Verdict {
    const parsed = this.#parsed;
    if (!parsed.isError) return this.#director.balance(packet, parsed);
    if (!parseQuoted(this.#path.pool, parsed, this.#quoted)) return PASS;
    return this.#director.translate(packet, parsed, this.#quoted);
  }

  /** "Port unreachable", as IPVS answers where nobody serves (ip_vs_leave). */
  #refuse(packet: number, out: Batch): void {
    const { pool } = this.#path;
    const answer = pool.take(FRAME_AT);
    if (answer !== NO_PACKET) {
      const length = writeUnreachable(pool, this.#parsed, pool.offset[answer]! + ethernet.HEADER);
      if (asFrame(pool, answer, this.#parsed.family, length)) out.push(answer);
    }
    this.#path.drop(packet, drop['service-empty']);
  }
}
