/** Hosts in one thread and virtual time: engines, the workloads at their ports, and wires in memory. */
import { Batch } from '../src/dataplane/core/batch.js';
import { Counters } from '../src/dataplane/core/counters.js';
import { drop } from '../src/dataplane/core/drops.js';
import { Path } from '../src/dataplane/core/path.js';
import { DATAGRAM_AT, NO_PACKET, Pool } from '../src/dataplane/core/pool.js';
import { Vteps } from '../src/dataplane/core/vteps.js';
import { Engine } from '../src/dataplane/engine.js';
import type { Underlay } from '../src/dataplane/io/device.js';
import { FaultDevice } from '../src/dataplane/io/memory/fault.js';
import type { Faults } from '../src/dataplane/io/memory/misfortune.js';
import { type PairDevice, pair, type Sender } from '../src/dataplane/io/memory/pair.js';
import { writeSender } from '../src/dataplane/io/sockaddr.js';
import { Connections } from '../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../src/dataplane/ipvs/destination.js';
import { Extras } from '../src/dataplane/ipvs/extras.js';
import { Traffic } from '../src/dataplane/ipvs/traffic.js';
import { Fdb, localTarget, remoteTarget } from '../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../src/dataplane/overlay/neighbour.js';
import type { Network } from '../src/dataplane/overlay/network.js';
import { testDefence } from './ipvs/defence-memory.js';
import { HIGH, nets } from './overlay/overlay.js';

/** What a workload runs: it is asked once a millisecond. */
export interface Workload {
  device: PairDevice;
  path: Path;
  /** frames that came, oldest first */
  inbox: Uint8Array[];
}

export class World {
  now = 0;
  readonly hosts: Host[] = [];
  readonly clock = () => this.now;

  host(number: number, slots = 256): Host {
    const host = new Host(this, number, slots);
    this.hosts.push(host);
    return host;
  }

  /** Two hosts' underlays, with faults from the first to the second and back. */
  join(a: Host, b: Host, faults: readonly [Faults, Faults] = [{}, {}], seed = 1): void {
    const devices = pair({
      paths: [a.engine.path, b.engine.path],
      at: DATAGRAM_AT,
      senders: [a.sender, b.sender],
      faults,
      seed,
      clock: this.clock,
    });
    a.engine.setUnderlay(devices[0]);
    b.engine.setUnderlay(devices[1]);
  }

  /** All hosts' underlays, each reaching each by its VTEP's address. */
  joinAll(faults: Faults = {}): void {
    for (const [i, host] of this.hosts.entries()) {
      const wire = new HubPort(host, this.hosts);
      const { path } = host.engine;
      const device = new FaultDevice(path, wire, { transmit: faults, seed: 10 * i, clock: this.clock });
      host.hub = wire;
      host.engine.setUnderlay(device);
    }
  }

  /** A millisecond for everybody. */
  step(milliseconds = 1): void {
    for (let i = 0; i < milliseconds; i++) {
      this.now++;
      for (const host of this.hosts) host.engine.turn();
      for (const { workloads } of this.hosts) for (const workload of workloads) collect(workload);
    }
  }

  /** Packets that somebody still has. */
  get allocated(): number {
    let sum = 0;
    for (const { engine, workloads } of this.hosts) {
      sum += engine.path.pool.allocated;
      for (const { path } of workloads) sum += path.pool.allocated;
    }
    return sum;
  }
}

export class Host {
  readonly engine: Engine;
  readonly counters = new Counters(64, 16);
  readonly fdb = new Fdb(Fdb.allocate(4096));
  readonly neighbours = new Neighbours(Neighbours.allocate(64));
  readonly vteps = new Vteps(Vteps.allocate(16));
  readonly virtualServer = {
    connections: Connections.allocate(256),
    destinations: DestinationCounts.allocate(64),
    extras: Extras.allocate(16),
    traffic: [Traffic.allocate(64)],
    defence: testDefence(256),
    seed: 1,
  };
  readonly workloads: Workload[] = [];
  readonly sender: Sender;
  hub: HubPort | undefined;
  readonly #world: World;

  constructor(world: World, number: number, slots: number) {
    this.#world = world;
    this.sender = { address: Uint8Array.of(10, 0, 0, number), port: 50_000 };
    this.vteps.setDefaults(4789, 1500);
    const { counters, fdb, neighbours, vteps } = this;
    const pool = new Pool(slots);
    const { virtualServer } = this;
    this.engine = new Engine({ pool, counters, fdb, neighbours, vteps, virtualServer, clock: world.clock });
  }

  vtep(number: number): number {
    return this.vteps.add(4, 0x0a000000 | number, 0, 0, 0);
  }

  network(part: Partial<Network> & { index: number }): void {
    this.engine.networks.set(nets(part));
  }

  /** A workload at the next free port. */
  workload(slots = 64): { port: number; workload: Workload } {
    const port = this.workloads.length;
    const path = new Path(new Pool(slots), new Counters(1, 1));
    const [ours, device] = pair({ paths: [this.engine.path, path], clock: this.#world.clock });
    this.engine.attach(port, ours);
    const workload = { device, path, inbox: [] };
    this.workloads.push(workload);
    return { port, workload };
  }

  /** Control's entry: MAC 02:42:00:00:00:n is at a port here, or at a VTEP. */
  at(network: number, n: number, where: { port: number } | { vtep: number }): void {
    const target = 'port' in where ? localTarget(where.port) : remoteTarget(where.vtep);
    this.fdb.setStatic(network, HIGH, n, target);
  }

  drops(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.counters.drops()).filter(([, count]) => count > 0));
  }
}

/** A workload sends; `change` may set offload columns. */
export function send(
  { device, path }: Workload,
  bytes: Uint8Array,
  change?: (pool: Pool, packet: number) => void,
): void {
  const { pool } = path;
  const batch = new Batch(1);
  const packet = pool.take();
  pool.bytes.set(bytes, pool.offset[packet]);
  pool.length[packet] = bytes.length;
  change?.(pool, packet);
  batch.push(packet);
  device.transmit(batch);
}

/** What came for the workload joins its inbox. */
export function collect({ device, path, inbox }: Workload): void {
  const { pool } = path;
  const batch = new Batch(pool.packets);
  device.receive(batch);
  for (let i = 0; i < batch.count; i++) {
    const at = pool.offset[batch.packets[i]!]!;
    inbox.push(pool.bytes.slice(at, at + pool.length[batch.packets[i]!]!));
  }
  batch.release(pool);
}

/** One host's place at a hub: what it transmits arrives at the host that has the VTEP's address. */
class HubPort implements Underlay {
  readonly kind = 'pair';
  readonly #host: Host;
  readonly #hosts: readonly Host[];
  readonly #arrived: Batch;

  constructor(host: Host, hosts: readonly Host[]) {
    this.#host = host;
    this.#hosts = hosts;
    this.#arrived = new Batch(host.engine.path.pool.packets);
  }

  receive(into: Batch): void {
    for (let i = 0; i < this.#arrived.count; i++) into.push(this.#arrived.packets[i]!);
    this.#arrived.count = 0;
  }

  transmit(batch: Batch): void {
    const { path } = this.#host.engine;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const [address] = this.#host.vteps.addressWords(path.pool.vtep[packet]!);
      const to = this.#hosts.find(({ sender }) => sender.address[3] === (address & 255));
      if (to === undefined) path.drop(packet, drop['vtep-unreachable']);
      else {
        to.hub!.#arrive(this.#host, packet);
        path.pool.free(packet);
      }
    }
    batch.count = 0;
  }

  close(): void {}

  #arrive(from: Host, theirs: number): void {
    const source = from.engine.path.pool;
    const { pool, counters } = this.#host.engine.path;
    const packet = pool.take(DATAGRAM_AT);
    if (packet === NO_PACKET) {
      counters.drop(drop['no-packet']);
      return;
    }
    const at = source.offset[theirs]!;
    pool.bytes.set(source.bytes.subarray(at, at + source.length[theirs]!), pool.offset[packet]);
    pool.length[packet] = source.length[theirs]!;
    writeSender(pool.view, pool.slotStart(packet), from.sender.address, from.sender.port);
    this.#arrived.push(packet);
  }
}
