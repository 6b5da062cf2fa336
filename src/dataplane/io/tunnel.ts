/**
 * The underlay on a second TAP (Linux 6.17 and later): encapsulated super-packets pass whole, in both directions,
 * and nobody splits them as long as the path below doesn't have to. Two tcx programs (tcx/) move frames
 * between that TAP and the real interface. What it can't carry goes by the UDP sockets, which are always there:
 * VTEPs whose next hop isn't known yet, and on arrival fragments and single datagrams.
 *
 *     transmit  outer headers → super-packets as they are, same-size datagrams as one outer-USO bundle → TAP
 *     receive   TAP → outer headers checked and stripped → glued datagrams joined, or one packet each
 */
import { Batch } from '../core/batch.js';
import { TX_PACKETS } from '../core/counters.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  DATAGRAM_AT,
  SEGMENT_ANY,
  SEGMENT_UDP,
} from '../core/pool.js';
import { hop } from '../core/tracer.js';
import type { Vteps } from '../core/vteps.js';
import * as checksums from '../wire/checksum.js';
import * as udp from '../wire/udp.js';
import * as vxlan from '../wire/vxlan.js';
import type { Underlay } from './device.js';
import { EBADFD, EINVAL } from './errno.js';
import type { OuterPasses } from './express/passes.js';
import type { NativePool, PacketCalls } from './native.js';
import { type Bundler, MAX_BYTES, MAX_SEGMENTS } from './offload/bundle.js';
import { finishChecksum } from './offload/finish-checksum.js';
import type { Joiner } from './offload/join.js';
import { sumOf } from './offload/sum.js';
import * as virtio from './offload/virtio.js';
import * as outer from './outer.js';
import { nextReceive, type Posted } from './posted.js';
import type { UdpUnderlay } from './udp.js';

/** TUN_F_* that make a TAP a tunnel device, on top of those of a workload's (tap.ts). */
export const TUN_F_UDP_TUNNEL_GSO = 0x80;
export const TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100;

/** RFC 6335 §6: the dynamic ports, out of which RFC 7348 §5 wants the source port. */
const SOURCE_PORTS_FROM = 49_152;
const SOURCE_PORTS = 16_384;

export class TunnelUnderlay implements Underlay {
  readonly kind = 'tunnel';
  readonly fd: number;
  readonly udp: UdpUnderlay;
  /** Set when the TAP is gone. */
  failedErrno = 0;
  readonly #path: Path;
  readonly #native: NativePool;
  readonly #addon: PacketCalls;
  readonly #posted: Posted;
  readonly #vteps: Vteps;
  readonly #joiner: Joiner;
  readonly #bundler: Bundler;
  readonly #bundle: boolean;
  readonly #here: outer.Here;
  readonly #sourcePorts: number;
  readonly #portStep: number;
  readonly #maxBatch: number;
  readonly #onError: (errno: number, vtep: number) => void;
  readonly #passes: OuterPasses | undefined;
  readonly #ready: Batch;
  readonly #arrived: Batch;
  readonly #bySocket: Batch;
  #want: number;

  constructor(options: {
    fd: number;
    udp: UdpUnderlay;
    path: Path;
    native: NativePool;
    calls: PacketCalls;
    posted: Posted;
    vteps: Vteps;
    joiner: Joiner;
    bundler: Bundler;
    bundle: boolean;
    here: outer.Here;
    /** how many source ports flows are spread over (see UnderlaySpec) */
    sourcePorts: number;
    batch: number;
    /** without them every packet goes the general way */
    passes?: OuterPasses;
    onError: (errno: number, vtep: number) => void;
  }) {
    this.fd = options.fd;
    this.udp = options.udp;
    this.#path = options.path;
    this.#native = options.native;
    this.#addon = options.calls;
    this.#posted = options.posted;
    this.#vteps = options.vteps;
    this.#joiner = options.joiner;
    this.#bundler = options.bundler;
    this.#bundle = options.bundle;
    this.#here = options.here;
    this.#sourcePorts = options.sourcePorts;
    this.#portStep = Math.floor(SOURCE_PORTS / options.sourcePorts);
    this.#maxBatch = options.batch;
    this.#want = options.batch;
    this.#onError = options.onError;
    this.#passes = options.passes;
    this.#ready = options.passes?.leaving ?? new Batch(options.path.pool.packets);
    this.#arrived = options.passes?.arriving ?? new Batch(options.path.pool.packets);
    this.#bySocket = new Batch(options.path.pool.packets);
  }

  receive(into: Batch): void {
    this.receiveTunnel(into);
    this.udp.receive(into);
  }

  /** What the TAP has. */
  receiveTunnel(into: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const { list } = this.#posted;
    const ready = this.#posted.prepare(this.#want, DATAGRAM_AT - outer.OUTER_IPV4);
    const count = this.#addon.tapReceive(
      this.#native.handle,
      this.fd,
      virtio.TUNNEL_HEADER_BYTES,
      list,
      ready,
    );
    if (this.#native.status[1] !== 0) this.failedErrno = this.#native.status[1]!;
    const arrived = this.#arrived;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const packet = list[i]!;
      bytes += pool.length[packet]!;
      if (virtio.readTunnelHeader(pool, packet)) arrived.push(packet);
      else path.drop(packet, drop['inner-malformed']);
    }
    const { packets } = arrived;
    for (let i = 0; i < arrived.count; i++) {
      const done = this.#passes === undefined ? i : this.#passes.strip(i, this.#here);
      for (; i < done; i++) into.push(packets[i]!);
      if (i === arrived.count) break;
      const packet = packets[i]!;
      // A bundle is segmented at its outer UDP header, a super-packet at the inner one.
      const glued =
        (pool.offload[packet]! & SEGMENT_UDP) !== 0 &&
        pool.checksumStart[packet]! < outer.OUTER_IPV6 + vxlan.HEADER;
      const refused = outer.strip(pool, packet, this.#here);
      if (refused !== 0) path.drop(packet, refused - 1);
      else if (glued) {
        pool.offload[packet] = 0;
        this.#joiner.unglue(packet, into);
      } else into.push(packet);
    }
    arrived.count = 0;
    this.#posted.consume(count);
    if (count > 0) {
      this.#want = nextReceive(count, bytes, this.#maxBatch);
    }
  }

  transmit(batch: Batch): void {
    const path = this.#path;
    const { pool } = path;

    // 1. Who can't be reached by the TAP is reached by the sockets.
    const ready = this.#ready;
    let singles = 0;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const vtep = pool.vtep[packet]!;
      if (!this.#vteps.isTunnel(vtep) || this.failedErrno !== 0) {
        this.#bySocket.push(packet);
        continue;
      }
      if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['underlay.transmit'], vtep);
      pool.flow[packet]! %= this.#sourcePorts;
      if ((pool.offload[packet]! & SEGMENT_ANY) === 0) singles++;
      ready.push(packet);
    }
    batch.count = 0;
    if (this.#bySocket.count > 0) this.udp.transmit(this.#bySocket);

    // 2. Same-size datagrams of a flow leave as one, which the kernel segments at the outer UDP header when it must.
    if (this.#bundle && singles > 1) this.#bundleSingles(ready);

    // 3. Outer headers, on the first of each bundle.
    const { packets, count } = ready;
    for (let i = 0; i < count; ) {
      const done = this.#passes === undefined ? i : this.#passes.write(i, this.#portStep);
      for (; i < done; i++)
        virtio.writeTunnelHeader(pool, packets[i]!, outer.OUTER_IPV4 + vxlan.HEADER, false);
      if (i === count) break;
      this.#writeOuter(packets, i);
      i += Math.max(1, pool.bundle[packets[i]!]!);
    }

    // 4. Out.
    for (let from = 0; from < count; ) {
      const { handle, status } = this.#native;
      const { fd } = this;
      const stopped = this.#addon.tapTransmit(handle, fd, virtio.TUNNEL_HEADER_BYTES, packets, from, count);
      while (from < stopped) from = this.#sent(packets, from);
      if (stopped >= count) break;
      const errno = status[1]!;
      const first = packets[from]!;
      this.#onError(errno, pool.vtep[first]!);
      if (errno === EBADFD) this.failedErrno = errno;
      const refused = errno === EINVAL || errno === EBADFD;
      const reason = drop[refused ? 'underlay-error' : 'underlay-busy'];
      for (const end = from + Math.max(1, pool.bundle[first]!); from < end; from++) {
        path.drop(packets[from]!, reason);
      }
    }
    ready.count = 0;
  }

  close(): void {}

  /** Counts and frees a packet, or bundle, that the TAP has taken; the index of the next. The outer headers don't count. */
  #sent(packets: Int32Array, from: number): number {
    const { pool, counters } = this.#path;
    const first = packets[from]!;
    const vtep = pool.vtep[first]!;
    const run = Math.max(1, pool.bundle[first]!);
    let bytes = this.#vteps.family(vtep) === 6 ? -outer.OUTER_IPV6 : -outer.OUTER_IPV4;
    for (let i = from; i < from + run; i++) {
      bytes += pool.length[packets[i]!]!;
      pool.free(packets[i]!);
    }
    counters.count(counters.vtepRow(vtep), TX_PACKETS, run, bytes);
    return from + run;
  }

  /** A bundle has one unfinished checksum, the outer one, so each inner checksum in it must be finished. */
  #bundleSingles(ready: Batch): void {
    this.#bundler.bundle(ready, MAX_SEGMENTS, MAX_BYTES);
    const { pool } = this.#path;
    for (let i = 0; i < ready.count; i++) {
      const run = pool.bundle[ready.packets[i]!]!;
      if (run < 2) continue;
      for (const end = i + run; i < end; i++) {
        const packet = ready.packets[i]!;
        if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) {
          // Columns that contradict the packet were refused when it came in, so this can't drop it.
          finishChecksum(this.#path, packet, this.#native);
        }
        pool.offload[packet]! &= ~CHECKSUM_VERIFIED;
      }
      i--;
    }
  }

  #writeOuter(packets: Int32Array, index: number): void {
    const { pool } = this.#path;
    const packet = packets[index]!;
    const run = pool.bundle[packet]!;
    const vtep = pool.vtep[packet]!;
    const ipVersion = this.#vteps.family(vtep);
    const size = pool.length[packet]!;
    let total = size;
    for (let i = 1; i < run; i++) total += pool.length[packets[index + i]!]!;
    const port = SOURCE_PORTS_FROM + pool.flow[packet]! * this.#portStep;
    outer.write(pool, packet, this.#vteps.rows, this.#vteps.outerAt(vtep), ipVersion, port, total);
    if (pool.ecn[packet] !== 0) outer.mark(pool, packet, ipVersion);

    const headers = ipVersion === 4 ? outer.OUTER_IPV4 : outer.OUTER_IPV6;
    const at = pool.offset[packet]!;
    const udpAt = at + headers - udp.HEADER;
    if (run > 1) {
      pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_UDP;
      pool.checksumStart[packet] = headers - udp.HEADER;
      pool.checksumOffset[packet] = 6;
      pool.segment[packet] = size;
      pool.headerLength[packet] = headers;
    }
    if ((pool.offload[packet]! & SEGMENT_ANY) !== 0) {
      // The pseudo-header's sum alone asks the kernel for a checksum in each segment, if it comes to segments. A
      // receiver's GRO glues only datagrams that have one (udp_gro_receive_segment).
      udp.writeChecksum(pool.bytes, udpAt, outer.pseudoHeader(pool.bytes, at, ipVersion, udp.HEADER + total));
    } else if (ipVersion === 6) {
      this.#checksum6(packet, at, udpAt, udp.HEADER + total);
    }
    virtio.writeTunnelHeader(pool, packet, headers + vxlan.HEADER, ipVersion === 6);
  }

  /** The outer UDP checksum of a single datagram, which IPv6 wants. */
  #checksum6(packet: number, at: number, udpAt: number, udpLength: number): void {
    const { pool } = this.#path;
    const { bytes } = pool;
    const pseudo = outer.pseudoHeader(bytes, at, 6, udpLength);
    // Local checksum offload: what an unfinished inner checksum covers will sum to the complement of what stands
    // in its field now, so the payload need not be read (Documentation/networking/checksum-offloads.rst, LCO).
    let sum: number;
    if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) {
      const start = at + pool.checksumStart[packet]!;
      const field = start + pool.checksumOffset[packet]!;
      const seed = (bytes[field]! << 8) | bytes[field + 1]!;
      sum = checksums.sum(bytes, udpAt, start - udpAt, checksums.fold(pseudo + checksums.finish(seed)));
    } else {
      sum = checksums.fold(pseudo + sumOf(pool, udpAt, udpLength, this.#native));
    }
    udp.writeChecksum(bytes, udpAt, udp.finishChecksum(sum));
  }
}
