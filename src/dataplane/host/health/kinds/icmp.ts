/** PING_CHECK: an echo request is answered (RFC 792, RFC 4443). One raw socket a family serves all destinations. */
import { IcmpEcho } from '../../../io/path-mtu/icmp-echo.js';
import type { EchoListener, EchoTransport, Log } from '../../../io/path-mtu/transport.js';
import { type Check, onAbort } from '../check.js';

/** Bytes of IP packet, as ping's. */
const SIZE = 84;
const SEQUENCES = 65_536;

/** The part of the transport that is used here. */
export type Echo = EchoTransport & Pick<IcmpEcho, 'open'>;

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export class Pinger implements EchoListener {
  readonly #make: () => Echo;
  readonly #waiting = new Map<number, Waiting>();
  #echo: Echo | undefined;
  #sequence = 0;

  constructor(logger: Log, make: () => Echo = () => new IcmpEcho(logger, 'nothing can be pinged')) {
    this.#make = make;
  }

  /** Why addresses of this family can't be pinged; undefined when they can. */
  fault(family: 4 | 6): string | undefined {
    return this.#opened().open(family);
  }

  readonly check: Check = async ({ address }, signal) => {
    const fault = this.fault(address.includes(':') ? 6 : 4);
    if (fault !== undefined) throw new Error(`no ICMP: ${fault}`);
    const sequence = this.#freeSequence();
    let leave = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        leave = onAbort(signal, reject);
        this.#waiting.set(sequence, { resolve, reject });
        this.#opened().send(address, SIZE, sequence);
      });
      return {};
    } finally {
      leave();
      this.#waiting.delete(sequence);
    }
  };

  close(): void {
    this.#echo?.close();
  }

  answered(sequence: number): void {
    this.#waiting.get(sequence)?.resolve();
  }

  unsent(sequence: number, reason: string): void {
    this.#waiting.get(sequence)?.reject(new Error(reason));
  }

  tooBig(): void {}

  #opened(): Echo {
    if (this.#echo === undefined) {
      this.#echo = this.#make();
      this.#echo.listener = this;
    }
    return this.#echo;
  }

  /** A reply that is late must not answer another request: numbers come again after all others. */
  #freeSequence(): number {
    do this.#sequence = (this.#sequence + 1) % SEQUENCES;
    while (this.#waiting.has(this.#sequence));
    return this.#sequence;
  }
}
