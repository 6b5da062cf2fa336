/**
 * An engine to throw bytes at, with devices in memory that do all that the real ones do in JavaScript. Every other
 * slot of its pool is a guard; a twin whose memory is filled otherwise must do the same with the same bytes, or
 * something was read that is not the packet's.
 */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { drop } from '../../src/dataplane/core/drops.js';
import type { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  DATAGRAM_AT,
  FRAME_AT,
  NO_PACKET,
  Pool,
  SEGMENT_ANY,
  SEGMENT_UDP,
  SLOT_BYTES,
  VIRTIO_BYTES,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { Engine } from '../../src/dataplane/engine.js';
import type { Device, Underlay } from '../../src/dataplane/io/device.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { type CoalesceOptions, Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { finishChecksum } from '../../src/dataplane/io/offload/finish-checksum.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import { markUnfinished } from '../../src/dataplane/io/offload/unfinished.js';
import * as virtio from '../../src/dataplane/io/offload/virtio.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { writeSender } from '../../src/dataplane/io/sockaddr.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import { Fdb, localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import { virtualMac } from '../../src/dataplane/virtual-mac.js';
import { mapped, type Words } from '../../src/dataplane/wire/ipv6.js';
import { testDefence } from '../ipvs/defence-memory.js';
import { MOST_BYTES } from './mutate.js';
import type { Virtio } from './seeds.js';

const SLOTS = 32;
const PACKETS = 4096;
const GUARDED = 512;
const PATIENCE_MS = 5_000;
const LOG_BYTES = 1 << 22;
const HIGH = 0x0242;
const [WORKLOAD, PEER] = [0x0a000002, 0x0a000003];

/** By which a packet comes: ports 0 to 3, the sockets, the tunnel TAP. */
export const ENTRANCES = ['port 0', 'port 1', 'port 2', 'port 3', 'sockets', 'tunnel'] as const;
export const PORTS = 4;
export const SOCKETS = 4;
export const TUNNEL = 5;

export const HERE: outer.Here = { address4: 0x0a000001, address6: [0xfd000000 | 0, 0, 0, 1], port: 4789 };
const SENDERS = [
  [10, 0, 0, 2],
  [0xfd, ...Array<number>(14).fill(0), 3],
  [10, 9, 9, 9],
].map((address) => Uint8Array.from(address));

export interface Input {
  entrance: number;
  bytes: Uint8Array;
  length: number;
  virtio: Virtio;
  /** sockets: number of the sender, and bytes of each of several datagrams that came as one */
  sender: number;
  glued: number;
}

export class Target {
  readonly pool = new Pool(SLOTS, PACKETS);
  readonly engine: Engine;
  readonly counters = new Counters(PORTS, 8);
  /** What a slot holds that nobody uses. */
  readonly #filler: Buffer;
  readonly #guards: number[] = [];
  readonly #fdb: Fdb;
  readonly #vteps: Vteps;
  readonly #taps: FuzzTap[];
  readonly #underlay: FuzzUnderlay;
  readonly log = Buffer.alloc(LOG_BYTES);
  logged = 0;
  left = 0;
  now = 0;

  /** @param flip for a twin whose memory has no bit in common: 0xff */
  constructor(flip: number) {
    const { pool, counters } = this;
    const random = new Random(1);
    this.#filler = Buffer.from(Array.from({ length: SLOT_BYTES }, () => random.below(256) ^ flip));
    this.refill();
    const all = Array.from({ length: SLOTS }, () => pool.take());
    for (const packet of all) {
      if (pool.slot[packet]! % 2 === 0) this.#guards.push(packet);
      else pool.free(packet);
    }
    this.#fdb = new Fdb(Fdb.allocate(16));
    const neighbours = new Neighbours(Neighbours.allocate(64));
    const vteps = new Vteps(Vteps.allocate(8));
    this.#vteps = vteps;
    vteps.setDefaults(4789, 1500);
    const far = [vteps.add(4, 0x0a000002, 0, 0, 0), vteps.add(6, 0xfd000000 | 0, 0, 0, 3)];
    vteps.setPathMtu(far[1]!, 1400);
    const ends = { sourceMac: { high: 2, low: 1 }, nextHopMac: { high: 2, low: 2 }, port: 4789 };
    const none = [0, 0, 0] as const;
    vteps.openTunnel(
      far[0]!,
      outer.template({
        ...ends,
        family: 4,
        source: [0x0a000001, ...none],
        destination: [0x0a000002, ...none],
      }),
    );
    vteps.openTunnel(
      far[1]!,
      outer.template({ ...ends, family: 6, source: HERE.address6!, destination: [0xfd000000 | 0, 0, 0, 3] }),
    );
    for (const n of [2, 3]) {
      neighbours.set(1, [0, 0, 0xffff, 0x0a000000 + n], HIGH, 0x0a000000 + n);
      neighbours.set(1, [0xfd000000 | 0, 0, 0, n], HIGH, 0x0a000000 + n);
    }
    this.#fdb.setStatic(1, HIGH, PEER, remoteTarget(far[0]!));
    this.#fdb.setStatic(1, HIGH, WORKLOAD, localTarget(1));
    this.#fdb.setStatic(2, HIGH, PEER, localTarget(3));
    this.#fdb.setStatic(2, HIGH, WORKLOAD, remoteTarget(far[1]!));
    const engine = new Engine({
      pool,
      counters,
      fdb: this.#fdb,
      neighbours,
      vteps,
      virtualServer: {
        connections: Connections.allocate(512),
        destinations: DestinationCounts.allocate(64),
        extras: Extras.allocate(16),
        defence: testDefence(512),
        traffic: [Traffic.allocate(64)],
        seed: 1,
      },
      clock: () => this.now,
    });
    this.engine = engine;
    this.#serve(neighbours);
    const common = { mtu: 1450, mssClamp: true };
    engine.networks.set({
      ...common,
      index: 1,
      vni: 5,
      learning: true,
      floodUnknown: true,
      groupPolicy: -1,
      ports: [0, 1, 2],
      vteps: far,
    });
    engine.networks.set({
      ...common,
      index: 2,
      vni: 6,
      learning: false,
      floodUnknown: false,
      groupPolicy: 7,
      ports: [3],
      vteps: [far[0]!],
    });
    const all3 = { tcp4: true, tcp6: true, udp: true };
    this.#taps = [
      new FuzzTap(this, 0, true, SEGMENT_ANY, all3),
      new FuzzTap(this, 1, false, 0, undefined),
      new FuzzTap(this, 2, true, SEGMENT_ANY & ~SEGMENT_UDP, { ...all3, udp: false }),
      new FuzzTap(this, 3, true, SEGMENT_ANY, all3),
    ];
    for (const [port, tap] of this.#taps.entries()) engine.attach(port, tap);
    this.#underlay = new FuzzUnderlay(this, vteps);
    engine.setUnderlay(this.#underlay);
  }

  /** Services of network 1, each at a workload here, one there, one that nobody knows, and the client itself. */
  #serve(neighbours: Neighbours): void {
    const { services, inNetworks } = this.engine.virtualServer!;
    let index = 0;
    for (const family of [4, 6] as const) {
      const words = (n: number): Words =>
        family === 4 ? [0x0a000000 | n, 0, 0, 0] : [0xfd000000 | 0, 0, 0, n];
      const address = words(family === 4 ? 100 : 0x100);
      const { high, low } = virtualMac(family, address);
      neighbours.set(1, family === 4 ? mapped(address[0]) : address, high, low);
      for (const protocol of [6, 17, 132]) {
        const row = 8 * index;
        services.set(
          {
            ...{
              index,
              network: 1,
              family,
              protocol,
              address,
              port: 80,
              scheduler: 'rr',
              slowStartSeconds: 0,
            },
            ...{ preferNear: false, timeouts: { tcp: 0, tcpFin: 0, udp: 0 } },
            flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 60 },
            destinations: [2, 3, 9].map((n, i) => ({
              ...{
                row: row + i,
                family,
                address: words(n),
                port: 8080,
                weight: 1,
                forward: 'nat',
                near: false,
              },
              ...{
                tunnel: { type: 'ipip', port: 0, checksum: 'none' },
                upperThreshold: 0,
                lowerThreshold: 0,
              },
            })),
          },
          0,
        );
        index++;
      }
    }
    inNetworks.direct([1]);
  }

  /** All memory filled anew, and every guard looked at. */
  refill(): string {
    const fault = this.#guardsTouched(SLOT_BYTES);
    for (let at = 0; at < this.pool.bytes.length; at += SLOT_BYTES) this.pool.bytes.set(this.#filler, at);
    return fault;
  }

  /** Learned entries go now and then, so that there is something to learn. */
  forget(): void {
    this.#fdb.sweep(() => true);
    for (const vtep of this.#vteps.used()) if (!this.#vteps.isTunnel(vtep)) this.#vteps.remove(vtep);
  }

  /** What it did with the packets stands in `log`. Returns what is wrong, or ''. */
  run(inputs: readonly Input[]): string {
    this.logged = 0;
    this.left = 0;
    const before = this.#dropped();
    let came = 0;
    for (const input of inputs) came += this.#put(input) ? 1 : 0;
    this.engine.beginTurn();
    for (let port = 0; port < PORTS; port++) this.engine.fromPort(port);
    this.engine.fromUnderlay((into) => this.#underlay.receive(into));
    // What waits for a MAC, or for the first fragment, does so in vain.
    this.now += PATIENCE_MS;
    this.engine.beginTurn();
    const lost = this.#dropped() - before;
    this.note(-1, lost);
    if (this.pool.allocated !== this.#guards.length)
      return `${this.pool.allocated - this.#guards.length} leaked`;
    if (this.left + lost < came) return `${came} came, ${this.left} left, ${lost} were dropped`;
    return this.#guardsTouched(GUARDED);
  }

  /** A packet left by a port or to a VTEP. */
  logPacket(to: number, packet: number, skip: number): void {
    const { pool } = this;
    const at = pool.offset[packet]!;
    const length = pool.length[packet]!;
    if (length < 0 || at < pool.slotStart(packet) || at + length > pool.slotStart(packet) + SLOT_BYTES) {
      throw new Error(`packet at ${at - pool.slotStart(packet)}, ${length} bytes`);
    }
    this.left++;
    this.note(to, length);
    const size = Math.min(length - skip, LOG_BYTES - this.logged);
    if (size > 0) this.log.set(pool.bytes.subarray(at + skip, at + skip + size), this.logged);
    this.logged += Math.max(0, size);
    const record = packet * VIRTIO_BYTES;
    for (let i = 0; i < 24; i += 4) this.note(0, pool.virtio.getInt32(record + i));
  }

  note(a: number, b: number): void {
    if (this.logged + 8 > LOG_BYTES) return;
    this.log.writeInt32LE(a, this.logged);
    this.log.writeInt32LE(b | 0, this.logged + 4);
    this.logged += 8;
  }

  #put({ entrance, bytes, length, virtio: header, sender, glued }: Input): boolean {
    const { pool } = this;
    const at =
      entrance === TUNNEL ? DATAGRAM_AT - outer.OUTER_IPV4 : entrance === SOCKETS ? DATAGRAM_AT : FRAME_AT;
    const packet = pool.take(at);
    if (packet === NO_PACKET) return false;
    const slot = pool.slotStart(packet);
    pool.bytes.set(this.#filler.subarray(0, FRAME_AT + MOST_BYTES + GUARDED), slot);
    pool.bytes.set(bytes.subarray(0, length), pool.offset[packet]!);
    pool.length[packet] = length;
    const record = packet * VIRTIO_BYTES;
    for (let i = 0; i < VIRTIO_BYTES; i += 4) pool.virtio.setInt32(record + i, 0);
    if (entrance === SOCKETS) {
      writeSender(pool.view, slot, SENDERS[sender]!, 50_000);
      pool.segment[packet] = glued;
      this.#underlay.fromSockets.push(packet);
      return true;
    }
    pool.virtio.setUint8(record, header.flags);
    pool.virtio.setUint8(record + 1, header.gso);
    pool.virtio.setUint16(record + 2, header.headerLength, true);
    pool.virtio.setUint16(record + 4, header.size, true);
    pool.virtio.setUint16(record + 6, header.start, true);
    pool.virtio.setUint16(record + 8, header.offset, true);
    if (entrance === TUNNEL) {
      pool.virtio.setUint16(record + 20, 34, true);
      pool.virtio.setUint16(record + 22, 64, true);
      this.#underlay.fromTunnel.push(packet);
    } else this.#taps[entrance]!.waiting.push(packet);
    return true;
  }

  #dropped(): number {
    let sum = 0;
    for (let code = 0; code < 64; code++) sum += this.counters.cells[code]!;
    return sum;
  }

  #guardsTouched(bytes: number): string {
    const { pool } = this;
    const filler = this.#filler;
    for (const packet of this.#guards) {
      const from = pool.slotStart(packet);
      const to = from + SLOT_BYTES;
      const same = filler.compare(pool.bytes, from, from + bytes, 0, bytes) === 0;
      if (!same || filler.compare(pool.bytes, to - bytes, to, SLOT_BYTES - bytes) !== 0) {
        return `guard ${packet} was written to`;
      }
    }
    return '';
  }
}

/** As io/tap.ts, without its system calls. */
class FuzzTap implements Device {
  readonly waiting: Batch;
  readonly #target: Target;
  readonly #port: number;
  readonly #checksum: boolean;
  readonly #supers: number;
  readonly #merge: CoalesceOptions | undefined;
  readonly #lowered: Batch;
  #tools: { segmenter: Segmenter; coalescer: Coalescer } | undefined;

  constructor(
    target: Target,
    port: number,
    checksum: boolean,
    supers: number,
    merge: CoalesceOptions | undefined,
  ) {
    this.waiting = new Batch(PACKETS);
    this.#lowered = new Batch(PACKETS);
    this.#target = target;
    this.#port = port;
    this.#checksum = checksum;
    this.#supers = supers;
    this.#merge = merge;
  }

  receive(into: Batch): void {
    const { path } = this.#target.engine;
    for (let i = 0; i < this.waiting.count; i++) {
      const packet = this.waiting.packets[i]!;
      path.pool.port[packet] = this.#port;
      if (virtio.readHeader(path.pool, packet)) into.push(packet);
      else path.drop(packet, drop['inner-malformed']);
    }
    this.waiting.count = 0;
  }

  transmit(batch: Batch): void {
    const { path } = this.#target.engine;
    const { pool } = path;
    this.#tools ??= { segmenter: new Segmenter(path), coalescer: new Coalescer(path) };
    const out = this.#lowered;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      if ((pool.offload[packet]! & SEGMENT_ANY & ~this.#supers) !== 0) {
        // A super-packet that can't be split is counted by the segmenter.
        if (this.#tools.segmenter.segment(packet, out)) this.#target.left++;
      } else if (this.#checksum || finishChecksum(path, packet)) out.push(packet);
    }
    batch.count = 0;
    if (this.#merge !== undefined) this.#tools.coalescer.coalesce(out, this.#merge);
    for (let i = 0; i < out.count; ) {
      const first = out.packets[i]!;
      virtio.writeHeader(pool, first);
      const skip = pool.bundleSkip[first]!;
      const run = Math.max(1, pool.bundle[first]!);
      this.#target.logPacket(this.#port, first, 0);
      for (let k = 1; k < run; k++) this.#target.logPacket(this.#port, out.packets[i + k]!, skip);
      i += run;
    }
    out.release(pool);
  }

  close(): void {}
}

/** As io/udp.ts to VTEPs of odd number, as io/tunnel.ts to the others. */
class FuzzUnderlay implements Underlay {
  readonly kind = 'pair';
  readonly fromSockets: Batch;
  readonly fromTunnel: Batch;
  readonly #target: Target;
  readonly #vteps: Vteps;
  readonly #ready: Batch;
  #tools: { segmenter: Segmenter; bundler: Bundler } | undefined;
  #joiner: Joiner | undefined;

  constructor(target: Target, vteps: Vteps) {
    this.fromSockets = new Batch(PACKETS);
    this.fromTunnel = new Batch(PACKETS);
    this.#ready = new Batch(PACKETS);
    this.#target = target;
    this.#vteps = vteps;
  }

  receive(into: Batch): void {
    const { path } = this.#target.engine;
    const { pool } = path;
    this.#joiner ??= new Joiner(path);
    this.#joiner.joins = { tcp4: true, tcp6: true, udp: true };
    for (let i = 0; i < this.fromTunnel.count; i++) {
      const packet = this.fromTunnel.packets[i]!;
      if (!virtio.readTunnelHeader(pool, packet)) {
        path.drop(packet, drop['inner-malformed']);
        continue;
      }
      const glued = (pool.offload[packet]! & SEGMENT_UDP) !== 0 && pool.checksumStart[packet]! < 70;
      const refused = outer.strip(pool, packet, HERE);
      if (refused !== 0) path.drop(packet, refused - 1);
      else if (glued) {
        pool.offload[packet] = 0;
        this.#joiner.unglue(packet, into);
      } else into.push(packet);
    }
    this.fromTunnel.count = 0;
    const before = into.count;
    for (let i = 0; i < this.fromSockets.count; i++) {
      const packet = this.fromSockets.packets[i]!;
      if (pool.segment[packet]! > 0) this.#joiner.unglue(packet, into);
      else into.push(packet);
    }
    this.fromSockets.count = 0;
    for (let i = before; i < into.count; i++) {
      if (pool.offload[into.packets[i]!] === 0) markUnfinished(pool, into.packets[i]!);
    }
  }

  transmit(batch: Batch): void {
    const { path } = this.#target.engine;
    const { pool } = path;
    this.#tools ??= { segmenter: new Segmenter(path), bundler: new Bundler(path) };
    const ready = this.#ready;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const vtep = pool.vtep[packet]!;
      if (vtep % 2 === 0 && this.#vteps.isTunnel(vtep)) this.#tunnel(path, packet, vtep);
      else if ((pool.offload[packet]! & SEGMENT_ANY) === 0) {
        if (finishChecksum(path, packet)) ready.push(packet);
      } else if (pool.flow[packet]! % 2 === 0) this.#tools.segmenter.glue(packet, ready, 8);
      else this.#tools.segmenter.segment(packet, ready, 8);
    }
    batch.count = 0;
    this.#tools.bundler.bundle(ready, 64, 65_507);
    for (let i = 0; i < ready.count; i++) {
      const packet = ready.packets[i]!;
      this.#target.note(pool.flow[packet]!, pool.bundle[packet]!);
      this.#target.logPacket(100 + pool.vtep[packet]!, packet, 0);
    }
    ready.release(pool);
  }

  close(): void {}

  #tunnel({ pool }: Path, packet: number, vtep: number): void {
    const family = this.#vteps.family(vtep);
    const outerAt = this.#vteps.outerAt(vtep);
    const port = 49_152 + (pool.flow[packet]! & 0x3fff);
    outer.write(pool, packet, this.#vteps.rows, outerAt, family, port, pool.length[packet]!);
    virtio.writeTunnelHeader(pool, packet, family === 4 ? 50 : 70, family === 6);
    if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0)
      this.#target.note(-2, pool.checksumStart[packet]!);
    this.#target.logPacket(200 + vtep, packet, 0);
    pool.free(packet);
  }
}
