/**
 * Keeps the VTEPs' rows current: the next hop's MAC that the tunnel device needs, and the path MTU. While a next
 * hop isn't known the sockets carry, for the kernel resolves it for them.
 */
import type { Vteps } from '../core/vteps.js';
import type { Logger } from '../face.js';
import * as outer from '../io/outer.js';
import { IcmpEcho } from '../io/path-mtu/icmp-echo.js';
import { PathMtuProber } from '../io/path-mtu/prober.js';
import { linkByIndex } from '../io/rtnetlink/link.js';
import { type Neighbour, neighbours, useNeighbour } from '../io/rtnetlink/neighbour.js';
import { type RouteResult, routeTo } from '../io/rtnetlink/route.js';
import * as ethernet from '../wire/ethernet.js';
import { addressText, vtepWords } from './addresses.js';
import type { OpenUnderlay } from './underlay.js';

/** Next hops are refreshed in time; that something changed is heard at once (hostChanged). */
const TICK_MS = 5000;
/** Right after something changed, until all next hops are known. */
const SOON_MS = 25;
const SOON_TRIES = 40;
/** While a next hop doesn't answer. */
const OPEN_MS = 1000;
const ROUTE_MS = 4500;
const REFRESH_MS = 4500;

interface Kept {
  address: string;
  route: RouteResult | undefined;
  routeAt: number;
  usedAt: number;
}

export class VtepKeeper {
  readonly #vteps: Vteps;
  readonly #underlay: OpenUnderlay;
  readonly #logger: Logger;
  readonly #kept = new Map<number, Kept>();
  readonly #prober: PathMtuProber;
  readonly #echo: IcmpEcho;
  #timer: NodeJS.Timeout | undefined;
  #soon = SOON_TRIES;
  #generation = -1;

  constructor(vteps: Vteps, underlay: OpenUnderlay, logger: Logger) {
    this.#vteps = vteps;
    this.#underlay = underlay;
    this.#logger = logger;
    this.#echo = new IcmpEcho(logger);
    this.#prober = new PathMtuProber({
      logger,
      now: () => performance.now(),
      transport: this.#echo,
      routeMtu: (address) => this.#route(address),
      onChange: (address, mtu) => this.#setPathMtu(address, mtu),
    });
    this.refresh();
  }

  /** Rows were added: looks at once, and often until everything is known. */
  refresh(): void {
    this.#soon = SOON_TRIES;
    this.#look();
  }

  /** The host changed, perhaps in many small steps: everything is asked anew, in a moment. */
  hostChanged(): void {
    for (const kept of this.#kept.values()) kept.routeAt = -ROUTE_MS;
    this.#soon = SOON_TRIES;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), SOON_MS);
    this.#timer.unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#prober.close();
    this.#echo.close();
    for (const vtep of this.#vteps.used()) this.#vteps.closeTunnel(vtep);
  }

  #look(): void {
    clearTimeout(this.#timer);
    let open = 0;
    try {
      open = this.#lookAtAll();
    } catch (error) {
      // The host is being changed under us, for instance its interface was removed; the next look will tell.
      this.#logger.debug({ error: (error as Error).message }, 'the host could not be asked about its VTEPs');
    }
    const soon = open > 0 && this.#soon-- > 0;
    this.#timer = setTimeout(() => this.#look(), soon ? SOON_MS : open > 0 ? OPEN_MS : TICK_MS);
    this.#timer.unref();
  }

  /** Returns how many next hops are still unknown. */
  #lookAtAll(): number {
    if (this.#generation !== this.#vteps.generation) {
      this.#generation = this.#vteps.generation;
      this.#watchAll();
    }
    if (this.#underlay.kind !== 'tunnel') return 0;
    const now = performance.now();
    const known = new Map(neighbours('', this.#underlay.link.index).map((each) => [each.address, each]));
    // Its address may have changed since the underlay was opened.
    const mac = linkByIndex('', this.#underlay.link.index)?.mac ?? this.#underlay.link.mac;
    let open = 0;
    for (const vtep of this.#vteps.used()) if (!this.#resolve(vtep, known, mac, now)) open++;
    return open;
  }

  #watchAll(): void {
    const used = new Set(this.#vteps.used());
    for (const [vtep, { address }] of this.#kept) {
      // A row's number may have been given to another address meanwhile.
      if (used.has(vtep) && this.#address(vtep) === address) continue;
      this.#kept.delete(vtep);
      this.#prober.unwatch(address);
    }
    for (const vtep of used) {
      if (this.#kept.has(vtep)) continue;
      const address = this.#address(vtep);
      this.#kept.set(vtep, { address, route: undefined, routeAt: -ROUTE_MS, usedAt: -REFRESH_MS });
      this.#vteps.setPathMtu(vtep, this.#underlay.mtu);
      this.#prober.watch(address, this.#underlay.mtu);
    }
  }

  /** @param mac of the underlay interface */
  #resolve(vtep: number, known: Map<string, Neighbour>, mac: string, now: number): boolean {
    const { link, tunnelFamilies } = this.#underlay;
    const kept = this.#kept.get(vtep);
    const family = this.#vteps.family(vtep) as 4 | 6;
    if (kept === undefined || !tunnelFamilies.includes(family)) return true;
    const address = this.#address(vtep);
    if (now - kept.routeAt >= ROUTE_MS) {
      kept.route = routeTo('', address, this.#source(family));
      kept.routeAt = now;
    }
    const { route } = kept;
    if (route?.type !== 'unicast' || route.index !== link.index) {
      // Another interface, this very host, or nowhere: the sockets know what to do.
      this.#vteps.closeTunnel(vtep);
      return true;
    }
    const hop = route.gateway ?? address;
    const neighbour = known.get(hop);
    if (neighbour?.state !== 'permanent' && now - kept.usedAt >= REFRESH_MS) {
      useNeighbour('', link.index, hop);
      kept.usedAt = now;
    }
    if (neighbour?.mac == null || neighbour.state === 'failed' || neighbour.state === 'incomplete') {
      this.#vteps.closeTunnel(vtep);
      return false;
    }
    const [, ...sourceWords] = vtepWords(this.#source(family)!);
    this.#vteps.openTunnel(
      vtep,
      outer.template({
        family,
        sourceMac: ethernet.parseMac(mac),
        nextHopMac: ethernet.parseMac(neighbour.mac),
        source: sourceWords,
        destination: this.#vteps.addressWords(vtep),
        port: this.#underlay.port,
      }),
    );
    return true;
  }

  #address(vtep: number): string {
    return addressText(this.#vteps.family(vtep), this.#vteps.addressWords(vtep));
  }

  #source(family: 4 | 6): string | undefined {
    return family === 4 ? this.#underlay.address4 : this.#underlay.address6;
  }

  #route(address: string): RouteResult | undefined {
    try {
      return routeTo('', address, this.#source(address.includes(':') ? 6 : 4));
    } catch {
      return undefined;
    }
  }

  #setPathMtu(address: string, mtu: number): void {
    const vtep = this.#vteps.find(...vtepWords(address));
    if (vtep >= 0) this.#vteps.setPathMtu(vtep, mtu);
  }
}
