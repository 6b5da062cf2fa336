/**
 * Two devices in one thread, joined by a wire in memory: what one end transmits, the other receives, copied from
 * pool to pool with the columns that offload needs. It serves as the link to a workload or as the underlay, with
 * the faults of io/misfortune.ts in each direction.
 */
import type { Batch } from '../../core/batch.js';
import { RX_PACKETS, TX_PACKETS } from '../../core/counters.js';
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { FRAME_AT, NO_PACKET, SLOT_BYTES } from '../../core/pool.js';
import { hop } from '../../core/tracer.js';
import type { Underlay } from '../device.js';
import { writeSender } from '../sockaddr.js';
import { Delayed, Dice, type Faults } from './misfortune.js';

/** Where the datagrams of one end come from, as the other end sees it. */
export interface Sender {
  /** 4 or 16 bytes */
  address: Uint8Array;
  port: number;
}

export interface PairOptions {
  /** one for each end; its pool takes what the end receives */
  paths: readonly [Path, Path];
  /** where received packets begin in their slot: FRAME_AT (default) for frames, DATAGRAM_AT for an underlay */
  at?: number;
  /** underlay: the first and the second end's own address */
  senders?: readonly [Sender, Sender];
  /** link to a workload: the port that each end is, for its columns and counters, as a TAP does it */
  ports?: readonly [number, number];
  /** from the first end to the second, and back */
  faults?: readonly [Faults, Faults];
  seed?: number;
  /** virtual milliseconds; otherwise the unit of latency is a turn of the receiving end */
  clock?: () => number;
}

/**
 * The two ends, in the order of `options.paths`. `transmit` of one copies each packet of the batch into the other's
 * pool, whence its `receive` takes it; what finds that pool full is dropped there as no-packet. Neither throws.
 */
export function pair(options: PairOptions): [PairDevice, PairDevice] {
  const ends: [PairDevice, PairDevice] = [new PairDevice(options, 0), new PairDevice(options, 1)];
  ends[0].connect(ends[1]);
  ends[1].connect(ends[0]);
  return ends;
}

/** One end of a pair. */
export class PairDevice implements Underlay {
  readonly kind = 'pair';
  readonly #path: Path;
  readonly #at: number;
  readonly #sender: Sender | undefined;
  readonly #port: number | undefined;
  readonly #dice: Dice;
  readonly #clock: (() => number) | undefined;
  readonly #arriving: Delayed;
  #other: PairDevice | undefined;
  #turn = 0;

  constructor(options: PairOptions, end: 0 | 1) {
    this.#path = options.paths[end];
    this.#at = options.at ?? FRAME_AT;
    this.#sender = options.senders?.[end];
    this.#port = options.ports?.[end];
    this.#dice = new Dice(options.faults?.[end] ?? {}, (options.seed ?? 1) + end);
    this.#clock = options.clock;
    this.#arriving = new Delayed(this.#path.pool.packets);
  }

  connect(other: PairDevice): void {
    this.#other = other;
  }

  /** Packets on their way to this end. */
  get pending(): number {
    return this.#arriving.count;
  }

  receive(into: Batch): void {
    const before = into.count;
    this.#arriving.take(this.#now(), into);
    this.#turn++;
    if (this.#port === undefined) return;
    const { pool, counters } = this.#path;
    const row = counters.portRow(this.#port);
    for (let i = before; i < into.count; i++) {
      const packet = into.packets[i]!;
      pool.port[packet] = this.#port;
      counters.count(row, RX_PACKETS, 1, pool.length[packet]!);
    }
  }

  /** Bundles (pool.bundle) are not looked at: they are made below, in the devices of real wires. */
  transmit(batch: Batch): void {
    const path = this.#path;
    const other = this.#other;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      if (other === undefined) {
        path.drop(packet, drop['device-closed']);
        continue;
      }
      this.#count(packet);
      if (this.#dice.lost()) path.drop(packet, drop['injected-loss']);
      else {
        other.#arrive(this, packet);
        if (this.#dice.duplicated()) other.#arrive(this, packet);
        path.pool.free(packet);
      }
    }
    batch.count = 0;
  }

  /** Both directions end; what was on its way to this end is dropped. */
  close(): void {
    this.#arriving.drop(this.#path);
    if (this.#other !== undefined) this.#other.#other = undefined;
    this.#other = undefined;
  }

  #now(): number {
    return this.#clock === undefined ? this.#turn : this.#clock();
  }

  /** As an underlay counts what it sends to a VTEP, or a TAP what it sends to a workload. */
  #count(packet: number): void {
    const { pool, counters, tracer } = this.#path;
    const port = this.#port;
    if (port === undefined && this.#sender === undefined) return;
    const row = port === undefined ? counters.vtepRow(pool.vtep[packet]!) : counters.portRow(port);
    counters.count(row, TX_PACKETS, 1, pool.length[packet]!);
    if (pool.trace[packet] === 0) return;
    if (port === undefined) tracer.note(packet, hop['underlay.transmit'], pool.vtep[packet]!);
    else tracer.note(packet, hop['tap.transmit'], port);
  }

  #arrive(from: PairDevice, theirs: number): void {
    const source = from.#path.pool;
    const { pool, counters } = this.#path;
    const length = source.length[theirs]!;
    const fits = length <= SLOT_BYTES - this.#at;
    const ours = fits ? pool.take(this.#at) : NO_PACKET;
    if (ours === NO_PACKET) {
      counters.drop(fits ? drop['no-packet'] : drop['underlay-oversize']);
      return;
    }
    const start = source.offset[theirs]!;
    pool.bytes.set(source.bytes.subarray(start, start + length), pool.offset[ours]!);
    pool.length[ours] = length;
    pool.segment[ours] = source.segment[theirs]!;
    pool.offload[ours] = source.offload[theirs]!;
    pool.checksumStart[ours] = source.checksumStart[theirs]!;
    pool.checksumOffset[ours] = source.checksumOffset[theirs]!;
    pool.headerLength[ours] = source.headerLength[theirs]!;
    pool.ecn[ours] = source.ecn[theirs]!;
    if (from.#sender !== undefined)
      writeSender(pool.view, pool.slotStart(ours), from.#sender.address, from.#sender.port);
    from.#dice.corrupt(pool, ours);
    this.#arriving.push(ours, this.#now() + from.#dice.delay());
  }
}
