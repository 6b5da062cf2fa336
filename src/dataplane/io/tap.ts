/**
 * A workload's interface: a TAP with the virtio-net header, so that 64 KB super-packets and unfinished checksums
 * pass in both directions as the kernel has them. One queue of it per engine. Or the host's own: a TUN, whose packets
 * have no Ethernet header outside of here.
 */
import { Batch } from '../core/batch.js';
import { RX_PACKETS, TX_PACKETS } from '../core/counters.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import {
  CHECKSUM_UNFINISHED,
  FRAME_AT,
  SEGMENT_ANY,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
} from '../core/pool.js';
import { hop } from '../core/tracer.js';
import type { Device } from './device.js';
import { tapDrop } from './errno.js';
import type { NativePool, PacketCalls } from './native.js';
import type { CoalesceOptions, Coalescer } from './offload/coalesce.js';
import { finishChecksum } from './offload/finish-checksum.js';
import { addLink, PACKET_AT, removeLink } from './offload/link.js';
import type { Segmenter } from './offload/segment.js';
import * as virtio from './offload/virtio.js';
import { nextReceive, type Posted } from './posted.js';

/** What the interface takes from us; what it takes not is done in user space before. */
export interface TapOffloads {
  checksum: boolean;
  tso: boolean;
  uso: boolean;
  /** merge arriving runs into super-packets */
  coalesce: boolean;
}

/** TUN_F_* for TUNSETOFFLOAD: what the interface may hand to us. */
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

export function tapOffloadBits({ checksum, tso, uso }: TapOffloads): number {
  if (!checksum) return 0;
  return (
    TUN_F_CSUM | (tso ? TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0) | (uso ? TUN_F_USO4 | TUN_F_USO6 : 0)
  );
}

export class Tap implements Device {
  /** Set when the device is gone (its namespace was removed): the engine stops asking it. */
  failedErrno = 0;

  readonly fd: number;
  readonly #port: number;
  readonly #tun: boolean;
  readonly #path: Path;
  readonly #native: NativePool;
  readonly #addon: PacketCalls;
  readonly #posted: Posted;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  readonly #supers: number;
  readonly #checksum: boolean;
  /** which runs become super-packets here */
  readonly merges: CoalesceOptions | undefined;
  readonly #lowered: Batch;
  readonly #maxBatch: number;
  readonly #onError: (errno: number) => void;
  #want: number;

  constructor(options: {
    fd: number;
    port: number;
    /** a TUN: IP packets instead of frames */
    tun?: boolean;
    path: Path;
    native: NativePool;
    calls: PacketCalls;
    posted: Posted;
    segmenter: Segmenter;
    coalescer: Coalescer;
    offloads: TapOffloads;
    batch: number;
    /** first refusal of each kind */
    onError: (errno: number) => void;
  }) {
    const { offloads, path } = options;
    this.fd = options.fd;
    this.#port = options.port;
    this.#tun = options.tun ?? false;
    this.#path = path;
    this.#native = options.native;
    this.#addon = options.calls;
    this.#posted = options.posted;
    this.#segmenter = options.segmenter;
    this.#coalescer = options.coalescer;
    this.#maxBatch = options.batch;
    this.#want = options.batch;
    this.#onError = options.onError;
    const { checksum } = offloads;
    this.#checksum = checksum;
    const tso = checksum && offloads.tso;
    const uso = checksum && offloads.uso;
    this.#supers = (tso ? SEGMENT_TCP4 | SEGMENT_TCP6 : 0) | (uso ? SEGMENT_UDP : 0);
    this.merges = offloads.coalesce && (tso || uso) ? { tcp4: tso, tcp6: tso, udp: uso } : undefined;
    this.#lowered = new Batch(path.pool.packets);
  }

  receive(into: Batch): void {
    const { pool, counters } = this.#path;
    const { list } = this.#posted;
    const ready = this.#posted.prepare(Math.min(this.#want, into.room), this.#tun ? PACKET_AT : FRAME_AT);
    const count = this.#addon.tapReceive(this.#native.handle, this.fd, virtio.HEADER_BYTES, list, ready);
    if (this.#native.status[1] !== 0) this.failedErrno = this.#native.status[1]!;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const packet = list[i]!;
      bytes += pool.length[packet]!;
      pool.port[packet] = this.#port;
      if ((!this.#tun || addLink(pool, packet)) && virtio.readHeader(pool, packet)) into.push(packet);
      else this.#path.drop(packet, drop['inner-malformed']);
    }
    this.#posted.consume(count);
    if (count === 0) return;
    counters.count(counters.portRow(this.#port), RX_PACKETS, count, bytes);
    this.#want = nextReceive(count, bytes, this.#maxBatch);
  }

  transmit(batch: Batch): void {
    const path = this.#path;
    const { pool, counters } = path;

    // 1. What the interface can't take is done here: segmentation, checksums.
    const ready = this.#lower(batch);

    // 2. Runs of a flow become one super-packet.
    if (this.merges !== undefined && ready.count > 1) this.#coalescer.coalesce(ready, this.merges);

    // 3. Headers for the packets that begin a write.
    const { packets, count } = ready;
    for (let i = 0; i < count; ) {
      const packet = packets[i]!;
      if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['tap.transmit'], this.#port);
      const next = i + Math.max(1, pool.bundle[packet]!);
      if (this.#tun) for (let j = i; j < next; j++) removeLink(pool, packets[j]!);
      virtio.writeHeader(pool, packet);
      i = next;
    }

    // 4. Out; what is refused is dropped, and the rest goes on.
    const { handle, status } = this.#native;
    let sent = 0;
    let bytes = 0;
    for (let from = 0; from < count; ) {
      const stopped = this.#addon.tapTransmit(handle, this.fd, virtio.HEADER_BYTES, packets, from, count);
      sent += stopped - from;
      for (; from < stopped; from++) {
        bytes += pool.length[packets[from]!]!;
        pool.free(packets[from]!);
      }
      if (stopped >= count) break;
      const errno = status[1]!;
      this.#onError(errno);
      const run = Math.max(1, pool.bundle[packets[from]!]!);
      for (const end = from + run; from < end; from++) path.drop(packets[from]!, tapDrop(errno));
    }
    counters.count(counters.portRow(this.#port), TX_PACKETS, sent, bytes);
    ready.count = 0;
  }

  close(): void {}

  #lower(batch: Batch): Batch {
    const { pool } = this.#path;
    const { packets, count } = batch;
    let all = 0;
    for (let i = 0; i < count; i++) all |= pool.offload[packets[i]!]!;
    const supers = all & SEGMENT_ANY & ~this.#supers;
    if (supers === 0 && (this.#checksum || (all & CHECKSUM_UNFINISHED) === 0)) return batch;
    const lowered = this.#lowered;
    for (let i = 0; i < count; i++) {
      const packet = packets[i]!;
      const offload = pool.offload[packet]!;
      if ((offload & supers) !== 0) this.#segmenter.segment(packet, lowered);
      else if (this.#checksum || finishChecksum(this.#path, packet, this.#native)) lowered.push(packet);
    }
    batch.count = 0;
    return lowered;
  }
}
