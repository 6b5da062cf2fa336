/** What carries the prober's echoes: ICMP on a host (icmp-echo.ts), a simulated path in tests. */

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Sends echo requests that must not be fragmented. What can't be sent is as good as lost. */
export interface EchoTransport {
  /** set by the prober */
  listener: EchoListener | undefined;
  /** `size`: bytes of IP packet; `sequence`: 16 bits */
  send(address: string, size: number, sequence: number): void;
  close(): void;
}

export interface EchoListener {
  answered(sequence: number): void;
  /** a router says that packets to `address` may have `mtu` bytes */
  tooBig(address: string, mtu: number): void;
  /** the host itself could not send it */
  unsent?(sequence: number, reason: string): void;
}
