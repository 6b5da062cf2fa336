/**
 * The UDP header (RFC 768; over IPv6: RFC 8200 §8.1, zero checksums of tunnels: RFC 6935).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source Port          |       Destination Port        |
 *     +-------------------------------+-------------------------------+
 *     |            Length             |           Checksum            |
 *     +-------------------------------+-------------------------------+
 */

import { finish } from './checksum.js';

export const HEADER = 8;
export const PROTOCOL = 17;

export const sourcePort = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

export const destinationPort = (bytes: Uint8Array, at: number): number =>
  (bytes[at + 2] << 8) | bytes[at + 3];

/** Header and payload, in bytes. */
export const length = (bytes: Uint8Array, at: number): number => (bytes[at + 4] << 8) | bytes[at + 5];

/** 0: the sender computed none. */
export const checksum = (bytes: Uint8Array, at: number): number => (bytes[at + 6] << 8) | bytes[at + 7];

/** A header that can be trusted for its length. */
export function valid(bytes: Uint8Array, at: number, end: number): boolean {
  if (at + HEADER > end) return false;
  const whole = length(bytes, at);
  return whole >= HEADER && at + whole <= end;
}

/** A whole header; `length` is header and payload. */
export function write(
  bytes: Uint8Array,
  at: number,
  source: number,
  destination: number,
  length: number,
  checksum = 0,
): void {
  bytes[at] = source >>> 8;
  bytes[at + 1] = source;
  bytes[at + 2] = destination >>> 8;
  bytes[at + 3] = destination;
  bytes[at + 4] = length >>> 8;
  bytes[at + 5] = length;
  writeChecksum(bytes, at, checksum);
}

export function writeSourcePort(bytes: Uint8Array, at: number, port: number): void {
  bytes[at] = port >>> 8;
  bytes[at + 1] = port;
}

export function writeDestinationPort(bytes: Uint8Array, at: number, port: number): void {
  bytes[at + 2] = port >>> 8;
  bytes[at + 3] = port;
}

export function writeChecksum(bytes: Uint8Array, at: number, checksum: number): void {
  bytes[at + 6] = checksum >>> 8;
  bytes[at + 7] = checksum;
}

/** The checksum field for a sum over pseudo-header and datagram: 0xffff where 0 comes out, for 0 means none. */
export const finishChecksum = (sum: number): number => finish(sum) || 0xffff;
