/** The npm package raw-socket: as much of it as is used here, and how it is loaded. It is optional, and needs a compiler to be built. */
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';

export interface RawSocketModule {
  createSocket(options: { protocol: number; addressFamily: number; bufferSize: number }): RawSocket;
  AddressFamily: { IPv4: number; IPv6: number };
}

export interface RawSocket {
  on(event: 'message', handler: (message: Buffer, source: string) => void): void;
  on(event: 'error', handler: (error: Error) => void): void;
  on(event: 'close', handler: () => void): void;
  setOption(level: number, option: number, value: number): void;
  setOption(level: number, option: number, value: Buffer, length: number): void;
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    done: (error: Error | null) => void,
  ): void;
  close(): void;
}

/** ICMP6_FILTER, for `setOption` at the level of ICMPv6: 256 bits, of the types that are kept out. */
export const ICMPV6_FILTER = 1;

/** The package polls on the main thread's loop, whoever loads it; from another thread that ends in a crash. Throws. */
export function loadRawSocket(): RawSocketModule {
  if (!isMainThread) throw new Error('raw sockets need the main thread');
  return createRequire(import.meta.url)('raw-socket') as RawSocketModule;
}

/** All types kept out but these. */
export function icmpv6Filter(passed: readonly number[]): Buffer {
  const words = new Uint32Array(8).fill(0xffffffff); // in the host's byte order
  for (const type of passed) words[type >>> 5]! &= ~(1 << (type & 31));
  return Buffer.from(words.buffer);
}
