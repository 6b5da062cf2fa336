/**
 * An engine between devices that make packets out of nothing and let them vanish: the whole walk, the kernel left
 * out. Outer headers are written and checked, as the tunnel device does it.
 */
import type { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Pool } from '../../src/dataplane/core/pool.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { Engine } from '../../src/dataplane/engine.js';
import type { Device, Underlay } from '../../src/dataplane/io/device.js';
import { OuterPasses } from '../../src/dataplane/io/express/passes.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Fdb, localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import * as vxlan from '../../src/dataplane/wire/vxlan.js';
import {
  FRAME_BYTES,
  HERE,
  MAC_HIGH,
  macLow,
  network,
  PORT,
  THERE,
  VNI,
  writeFrame,
} from '../micro/stage.js';

export const BATCH = 64;
const SLOTS = 256;
const OUTER = outer.OUTER_IPV4 + vxlan.HEADER;
const HERE_ENDS = { address4: THERE, address6: undefined, port: PORT };

export interface World {
  engine: Engine;
  /** what `fromUnderlay` takes */
  receive(into: Batch): void;
  /** packets that arrived at the other edge */
  count(): number;
}

/** A workload's device: gives one batch of frames each time it is asked, and swallows what it is sent. */
class Workload implements Device {
  swallowed = 0;
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  receive(into: Batch): void {
    for (let i = 0; i < BATCH; i++) {
      const packet = this.#pool.take();
      this.#pool.length[packet] = FRAME_BYTES;
      into.push(packet);
    }
  }

  transmit(batch: Batch): void {
    this.swallowed += batch.count;
    batch.release(this.#pool);
  }

  close(): void {}
}

/** An underlay that adds and checks outer headers; its datagrams are spread over all networks. */
class Wire implements Underlay {
  readonly kind = 'pair';
  swallowed = 0;
  #next = 0;
  readonly #pool: Pool;
  readonly #passes: OuterPasses;
  readonly #networks: number;

  constructor(pool: Pool, vteps: Vteps, networks: number) {
    this.#pool = pool;
    this.#passes = new OuterPasses(pool, vteps);
    this.#networks = networks;
  }

  receive(into: Batch): void {
    const pool = this.#pool;
    const { arriving } = this.#passes;
    for (let i = 0; i < BATCH; i++) {
      const packet = pool.take();
      pool.offset[packet]! -= OUTER;
      pool.length[packet] = OUTER + FRAME_BYTES;
      vxlan.write(pool.bytes, pool.offset[packet]! + outer.OUTER_IPV4, VNI + this.#next);
      this.#next = this.#next + 1 < this.#networks ? this.#next + 1 : 0;
      arriving.push(packet);
    }
    const whole = this.#passes.strip(0, HERE_ENDS);
    for (let i = 0; i < arriving.count; i++) {
      if (i < whole) into.push(arriving.packets[i]!);
      else pool.free(arriving.packets[i]!);
    }
    arriving.count = 0;
  }

  transmit(batch: Batch): void {
    const pool = this.#pool;
    const { leaving } = this.#passes;
    for (let i = 0; i < batch.count; i++) leaving.push(batch.packets[i]!);
    this.swallowed += this.#passes.write(0, 1);
    leaving.count = 0;
    batch.release(pool);
  }

  close(): void {}
}

/**
 * @param way which edge makes the packets: a workload (out) or the underlay (in)
 * @param active in how many of the networks there is traffic
 */
export function world(way: 'out' | 'in', networks: number, entriesEach: number, active: number): World {
  const pool = new Pool(SLOTS);
  const counters = new Counters(networks, 16);
  const fdb = new Fdb(Fdb.allocate(networks * entriesEach));
  const neighbours = new Neighbours(Neighbours.allocate(16));
  const vteps = new Vteps(Vteps.allocate(16));
  vteps.setDefaults(PORT, 1550);
  const vtep = vteps.add(4, HERE, 0, 0, 0);
  const header = outer.template({
    ...{ family: 4, port: PORT, source: [HERE, 0, 0, 0], destination: [THERE, 0, 0, 0] },
    ...{ sourceMac: { high: 0x0200, low: 1 }, nextHopMac: { high: 0x0200, low: 2 } },
  });
  vteps.openTunnel(vtep, header);
  const engine = new Engine({ pool, counters, fdb, neighbours, vteps, clock: () => performance.now() });

  const workload = new Workload(pool);
  for (let port = 0; port < networks; port++) {
    engine.networks.set(network(port + 1, [port]));
    engine.attach(port, workload);
    const target = way === 'out' ? remoteTarget(vtep) : localTarget(port);
    for (let i = 0; i < entriesEach; i++) fdb.setStatic(port + 1, MAC_HIGH, macLow(i), target);
  }
  const wire = new Wire(pool, vteps, active);
  engine.setUnderlay(wire);

  // Every slot holds a frame, and before it the outer headers that a datagram from the underlay has.
  const all = Array.from({ length: SLOTS }, () => pool.take());
  for (const [i, packet] of all.entries()) {
    writeFrame(pool.bytes, pool.offset[packet]!, entriesEach, i);
    pool.length[packet] = FRAME_BYTES + vxlan.HEADER;
    pool.offset[packet]! -= vxlan.HEADER;
    vxlan.write(pool.bytes, pool.offset[packet]!, VNI);
    outer.write(pool, packet, vteps.rows, vteps.outerAt(vtep), 4, 50_000 + i, pool.length[packet]!);
  }
  for (const packet of all) pool.free(packet);
  return {
    engine,
    receive: (into) => wire.receive(into),
    count: () => (way === 'out' ? wire.swallowed : workload.swallowed),
  };
}

/** One pass: four batches, from port after port or from the underlay. */
export function passOf({ engine, receive }: World, way: 'out' | 'in', active: number): () => void {
  let port = 0;
  if (way === 'in') {
    return () => {
      engine.beginTurn();
      for (let i = 0; i < 4; i++) engine.fromUnderlay(receive);
    };
  }
  return () => {
    engine.beginTurn();
    for (let i = 0; i < 4; i++) {
      engine.fromPort(port);
      port = port + 1 < active ? port + 1 : 0;
    }
  };
}
