/** Redirects datagrams between the real interface and the tunnel TAP, past bridges, routes and filters. */

export interface Steering {
  /** detaches; the end of the process does it too */
  close(): void;
}

export interface SteeringOptions {
  /** the data plane's network namespace, '' for our own */
  netns: string;
  /** indexes of the two interfaces */
  tap: number;
  real: number;
  /** the tunnel's UDP port */
  port: number;
  /** our VTEP address of each family */
  address4?: string;
  address6?: string;
  /** leave single datagrams to the UDP socket */
  onlySuperPackets: boolean;
}

/** Loads and attaches both programs. Throws when the kernel refuses one; then neither is attached. */
export function steer(_options: SteeringOptions): Steering {
  throw new Error('to come');
}
