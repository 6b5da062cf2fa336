/**
 * The SYN proxy (RFC 4987 §3.7): a service behind it sees only clients that are there. Nothing is kept of a SYN; who
 * echoes the cookie in its answer gets a connection, and the director opens it to the server in the client's name.
 *
 *     client              director                                      server
 *       │ ── SYN ───────────► │  answer: a cookie, window 0                 │
 *       │ ◄────── SYN+ACK ─── │                                             │
 *       │ ── ACK ───────────► │  accept: scheduled, the client's offers     │
 *       │                     │ ── SYN ───────────────────────────────────► │
 *       │                     │ ◄─────────────────────────────── SYN+ACK ── │
 *       │ ◄── ACK, window ─── │ ── ACK ───────────────────────────────────► │
 *       │ ◄──────── the rest, its numbers shifted (proxy-shift.ts) ───────► │
 *
 * The window of 0 keeps the client from sending before the server has said what it takes, as nft's synproxy does it;
 * what a client sends nevertheless isn't acknowledged, and comes again. The client is told things of a server that
 * isn't asked yet: its MSS is learned from what servers of the service answered before, the unit of its window is ours,
 * and windows are converted. ECN is not offered, for the server might not have it.
 *
 * A client whose ACK is lost believes that it is connected; its next segment, a probe of the window, has the cookie too.
 */
import type { Batch } from '../../core/batch.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { NO_PACKET } from '../../core/pool.js';
import * as tcp from '../../wire/tcp.js';
import { type Connections, NO_CONNECTION } from '../connections.js';
import type { PacketFlow } from '../flow.js';
import { noEnds, type Parsed, turn } from '../packet.js';
import type { Progress } from '../progress.js';
import { writeRefusal } from '../reset.js';
import type { Scheduling } from '../scheduling.js';
import type { Service, Services } from '../service.js';
import { BARRED, DROPPED, NO_DESTINATION, PASS, type Verdict } from '../verdict.js';
import { Cookies } from './cookies.js';
import { type Gate, OPEN } from './gate.js';
import { cookieKey, type DefenceMemory } from './memory.js';
import { Opening, SCALE } from './opening.js';
import { Proxied } from './proxied.js';
import { ProxyShift } from './proxy-shift.js';
import { makeSegment, noSegment, takeFrame } from './segment.js';
import { readOptions, TcpOptions } from './tcp-options.js';

/** Until a server has said its own: Ethernet's. */
const MSS = { 4: 1460, 6: 1440 } as const;

export interface SynProxyParts {
  path: Path;
  connections: Connections;
  services: Services;
  scheduling: Scheduling;
  progress: Progress;
  gate: Gate;
  memory: DefenceMemory;
  /** takes what is sent besides the packet in hand */
  made: Batch;
}

export class SynProxy {
  /** sees to connections until their server has answered */
  readonly opening: Opening;
  /** and to their segments from then on */
  readonly shift: ProxyShift;
  readonly #path: Path;
  readonly #scheduling: Scheduling;
  readonly #gate: Gate;
  readonly #cookies: Cookies;
  readonly #made: Batch;
  readonly #options = new TcpOptions();
  readonly #segment = noSegment();
  readonly #turned = noEnds();

  constructor(parts: SynProxyParts) {
    const { path, connections, services, scheduling, progress, gate, memory, made } = parts;
    const rows = new Proxied(memory.proxied);
    this.opening = new Opening({ path, connections, services, progress, rows, made });
    this.shift = new ProxyShift(path.pool, rows);
    this.#path = path;
    this.#scheduling = scheduling;
    this.#gate = gate;
    this.#cookies = new Cookies(cookieKey(memory));
    this.#made = made;
  }

  /** A TCP segment for the service that belongs to no connection. */
  receive(packet: number, parsed: Parsed, flow: PacketFlow, service: Service, nowMs: number): Verdict {
    const flags = parsed.flags & (tcp.SYN | tcp.ACK | tcp.RST);
    if (flags === tcp.SYN) return this.#answer(packet, parsed, flow, service, nowMs);
    return flags === tcp.ACK ? this.#accept(packet, parsed, flow, service, nowMs) : PASS;
  }

  #answer(packet: number, parsed: Parsed, flow: PacketFlow, service: Service, nowMs: number): Verdict {
    const { pool, counters } = this.#path;
    const options = this.#options;
    readOptions(pool, parsed, options);
    if (!service.learned.timestamps) options.timestamps = false;
    const sequence = pool.view.getInt32(parsed.transport + 4);
    const segment = this.#segment;
    segment.sequence = this.#cookies.make(flow, sequence, options, nowMs);
    segment.acknowledgment = (sequence + 1) | 0;
    segment.flags = tcp.SYN | tcp.ACK;
    segment.window = 0;
    options.echo = options.value;
    options.value = this.#cookies.timestamp(options, nowMs);
    options.mss = service.learned.mss || MSS[parsed.family];
    if (options.scale >= 0) options.scale = SCALE;
    turn(parsed, this.#turned);
    const answer = makeSegment(this.#path, this.#turned, segment, options);
    if (answer !== NO_PACKET) {
      pool.inherit(answer, packet);
      this.#made.push(answer);
      counters.add('cookiesSent');
    }
    pool.free(packet);
    return DROPPED;
  }

  /**
   * 1. it echoes a cookie of ours  2. its source may begin another connection  3. a destination, and an entry
   * 4. the SYN to it
   */
  #accept(packet: number, parsed: Parsed, flow: PacketFlow, service: Service, nowMs: number): Verdict {
    const { pool, counters } = this.#path;
    const { view } = pool;
    const { transport, end } = parsed;
    // 1. A probe of a closed window has the number before the next (RFC 9293 §3.8.6.1).
    const options = this.#options;
    readOptions(pool, parsed, options);
    const cookie = (view.getInt32(transport + 8) - 1) | 0;
    let sequence = (view.getInt32(transport + 4) - 1) | 0;
    if (!this.#cookies.check(flow, sequence, cookie, options, nowMs)) {
      sequence = (sequence + 1) | 0;
      const payload = end - transport - tcp.headerLength(pool.bytes, transport);
      if (payload > 0 || !this.#cookies.check(flow, sequence, cookie, options, nowMs))
        return this.#drop(packet, drop['cookie-invalid']);
    }
    // 2.
    const barred = this.#gate.barsRate(service, flow, nowMs);
    if (barred !== OPEN) return this.#drop(packet, barred);
    // 3.
    const { opening } = this;
    opening.remember(options, sequence, cookie, view.getUint16(transport + 14));
    if (this.#scheduling.schedule(service, parsed, flow, nowMs, opening) === NO_CONNECTION) {
      const { verdict, reason } = this.#scheduling;
      if (verdict === BARRED) return this.#drop(packet, reason);
      return verdict === NO_DESTINATION || verdict === PASS ? this.#refuse(packet, parsed) : verdict;
    }
    // 4.
    counters.add('cookiesAccepted');
    opening.begin(packet, parsed, nowMs);
    pool.free(packet);
    return DROPPED;
  }

  /** Nobody serves a client that believes to be connected: RST, where others would be told "port unreachable". */
  #refuse(packet: number, parsed: Parsed): Verdict {
    const { pool } = this.#path;
    const answer = takeFrame(this.#path, parsed.family);
    if (answer !== NO_PACKET) {
      const length = writeRefusal(pool, parsed, pool.offset[answer]! + pool.length[answer]!);
      if (length === 0) pool.free(answer);
      else {
        pool.length[answer]! += length;
        pool.inherit(answer, packet);
        this.#made.push(answer);
      }
    }
    return this.#drop(packet, drop['service-empty']);
  }

  #drop(packet: number, reason: number): Verdict {
    this.#path.drop(packet, reason);
    return DROPPED;
  }
}
