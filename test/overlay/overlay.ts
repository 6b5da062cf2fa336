/** The overlay of one host without devices: frames go in, and what came out where, and what was dropped, are values. */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import type { DropReason } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, FRAME_AT, Pool } from '../../src/dataplane/core/pool.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { writeSender } from '../../src/dataplane/io/sockaddr.js';
import { Answerer } from '../../src/dataplane/overlay/answer.js';
import { Bridge } from '../../src/dataplane/overlay/bridge.js';
import { Decap } from '../../src/dataplane/overlay/decap.js';
import { Fdb, localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import { type Network, Networks } from '../../src/dataplane/overlay/network.js';

/** A frame that left: by which port or to which VTEP. */
export interface Left {
  to: number;
  bytes: Uint8Array;
}

export interface Outcome {
  local: Left[];
  remote: Left[];
  /** of this call, those that aren't 0 */
  drops: Partial<Record<DropReason, number>>;
}

/** The MAC 02:42:00:00:00:n, whole and in its two halves. */
export const mac = (n: number): number[] => [2, 0x42, 0, 0, 0, n];
export const HIGH = 0x0242;
export const BROADCAST = Array<number>(6).fill(0xff);

/** A frame of an EtherType that means nothing, `length` bytes long. */
export const plain = (to: number[], from: number[], length = 60): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => [...to, ...from, 0x88, 0xb5][i] ?? i & 255);

export const nets = (part: Partial<Network> & { index: number }): Network => ({
  vni: 100 + part.index,
  mtu: 1450,
  learning: false,
  floodUnknown: true,
  mssClamp: false,
  groupPolicy: -1,
  ports: [],
  vteps: [],
  ...part,
});

export class Overlay {
  readonly pool: Pool;
  readonly path: Path;
  readonly networks = new Networks();
  readonly fdb = new Fdb(Fdb.allocate(64));
  readonly neighbours = new Neighbours(Neighbours.allocate(64));
  readonly vteps = new Vteps(Vteps.allocate(8));
  readonly bridge: Bridge;
  readonly decapsulator: Decap;
  readonly local: Batch;
  readonly remote: Batch;
  readonly #batch: Batch;
  #dropsBefore: Record<string, number> = {};

  constructor(slots = 32) {
    this.pool = new Pool(slots);
    this.pool.bytes.fill(0xa5);
    this.path = new Path(this.pool, new Counters(16, 8));
    const answerer = new Answerer(this.path, this.neighbours);
    this.bridge = new Bridge(this.path, this.networks, this.fdb, this.vteps, answerer);
    this.decapsulator = new Decap(this.path, this.networks, this.vteps);
    this.local = new Batch(this.pool.packets);
    this.remote = new Batch(this.pool.packets);
    this.#batch = new Batch(this.pool.packets);
    this.vteps.setDefaults(4789, 1500);
  }

  /** The VTEP 10.0.0.n, or fd00::n. */
  vtep(n: number, family: 4 | 6 = 4): number {
    return family === 4
      ? this.vteps.add(4, 0x0a000000 | n, 0, 0, 0)
      : this.vteps.add(6, 0xfd000000 | 0, 0, 0, n);
  }

  network(part: Partial<Network> & { index: number }): Network {
    const network = nets(part);
    this.networks.set(network);
    return network;
  }

  at(network: number, n: number, where: { port: number } | { vtep: number }): void {
    const target = 'port' in where ? localTarget(where.port) : remoteTarget(where.vtep);
    this.fdb.setStatic(network, HIGH, n, target);
  }

  put(bytes: Uint8Array, at = FRAME_AT): number {
    const packet = this.pool.take(at);
    this.pool.bytes.set(bytes, this.pool.offset[packet]);
    this.pool.length[packet] = bytes.length;
    return packet;
  }

  /** A frame from a workload; `change` may set its offload columns. */
  forward(port: number, frame: Uint8Array, change?: (packet: number) => void): Outcome {
    const packet = this.put(frame);
    this.pool.port[packet] = port;
    change?.(packet);
    this.#batch.push(packet);
    this.bridge.forward(this.#batch, this.local, this.remote);
    return this.outcome();
  }

  /** A frame that decap has brought. */
  deliver(network: number, vtep: number, frame: Uint8Array): Outcome {
    const packet = this.put(frame);
    this.pool.network[packet] = network;
    this.pool.vtep[packet] = vtep;
    this.#batch.push(packet);
    this.bridge.deliver(this.#batch, this.local);
    return this.outcome();
  }

  /** A datagram from 10.0.0.n or fd00::n; its frame comes out as `local`, with the number of its VTEP. */
  decap(datagram: Uint8Array, n = 2, family: 4 | 6 = 4, change?: (packet: number) => void): Outcome {
    const packet = this.put(datagram, DATAGRAM_AT);
    const sender = family === 4 ? [10, 0, 0, n] : [0xfd, ...Array<number>(14).fill(0), n];
    writeSender(this.pool.view, this.pool.slotStart(packet), Uint8Array.from(sender), 50_000);
    change?.(packet);
    this.#batch.push(packet);
    this.decapsulator.decap(this.#batch, this.local);
    for (let i = 0; i < this.local.count; i++) {
      const frame = this.local.packets[i]!;
      this.pool.port[frame] = this.pool.vtep[frame]!;
    }
    return this.outcome();
  }

  /** What the calls so far have brought; its packets are freed. */
  outcome(): Outcome {
    const { pool } = this;
    const left = (batch: Batch, to: Int32Array) => {
      const all = Array.from(batch.packets.subarray(0, batch.count), (packet) => ({
        to: to[packet]!,
        bytes: pool.bytes.slice(pool.offset[packet], pool.offset[packet]! + pool.length[packet]!),
      }));
      batch.release(pool);
      return all;
    };
    const local = left(this.local, pool.port);
    const remote = left(this.remote, pool.vtep);
    const now = this.path.counters.drops();
    const drops = Object.fromEntries(
      Object.entries(now)
        .map(([reason, count]) => [reason, count - (this.#dropsBefore[reason] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
    this.#dropsBefore = now;
    return { local, remote, drops };
  }
}

/** Where frames went, when what they were is known. */
export const whither = ({ local, remote, drops }: Outcome) => ({
  local: local.map(({ to }) => to).sort((a, b) => a - b),
  remote: remote.map(({ to }) => to).sort((a, b) => a - b),
  drops,
});
