/** Path MTU of each VTEP, by probing (in the spirit of RFC 8899). */

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Sends echo requests that must not be fragmented; what comes back is told to `listener`. */
export interface EchoTransport {
  /** `size`: bytes of IP packet. False when it can't be sent at that size (interface's MTU). */
  send(address: string, size: number, sequence: number): boolean;
  listener: EchoListener;
  close(): void;
}

export interface EchoListener {
  answered(address: string, sequence: number): void;
  /** a router said that packets to `address` may have `mtu` bytes */
  tooBig(address: string, mtu: number): void;
}

export interface PathMtuOptions {
  log: Log;
  /** milliseconds, monotonic */
  now: () => number;
  /** bytes of IP packet that the path takes; called with each change, never with the interface's MTU first */
  onChange: (address: string, mtu: number) => void;
  /** default: ICMP and ICMPv6 through raw-socket, in the process's network namespace */
  transport?: EchoTransport;
  /** what the kernel knows of the path: routeTo().mtu */
  routeMtu?: (address: string) => number | null;
  /** default: setTimeout; returns a function that cancels it */
  later?: (ms: number, task: () => void) => () => void;
  intervalMs?: number;
  timeoutMs?: number;
  /** how long to stay at a lowered MTU before the full size is tried again */
  raiseMs?: number;
}

export class PathMtuProber {
  constructor(_options: PathMtuOptions) {}

  /** Starts to watch, or takes over the new MTU of the interface that leads there. */
  watch(_address: string, _interfaceMtu: number): void {}

  unwatch(_address: string): void {}

  close(): void {}
}
