/**
 * How packets reach destinations that are not masqueraded: what the host found out about each, by its row. It is apart
 * from what control says of destinations, for it changes with the host's routes, and a connection needs it also after its
 * destination has left.
 */
import * as udp from '../wire/udp.js';
import type { Forward } from './destination.js';
import type { Parsed } from './packet.js';
import type { Tunnel } from './tunnel.js';

/** Cloned into each engine; an engine never writes it. */
export interface Way {
  /** of the destination, and of its connections */
  row: number;
  forward: Extract<Forward, 'tunnel' | 'route'>;
  /** none: no route leads there. local: the destination is this host. */
  reach: 'none' | 'local' | 'remote';
  /** the engine's port that packets leave by; -1: that of the host's own side */
  port: number;
  /** of a tunnel that has a route */
  tunnel: Tunnel | null;
  /** bytes of the largest packet that a tunnel's path carries, its outer header included */
  mtu: number;
}

export class Ways {
  readonly #byRow: (Way | undefined)[] = [];

  set(way: Way): void {
    this.#byRow[way.row] = way;
  }

  remove(row: number): void {
    this.#byRow[row] = undefined;
  }

  at(row: number): Way | undefined {
    return this.#byRow[row];
  }

  /** Whether a packet over IPv4, of which an ICMP error speaks, has the ends of a tunnel of ours, and the port if it is UDP. */
  isTunnel(quoted: Parsed): boolean {
    return this.#byRow.some((way) => {
      const tunnel = way?.tunnel;
      return (
        tunnel != null &&
        tunnel.family === quoted.family &&
        tunnel.destination[0] === quoted.destination0 &&
        tunnel.source[0] === quoted.source0 &&
        (quoted.protocol !== udp.PROTOCOL || tunnel.port === quoted.destinationPort)
      );
    });
  }
}
