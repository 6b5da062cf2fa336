/**
 * Finds out how packets reach the destinations that are not masqueraded, and keeps it current as the host's routes change:
 * the next hop of direct routing, the source and path MTU of a tunnel, and which destinations are this host itself. Rows are
 * the destinations' numbers, for connections find their way by them.
 */
import type { Logger } from '../face.js';
import { linkByIndex } from '../io/rtnetlink/link.js';
import { type RouteResult, routeTo } from '../io/rtnetlink/route.js';
import type { TapOffloads } from '../io/tap.js';
import type { DestinationSpec } from '../ipvs/destination.js';
import { tunnelTo } from '../ipvs/tunnel.js';
import type { Way } from '../ipvs/ways.js';
import type { Order } from '../orders.js';
import * as ipv4 from '../wire/ipv4.js';
import { addressText, addressWords } from './addresses.js';
import { DirectPlace } from './direct-place.js';

/** A destination that is routed or tunnelled to, or was and has connections left. */
export interface WantedWay
  extends Pick<DestinationSpec, 'row' | 'family' | 'address' | 'forward' | 'tunnel'> {
  /** address of its service; null: it is of a mark, and has any that the host has */
  virtual: string | null;
}

export interface WayOptions {
  engines: number;
  offloads: TapOffloads;
  /** the engines' port of the host's own side; those after it are for direct routing */
  hostPort: number;
  logger: Logger;
}

interface Direct {
  port: number;
  place: DirectPlace;
}

export class WayKeeper {
  readonly #options: WayOptions;
  #wanted: readonly WantedWay[] = [];
  /** by row, as engines know them or are about to */
  #ways = new Map<number, Way>();
  /** by address */
  readonly #direct = new Map<string, Direct>();
  readonly #ports = new Set<number>();

  constructor(options: WayOptions) {
    this.#options = options;
  }

  want(wanted: readonly WantedWay[]): void {
    this.#wanted = wanted;
  }

  /**
   * Looks at the host's routes. What engines must be told of the difference, and what is to be done when they know;
   * undefined when there is none. Throws ApplyError, and nothing has changed.
   */
  look(): { orders: (engine: number) => Order[]; close: () => void } | undefined {
    const opened: Direct[] = [];
    let ways: Map<number, Way>;
    try {
      ways = this.#lookAtAll(opened);
    } catch (error) {
      for (const [address, direct] of this.#direct) if (opened.includes(direct)) this.#drop(address, direct);
      throw error;
    }
    const direct = new Set(
      this.#wanted
        .filter((each) => each.forward === 'route' && ways.get(each.row)!.reach !== 'local')
        .map(({ family, address }) => addressText(family, address)),
    );
    const closed = [...this.#direct].filter(([address]) => !direct.has(address));
    const changed = [...ways.values()].filter((way) => !same(this.#ways.get(way.row), way));
    const gone = [...this.#ways.keys()].filter((row) => !ways.has(row));
    this.#ways = ways;
    if (opened.length + closed.length + changed.length + gone.length === 0) return undefined;
    return {
      orders: (engine) => [
        ...opened.map((each) => this.#attach(each, engine)),
        ...gone.map((row): Order => ({ kind: 'way-gone', row })),
        ...changed.map((way): Order => ({ kind: 'way', way })),
        ...closed.map(([, { port }]): Order => ({ kind: 'detach-direct', port })),
      ],
      close: () => {
        for (const [address, each] of closed) this.#drop(address, each);
      },
    };
  }

  #lookAtAll(opened: Direct[]): Map<number, Way> {
    const ways = new Map<number, Way>();
    const found = new Map<string, RouteResult | undefined>();
    for (const each of this.#wanted) {
      const address = addressText(each.family, each.address);
      if (!found.has(address)) found.set(address, this.#route(address));
      ways.set(each.row, this.#way(each, address, found.get(address), opened));
    }
    return ways;
  }

  #drop(address: string, { port, place }: Direct): void {
    place.close();
    this.#ports.delete(port);
    this.#direct.delete(address);
  }

  /** Everything, for an engine that takes another's place. */
  whole(engine: number): Order[] {
    return [
      ...[...this.#direct.values()].map((each) => this.#attach(each, engine)),
      ...[...this.#ways.values()].map((way): Order => ({ kind: 'way', way })),
    ];
  }

  /** The host's ends of tunnels over IPv4; errors about those over IPv6 IPVS takes as little. */
  get tunnels(): string[] {
    const sources = new Set<number>();
    for (const { tunnel } of this.#ways.values()) if (tunnel?.family === 4) sources.add(tunnel.source[0]);
    return [...sources].map(ipv4.format);
  }

  /** Addresses of services that this host itself is to serve, where it is a destination. */
  get local(): string[] {
    const here = this.#wanted.filter(({ row }) => this.#ways.get(row)?.reach === 'local');
    return [...new Set(here.map(({ virtual }) => virtual).filter((virtual) => virtual !== null))];
  }

  /** Whether the destination of that row is this host itself. */
  isLocal(row: number): boolean {
    return this.#ways.get(row)?.reach === 'local';
  }

  close(): void {
    for (const { place } of this.#direct.values()) place.close();
    this.#direct.clear();
  }

  #way(wanted: WantedWay, address: string, route: RouteResult | undefined, opened: Direct[]): Way {
    const { row } = wanted;
    const forward = wanted.forward === 'tunnel' ? 'tunnel' : 'route';
    const reach = route === undefined ? 'none' : route.type === 'local' ? 'local' : 'remote';
    const way: Way = { row, forward, reach, port: this.#options.hostPort, tunnel: null, mtu: 0 };
    if (forward === 'route' && reach !== 'local') {
      const direct = this.#directTo(address, opened);
      const remote = reach === 'remote' && route !== undefined;
      try {
        direct.place.lead(remote ? { via: route.gateway ?? address, index: route.index } : undefined);
      } catch (error) {
        this.#options.logger.warn(
          { address, error: (error as Error).message },
          'direct routing has no route',
        );
        return { ...way, reach: 'none' };
      }
      return remote ? { ...way, port: direct.port } : way;
    }
    if (reach !== 'remote' || route === undefined) return way;
    if (route.prefSource === null) return { ...way, reach: 'none' };
    const tunnel = tunnelTo(wanted, addressWords(route.prefSource));
    return { ...way, tunnel, mtu: route.mtu ?? linkByIndex('', route.index)?.mtu ?? MTU };
  }

  #directTo(address: string, opened: Direct[]): Direct {
    const known = this.#direct.get(address);
    if (known !== undefined) return known;
    const { engines, offloads, hostPort } = this.#options;
    let port = hostPort + 1;
    while (this.#ports.has(port)) port++;
    const direct = { port, place: new DirectPlace(address, engines, offloads) };
    this.#ports.add(port);
    this.#direct.set(address, direct);
    opened.push(direct);
    return direct;
  }

  #attach({ port, place }: Direct, engine: number): Order {
    const { offloads, hostPort } = this.#options;
    return { kind: 'attach-direct', port, fd: place.fds[engine]!, offloads, counted: hostPort };
  }

  #route(address: string): RouteResult | undefined {
    try {
      const route = routeTo('', address);
      return route?.type === 'unicast' || route?.type === 'local' ? route : undefined;
    } catch (error) {
      this.#options.logger.debug({ address, error: (error as Error).message }, 'no route can be asked for');
      return undefined;
    }
  }
}

/** Of an interface that doesn't say. */
const MTU = 1500;

function same(before: Way | undefined, way: Way): boolean {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(way);
}
