/**
 * Sends packets of a connection into the tunnel to their destination (ip_vs_tunnel_xmit). The host routes the outer
 * packets as it does all others, and takes the hop that the outer header has more.
 */
import { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, NO_PACKET, SEGMENT_ANY } from '../core/pool.js';
import { complete, coveredBytes } from '../core/unfinished.js';
import * as checksums from '../wire/checksum.js';
import * as ethernet from '../wire/ethernet.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv4 from '../wire/ipv4.js';
import type { Answers } from './answers.js';
import { Parsed, parse } from './packet.js';
import { Segments } from './segments.js';
import { Encapsulator, largestPayload, leavesChecksum, type Tunnel, withRoom } from './tunnel.js';
import type { Way } from './ways.js';

/** The kernel takes one when it forwards the outer packet. */
const HOPS = 1;

export class Tunnelling {
  readonly #path: Path;
  readonly #answers: Answers;
  readonly #encapsulator: Encapsulator;
  readonly #segments: Segments;
  readonly #pieces: Batch;
  readonly #parsed = new Parsed();

  constructor(path: Path, answers: Answers) {
    this.#path = path;
    this.#answers = answers;
    this.#encapsulator = new Encapsulator(path.pool);
    this.#segments = new Segments(path);
    this.#pieces = new Batch(path.pool.packets);
  }

  /**
   * The packet (a whole Ethernet frame) goes to `out` within the tunnel of the way, or is dropped.
   *
   * 1. a super-packet becomes what it stands for
   * 2. what doesn't fit is answered, once for all that came together
   * 3. into the tunnel, behind a link header
   */
  send(packet: number, parsed: Parsed, way: Way, out: Batch): void {
    const { pool } = this.#path;
    if ((pool.offload[packet]! & SEGMENT_ANY) === 0) {
      const roomy = withRoom(pool, packet);
      if (roomy === NO_PACKET) this.#path.drop(packet, drop['no-packet']);
      else if (roomy === packet) this.#sendOne(packet, parsed, way, out, true);
      else this.#sendParsed(roomy, way, out, true);
      return;
    }
    const pieces = this.#pieces;
    if (!this.#segments.split(packet, pieces)) return;
    let answer = true;
    for (let i = 0; i < pieces.count; i++) {
      if (!this.#sendParsed(pieces.packets[i]!, way, out, answer)) answer = false;
    }
    pieces.count = 0;
  }

  /** The same for a packet that was not read yet. */
  #sendParsed(packet: number, way: Way, out: Batch, answer: boolean): boolean {
    const { pool } = this.#path;
    const at = pool.offset[packet]!;
    const malformed = parse(pool, at + ethernet.HEADER, at + pool.length[packet]!, this.#parsed);
    if (malformed === 0) return this.#sendOne(packet, this.#parsed, way, out, answer);
    this.#path.drop(packet, malformed);
    return true;
  }

  /** False: it didn't fit. */
  #sendOne(packet: number, parsed: Parsed, way: Way, out: Batch, answer: boolean): boolean {
    const { pool } = this.#path;
    const tunnel = way.tunnel!;
    const most = this.#most(parsed, tunnel, way.mtu);
    if (parsed.length > most) {
      if (answer) this.#answers.tooBig(packet, parsed, most, out);
      this.#path.drop(packet, drop['too-big']);
      return false;
    }
    if (!leavesChecksum(tunnel) && !this.#finishChecksum(packet, parsed)) return true;
    this.#encapsulator.encapsulate(packet, parsed, tunnel, true, HOPS);
    pool.offset[packet]! -= ethernet.HEADER;
    pool.length[packet]! += ethernet.HEADER;
    pool.checksumStart[packet]! += ethernet.HEADER;
    const at = pool.offset[packet]!;
    pool.bytes.fill(0, at, at + ethernet.HEADER);
    ethernet.writeEtherType(pool.bytes, at, tunnel.family === 4 ? ethernet.IPV4 : ethernet.IPV6);
    // What was verified is no longer the outermost.
    pool.offload[packet]! &= CHECKSUM_UNFINISHED;
    out.push(packet);
    return true;
  }

  /**
   * Bytes of the largest packet that may go in (ensure_mtu_is_adequate). One that may be fragmented goes always: its outer
   * header has no DF either. IPv6 hosts don't go below IPv6's least MTU, and need not: the outer packet of 6in4 may be
   * fragmented, and IPv6 below has that MTU for itself at least.
   */
  #most(parsed: Parsed, tunnel: Tunnel, mtu: number): number {
    const fits = largestPayload(tunnel, mtu);
    if (parsed.family === 6) return Math.max(fits, icmpv6.ANSWER_MAX);
    return ipv4.dontFragment(this.#path.pool.bytes, parsed.ip) ? fits : Number.MAX_SAFE_INTEGER;
  }

  /** False: the packet contradicts itself and was dropped. */
  #finishChecksum(packet: number, parsed: Parsed): boolean {
    const { pool } = this.#path;
    if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) === 0) return true;
    const covered = coveredBytes(pool, packet) - (pool.offset[packet]! + pool.length[packet]! - parsed.end);
    if (covered <= 0) {
      this.#path.drop(packet, drop['inner-malformed']);
      return false;
    }
    const from = pool.offset[packet]! + pool.checksumStart[packet]!;
    complete(pool, packet, checksums.sumWords(pool.view, from, covered));
    return true;
  }
}
