/**
 * Toward a workload: runs of one flow become one super-packet, so that they cross its stack as one. The work of
 * the kernel's GRO, done over a batch.
 */
import type { Batch } from '../../core/batch.js';
import type { Path } from '../../core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../../core/pool.js';
import * as checksums from '../../wire/checksum.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as tcp from '../../wire/tcp.js';
import { addon, type NativePool } from '../native.js';
import * as candidate from './candidate.js';
import { IP, L4_IPV4 } from './candidate.js';
import { l4Of, merge, pseudoHeader } from './merge.js';
import { OPEN_RUNS, Runs } from './runs.js';
import { sum } from './sum.js';

export interface CoalesceOptions {
  tcp4: boolean;
  tcp6: boolean;
  udp: boolean;
}

/** UDP_GRO_CNT_MAX; for TCP as well, whose super-packets have fewer but for tiny segments. */
const MAX_SEGMENTS = 64;
const MAX_IP_BYTES = 65_535;

/** Fields of an open run's row. Of its first packet: offset, kind (SEGMENT_*), bytes before L4 and before the payload, payload, IPv4 id and `ipSumOf`. */
const AT = 0;
const KIND = 1;
const L4 = 2;
const HEADERS = 3;
const SIZE = 4;
const ID = 5;
const IP_SUM = 6;
/** Of the run: bytes of IP so far, the sequence number to come, and how much the id grows from packet to packet. */
const TOTAL = 7;
const SEQUENCE = 8;
const ID_STEP = 9;
const ROW = 16;

const SURE = CHECKSUM_VERIFIED | CHECKSUM_UNFINISHED;

export class Coalescer {
  readonly #path: Path;
  readonly #native: NativePool | undefined;
  readonly #runs: Runs;
  readonly #ends: Int32Array;
  /** A row of each open run, fields below. */
  readonly #rows = new Int32Array(OPEN_RUNS * ROW);
  /** The packets whose checksums are in question, what is to be summed of each, and the sums of their pseudo-headers. */
  readonly #suspects: Int32Array;
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  readonly #sums: Int32Array;
  readonly #pseudo: Int32Array;

  constructor(path: Path, native?: NativePool) {
    const { packets } = path.pool;
    this.#path = path;
    this.#native = native;
    this.#runs = new Runs(packets);
    this.#ends = new Int32Array(packets);
    this.#suspects = new Int32Array(packets);
    this.#starts = new Int32Array(packets);
    this.#lengths = new Int32Array(packets);
    this.#sums = new Int32Array(packets);
    this.#pseudo = new Int32Array(packets);
  }

  /**
   * Brings runs together within the batch, keeping the order within each flow, and turns the headers of each run's first
   * packet into those of the super-packet: the first is to be written whole, its `bundle` - 1 followers without their
   * first `bundleSkip` bytes. Super-packets and whatever doesn't fit stay as they are.
   *
   * 1. Runs by their headers  2. Checksums nobody has verified yet, all in one call; only of packets in a run
   * 3. Marks; a wrong checksum stays alone and parts its run
   */
  coalesce(batch: Batch, options: CoalesceOptions): void {
    if (batch.count < 2) return;
    const runs = this.#runs;
    const kinds =
      (options.tcp4 ? SEGMENT_TCP4 : 0) | (options.tcp6 ? SEGMENT_TCP6 : 0) | (options.udp ? SEGMENT_UDP : 0);
    runs.begin();
    for (let i = 0; i < batch.count; ) i = this.#place(batch, i, kinds);
    if (runs.joined === 0) return;

    runs.arrange(batch, this.#ends);
    this.#verify(batch);
    const { pool, counters } = this.#path;
    const { offload } = pool;
    for (let group = 0, at = 0; group < runs.groups; group++) {
      const end = this.#ends[group];
      if (end - at === 1) {
        at = end;
        continue;
      }
      while (at < end) {
        let to = at;
        while (to < end && (offload[batch.packets[to]] & SURE) !== 0) to++;
        if (to - at > 1) {
          merge(pool, batch, at, to);
          counters.add('coalesced', to - at);
        }
        at = to === at ? at + 1 : to;
      }
    }
  }

  /**
   * Puts the i-th packet into a run of its flow, at the start of one, or alone, and with it those right behind it that
   * continue its run. Returns the index of the first that is not yet placed.
   */
  #place(batch: Batch, i: number, kinds: number): number {
    const { pool } = this.#path;
    const runs = this.#runs;
    const packet = batch.packets[i];
    const at = pool.offset[packet];
    const length = pool.length[packet];
    const key = candidate.keyOf(pool.view, at, length);

    // 1. It continues a run.
    for (let run = runs.find(key); run >= 0; run = runs.find(key, run + 1)) {
      const next = this.#extend(run, batch, i);
      if (next > i) return next;
    }

    // 2. What belongs to no flow that is known here (a fragment, say) might belong to any.
    const kind = key === 0 ? 0 : candidate.examine(pool, packet);
    if (kind === 0) {
      runs.closeAll();
      runs.alone(packet);
      return i + 1;
    }

    // 3. It ends its flow's run, and may begin another.
    const { l4 } = candidate;
    const rows = this.#rows;
    for (let run = runs.find(key); run >= 0; run = runs.find(key, run + 1)) {
      if (candidate.sameFlow(pool.view, rows[run * ROW + AT], at, l4)) runs.close(run);
    }
    if (!candidate.mergeable || candidate.ends || (kind & kinds) === 0) {
      runs.alone(packet);
      return i + 1;
    }
    const run = runs.open(key, packet);
    const row = run * ROW;
    const size = length - candidate.headerLength;
    rows[row + AT] = at;
    rows[row + KIND] = kind;
    rows[row + L4] = l4;
    rows[row + HEADERS] = candidate.headerLength;
    rows[row + SIZE] = size;
    rows[row + TOTAL] = length - IP;
    rows[row + SEQUENCE] = pool.view.getInt32(at + l4 + 4) + size;
    rows[row + ID] = pool.view.getUint16(at + IP + 4);
    rows[row + ID_STEP] = 1;
    rows[row + IP_SUM] = candidate.ipSumOf(pool.view, at + IP);
    return this.#extend(run, batch, i + 1);
  }

  /**
   * Puts packets from the i-th on into an open run, as long as they continue it. Returns the index of the first that
   * doesn't. One loop with everything at hand, for most packets come through it: 48 ns a packet instead of 76
   * (bench/micro/split.ts).
   */
  #extend(run: number, batch: Batch, i: number): number {
    const { pool } = this.#path;
    const { view, bytes, offset, length: lengths, segment, offload } = pool;
    const { packets } = batch;
    const end = batch.count;
    const runs = this.#runs;
    const rows = this.#rows;
    const row = run * ROW;
    const first = rows[row + AT];
    const kind = rows[row + KIND];
    const l4 = rows[row + L4];
    const headers = rows[row + HEADERS];
    const size = rows[row + SIZE];
    const ipSum = rows[row + IP_SUM];
    const ports = view.getInt32(first + l4);
    let total = rows[row + TOTAL];
    let sequence = rows[row + SEQUENCE];
    const id = rows[row + ID];
    let step = rows[row + ID_STEP];
    let count = runs.count[run];
    let closed = false;
    for (; i < end && !closed; i++) {
      const packet = packets[i];
      const at = offset[packet];
      const length = lengths[packet];
      const payload = length - headers;
      if (payload <= 0 || payload > size || total + payload > MAX_IP_BYTES || segment[packet] !== 0) break;
      // Ports first: they tell most flows apart.
      if (view.getInt32(at + l4) !== ports || !candidate.sameEthernet(view, first, at)) break;
      if (l4 === L4_IPV4) {
        if (!candidate.sameIpv4(view, first, at, length, ipSum)) break;
        // Ids count up from the first, or (with DF, RFC 6864) are all equal, which the second packet decides.
        const ahead = (view.getUint16(at + IP + 4) - id) & 0xffff;
        if (count === 1 && !ipv4.checksumValid(bytes, first + IP)) break;
        if (count === 1) step = ahead === 0 && ipv4.dontFragment(bytes, at + IP) ? 0 : 1;
        if (ahead !== count * step) break;
      } else if (!candidate.sameIpv6(view, first, at, length)) break;
      if (kind === SEGMENT_UDP) {
        if (view.getUint16(at + l4 + 4) !== length - l4) break;
      } else {
        if (view.getInt32(at + l4 + 4) !== sequence) break;
        if (!candidate.sameTcp(view, first + l4, at + l4, headers - l4)) break;
        closed = (tcp.flags(bytes, at + l4) & (tcp.PSH | tcp.FIN)) !== 0;
      }
      if (offload[packet] !== CHECKSUM_VERIFIED && !candidate.checksumPlain(pool, packet, l4, kind)) {
        closed = false;
        break;
      }
      runs.join(run, packet);
      total += payload;
      sequence = (sequence + payload) | 0;
      closed ||= payload < size || ++count === MAX_SEGMENTS;
    }
    rows[row + TOTAL] = total;
    rows[row + ID_STEP] = step;
    rows[row + SEQUENCE] = sequence;
    if (closed) runs.close(run);
    return i;
  }

  /** Marks the packets of runs whose checksums are right as CHECKSUM_VERIFIED. */
  #verify(batch: Batch): void {
    const { pool } = this.#path;
    let count = 0;
    for (let group = 0, at = 0; group < this.#runs.groups; group++) {
      const end = this.#ends[group];
      if (end - at === 1) {
        at = end;
        continue;
      }
      for (; at < end; at++) {
        const packet = batch.packets[at];
        if ((pool.offload[packet] & SURE) !== 0) continue;
        const l4 = l4Of(pool.bytes, pool.offset[packet]);
        const length = pool.length[packet] - l4;
        this.#suspects[count] = packet;
        this.#starts[count] = pool.offset[packet] + l4;
        this.#lengths[count] = length;
        this.#pseudo[count++] = pseudoHeader(pool.bytes, pool.offset[packet], length);
      }
    }
    if (count === 0) return;
    const sums = this.#sums;
    if (this.#native !== undefined) {
      addon!.sums(this.#native.handle, this.#starts, this.#lengths, sums, count);
    } else {
      for (let i = 0; i < count; i++) sums[i] = sum(pool.view, this.#starts[i], this.#lengths[i]);
    }
    for (let i = 0; i < count; i++) {
      if (checksums.fold(sums[i] + this.#pseudo[i]) === 0xffff) {
        pool.offload[this.#suspects[i]] |= CHECKSUM_VERIFIED;
      }
    }
  }
}
