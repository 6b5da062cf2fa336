/** The carrier on the addon: an engine a thread, TAPs for workloads, UDP sockets or the tunnel TAP for the underlay. */
import { getSystemErrorName, isDeepStrictEqual } from 'node:util';
import type { Config, Endpoint, Offload } from '../config.js';
import { need } from '../io/native.js';
import { linkByIndex } from '../io/rtnetlink/link.js';
import { type TapOffloads, tapOffloadBits } from '../io/tap.js';
import type { Notice, Order } from '../orders.js';
import { addressText } from './addresses.js';
import type { Carrier, CarrierEvents, Change, OpenEndpoint, Shared, UnderlayFacts } from './carrier.js';
import {
  changeTap,
  closeTap,
  isForsaken,
  limitSupers,
  type OpenTap,
  openTap,
  wantedOffloads,
} from './endpoints.js';
import { Engines } from './engines.js';
import { HostPlace } from './host-side.js';
import { MARKS_MAX, type MarkPlace, MarkPlaces } from './mark-places.js';
import { OwnAddressErrors } from './own-address-errors.js';
import { tapRefusal, vtepRefusal } from './refusals.js';
import * as reports from './reports.js';
import type { ServiceChange, ServiceOrders } from './service-keeper.js';
import { type OpenUnderlay, openUnderlay } from './underlay.js';
import { VtepKeeper } from './vtep-keeper.js';
import { WayKeeper } from './way-keeper.js';

const NETLINK_ROUTE = 0;
/** RTMGRP_*: links, neighbours, IPv4 and IPv6 addresses and routes (linux/rtnetlink.h). */
const HOST_CHANGES = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/** After a change on the host, for it may come in many small steps. */
const RENEW_MS = 50;

export class NativeCarrier implements Carrier {
  readonly engines: number;
  readonly #shared: Shared;
  readonly #events: CarrierEvents;
  readonly #threads: Engines;
  /** netlink socket that hears of changes on the host */
  readonly #changes: number;
  #underlay: OpenUnderlay;
  #keeper: VtepKeeper;
  #offloads: TapOffloads;
  #wanted: Offload;
  /** what the engines told since the underlay was opened */
  #segmentRefused = false;
  #tunnelLost = false;
  /** there while there are services, or were */
  #host: HostPlace | undefined;
  #ownErrors: OwnAddressErrors | undefined;
  #ways: WayKeeper | undefined;
  readonly #marks: MarkPlaces;
  #led: Pick<ServiceChange, 'services' | 'destinations'> = { services: [], destinations: [] };
  #renewal: NodeJS.Timeout | undefined;

  /** Throws ApplyError when the underlay can't be had. */
  constructor(config: Config, shared: Shared, events: CarrierEvents) {
    const { engine } = config;
    this.engines = engine.count;
    this.#shared = shared;
    this.#events = events;
    this.#offloads = wantedOffloads(config);
    this.#wanted = config.offload;
    this.#marks = new MarkPlaces(engine.count, this.#offloads, this.#hostPort - MARKS_MAX);
    this.#underlay = openUnderlay(config, engine.count, events.logger);
    this.#changes = need().netlinkSubscribe('', NETLINK_ROUTE, HOST_CHANGES);
    shared.tables.vteps.setDefaults(this.#underlay.port, this.#underlay.mtu);
    this.#threads = new Engines({
      count: engine.count,
      birth: (index) => ({
        slots: engine.slots,
        batch: engine.batch,
        spinMicros: engine.spinMicros,
        counters: {
          ports: shared.counters[index]!.ports,
          vteps: shared.counters[index]!.vteps,
          memory: shared.counters[index]!.memory,
        },
        ...shared.memory,
        timeOrigin: performance.timeOrigin,
      }),
      logger: events.logger,
      onNotice: (_engine, notice) => this.#heard(notice),
      rebuild: (index) => this.#everything(index),
    });
    this.#keeper = new VtepKeeper(shared.tables.vteps, this.#underlay, events.logger);
    void this.#threads.order((index) => this.#everything(index));
  }

  get underlay(): UnderlayFacts {
    const { kind, mtu, port } = this.#underlay;
    return { kind: this.#tunnelLost ? 'udp' : kind, mtu, port };
  }

  get offloads(): Offload {
    const taps = this.#events.whole().endpoints as readonly OpenTap[];
    return reports.offloadsInUse(this.#wanted, {
      kind: this.#tunnelLost ? 'udp' : this.#underlay.kind,
      segment: !this.#segmentRefused,
      gro: this.#underlay.gro,
      taps: taps.map(({ offloads }) => offloads),
    });
  }

  /** The port may be bound by ourselves, so the old sockets are closed first. */
  async reopenUnderlay(before: Config, next: Config): Promise<void> {
    await this.#threads.order(() => [{ kind: 'underlay', spec: null }]);
    this.#keeper.close();
    this.#underlay.close();
    const { vteps } = this.#shared.tables;
    const open = (config: Config) => {
      this.#underlay = openUnderlay(config, this.engines, this.#events.logger);
      this.#wanted = config.offload;
      this.#segmentRefused = false;
      this.#tunnelLost = false;
      vteps.setDefaults(this.#underlay.port, this.#underlay.mtu);
      this.#keeper = new VtepKeeper(vteps, this.#underlay, this.#events.logger);
    };
    try {
      open(next);
    } catch (error) {
      open(before);
      throw error;
    } finally {
      await this.#threads.order((index) => [{ kind: 'underlay', spec: this.#underlay.specs[index] ?? null }]);
      this.#limitSupers();
    }
    if (!isDeepStrictEqual(before.offload, next.offload)) await this.#setOffloads(wantedOffloads(next));
  }

  #limitSupers(): void {
    const { kind } = this.underlay;
    for (const open of this.#events.whole().endpoints as readonly OpenTap[]) limitSupers(open, kind);
  }

  async #setOffloads(offloads: TapOffloads): Promise<void> {
    this.#offloads = offloads;
    const open = this.#events.whole().endpoints as readonly OpenTap[];
    for (const tap of open) {
      tap.offloads = { ...offloads };
      for (const fd of tap.fds) {
        if (need().setTapOffloads(fd, tapOffloadBits(tap.offloads)) === 0) continue;
        tap.offloads.uso = false;
        need().setTapOffloads(fd, tapOffloadBits(tap.offloads));
      }
    }
    await this.perform({ detach: open, attach: open });
  }

  openEndpoint(endpoint: Endpoint, network: string, port: number, mtu: number): OpenEndpoint {
    const open = openTap(endpoint, network, port, mtu, this.engines, this.#offloads, this.#events.logger);
    limitSupers(open, this.underlay.kind);
    return open;
  }

  changeEndpoint(open: OpenEndpoint, endpoint: Endpoint, mtu: number): void {
    changeTap(open as OpenTap, endpoint, mtu);
    limitSupers(open as OpenTap, this.underlay.kind);
  }

  closeEndpoint(open: OpenEndpoint): void {
    closeTap(open as OpenTap);
  }

  isForsaken(open: OpenEndpoint): boolean {
    return isForsaken(open as OpenTap);
  }

  perform(change: Change): Promise<void> {
    return this.#threads.order((engine) => ordersOf(change, engine));
  }

  async serve(change: ServiceChange): Promise<void> {
    const { services, destinations, marks, ways } = change;
    if (services.length + marks.length > 0 && this.#host === undefined) {
      this.#host = new HostPlace(this.engines, this.#offloads, this.#events.logger);
      this.#ways = new WayKeeper({
        engines: this.engines,
        offloads: this.#host.offloads,
        hostPort: this.#hostPort,
        logger: this.#events.logger,
      });
      await this.#threads.order((engine) => this.#attachHost(engine));
    }
    const opened = this.#marks.open(marks);
    if (opened.length > 0)
      await this.#threads.order((engine) => opened.map((each) => attachMark(each, engine)));
    this.#ways?.want(ways);
    const found = this.#ways?.look();
    this.#led = { services, destinations };
    // Services first: a packet that nobody serves yet would come back as it was.
    await this.#threads.order((engine) => [...(found?.orders(engine) ?? []), ...serviceOrders(change)]);
    found?.close();
    this.#lead();
    if (services.some(({ family }) => family === 6)) {
      const { connections } = this.#shared.memory.virtualServer;
      this.#ownErrors ??= new OwnAddressErrors(connections, this.#events.logger);
    }
    const idle = this.#marks.lead(marks);
    if (idle.length === 0) return;
    await this.#threads.order(() => idle.map(({ port }): Order => ({ kind: 'detach', port })));
    this.#marks.close(idle);
  }

  /** The host's routes may lead elsewhere. */
  async #renewWays(): Promise<void> {
    try {
      const found = this.#ways?.look();
      if (found === undefined) return;
      await this.#threads.order(found.orders);
      found.close();
      this.#lead();
    } catch (error) {
      const { message } = error as Error;
      this.#events.logger.error({ error: message }, 'the ways to destinations could not be renewed');
    }
  }

  #lead(): void {
    const { services, destinations } = this.#led;
    this.#host?.lead(services, destinations, this.#ways?.tunnels ?? [], this.#ways?.local ?? []);
  }

  isLocal(row: number): boolean {
    return this.#ways?.isLocal(row) ?? false;
  }

  /** The last one that is counted; those of marks are before it. */
  get #hostPort(): number {
    return this.#shared.counters[0]!.ports - 1;
  }

  #attachHost(engine: number): Order[] {
    const host = this.#host;
    if (host === undefined) return [];
    const { offloads } = host;
    return [
      { kind: 'attach-host', port: this.#hostPort, fd: host.fds[engine]!, offloads, mark: 0 },
      ...this.#marks.all.map((each) => attachMark(each, engine)),
      ...(this.#ways?.whole(engine) ?? []),
    ];
  }

  vtepsChanged(): void {
    this.#keeper.refresh();
  }

  interfaceMtu(): number | undefined {
    if (this.#underlay.kind === 'none') return undefined;
    return linkByIndex('', this.#underlay.link.index)?.mtu;
  }

  async stop(): Promise<void> {
    await this.#threads.stop();
    clearTimeout(this.#renewal);
    this.#ways?.close();
    this.#marks.close(this.#marks.all);
    this.#host?.close();
    this.#ownErrors?.close();
    this.#keeper.close();
    this.#underlay.close();
    need().close(this.#changes);
  }

  /** Everything that an engine must know. */
  #everything(engine: number): Order[] {
    const { endpoints, networks, services } = this.#events.whole();
    return [
      ...serviceOrders(services),
      ...this.#attachHost(engine),
      { kind: 'underlay', spec: this.#underlay.specs[engine] ?? null },
      ...(engine === 0 ? [{ kind: 'listen', fd: this.#changes } as const] : []),
      ...ordersOf({ attach: endpoints, networks }, engine),
    ];
  }

  #vtepAddress(vtep: number): string {
    const { vteps } = this.#shared.tables;
    return addressText(vteps.family(vtep), vteps.addressWords(vtep));
  }

  #heard(notice: Notice): void {
    const { logger } = this.#events;
    switch (notice.kind) {
      case 'device-error': {
        const { device, at, errno } = notice;
        const { fields, message } =
          device === 'tap'
            ? tapRefusal(errno, this.#events.whole().endpoints.find(({ port }) => port === at)?.endpoint)
            : vtepRefusal(errno, device, this.#vtepAddress(at));
        logger.warn(fields, message);
        break;
      }
      case 'device-lost':
        if (notice.device === 'tap') this.#events.onLost(notice.port);
        else {
          this.#tunnelLost = true;
          this.#limitSupers();
          const error = getSystemErrorName(-notice.errno);
          logger.warn({ error }, 'the tunnel device is gone; UDP sockets carry until a restart');
        }
        break;
      case 'no-segment':
        this.#segmentRefused = true;
        logger.info({}, 'UDP_SEGMENT was refused and is off; datagrams leave one by one');
        break;
      case 'host-changed':
        this.#keeper.hostChanged();
        this.#events.onHostChanged();
        clearTimeout(this.#renewal);
        this.#renewal = setTimeout(() => void this.#renewWays(), RENEW_MS);
        this.#renewal.unref();
        break;
      case 'done':
        break;
    }
  }
}

/** Detaching comes first: an interface that is attached anew is the newest. */
function ordersOf(change: Change, engine: number): Order[] {
  return [
    ...(change.detach ?? []).map(({ port }): Order => ({ kind: 'detach', port })),
    ...((change.attach ?? []) as readonly OpenTap[])
      .filter(({ fds }) => fds.length > 0)
      .map(({ port, fds, offloads }): Order => ({ kind: 'attach', port, fd: fds[engine]!, offloads })),
    ...(change.gone ?? []).map((index): Order => ({ kind: 'network-gone', index })),
    ...(change.networks ?? []).map((network): Order => ({ kind: 'network', network })),
  ];
}

function attachMark({ port, device, offloads, mark }: MarkPlace, engine: number): Order {
  return { kind: 'attach-host', port, fd: device.fds[engine]!, offloads, mark };
}

/** Settings first: a service takes the timeouts of all where it says nothing. */
function serviceOrders({ set, gone, settings, directed }: ServiceOrders): Order[] {
  return [
    ...(settings === null ? [] : [{ kind: 'settings', settings } as const]),
    ...gone.map((index): Order => ({ kind: 'service-gone', index })),
    ...set.map((service): Order => ({ kind: 'service', service })),
    { kind: 'directed-networks', networks: directed },
  ];
}
