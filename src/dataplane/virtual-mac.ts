/**
 * The MAC under which a virtual service's address is answered for inside a network: the same on every node, made of
 * the address alone. Locally administered; its first half is one of two that are kept for this.
 *
 *     0a:56 + the four bytes of an IPv4 address
 *     0e:56 + 32 bits of hash of an IPv6 address; where two share one nothing is lost, for packets have the address
 */
import type { Words } from './wire/ipv6.js';

export const VIRTUAL4_HIGH = 0x0a56;
export const VIRTUAL6_HIGH = 0x0e56;

/** Whether it can be the first half of such a MAC. */
export const isVirtualHigh = (high: number): boolean => (high & ~0x0400) === VIRTUAL4_HIGH;

/** @param address IPv4 in the first word */
export const virtualHigh = (family: 4 | 6): number => (family === 4 ? VIRTUAL4_HIGH : VIRTUAL6_HIGH);

/** The other half; IPv4 in the first word, the others without meaning. */
export function virtualLow(family: 4 | 6, a: number, b: number, c: number, d: number): number {
  return family === 4 ? a | 0 : mix(mix(mix(mix(0, a), b), c), d);
}

export const virtualMac = (family: 4 | 6, [a, b, c, d]: Words): { high: number; low: number } => ({
  high: virtualHigh(family),
  low: virtualLow(family, a, b, c, d),
});

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) ^ (mixed >>> 13);
}
