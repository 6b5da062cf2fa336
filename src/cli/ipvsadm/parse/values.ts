/** Values as ipvsadm reads them: numbers by strtol, IPv4 addresses in all forms of inet_aton, masks, marks, services. */
import { canonicalAddress, type Family, familyOf, networkOf } from '../../../dataplane/config/address.js';
import { MARK_MAX, type Protocol } from '../../../dataplane/config/service-address.js';
import type { Names } from '../names.js';

/** Undefined when it is no number or out of range. */
export function numberOf(text: string, from: number, to: number): number | undefined {
  if (!/^\s*[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value >= from && value <= to ? value : undefined;
}

/** inet_aton: one to four parts, decimal, octal or hexadecimal, the last one for all bytes that are left. */
export function ipv4Of(text: string): string | undefined {
  const parts = text.split('.');
  if (parts.length > 4) return undefined;
  const numbers = parts.map((part) => {
    if (/^0x[0-9a-f]+$/i.test(part)) return Number.parseInt(part.slice(2), 16);
    if (/^0[0-7]*$/.test(part)) return Number.parseInt(part, 8);
    return /^[1-9]\d*$/.test(part) ? Number(part) : Number.NaN;
  });
  const last = numbers.pop()!;
  const room = 2 ** (8 * (4 - numbers.length));
  if (!(last < room) || numbers.some((number) => !(number < 256))) return undefined;
  const value = numbers.reduce((sum, number, i) => sum + number * 2 ** (24 - 8 * i), last);
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** Prefix length of a dotted mask; undefined when its ones aren't all in front, or there are none. */
export function prefixOf(mask: string): number | undefined {
  const bits = mask.split('.').map((octet) => Number(octet).toString(2).padStart(8, '0'));
  const ones = /^(1+)0*$/.exec(bits.join(''));
  return ones?.[1]?.length;
}

export function markOf(text: string): number | undefined {
  return numberOf(text, 1, MARK_MAX);
}

export interface Place {
  readonly family: Family;
  readonly address: string;
  /** null: none was given */
  readonly port: number | null;
}

/**
 * `host`, `host:port`, an IPv6 address, `[IPv6 address]:port`; the port as a number or a service's name. Undefined
 * when it is none of them. A name of a host stands for its first IPv4 address.
 */
export async function placeOf(
  text: string,
  protocol: Protocol | null,
  names: Names,
): Promise<Place | undefined> {
  if (/^\d*$/.test(text)) return undefined;
  let host = text;
  let port: string | undefined;
  if (text.startsWith('[')) {
    const end = text.indexOf(']');
    if (end < 0 || text[end + 1] !== ':') return undefined;
    host = text.slice(1, end);
    port = text.slice(end + 2);
  }
  let address = host.includes(':') ? canonicalAddress(host) : undefined;
  if (address === undefined) {
    const colon = host.lastIndexOf(':');
    port = colon < 0 ? undefined : host.slice(colon + 1);
    if (colon >= 0) host = host.slice(0, colon);
    address = ipv4Of(host) ?? (await names.address(host));
  }
  if (address === undefined) return undefined;
  const family = familyOf(address);
  if (port === undefined) return { family, address, port: null };
  const number = numberOf(port, 0, 65535) ?? (protocol === null ? undefined : names.port(port, protocol));
  return number === undefined ? undefined : { family, address, port: number };
}

/** How a mask is printed; undefined where each client counts for itself, which isn't. */
export function maskText(bits: number, family: Family): string | undefined {
  if (family === 6) return bits === 128 ? undefined : String(bits);
  return bits === 32 ? undefined : networkOf('255.255.255.255', bits);
}
