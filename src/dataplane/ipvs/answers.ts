/** ICMP errors that the director sends itself about a packet in hand: each a packet of its own, out where that one came in. */
import type { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import { FRAME_AT, NO_PACKET, type Pool } from '../core/pool.js';
import * as ethernet from '../wire/ethernet.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';
import { writeHostUnreachable, writeTooBig } from './icmp.js';
import type { Parsed } from './packet.js';

export class Answers {
  readonly #path: Path;

  constructor(path: Path) {
    this.#path = path;
  }

  /** "Fragmentation needed" or "packet too big" to who sent the packet, which stays. */
  tooBig(packet: number, parsed: Parsed, mtu: number, out: Batch): void {
    const answer = this.#path.pool.take(FRAME_AT);
    if (answer === NO_PACKET) return;
    const length = writeTooBig(this.#path.pool, parsed, this.#ip(answer), mtu);
    this.#send(answer, packet, parsed.family, length, out);
  }

  /** "Host unreachable" or "address unreachable" likewise. */
  unreachable(packet: number, parsed: Parsed, out: Batch): void {
    const answer = this.#path.pool.take(FRAME_AT);
    if (answer === NO_PACKET) return;
    const length = writeHostUnreachable(this.#path.pool, parsed, this.#ip(answer));
    this.#send(answer, packet, parsed.family, length, out);
  }

  /**
   * What an error says of the packet within a tunnel, to who sent that: `inner` was read of it, perhaps not to its end.
   * @param rest the 32 bits behind the checksum
   */
  pass(packet: number, inner: Parsed, type: number, code: number, rest: number, out: Batch): void {
    const { pool } = this.#path;
    const answer = pool.take(FRAME_AT);
    if (answer === NO_PACKET) return;
    const write = inner.family === 4 ? icmp.writeErrorAbout : icmpv6.writeErrorAbout;
    const length = write(pool.bytes, inner.ip, inner.length, this.#ip(answer), type, code, rest);
    this.#send(answer, packet, inner.family, length, out);
  }

  #ip(answer: number): number {
    return this.#path.pool.offset[answer]! + ethernet.HEADER;
  }

  #send(answer: number, packet: number, family: 4 | 6, length: number, out: Batch): void {
    const { pool } = this.#path;
    if (!asFrame(pool, answer, family, length)) return;
    pool.inherit(answer, packet);
    out.push(answer);
  }
}

/** Makes a frame of the IP packet that was written behind its header. False: there is none, of no length, and the slot is free. */
export function asFrame(pool: Pool, answer: number, family: 4 | 6, length: number): boolean {
  if (length === 0) {
    pool.free(answer);
    return false;
  }
  ethernet.writeEtherType(pool.bytes, pool.offset[answer]!, family === 4 ? ethernet.IPV4 : ethernet.IPV6);
  pool.length[answer] = length + ethernet.HEADER;
  return true;
}
