/**
 * A data plane's tables and a batch of frames in memory, as the C reference has them (bench/reference/overlay.c):
 * one network with n workloads, frames of 114 bytes to them, in batches of 256.
 */
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { FRAME_AT, Pool } from '../../src/dataplane/core/pool.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Answerer } from '../../src/dataplane/overlay/answer.js';
import { Bridge } from '../../src/dataplane/overlay/bridge.js';
import { Fdb, localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import { type Network, Networks } from '../../src/dataplane/overlay/network.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';

export const BATCH = 256;
export const FRAME_BYTES = 114;
export const VNI = 4097;
export const PORT = 4789;
/** Where the frames of the batch come from. */
export const PORT_IN = 0;
export const HERE = 0x0a000001;
export const THERE = 0x0a000002;
export const MAC_HIGH = 0x0242;

/** Lower 32 bits of the i-th workload's MAC. */
export const macLow = (i: number): number => Math.imul(i, 0x9e3779b1);

export interface Stage {
  path: Path;
  pool: Pool;
  fdb: Fdb;
  networks: Networks;
  neighbours: Neighbours;
  vteps: Vteps;
  bridge: Bridge;
  batch: Batch;
  /** packets of the batch, in order */
  packets: number[];
}

export const network = (index = 1, ports = [0, 1]): Network => ({
  ...{ index, vni: VNI + index - 1, mtu: 1500, learning: false, floodUnknown: true, mssClamp: false },
  ...{ groupPolicy: -1, ports, vteps: [0] },
});

/** @param where the workloads: behind the one VTEP, or on port 1 */
export function stage(n: number, where: 'remote' | 'local'): Stage {
  const pool = new Pool(BATCH * 2);
  const path = new Path(pool, new Counters(8, 8));
  const fdb = new Fdb(Fdb.allocate(n));
  const target = where === 'remote' ? remoteTarget(0) : localTarget(1);
  for (let i = 0; i < n; i++) fdb.setStatic(1, MAC_HIGH, macLow(i), target);
  const networks = new Networks();
  networks.set(network());
  const neighbours = new Neighbours(Neighbours.allocate(16));
  const vteps = new Vteps(Vteps.allocate(16));
  vteps.setDefaults(PORT, 1550);
  const peer = where === 'remote' ? THERE : HERE;
  const vtep = vteps.add(4, peer, 0, 0, 0);
  vteps.openTunnel(
    vtep,
    outer.template({
      ...{ family: 4, port: PORT, source: [HERE, 0, 0, 0], destination: [THERE, 0, 0, 0] },
      ...{ sourceMac: { high: 0x0200, low: 1 }, nextHopMac: { high: 0x0200, low: 2 } },
    }),
  );
  const bridge = new Bridge(path, networks, fdb, vteps, new Answerer(path, neighbours));
  const batch = new Batch(pool.packets);
  const packets: number[] = [];
  for (let i = 0; i < BATCH; i++) {
    const packet = pool.take();
    pool.length[packet] = FRAME_BYTES;
    pool.port[packet] = PORT_IN;
    writeFrame(pool.bytes, pool.offset[packet]!, n, i);
    packets.push(packet);
    batch.push(packet);
  }
  return { path, pool, fdb, networks, neighbours, vteps, bridge, batch, packets };
}

/** UDP from 10.10.0.2 to 10.10.0.3, to one of n MACs, from one of 16 ports. */
export function writeFrame(bytes: Uint8Array, at: number, n: number, i: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  bytes.fill(0, at, at + FRAME_BYTES);
  ethernet.writeMac(bytes, at, MAC_HIGH, macLow((i * 7919) % n));
  ethernet.writeMac(bytes, at + ethernet.SOURCE, MAC_HIGH, 0x0a0a0002);
  ethernet.writeEtherType(bytes, at, ethernet.IPV4);
  const ip = at + ethernet.HEADER;
  ipv4.write(bytes, ip, FRAME_BYTES - 34, 17, 0x0a0a0002, 0x0a0a0003, 64);
  view.setUint16(ip + 20, 40000 + (i % 16));
  view.setUint16(ip + 22, 7000);
  view.setUint16(ip + 24, FRAME_BYTES - 34);
}

/** Makes what puts the batch back as it was at first, every packet a frame at its place: two stores a packet, as in C. */
export function rewinder(stage: Stage, at = FRAME_AT, bytes = FRAME_BYTES): () => void {
  const { pool, batch } = stage;
  const PACKETS = Int32Array.from(stage.packets);
  const STARTS = PACKETS.map((packet) => pool.slotStart(packet) + at);
  const { offset: OFFSET, length: LENGTH } = pool;
  return () => {
    const offset = OFFSET;
    const length = LENGTH;
    const packets = PACKETS;
    const starts = STARTS;
    for (let i = 0; i < BATCH; i++) {
      const packet = packets[i];
      offset[packet] = starts[i];
      length[packet] = bytes;
    }
    batch.count = BATCH;
  };
}

/** Ends a case that does not do what it should, before it is measured. */
export function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
