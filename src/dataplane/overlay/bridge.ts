/**
 * The bridge of each network: decides for a frame where it goes.
 *
 *     forward   frames that workloads sent → answered here, to local ports, or to VTEPs
 *     deliver   frames that came out of the tunnel → to local ports only (split horizon)
 *
 * Both run in the order of the numbered steps below. A flood that finds too few free packets while others wait to
 * leave stops either: what is left in `frames` is for another call, once those have left.
 */
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { NO_PACKET, SEGMENT_ANY } from '../core/pool.js';
import { hop } from '../core/tracer.js';
import type { Vteps } from '../core/vteps.js';
import * as ethernet from '../wire/ethernet.js';
import type { Answerer } from './answer.js';
import { clampMss } from './clamp.js';
import { type Fdb, indexOf, isLocal, localTarget, NOWHERE, remoteTarget } from './fdb.js';
import { Fragmenter } from './fragment.js';
import type { Network, Networks } from './network.js';

export class Bridge {
  /** Seconds on the clock that the learned entries carry; the engine sets it once a turn. */
  nowSeconds = 0;

  readonly #path: Path;
  readonly #networks: Networks;
  readonly #fdb: Fdb;
  readonly #vteps: Vteps;
  readonly #answerer: Answerer;
  readonly #fragmenter: Fragmenter;

  // Frames come in runs: the last look-up and the last lesson are remembered for the length of a batch.
  #foundNetwork = 0;
  #foundHigh = 0;
  #foundLow = 0;
  #found = NOWHERE;
  #taughtNetwork = 0;
  #taughtHigh = 0;
  #taughtLow = 0;
  #taught = NOWHERE;

  constructor(path: Path, networks: Networks, fdb: Fdb, vteps: Vteps, answerer: Answerer) {
    this.#path = path;
    this.#networks = networks;
    this.#fdb = fdb;
    this.#vteps = vteps;
    this.#answerer = answerer;
    this.#fragmenter = new Fragmenter(path);
  }

  /** Frames from local ports (column `port`): each goes to `local` (`port` = whither), to `remote` (`vtep`, `network` set), or is dropped. */
  forward(frames: Batch, local: Batch, remote: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const { bytes, view, offset, length } = pool;
    let done = 0;
    this.#forget();
    for (; done < frames.count; done++) {
      const packet = frames.packets[done]!;
      const at = offset[packet]!;
      const port = pool.port[packet]!;

      // 1. A whole Ethernet header, from a workload that is attached, with a source that can be one.
      if (length[packet]! < ethernet.HEADER) {
        path.drop(packet, drop['runt-frame']);
        continue;
      }
      const network = this.#networks.ofPort(port);
      if (network === undefined) {
        path.drop(packet, drop['port-not-attached']);
        continue;
      }
      if (!canSend(view, at)) {
        path.drop(packet, drop['bad-source-mac']);
        continue;
      }
      pool.network[packet] = network.index;
      if (network.learning) this.#learn(network, at, localTarget(port));

      // 2. To everybody: what can be answered from the neighbour table is, the rest is flooded.
      if (ethernet.isMulticast(bytes, at)) {
        if (this.#answerer.resolve(packet, network)) local.push(packet);
        else if (this.#mustWait(network, local.count + remote.count)) break;
        else this.#flood(packet, network, local, remote);
        continue;
      }

      // 3. To one: the forwarding database knows where.
      const target = this.#find(network, at);
      if (target === NOWHERE) {
        if (!network.floodUnknown) path.drop(packet, drop['unknown-unicast']);
        else if (this.#mustWait(network, local.count + remote.count)) break;
        else this.#flood(packet, network, local, remote);
      } else if (isLocal(target)) {
        this.#toLocal(packet, port, indexOf(target), local);
      } else {
        this.#toRemote(packet, network, indexOf(target), local, remote);
      }
    }
    frames.keepFrom(done);
  }

  /** Frames from VTEPs (`network` and `vtep` set by decap): each goes to `local` or is dropped. */
  deliver(frames: Batch, local: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const { bytes, view, offset } = pool;
    let done = 0;
    this.#forget();
    for (; done < frames.count; done++) {
      const packet = frames.packets[done]!;
      const at = offset[packet]!;
      const network = this.#networks.at(pool.network[packet]!)!;

      // 1. A source that can be one; it is behind that VTEP.
      if (!canSend(view, at)) {
        path.drop(packet, drop['bad-source-mac']);
        continue;
      }
      const vtep = pool.vtep[packet]!;
      if (network.learning && vtep >= 0) this.#learn(network, at, remoteTarget(vtep));
      if (network.mssClamp) clampMss(path, packet, network.mtu);

      // 2. To the local port that has the address; to all of them when nobody is known to have it. Never back out.
      pool.port[packet] = -1;
      if (!ethernet.isMulticast(bytes, at)) {
        const target = this.#find(network, at);
        if (target !== NOWHERE) {
          if (isLocal(target)) this.#toLocal(packet, -1, indexOf(target), local);
          else path.drop(packet, drop['not-here']);
          continue;
        }
      }
      if (this.#mustWait(network, local.count)) break;
      this.#floodLocal(packet, network, -1, local, false);
    }
    frames.keepFrom(done);
  }

  /** Whether a flood should wait for `waiting` packets to leave, which gives it theirs to copy to. */
  #mustWait({ vteps, ports }: Network, waiting: number): boolean {
    return waiting > 0 && this.#path.pool.room < vteps.length + ports.length;
  }

  #forget(): void {
    this.#foundNetwork = 0;
    this.#taughtNetwork = 0;
  }

  /** Target of the frame at `at`, or NOWHERE. */
  #find(network: Network, at: number): number {
    const { view } = this.#path.pool;
    const high = view.getUint16(at, true);
    const low = view.getInt32(at + 2, true);
    if (network.index === this.#foundNetwork && low === this.#foundLow && high === this.#foundHigh) {
      return this.#found;
    }
    this.#foundNetwork = network.index;
    this.#foundHigh = high;
    this.#foundLow = low;
    this.#found = this.#fdb.findNative(network.index, high, low);
    return this.#found;
  }

  #learn(network: Network, at: number, target: number): void {
    const { view } = this.#path.pool;
    const high = ethernet.highOf(view, at + ethernet.SOURCE);
    const low = ethernet.lowOf(view, at + ethernet.SOURCE);
    const same =
      network.index === this.#taughtNetwork && low === this.#taughtLow && high === this.#taughtHigh;
    if (same && target === this.#taught) return;
    this.#taughtNetwork = network.index;
    this.#taughtHigh = high;
    this.#taughtLow = low;
    this.#taught = target;
    if (!this.#fdb.learn(network.index, high, low, target, this.nowSeconds)) return;
    this.#path.counters.add('learned');
    // What was just learned may be what was looked up before in vain.
    this.#foundNetwork = 0;
  }

  #toLocal(packet: number, from: number, to: number, local: Batch): void {
    const path = this.#path;
    if (to === from) {
      path.drop(packet, drop['same-port']);
      return;
    }
    path.pool.port[packet] = to;
    if (path.pool.trace[packet] !== 0) path.tracer.note(packet, hop['bridge.local'], to);
    local.push(packet);
  }

  /** To a VTEP if the path takes it; otherwise in fragments, or the sender is told, and the answer goes back to its port. */
  #toRemote(packet: number, network: Network, vtep: number, local: Batch, remote: Batch): void {
    const path = this.#path;
    const { pool } = path;
    if (network.mssClamp) clampMss(path, packet, network.mtu);
    const largest = this.#vteps.largestFrame(vtep);
    pool.vtep[packet] = vtep;
    if (onWire(pool, packet) > largest) {
      if (!this.#fragmenter.fragment(packet, largest, remote)) this.#answerer.tooBig(packet, largest, local);
      return;
    }
    if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['bridge.remote'], vtep);
    remote.push(packet);
  }

  /** Head-end replication: a copy to each other local port and each VTEP of the network, the packet itself to the last. */
  #flood(packet: number, network: Network, local: Batch, remote: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const { vteps } = network;
    if (pool.trace[packet] !== 0) {
      path.tracer.note(packet, hop['bridge.flood'], vteps.length + network.ports.length - 1);
    }
    if (vteps.length === 0) {
      this.#floodLocal(packet, network, pool.port[packet]!, local, false);
      return;
    }
    this.#floodLocal(packet, network, pool.port[packet]!, local, true);
    for (let i = 0; i < vteps.length - 1; i++) {
      const copy = pool.copy(packet);
      if (copy === NO_PACKET) path.counters.drop(drop['no-packet']);
      else this.#toRemote(copy, network, vteps[i]!, local, remote);
    }
    if (vteps.length > 1) path.counters.add('flooded');
    this.#toRemote(packet, network, vteps[vteps.length - 1]!, local, remote);
  }

  /** To each local port but `from`. Unless `keep`, the packet itself goes to the last of them, or is dropped when there is none. */
  #floodLocal(packet: number, network: Network, from: number, local: Batch, keep: boolean): void {
    const path = this.#path;
    const { pool } = path;
    const { ports } = network;
    let last = -1;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      if (port === from) continue;
      if (last >= 0) this.#copyTo(packet, last, local);
      last = port;
    }
    if (keep) {
      if (last >= 0) this.#copyTo(packet, last, local);
    } else if (last < 0) {
      path.drop(packet, drop['flood-nowhere']);
    } else {
      pool.port[packet] = last;
      local.push(packet);
    }
  }

  #copyTo(packet: number, port: number, local: Batch): void {
    const { pool, counters } = this.#path;
    const copy = pool.copy(packet);
    if (copy === NO_PACKET) {
      counters.drop(drop['no-packet']);
      return;
    }
    pool.port[copy] = port;
    counters.add('flooded');
    local.push(copy);
  }
}

/** Bytes of the longest frame that the packet makes on the wire: a super-packet's segments are shorter than itself. */
function onWire(pool: Path['pool'], packet: number): number {
  return (pool.offload[packet]! & SEGMENT_ANY) !== 0
    ? pool.headerLength[packet]! + pool.segment[packet]!
    : pool.length[packet]!;
}

/** Whether the frame's source can be one: not a group's address, and not zero. */
function canSend(view: DataView, at: number): boolean {
  const high = ethernet.highOf(view, at + ethernet.SOURCE);
  return (high & 0x0100) === 0 && (high | ethernet.lowOf(view, at + ethernet.SOURCE)) !== 0;
}
