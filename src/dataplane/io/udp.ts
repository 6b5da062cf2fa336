/**
 * The underlay on UDP sockets, which works on any kernel: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT.
 * Super-packets are split here, same-size datagrams of a flow leave as one segmented send.
 *
 *     receive   socket → glued datagrams joined, or one packet each → checksums that were left unfinished marked as such
 *     transmit  super-packets split, checksums finished → bundles → the socket whose source port is the flow's
 */
import { Batch } from '../core/batch.js';
import { TX_PACKETS } from '../core/counters.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, DATAGRAM_AT, SEGMENT_ANY } from '../core/pool.js';
import { hop } from '../core/tracer.js';
import type { Vteps } from '../core/vteps.js';
import * as vxlan from '../wire/vxlan.js';
import type { Underlay } from './device.js';
import { datagramDrop, EINVAL, EIO } from './errno.js';
import type { NativePool, PacketCalls } from './native.js';
import { type Bundler, MAX_BYTES, MAX_SEGMENTS } from './offload/bundle.js';
import { finishChecksum } from './offload/finish-checksum.js';
import { type Joiner, unglue } from './offload/join.js';
import type { Segmenter } from './offload/segment.js';
import { markUnfinished } from './offload/unfinished.js';
import { nextReceive, type Posted } from './posted.js';

/** The sockets of one engine: bound to the port for receiving, and to spread source ports for sending. */
export interface UdpSockets {
  receive: number[];
  send4: number[];
  send6: number[];
}

export class UdpUnderlay implements Underlay {
  readonly kind = 'udp';
  readonly sockets: UdpSockets;
  readonly #path: Path;
  readonly #native: NativePool;
  readonly #addon: PacketCalls;
  readonly #posted: Posted;
  readonly #vteps: Vteps;
  readonly #joiner: Joiner;
  readonly #segmenter: Segmenter;
  readonly #bundler: Bundler;
  readonly #bundle: boolean;
  /** Sending sockets of a family: flows that share one leave together (see UnderlaySpec). */
  readonly #sourcePorts: number;
  readonly #onError: (errno: number, vtep: number) => void;
  readonly #onNoSegment: () => void;
  readonly #maxBatch: number;
  readonly #ready: Batch;
  readonly #again: Batch;
  /** A batch per sending socket: IPv4's first, then IPv6's. */
  readonly #lanes: Batch[];
  readonly #laneFds: number[];
  #segment: boolean;
  #want: number;

  constructor(options: {
    sockets: UdpSockets;
    path: Path;
    native: NativePool;
    calls: PacketCalls;
    posted: Posted;
    vteps: Vteps;
    joiner: Joiner;
    segmenter: Segmenter;
    bundler: Bundler;
    /** UDP_SEGMENT may be used */
    segment: boolean;
    bundle: boolean;
    batch: number;
    /** a refusal, and the VTEP that the datagram was for */
    onError: (errno: number, vtep: number) => void;
    /** the kernel or device refused UDP_SEGMENT; it is off from now on */
    onNoSegment: () => void;
  }) {
    this.sockets = options.sockets;
    this.#path = options.path;
    this.#native = options.native;
    this.#addon = options.calls;
    this.#posted = options.posted;
    this.#vteps = options.vteps;
    this.#joiner = options.joiner;
    this.#segmenter = options.segmenter;
    this.#bundler = options.bundler;
    this.#segment = options.segment;
    this.#bundle = options.bundle;
    this.#maxBatch = options.batch;
    this.#want = options.batch;
    this.#onError = options.onError;
    this.#onNoSegment = options.onNoSegment;
    this.#sourcePorts = Math.max(1, options.sockets.send4.length, options.sockets.send6.length);
    this.#laneFds = [...options.sockets.send4, ...options.sockets.send6];
    this.#ready = new Batch(options.path.pool.packets);
    this.#again = new Batch(options.path.pool.packets);
    this.#lanes = this.#laneFds.map(() => new Batch(options.path.pool.packets));
  }

  receive(into: Batch): void {
    for (const fd of this.sockets.receive) this.receiveFrom(fd, into);
  }

  /** What one of the receiving sockets has. */
  receiveFrom(fd: number, into: Batch): void {
    const { pool } = this.#path;
    const { list } = this.#posted;
    const ready = this.#posted.prepare(this.#want, DATAGRAM_AT);
    const count = this.#addon.udpReceive(this.#native.handle, fd, list, ready);
    const before = into.count;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const packet = list[i]!;
      bytes += pool.length[packet]!;
      if (pool.segment[packet]! > 0) this.#joiner.unglue(packet, into);
      else into.push(packet);
    }
    this.#posted.consume(count);
    if (count === 0) return;
    this.#want = nextReceive(count, bytes, this.#maxBatch);
    for (let i = before; i < into.count; i++) {
      if (pool.offload[into.packets[i]!] === 0) markUnfinished(pool, into.packets[i]!);
    }
  }

  transmit(batch: Batch): void {
    const path = this.#path;
    const { pool } = path;

    // 1. Super-packets are split (left glued when the kernel can segment), checksums finished.
    const ready = this.#ready;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['underlay.transmit'], pool.vtep[packet]!);
      pool.flow[packet]! %= this.#sourcePorts;
      const offload = pool.offload[packet]!;
      if ((offload & SEGMENT_ANY) !== 0) {
        if (this.#segment) this.#segmenter.glue(packet, ready, vxlan.HEADER);
        else this.#segmenter.segment(packet, ready, vxlan.HEADER);
      } else if ((offload & CHECKSUM_UNFINISHED) === 0 || finishChecksum(path, packet, this.#native)) {
        ready.push(packet);
      }
    }
    batch.count = 0;

    // 2. Datagrams of one size and flow leave together.
    if (this.#bundle && this.#segment && ready.count > 1) {
      this.#bundler.bundle(ready, MAX_SEGMENTS, MAX_BYTES);
    }

    // 3. Each flow by its own source port.
    this.#send(ready);
  }

  #send(ready: Batch): void {
    const { pool } = this.#path;
    const { send4, send6 } = this.sockets;
    for (let i = 0; i < ready.count; i++) {
      const packet = ready.packets[i]!;
      const ipv6 = this.#vteps.family(pool.vtep[packet]!) === 6;
      const fds = ipv6 ? send6 : send4;
      if (fds.length === 0) {
        // No address of the VTEP's family here; a bundle would have been marked on its first packet.
        this.#path.drop(packet, drop['vtep-unreachable']);
        continue;
      }
      const lane = (ipv6 ? send4.length : 0) + pool.flow[packet]!;
      this.#lanes[lane]!.push(packet);
    }
    ready.count = 0;
    for (let lane = 0; lane < this.#lanes.length; lane++) {
      const batch = this.#lanes[lane]!;
      if (batch.count > 0) this.#sendLane(this.#laneFds[lane]!, batch);
    }
  }

  #sendLane(fd: number, batch: Batch): void {
    const path = this.#path;
    const { pool, counters } = path;
    const { packets, count } = batch;
    const again = this.#again;
    for (let from = 0; from < count; ) {
      const { handle, status } = this.#native;
      const stopped = this.#addon.udpTransmit(handle, fd, this.#vteps.addresses, packets, from, count);
      for (; from < stopped; from++) {
        const packet = packets[from]!;
        counters.count(counters.vtepRow(pool.vtep[packet]!), TX_PACKETS, 1, pool.length[packet]!);
        pool.free(packet);
      }
      if (stopped >= count) break;
      const errno = status[1]!;
      const first = packets[from]!;
      const run = Math.max(1, pool.bundle[first]!);
      const segmented = run > 1 || pool.segment[first]! > 0;
      if (segmented && (errno === EIO || errno === EINVAL)) {
        // The device can't checksum, or the kernel is too old: single datagrams from now on, these ones first.
        if (this.#segment) this.#onNoSegment();
        this.#segment = false;
        for (const end = from + run; from < end; from++) this.#single(packets[from]!, again);
        continue;
      }
      this.#onError(errno, pool.vtep[first]!);
      for (const end = from + run; from < end; from++) path.drop(packets[from]!, datagramDrop(errno));
    }
    batch.count = 0;
    if (again.count > 0) {
      for (let i = 0; i < again.count; i++) batch.push(again.packets[i]!);
      again.count = 0;
      this.#sendLane(fd, batch);
    }
  }

  /** A packet that was to leave in a segmented send, as single datagrams. */
  #single(packet: number, out: Batch): void {
    const { pool } = this.#path;
    pool.bundle[packet] = 0;
    if (pool.segment[packet]! > 0) unglue(this.#path, packet, out);
    else out.push(packet);
  }

  close(): void {}
}
