/**
 * ARP for IPv4 over Ethernet (RFC 826; probes and announcements: RFC 5227). `at` is the ARP header, behind
 * Ethernet.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |       Hardware type = 1       |    Protocol type = 0x0800     |
 *     +---------------+---------------+-------------------------------+
 *     |  HW len = 6   | Proto len = 4 |  Operation (1 ask, 2 reply)   |
 *     +---------------+---------------+-------------------------------+
 *     |                          Sender MAC                           |
 *     +-------------------------------+-------------------------------+
 *     |         Sender (rest)         |           Sender IP           |
 *     +-------------------------------+-------------------------------+
 *     |       Sender IP (rest)        |          Target MAC           |
 *     +-------------------------------+-------------------------------+
 *     |                         Target (rest)                         |
 *     +---------------------------------------------------------------+
 *     |                           Target IP                           |
 *     +---------------------------------------------------------------+
 */

import { macHigh, macLow, writeMac } from './ethernet.js';
import { address, writeAddress } from './ipv4.js';

export const HEADER = 28;
export const REQUEST = 1;
export const REPLY = 2;

const OPERATION = 6;
const SENDER_MAC = 8;
const SENDER_IP = 14;
const TARGET_MAC = 18;
const TARGET_IP = 24;

export const isRequest = (bytes: Uint8Array, at: number, end: number): boolean =>
  valid(bytes, at, end) && operation(bytes, at) === REQUEST;

export const isReply = (bytes: Uint8Array, at: number, end: number): boolean =>
  valid(bytes, at, end) && operation(bytes, at) === REPLY;

/** Whole, and Ethernet and IPv4 in type and length; any operation. */
export function valid(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    at + HEADER <= end &&
    bytes[at] === 0 &&
    bytes[at + 1] === 1 &&
    bytes[at + 2] === 0x08 &&
    bytes[at + 3] === 0x00 &&
    bytes[at + 4] === 6 &&
    bytes[at + 5] === 4
  );
}

export const operation = (bytes: Uint8Array, at: number): number =>
  (bytes[at + OPERATION] << 8) | bytes[at + OPERATION + 1];

export const senderMacHigh = (bytes: Uint8Array, at: number): number => macHigh(bytes, at + SENDER_MAC);
export const senderMacLow = (bytes: Uint8Array, at: number): number => macLow(bytes, at + SENDER_MAC);
export const targetMacHigh = (bytes: Uint8Array, at: number): number => macHigh(bytes, at + TARGET_MAC);
export const targetMacLow = (bytes: Uint8Array, at: number): number => macLow(bytes, at + TARGET_MAC);

/** IPv4 addresses, signed as all address words; a probe's sender is 0 (RFC 5227 §2.1.1). */
export const senderIp = (bytes: Uint8Array, at: number): number => address(bytes, at + SENDER_IP);
export const targetIp = (bytes: Uint8Array, at: number): number => address(bytes, at + TARGET_IP);

/** The request becomes, in place, the reply "its target IP is at this MAC"; the Ethernet header is `ethernet.turnBack`'s. */
export function writeReply(bytes: Uint8Array, at: number, high: number, low: number): void {
  const asked = targetIp(bytes, at);
  bytes[at + OPERATION + 1] = REPLY;
  bytes.copyWithin(at + TARGET_MAC, at + SENDER_MAC, at + SENDER_MAC + 10);
  writeMac(bytes, at + SENDER_MAC, high, low);
  writeAddress(bytes, at + SENDER_IP, asked);
}

/** "Who has `target`? Tell `sender`", 28 bytes. An announcement asks for its own address; a probe's sender is 0. */
export function writeRequest(
  bytes: Uint8Array,
  at: number,
  high: number,
  low: number,
  sender: number,
  target: number,
): void {
  write(bytes, at, REQUEST, high, low, sender, 0, 0, target);
}

/** A whole ARP packet, 28 bytes. */
export function write(
  bytes: Uint8Array,
  at: number,
  operation: number,
  senderHigh: number,
  senderLow: number,
  sender: number,
  targetHigh: number,
  targetLow: number,
  target: number,
): void {
  bytes[at] = 0;
  bytes[at + 1] = 1;
  bytes[at + 2] = 0x08;
  bytes[at + 3] = 0x00;
  bytes[at + 4] = 6;
  bytes[at + 5] = 4;
  bytes[at + OPERATION] = operation >>> 8;
  bytes[at + OPERATION + 1] = operation;
  writeMac(bytes, at + SENDER_MAC, senderHigh, senderLow);
  writeAddress(bytes, at + SENDER_IP, sender);
  writeMac(bytes, at + TARGET_MAC, targetHigh, targetLow);
  writeAddress(bytes, at + TARGET_IP, target);
}
