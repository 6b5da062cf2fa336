/**
 * The walk of a packet, written as code; nothing else knows both devices and features.
 *
 *     out  tap.receive → outbound.forward → underlay.transmit        (express, or bridge.forward → encap)
 *     in   underlay.receive → inbound.deliver → tap.transmit         (express, or decap → bridge.deliver)
 *     VIP  host's TUN → ingress.direct → host's TUN; inside a network before the way out, and before every tap.transmit
 *
 * An engine runs on one thread and owns its pool. It reads the clock, and nothing below it does.
 */
import { Batch } from './core/batch.js';
import type { Counters } from './core/counters.js';
import { drop } from './core/drops.js';
import { Path } from './core/path.js';
import type { Pool } from './core/pool.js';
import { hop, NO_TRACER, type Tracer } from './core/tracer.js';
import type { Vteps } from './core/vteps.js';
import type { Device, Underlay } from './io/device.js';
import { Answerer } from './overlay/answer.js';
import { Bridge } from './overlay/bridge.js';
import type { Fdb } from './overlay/fdb.js';
import { Inbound } from './overlay/inbound.js';
import type { Neighbours } from './overlay/neighbour.js';
import { Networks } from './overlay/network.js';
import { Outbound } from './overlay/outbound.js';
import { VirtualServer, type VirtualServerMemory } from './virtual-server.js';

export interface EngineParts {
  /** which of several it is; 0 when it is alone */
  index?: number;
  pool: Pool;
  counters: Counters;
  fdb: Fdb;
  neighbours: Neighbours;
  vteps: Vteps;
  tracer?: Tracer;
  /** whether most packets take the express path: yes, but for an engine that isn't the only one on its thread */
  express?: boolean;
  /** shared memory of the virtual server; without it there is none */
  virtualServer?: VirtualServerMemory;
  /** milliseconds, monotonic, the same on every engine */
  clock: () => number;
}

export class Engine {
  readonly path: Path;
  readonly networks = new Networks();
  readonly virtualServer: VirtualServer | undefined;
  readonly #bridge: Bridge;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #clock: () => number;
  readonly #devices: (Device | undefined)[] = [];
  /** Frames on their way to each port, and the ports that have some. */
  readonly #outgoing: (Batch | undefined)[] = [];
  readonly #waiting: number[] = [];
  #underlay: Underlay | undefined;
  /** the port whose device is the host's own side; -1: there is none */
  #hostPort = -1;
  /** of each port where packets of the host come in, the mark that they have, 0: none; -1 of all others */
  readonly #marks: Float64Array;

  readonly #received: Batch;
  readonly #released: Batch;
  readonly #local: Batch;
  readonly #remote: Batch;

  constructor(parts: EngineParts) {
    const { pool, counters, fdb, neighbours, vteps, tracer = NO_TRACER, virtualServer, clock } = parts;
    this.path = new Path(pool, counters, tracer);
    this.#marks = new Float64Array(counters.ports).fill(-1);
    this.#clock = clock;
    const answerer = new Answerer(this.path, neighbours);
    this.#bridge = new Bridge(this.path, this.networks, fdb, vteps, answerer);
    const index = parts.index ?? 0;
    this.virtualServer =
      virtualServer && new VirtualServer(this.path, virtualServer, index, neighbours, answerer);
    this.#received = new Batch(pool.packets);
    this.#released = new Batch(pool.packets);
    this.#local = new Batch(pool.packets);
    this.#remote = new Batch(pool.packets);
    const way = {
      path: this.path,
      networks: this.networks,
      fdb,
      vteps,
      bridge: this.#bridge,
      express: parts.express ?? true,
    };
    this.#outbound = new Outbound(way, this.#received, this.#local, this.#remote);
    this.#inbound = new Inbound(way, this.#received, this.#local);
  }

  /** The port's frames come from and go to `device` from now on. */
  attach(port: number, device: Device): void {
    this.#devices[port] = device;
    this.#outgoing[port] ??= new Batch(this.path.pool.packets);
  }

  /**
   * The same for the host's own side, whose packets go to the director, and for what comes from there with a mark;
   * 0: without. What the director sends leaves by the device of no mark.
   */
  attachHost(port: number, device: Device, mark = 0): void {
    this.attach(port, device);
    this.#marks[port] = mark;
    if (mark === 0) this.#hostPort = port;
  }

  detach(port: number): void {
    if (port === this.#hostPort) {
      this.#hostPort = -1;
      this.virtualServer?.director.fragments.clear();
    }
    this.#marks[port] = -1;
    this.#devices[port] = undefined;
    this.#outgoing[port] = undefined;
  }

  device(port: number): Device | undefined {
    return this.#devices[port];
  }

  setUnderlay(underlay: Underlay | undefined): void {
    this.#underlay = underlay;
  }

  /** Once a turn, before the devices: what is constant while it lasts. */
  beginTurn(): void {
    const now = this.#clock();
    this.#bridge.nowSeconds = Math.floor(now / 1000);
    if (this.virtualServer !== undefined) {
      this.virtualServer.director.beginTurn(now);
      this.virtualServer.director.fragments.expire(now);
    }
    this.path.tracer.refresh();
    this.path.counters.add('turns');
    if (this.holds) this.#sendReleased();
  }

  /** Whether frames wait for the MAC of their destination, which may be heard by another engine. */
  get holds(): boolean {
    return this.virtualServer !== undefined && this.virtualServer.inNetworks.held > 0;
  }

  get hasConnections(): boolean {
    return this.virtualServer !== undefined && this.virtualServer.connections.size > 0;
  }

  /** Ends the connections of all engines that have run out. Returns how many. */
  expireConnections(): number {
    if (this.virtualServer === undefined) return 0;
    const { director, ingress } = this.virtualServer;
    director.beginTurn(this.#clock());
    let ended = 0;
    do {
      ended += director.expire();
      ingress.takeAnswers(this.#local);
      this.#toHost();
    } while (director.hasMore);
    return ended;
  }

  /** What a port's device has, all the way out. Returns how many packets that was. */
  fromPort(port: number): number {
    const device = this.#devices[port];
    if (device === undefined) return 0;
    const received = this.#received;
    device.receive(received);
    const { count } = received;
    if (count === 0) return 0;
    const { pool, counters, tracer } = this.path;
    counters.add('rxPackets', received.count);
    for (let i = 0; i < received.count; i++) pool.port[received.packets[i]!] = port;
    if (tracer.active) {
      for (let i = 0; i < received.count; i++) tracer.match(received.packets[i]!, hop['tap.receive'], port);
    }
    const mark = this.#marks[port]!;
    if (mark >= 0) {
      this.#direct(received, mark);
      return count;
    }
    const inNetworks = this.virtualServer?.inNetworks;
    const network = this.networks.ofPort(port);
    if (inNetworks !== undefined && network !== undefined) inNetworks.leave(received, network, this.#local);
    this.#forward(port);
    return count;
  }

  /** What the underlay has (`receive` takes from one of its sockets or queues), all the way in. Returns how many packets that was. */
  fromUnderlay(receive: (into: Batch) => void): number {
    const received = this.#received;
    receive(received);
    const { count } = received;
    if (count === 0) return 0;
    this.path.counters.add('rxPackets', received.count);
    for (let done = false; !done; ) {
      done = this.#inbound.deliver();
      if (this.#local.count > 0) this.#deliver();
    }
    return count;
  }

  /** One turn over devices that aren't waited for: those in memory. */
  turn(): void {
    this.beginTurn();
    for (let port = 0; port < this.#devices.length; port++) this.fromPort(port);
    const underlay = this.#underlay;
    if (underlay !== undefined) this.fromUnderlay((into) => underlay.receive(into));
  }

  /** What was received from the port, or is as if it were. */
  #forward(port: number): void {
    do {
      this.#outbound.forward(port);
      if (this.#remote.count > 0) this.#sendRemote();
      if (this.#local.count > 0) this.#deliver();
    } while (this.#received.count > 0);
  }

  #sendReleased(): void {
    const { pool } = this.path;
    const released = this.#released;
    this.virtualServer!.inNetworks.release(released);
    for (let i = 0; i < released.count; i++) {
      const packet = released.packets[i]!;
      this.#received.push(packet);
      this.#forward(pool.port[packet]!);
    }
    released.count = 0;
  }

  #direct(received: Batch, mark: number): void {
    const { pool } = this.path;
    // Of no overlay network; the column has what the packet's number was used for before.
    for (let i = 0; i < received.count; i++) pool.network[received.packets[i]!] = 0;
    this.virtualServer!.ingress.direct(received, this.#local, mark);
    this.#toHost();
  }

  /** What is in the local batch goes to the host's own side, and what is routed directly by the ports that it has. */
  #toHost(): void {
    const { pool } = this.path;
    const local = this.#local;
    for (let i = 0; i < local.count; i++) pool.port[local.packets[i]!] = this.#hostPort;
    const { routed } = this.virtualServer!.director.forwarding;
    for (let i = 0; i < routed.count; i++) local.push(routed.packets[i]!);
    routed.count = 0;
    if (local.count > 0) this.#sendLocal();
  }

  /** Frames of networks to local ports. */
  #deliver(): void {
    this.virtualServer?.inNetworks.arrive(this.#local);
    this.#sendLocal();
  }

  #sendRemote(): void {
    const remote = this.#remote;
    this.path.counters.add('txPackets', remote.count);
    if (this.#underlay !== undefined) this.#underlay.transmit(remote);
    else this.#dropAll(remote, drop['device-closed']);
  }

  #sendLocal(): void {
    const local = this.#local;
    const { pool, counters } = this.path;
    counters.add('txPackets', local.count);
    for (let i = 0; i < local.count; i++) {
      const packet = local.packets[i]!;
      const port = pool.port[packet]!;
      const outgoing = this.#outgoing[port];
      if (outgoing === undefined) {
        this.path.drop(packet, drop['port-not-attached']);
        continue;
      }
      if (outgoing.count === 0) this.#waiting.push(port);
      outgoing.push(packet);
    }
    local.count = 0;
    for (const port of this.#waiting) this.#devices[port]!.transmit(this.#outgoing[port]!);
    this.#waiting.length = 0;
  }

  #dropAll(batch: Batch, reason: number): void {
    for (let i = 0; i < batch.count; i++) this.path.drop(batch.packets[i]!, reason);
    batch.count = 0;
  }
}
