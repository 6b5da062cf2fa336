/**
 * The carrier without the addon: one engine on the event loop, node:dgram for the underlay, and for endpoints the
 * devices in memory that the embedding program gives. Slow, and good for tests and for hosts without a compiler.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Config, type Endpoint, OFFLOADS, type Offload } from '../config.js';
import type { Path } from '../core/path.js';
import { Pool } from '../core/pool.js';
import { RingTracer } from '../core/watch/ring-tracer.js';
import { Engine } from '../engine.js';
import { ApplyError, type Logger } from '../face.js';
import type { Device } from '../io/device.js';
import { DgramUnderlay } from '../io/dgram.js';
import { unavailable } from '../io/native.js';
import { Segmenter } from '../io/offload/segment.js';
import type { Carrier, CarrierEvents, Change, OpenEndpoint, Shared, UnderlayFacts } from './carrier.js';
import { portRefusal } from './refusals.js';
import type { ServiceChange } from './service-keeper.js';

/** Gives an endpoint's device, whose packets are of the pool of `path`; undefined: there is none by that name. */
export type DeviceFor = (endpoint: Endpoint, path: Path) => Device | undefined;

interface OpenDevice extends OpenEndpoint {
  readonly device: Device;
}

/** Devices in memory can't tell that they have something, so they are asked. */
const POLL_MS = 1;
/** How often connections that have run out are looked for. */
const SWEEP_MS = 1_000;
const DEFAULT_MTU = 1500;
const NO_OFFLOADS = Object.fromEntries(OFFLOADS.map((name) => [name, false])) as Offload;

export class PortableCarrier implements Carrier {
  readonly engines = 1;
  /** One datagram a call: the kernel does nothing of it. */
  readonly offloads = NO_OFFLOADS;
  readonly #events: CarrierEvents;
  readonly #engine: Engine;
  readonly #shared: Shared;
  readonly #deviceFor: DeviceFor | undefined;
  readonly #poll: NodeJS.Timeout;
  #dgram: DgramUnderlay | undefined;
  #config: Config;
  #mtu: number;
  #turning = false;
  /** when connections that have run out were looked for last */
  #swept = 0;

  /** Throws ApplyError when the underlay can't be had. */
  static async open(
    config: Config,
    shared: Shared,
    events: CarrierEvents,
    deviceFor: DeviceFor | undefined,
  ): Promise<PortableCarrier> {
    const carrier = new PortableCarrier(config, shared, events, deviceFor);
    try {
      await carrier.#openUnderlay(config);
    } catch (error) {
      clearInterval(carrier.#poll);
      throw error;
    }
    return carrier;
  }

  private constructor(
    config: Config,
    shared: Shared,
    events: CarrierEvents,
    deviceFor: DeviceFor | undefined,
  ) {
    this.#config = config;
    this.#shared = shared;
    this.#events = events;
    this.#deviceFor = deviceFor;
    this.#mtu = underlayMtu(config);
    const pool = new Pool(config.engine.slots);
    const micros = () => (performance.timeOrigin + performance.now()) * 1000;
    this.#engine = new Engine({
      pool,
      counters: shared.counters[0]!,
      ...shared.tables,
      virtualServer: shared.memory.virtualServer,
      tracer: new RingTracer(pool, shared.memory.watch, 0, micros),
      clock: () => performance.now(),
    });
    this.#poll = setInterval(() => this.#turn(), POLL_MS);
    this.#poll.unref();
    warnOnce(events.logger, config);
  }

  get underlay(): UnderlayFacts {
    const { underlay } = this.#config;
    if (underlay === null) return { kind: 'none', mtu: this.#mtu, port: 0 };
    return { kind: 'dgram', mtu: this.#mtu, port: this.#dgram?.port ?? underlay.port };
  }

  async reopenUnderlay(before: Config, next: Config): Promise<void> {
    this.#dgram?.close();
    try {
      await this.#openUnderlay(next);
    } catch (error) {
      await this.#openUnderlay(before);
      throw error;
    }
  }

  openEndpoint(endpoint: Endpoint, network: string, port: number, mtu: number): OpenEndpoint {
    const device = this.#deviceFor?.(endpoint, this.#engine.path);
    if (device === undefined) {
      throw new ApplyError(
        `endpoint ${endpoint.interface} in ${endpoint.netns}: interfaces of workloads need the native addon ` +
          `and underlay.device auto, tunnel or udp${unavailable === '' ? '' : `; ${unavailable}`}`,
      );
    }
    const open: OpenDevice = { endpoint, network, port, mtu, device };
    return open;
  }

  changeEndpoint(open: OpenEndpoint, endpoint: Endpoint, mtu: number): void {
    open.endpoint = endpoint;
    open.mtu = mtu;
  }

  closeEndpoint(open: OpenEndpoint): void {
    (open as OpenDevice).device.close();
  }

  isForsaken(): boolean {
    return false;
  }

  async perform({ attach = [], detach = [], networks = [], gone = [] }: Change): Promise<void> {
    for (const { port } of detach) this.#engine.detach(port);
    for (const open of attach) this.#engine.attach(open.port, (open as OpenDevice).device);
    for (const index of gone) this.#engine.networks.remove(index);
    for (const network of networks) this.#engine.networks.set(network);
  }

  async serve({ services, marks, set, gone, settings, directed }: ServiceChange): Promise<void> {
    if (services.length + marks.length > 0) {
      throw new ApplyError("virtual services on the host's own side need the native addon; build it");
    }
    const { virtualServer } = this.#engine;
    if (virtualServer === undefined) return;
    if (settings !== null) virtualServer.director.configure(settings);
    for (const index of gone) virtualServer.services.remove(index);
    for (const service of set) virtualServer.services.set(service, performance.now());
    virtualServer.inNetworks.direct(directed);
  }

  isLocal(): boolean {
    return false;
  }

  vtepsChanged(): void {
    const { vteps } = this.#shared.tables;
    for (const vtep of vteps.used()) vteps.setPathMtu(vtep, this.#mtu);
  }

  interfaceMtu(): number {
    return underlayMtu(this.#config);
  }

  async stop(): Promise<void> {
    clearInterval(this.#poll);
    this.#turn();
    this.#dgram?.close();
  }

  async #openUnderlay(config: Config): Promise<void> {
    const { underlay } = config;
    if (underlay === null) {
      this.#dgram = undefined;
      this.#config = config;
      this.#mtu = DEFAULT_MTU;
      this.#engine.setUnderlay(undefined);
      return;
    }
    try {
      this.#dgram = await DgramUnderlay.open({
        path: this.#engine.path,
        addresses: underlay.address,
        port: underlay.port,
        sourcePorts: underlay.sourcePorts,
        vteps: this.#shared.tables.vteps.addresses,
        segmenter: new Segmenter(this.#engine.path),
        onReadable: () => this.#turn(),
        onError: (error) => this.#events.logger.warn({ error: error.message }, 'the underlay refused'),
        receiveBuffer: underlay.receiveBuffer,
        sendBuffer: underlay.sendBuffer,
      });
    } catch (error) {
      const { address = underlay.address.join(' ') } = error as { address?: string };
      throw new ApplyError(`underlay: ${portRefusal(error, address, underlay.port)}`, { cause: error });
    }
    this.#config = config;
    this.#mtu = underlayMtu(config);
    this.#shared.tables.vteps.setDefaults(this.#dgram.port, this.#mtu);
    this.#engine.setUnderlay(this.#dgram);
  }

  /** A device may call back while it is served: then the turn that runs takes what came. */
  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    try {
      this.#engine.turn();
      this.#sweep();
    } finally {
      this.#turning = false;
    }
  }

  /** Once a second. */
  #sweep(): void {
    const now = performance.now();
    if (!this.#engine.hasConnections || now - this.#swept < SWEEP_MS) return;
    this.#swept = now;
    this.#engine.expireConnections();
  }
}

/** The interface that has the address says so in sysfs; elsewhere Ethernet's is assumed. */
function underlayMtu({ underlay }: Config): number {
  if (underlay === null) return DEFAULT_MTU;
  if (underlay.mtu !== null) return underlay.mtu;
  const name = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address === underlay.address[0]),
  )?.[0];
  try {
    return Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'));
  } catch {
    return DEFAULT_MTU;
  }
}

function warnOnce(logger: Logger, { underlay }: Config): void {
  if (underlay === null) return;
  const why = unavailable === '' ? `underlay.device is ${underlay.device}` : unavailable;
  logger.warn({ underlay: 'dgram', why }, 'the portable underlay carries, one datagram a call');
}
