/**
 * The IPv4 header (RFC 791 §3.1; ECN bits: RFC 3168).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+-------------------------------+
 *     |Version|  IHL  |Type of Service|         Total Length          |
 *     +-------+-------+---------------+-----+-------------------------+
 *     |        Identification         |0|D|M|     Fragment Offset     |
 *     +---------------+---------------+-----+-------------------------+
 *     | Time to Live  |   Protocol    |        Header Checksum        |
 *     +---------------+---------------+-------------------------------+
 *     |                        Source Address                         |
 *     +---------------------------------------------------------------+
 *     |                      Destination Address                      |
 *     +---------------------------------------------------------------+
 *     |                    Options (IHL > 5) ...                      |
 *
 * An address is one number, a signed int32: what an Int32Array holds of it compares with ===.
 */

import { isIPv4 } from 'node:net';
import { AddressError } from './address-error.js';
import * as checksums from './checksum.js';

/** Bytes of a header without options. */
export const HEADER = 20;

export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const BROADCAST = -1;

const SOURCE = 12;
const DESTINATION = 16;

export const version = (bytes: Uint8Array, at: number): number => bytes[at] >>> 4;

/** Header length in 32-bit words, as on the wire. */
export const ihl = (bytes: Uint8Array, at: number): number => bytes[at] & 0x0f;

/** Header length in bytes, options included. */
export const headerLength = (bytes: Uint8Array, at: number): number => (bytes[at] & 0x0f) << 2;

/** DSCP and, in the low two bits, ECN. */
export const tos = (bytes: Uint8Array, at: number): number => bytes[at + 1];

export const totalLength = (bytes: Uint8Array, at: number): number => (bytes[at + 2] << 8) | bytes[at + 3];

export const id = (bytes: Uint8Array, at: number): number => (bytes[at + 4] << 8) | bytes[at + 5];

/** The flags (DONT_FRAGMENT, MORE_FRAGMENTS) and the fragment offset in one 16-bit field. */
export const fragment = (bytes: Uint8Array, at: number): number => (bytes[at + 6] << 8) | bytes[at + 7];

/** In bytes. */
export const fragmentOffset = (bytes: Uint8Array, at: number): number => (fragment(bytes, at) & 0x1fff) << 3;

export const dontFragment = (bytes: Uint8Array, at: number): boolean => (bytes[at + 6] & 0x40) !== 0;

/** Any fragment, the first among them. */
export const isFragment = (bytes: Uint8Array, at: number): boolean => (fragment(bytes, at) & 0x3fff) !== 0;

export const ttl = (bytes: Uint8Array, at: number): number => bytes[at + 8];

export const protocol = (bytes: Uint8Array, at: number): number => bytes[at + 9];

export const checksum = (bytes: Uint8Array, at: number): number => (bytes[at + 10] << 8) | bytes[at + 11];

export const source = (bytes: Uint8Array, at: number): number => address(bytes, at + SOURCE);

export const destination = (bytes: Uint8Array, at: number): number => address(bytes, at + DESTINATION);

/** The address that stands at `at`, signed. */
export const address = (bytes: Uint8Array, at: number): number =>
  (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];

/** 224.0.0.0/4 */
export const isMulticast = (address: number): boolean => address >>> 28 === 0xe;

/** A header that can be trusted for its lengths: version 4, at least five words, all of the packet within `available` bytes. */
export function valid(bytes: Uint8Array, at: number, available: number): boolean {
  if (available < HEADER || version(bytes, at) !== 4) return false;
  const header = headerLength(bytes, at);
  const total = totalLength(bytes, at);
  return header >= HEADER && header <= total && total <= available;
}

/** The checksum that belongs into the header, whatever stands there. */
export const headerChecksum = (bytes: Uint8Array, at: number): number =>
  checksums.finish(checksums.sum(bytes, at + 12, headerLength(bytes, at) - 12, checksums.sum(bytes, at, 10)));

export const checksumValid = (bytes: Uint8Array, at: number): boolean =>
  checksums.sum(bytes, at, headerLength(bytes, at)) === 0xffff;

/** A header of 20 bytes, checksum included. `length` is the total length; `fragment` the field of flags and offset. */
export function write(
  bytes: Uint8Array,
  at: number,
  length: number,
  protocol: number,
  source: number,
  destination: number,
  ttl = 64,
  tos = 0,
  id = 0,
  fragment = DONT_FRAGMENT,
): void {
  bytes[at] = 0x45;
  bytes[at + 1] = tos;
  writeTotalLength(bytes, at, length);
  bytes[at + 4] = id >>> 8;
  bytes[at + 5] = id;
  bytes[at + 6] = fragment >>> 8;
  bytes[at + 7] = fragment;
  bytes[at + 8] = ttl;
  bytes[at + 9] = protocol;
  writeAddress(bytes, at + SOURCE, source);
  writeAddress(bytes, at + DESTINATION, destination);
  writeChecksum(bytes, at, headerChecksum(bytes, at));
}

// The single writers below leave the checksum to the caller (checksum.update16, update32, or headerChecksum).

export function writeTotalLength(bytes: Uint8Array, at: number, length: number): void {
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
}

export function writeChecksum(bytes: Uint8Array, at: number, checksum: number): void {
  bytes[at + 10] = checksum >>> 8;
  bytes[at + 11] = checksum;
}

export function writeSource(bytes: Uint8Array, at: number, address: number): void {
  writeAddress(bytes, at + SOURCE, address);
}

export function writeDestination(bytes: Uint8Array, at: number, address: number): void {
  writeAddress(bytes, at + DESTINATION, address);
}

export function writeAddress(bytes: Uint8Array, at: number, address: number): void {
  bytes[at] = address >>> 24;
  bytes[at + 1] = address >>> 16;
  bytes[at + 2] = address >>> 8;
  bytes[at + 3] = address;
}

/** One hop on, the checksum kept right. The caller saw that the TTL is above 1. */
export function decrementTtl(bytes: Uint8Array, at: number): void {
  const before = (bytes[at + 8] << 8) | bytes[at + 9];
  bytes[at + 8]--;
  writeChecksum(bytes, at, checksums.update16(checksum(bytes, at), before, before - 0x100));
}

/** Dotted decimal to the signed word. Throws AddressError. */
export function parse(text: string): number {
  if (!isIPv4(text)) throw new AddressError(text, 'an IPv4 address like 10.0.0.2');
  return text.split('.').reduce((word, octet) => (word << 8) | Number(octet), 0);
}

export const format = (address: number): string =>
  `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
