/**
 * The thread of an engine: waits inside native for any of its devices, lets the engine work on those that have
 * something, and performs control's orders in between. It never returns to Node's event loop.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Batch } from './core/batch.js';
import { Counters } from './core/counters.js';
import { Vteps } from './core/vteps.js';
import { RingTracer } from './core/watch/ring-tracer.js';
import { Engine } from './engine.js';
import { OuterPasses } from './io/express/passes.js';
import { nativePool, need } from './io/native.js';
import { Bundler } from './io/offload/bundle.js';
import { Coalescer } from './io/offload/coalesce.js';
import { Joiner } from './io/offload/join.js';
import { Segmenter } from './io/offload/segment.js';
import { Posted } from './io/posted.js';
import { Tap, type TapOffloads } from './io/tap.js';
import { TunnelUnderlay } from './io/tunnel.js';
import { UdpUnderlay } from './io/udp.js';
import type { EngineBirth, Notice, Order, Orders, UnderlaySpec } from './orders.js';
import { Fdb } from './overlay/fdb.js';
import { Neighbours } from './overlay/neighbour.js';
import { warmUp } from './warm-up.js';

/** Tags of what is waited for: orders, the tunnel TAP, the kernel's word of changes on the host, sockets, ports. */
const WAKE = 0;
const TUNNEL = 1;
const HOST = 2;
const SOCKETS = 3;
const PORTS = 1024;

/** Descriptors that one wait reports. */
const READY_MAX = 256;
/** A turn with so few packets is one of lone packets. */
const LONE_PACKETS = 4;
/** How long an idle engine sleeps; only a wait that nothing else would end. */
const IDLE_MS = 10_000;
/** How often it is looked whether frames that wait may go. */
const HOLD_MS = 1;
/** How often connections that have run out are looked for. */
const SWEEP_MS = 1_000;

const NOTHING = { tcp4: false, tcp6: false, udp: false };

/** What traces and captures are stamped with: microseconds since the epoch. */
const epochMicros = () => (performance.timeOrigin + performance.now()) * 1000;

class EngineThread {
  readonly #birth: EngineBirth;
  readonly #addon = need();
  readonly #epoll = this.#addon.epollCreate();
  readonly #ready = new Int32Array(READY_MAX);
  readonly #native;
  readonly #posted: Posted;
  readonly #engine: Engine;
  readonly #vteps: Vteps;
  readonly #joiner: Joiner;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  readonly #bundler: Bundler;
  readonly #passes: OuterPasses;
  readonly #taps = new Map<number, Tap>();
  readonly #orders: MessagePort;
  /** device and errno of refusals that control has been told */
  readonly #told = new Set<string>();
  #udp: UdpUnderlay | undefined;
  #tunnel: TunnelUnderlay | undefined;
  /** netlink socket that tells of changes on the host; one engine listens for all */
  #host = -1;
  #running = true;
  /** which socket has something */
  #socket = 0;
  /** when connections that have run out were looked for last, ms on the clock */
  #swept = 0;
  readonly #clock = () => performance.timeOrigin - this.#birth.timeOrigin + performance.now();
  readonly #receiveSocket = (into: Batch): void => {
    const udp = this.#udp;
    const fd = udp?.sockets.receive[this.#socket];
    if (udp !== undefined && fd !== undefined) udp.receiveFrom(fd, into);
  };
  readonly #receiveTunnel = (into: Batch): void => this.#tunnel?.receiveTunnel(into);

  constructor(birth: EngineBirth) {
    this.#birth = birth;
    this.#orders = birth.orders;
    this.#native = nativePool(birth.slots);
    const { pool } = this.#native;
    this.#posted = new Posted(pool, birth.batch);
    this.#vteps = new Vteps(birth.vteps);
    const { ports, vteps, memory } = birth.counters;
    this.#engine = new Engine({
      index: birth.index,
      pool,
      counters: new Counters(ports, vteps, memory),
      fdb: new Fdb(birth.fdb),
      neighbours: new Neighbours(birth.neighbours),
      vteps: this.#vteps,
      virtualServer: birth.virtualServer,
      tracer: new RingTracer(pool, birth.watch, birth.index, epochMicros),
      clock: this.#clock,
    });
    this.#joiner = new Joiner(this.#engine.path, this.#native);
    this.#segmenter = new Segmenter(this.#engine.path, this.#native);
    this.#coalescer = new Coalescer(this.#engine.path, this.#native);
    this.#bundler = new Bundler(this.#engine.path);
    this.#passes = new OuterPasses(pool, this.#vteps);
    this.#addon.epollAdd(this.#epoll, birth.wake, WAKE);
  }

  run(): void {
    const { counters } = this.#engine.path;
    let spin = 0;
    while (this.#running) {
      const sweeps = this.#birth.index === 0 && this.#engine.hasConnections;
      const { holds } = this.#engine;
      const patience = holds ? HOLD_MS : sweeps ? SWEEP_MS : IDLE_MS;
      const count = this.#addon.wait(this.#epoll, this.#ready, patience, spin);
      if (sweeps) this.#sweep();
      // Spinning is for a pause within traffic: only directly after a turn that had some, and only among lone
      // packets, whose senders wait for the answer; bulk doesn't need it.
      spin = 0;
      if (count === 0 && !holds) {
        counters.add('waits');
        continue;
      }
      this.#engine.beginTurn();
      let packets = 0;
      for (let i = 0; i < count; i++) packets += this.#serve(this.#ready[i]!);
      if (packets <= LONE_PACKETS) spin = this.#birth.spinMicros;
    }
    this.#posted.release();
    this.#addon.detach(this.#native.handle);
    this.#addon.close(this.#epoll);
    this.#orders.close();
  }

  /** Once a second, by one engine for all. */
  #sweep(): void {
    const now = this.#clock();
    if (now - this.#swept < SWEEP_MS) return;
    this.#swept = now;
    this.#engine.expireConnections();
  }

  /** Returns how many packets came from there. */
  #serve(tag: number): number {
    if (tag >= PORTS) {
      const port = tag - PORTS;
      const count = this.#engine.fromPort(port);
      const tap = this.#taps.get(port);
      if (tap !== undefined && tap.failedErrno !== 0) this.#lost('tap', port, tap.fd, tap.failedErrno);
      return count;
    }
    if (tag === WAKE) {
      this.#addon.eventClear(this.#birth.wake);
      for (let message = receiveMessageOnPort(this.#orders); message !== undefined; ) {
        this.#perform(message.message as Orders);
        message = this.#running ? receiveMessageOnPort(this.#orders) : undefined;
      }
    } else if (tag === HOST) {
      this.#hearHost();
    } else if (tag === TUNNEL) {
      const tunnel = this.#tunnel;
      if (tunnel === undefined) return 0;
      const count = this.#engine.fromUnderlay(this.#receiveTunnel);
      if (tunnel.failedErrno !== 0) this.#lost('tunnel', -1, tunnel.fd, tunnel.failedErrno);
      return count;
    } else {
      this.#socket = tag - SOCKETS;
      return this.#engine.fromUnderlay(this.#receiveSocket);
    }
    return 0;
  }

  #hearHost(): void {
    try {
      if (this.#addon.netlinkRead(this.#host).length === 0) return;
    } catch {
      // ENOBUFS: more happened than the socket holds; that it did is all that matters.
    }
    this.#tell({ kind: 'host-changed' });
  }

  #perform({ id, list }: Orders): void {
    for (const order of list) this.#performOne(order);
    this.#tell({ kind: 'done', id });
  }

  #performOne(order: Order): void {
    switch (order.kind) {
      case 'underlay':
        this.#setUnderlay(order.spec);
        break;
      case 'attach':
      case 'attach-host':
        this.#attach(order);
        break;
      case 'attach-direct':
        this.#engine.attach(order.port, this.#openTap(order.counted, order.fd, order.offloads, true));
        break;
      case 'detach-direct':
        this.#engine.detach(order.port);
        break;
      case 'way':
        this.#engine.virtualServer?.ways.set(order.way);
        break;
      case 'way-gone':
        this.#engine.virtualServer?.ways.remove(order.row);
        break;
      case 'service':
        this.#engine.virtualServer?.services.set(order.service, this.#clock());
        break;
      case 'service-gone':
        this.#engine.virtualServer?.services.remove(order.index);
        break;
      case 'directed-networks':
        this.#engine.virtualServer?.inNetworks.direct(order.networks);
        break;
      case 'settings':
        this.#engine.virtualServer?.director.configure(order.settings);
        break;
      case 'detach': {
        const tap = this.#taps.get(order.port);
        if (tap !== undefined) this.#addon.epollDelete(this.#epoll, tap.fd);
        this.#taps.delete(order.port);
        this.#engine.detach(order.port);
        break;
      }
      case 'listen':
        this.#host = order.fd;
        this.#addon.epollAdd(this.#epoll, order.fd, HOST);
        break;
      case 'network':
        this.#engine.networks.set(order.network);
        break;
      case 'network-gone':
        this.#engine.networks.remove(order.index);
        break;
      case 'stop':
        this.#running = false;
        break;
    }
  }

  #attach(order: Extract<Order, { kind: 'attach' | 'attach-host' }>): void {
    const { port, fd, offloads } = order;
    const host = order.kind === 'attach-host';
    const tap = this.#openTap(port, fd, offloads, host);
    // The offloads are the same for all endpoints.
    this.#joiner.joins = tap.merges ?? NOTHING;
    this.#taps.set(port, tap);
    if (host) this.#engine.attachHost(port, tap, order.mark);
    else this.#engine.attach(port, tap);
    this.#addon.epollAdd(this.#epoll, fd, PORTS + port);
  }

  #openTap(port: number, fd: number, offloads: TapOffloads, tun: boolean): Tap {
    return new Tap({
      fd,
      port,
      tun,
      path: this.#engine.path,
      native: this.#native,
      calls: this.#addon,
      posted: this.#posted,
      segmenter: this.#segmenter,
      coalescer: this.#coalescer,
      offloads,
      batch: this.#birth.batch,
      onError: (errno) => this.#refused('tap', port, errno),
    });
  }

  #setUnderlay(spec: UnderlaySpec | null): void {
    for (const fd of this.#udp?.sockets.receive ?? []) this.#addon.epollDelete(this.#epoll, fd);
    if (this.#tunnel !== undefined && this.#tunnel.failedErrno === 0) {
      this.#addon.epollDelete(this.#epoll, this.#tunnel.fd);
    }
    this.#udp = undefined;
    this.#tunnel = undefined;
    if (spec === null) {
      this.#engine.setUnderlay(undefined);
      return;
    }
    const common = {
      path: this.#engine.path,
      native: this.#native,
      calls: this.#addon,
      posted: this.#posted,
      vteps: this.#vteps,
      joiner: this.#joiner,
      bundler: this.#bundler,
      bundle: spec.bundle,
      batch: this.#birth.batch,
    };
    const udp = new UdpUnderlay({
      ...common,
      sockets: spec.sockets,
      segmenter: this.#segmenter,
      segment: spec.segment,
      onError: (errno, vtep) => this.#refused('underlay', vtep, errno),
      onNoSegment: () => this.#tell({ kind: 'no-segment' }),
    });
    this.#udp = udp;
    spec.sockets.receive.forEach((fd, i) => {
      this.#addon.epollAdd(this.#epoll, fd, SOCKETS + i);
    });
    if (spec.tunnel === undefined) {
      this.#engine.setUnderlay(udp);
      return;
    }
    this.#tunnel = new TunnelUnderlay({
      ...common,
      ...spec.tunnel,
      udp,
      passes: this.#passes,
      onError: (errno, vtep) => this.#refused('tunnel', vtep, errno),
    });
    this.#addon.epollAdd(this.#epoll, spec.tunnel.fd, TUNNEL);
    this.#engine.setUnderlay(this.#tunnel);
  }

  #lost(device: 'tap' | 'tunnel', port: number, fd: number, errno: number): void {
    this.#addon.epollDelete(this.#epoll, fd);
    if (device === 'tap') {
      this.#taps.delete(port);
      this.#engine.detach(port);
    } else {
      // Without the TAP the sockets carry everything.
      this.#tunnel = undefined;
      this.#engine.setUnderlay(this.#udp);
    }
    this.#tell({ kind: 'device-lost', device, port, errno });
  }

  /** `at` is the port of a TAP, of an underlay the VTEP; there the first one stands for all. */
  #refused(device: 'tap' | 'underlay' | 'tunnel', at: number, errno: number): void {
    const key = device === 'tap' ? `${device} ${at} ${errno}` : `${device} ${errno}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#tell({ kind: 'device-error', device, at, errno });
  }

  #tell(notice: Notice): void {
    this.#orders.postMessage(notice);
  }
}

warmUp();
new EngineThread(workerData as EngineBirth).run();
