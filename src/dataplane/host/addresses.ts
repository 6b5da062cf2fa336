/** Text addresses and MACs as the numbers that tables are keyed by. */
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';

/** As a neighbour key: IPv4 mapped into ::ffff:0:0/96. */
export function neighbourWords(address: string): ipv6.Words {
  return address.includes(':') ? ipv6.parse(address) : ipv6.mapped(ipv4.parse(address));
}

export function neighbourText(words: ipv6.Words): string {
  return ipv6.isMapped(words[0], words[1], words[2]) ? ipv4.format(words[3]) : ipv6.format(...words);
}

/** IPv4 in the first word. */
export function addressWords(address: string): ipv6.Words {
  return address.includes(':') ? ipv6.parse(address) : [ipv4.parse(address), 0, 0, 0];
}

/** As a VTEP key: the family, and the words. */
export function vtepWords(address: string): [family: 4 | 6, ...ipv6.Words] {
  return [address.includes(':') ? 6 : 4, ...addressWords(address)];
}

export function addressText(family: number, words: ipv6.Words): string {
  return family === 4 ? ipv4.format(words[0]) : ipv6.format(...words);
}

/** A MAC as one number below 2^48, for maps. */
export function macNumber(mac: string): number {
  return Number.parseInt(mac.replaceAll(':', ''), 16);
}

export const macHigh = (mac: number): number => Math.floor(mac / 2 ** 32);
export const macLow = (mac: number): number => mac | 0;

export const macText = (high: number, low: number): string => ethernet.formatMac(high, low);
