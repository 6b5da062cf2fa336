/** Text of addresses and MACs: whether it is valid, and its one canonical spelling (lower case; IPv6 as RFC 5952 has it). */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

export interface Prefix {
  family: Family;
  /** canonical, without the length */
  address: string;
  bits: number;
}

/** At most six words, none of them zero or with a leading zero, around one '::': canonical already (saves 1 µs of the detour through words). */
const COMPRESSED =
  /^(?=[^:]+(:+[^:]+){0,5}$)[1-9a-f][0-9a-f]*(:[1-9a-f][0-9a-f]*)*::[1-9a-f][0-9a-f]*(:[1-9a-f][0-9a-f]*)*$/;

/** The canonical spelling, or undefined when the text is no address (or one with a zone). */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  if (COMPRESSED.test(text)) return text;
  return formatIpv6(ipv6Words(text));
}

export function familyOf(canonical: string): Family {
  return canonical.includes(':') ? 6 : 4;
}

/** An address with its prefix length, or undefined. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0 || !/^(0|[1-9]\d{0,2})$/.test(text.slice(slash + 1))) return undefined;
  const address = canonicalAddress(text.slice(0, slash));
  if (address === undefined) return undefined;
  const family = familyOf(address);
  const bits = Number(text.slice(slash + 1));
  return bits <= (family === 4 ? 32 : 128) ? { family, address, bits } : undefined;
}

/** The address with its bits behind the first `bits` cleared. */
export function networkOf(address: string, bits: number): string {
  if (familyOf(address) === 4) {
    return address
      .split('.')
      .map((octet, i) => Number(octet) & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff)
      .join('.');
  }
  return formatIpv6(
    ipv6Words(address).map(
      (word, i) => word & (0xffff0000 >> Math.min(16, Math.max(0, bits - 16 * i))) & 0xffff,
    ),
  );
}

/** Why an address can't be one host's, or undefined. */
export function unicastFault(canonical: string): string | undefined {
  if (familyOf(canonical) === 4) {
    const first = Number.parseInt(canonical, 10);
    if (first === 0 || canonical === '255.255.255.255') return 'must be the address of a host';
    return first >= 224 ? 'must be unicast' : undefined;
  }
  if (canonical === '::') return 'must be the address of a host';
  if (canonical.startsWith('ff') && canonical.indexOf(':') === 4) return 'must be unicast';
  return canonical.startsWith('::ffff:') && canonical.includes('.') ? 'must be written as IPv4' : undefined;
}

/** Lower-case spelling of a MAC, or undefined when the text is none. */
export function canonicalMac(text: string): string | undefined {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : undefined;
}

/** Why a MAC can't be one endpoint's, or undefined. */
export function macFault(canonical: string): string | undefined {
  if (canonical === '00:00:00:00:00:00') return 'must not be zero';
  return Number.parseInt(canonical.slice(0, 2), 16) & 1 ? 'must not be a multicast address' : undefined;
}

/** The MAC of an endpoint that names none: 02:42 and its first IPv4 address, as Docker does; else a hash of what it is. */
export function defaultMac(
  network: string,
  netns: string,
  device: string,
  addresses: readonly string[],
): string {
  const ipv4 = addresses.find((address) => !address.includes(':'));
  const octets =
    ipv4 !== undefined
      ? [0x02, 0x42, ...ipv4.split('/')[0]!.split('.').map(Number)]
      : [...createHash('sha256').update(`${network}\0${netns}\0${device}`).digest().subarray(0, 6)];
  octets[0] = (octets[0]! & 0xfc) | 2;
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** The 32-bit words of a canonical address: one, or four. */
export function addressWords(address: string): number[] {
  if (familyOf(address) === 4)
    return [address.split('.').reduce((word, octet) => word * 256 + Number(octet), 0)];
  const words = ipv6Words(address);
  return [0, 2, 4, 6].map((i) => words[i]! * 0x10000 + words[i + 1]!);
}

/** The eight words of a valid IPv6 address. */
function ipv6Words(text: string): number[] {
  let hex = text;
  if (text.includes('.')) {
    const at = text.lastIndexOf(':') + 1;
    const [a, b, c, d] = text.slice(at).split('.').map(Number) as [number, number, number, number];
    hex = `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head, tail] = hex.split('::') as [string, string | undefined];
  const words = (part: string) =>
    part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  if (tail === undefined) return words(head);
  const [before, after] = [words(head), words(tail)];
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** RFC 5952: the longest run of two or more zero words is '::', the first of several; IPv4-mapped with dots. */
function formatIpv6(words: readonly number[]): string {
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff) {
    const [high, low] = [words[6]!, words[7]!];
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  let best = -1;
  let length = 1;
  for (let i = 0, run = 0; i < 8; i++) {
    run = words[i] === 0 ? run + 1 : 0;
    if (run > length) {
      length = run;
      best = i - run + 1;
    }
  }
  const hex = words.map((word) => word.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + length).join(':')}`;
}
