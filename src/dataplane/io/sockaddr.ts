/** Raw socket address rows (struct sockaddr_in, sockaddr_in6) and the sender at a slot's start, for those who get addresses as text. */
import { SENDER_ADDRESS, SENDER_FAMILY, SENDER_PORT } from '../core/pool.js';
import { ipBytes, ipText } from './ip-text.js';

/** Bytes of a raw row; its family is little-endian, the rest in network order. */
export const SOCKADDR_BYTES = 32;
const AF_INET = 2;
const AF_INET6 = 10;

export interface SocketAddress {
  family: 4 | 6;
  address: string;
  port: number;
}

/** The row at `at`; undefined when it holds no address. A scope (of link-local addresses) is not looked at. */
export function readSockaddr(bytes: Uint8Array, at: number): SocketAddress | undefined {
  const family = bytes[at]! | (bytes[at + 1]! << 8);
  const port = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  if (family === AF_INET) return { family: 4, address: ipText(bytes.slice(at + 4, at + 8)), port };
  if (family === AF_INET6) return { family: 6, address: ipText(bytes.slice(at + 8, at + 24)), port };
  return undefined;
}

/** Throws AddressError. */
export function writeSockaddr(bytes: Uint8Array, at: number, address: string, port: number): void {
  const raw = ipBytes(address);
  bytes.fill(0, at, at + SOCKADDR_BYTES);
  bytes[at] = raw.length === 4 ? AF_INET : AF_INET6;
  bytes[at + 2] = port >> 8;
  bytes[at + 3] = port & 0xff;
  bytes.set(raw, at + (raw.length === 4 ? 4 : 8));
}

/** The sender of a datagram (core/pool.ts, SENDER_*). @param address 4 or 16 bytes */
export function writeSender(view: DataView, slot: number, address: Uint8Array, port: number): void {
  view.setUint16(slot + SENDER_FAMILY, address.length === 4 ? 4 : 6, true);
  view.setUint16(slot + SENDER_PORT, port, true);
  for (let i = 0; i < address.length; i++) view.setUint8(slot + SENDER_ADDRESS + i, address[i]!);
}
