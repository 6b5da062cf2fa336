/** Routes (RTM_*ROUTE, linux/rtnetlink.h). */

export interface NewRoute {
  /** with prefix length, or 'default' (of the family of `via`) */
  readonly to: string;
  /** null: on the link */
  readonly via: string | null;
  readonly index: number;
}

/** Where the kernel would send a packet. */
export interface RouteResult {
  /** interface */
  readonly index: number;
  /** next hop; null when the destination itself is on the link */
  readonly gateway: string | null;
  /** the route's MTU metric, or what path MTU discovery has found; null when neither says */
  readonly mtu: number | null;
  /** source address that the kernel would choose */
  readonly prefSource: string | null;
  readonly type: 'unicast' | 'local' | 'broadcast' | 'multicast' | 'other';
}

/** One that is there already is fine. Throws NetlinkError. */
export function addRoute(_netns: string, _route: NewRoute): void {
  throw new Error('to come');
}

/** One that isn't there is fine. */
export function removeRoute(_netns: string, _route: NewRoute): void {
  throw new Error('to come');
}

/** undefined when no route leads there. */
export function routeTo(_netns: string, _destination: string, _source?: string): RouteResult | undefined {
  throw new Error('to come');
}
