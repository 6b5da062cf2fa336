/** IP and MAC addresses between their canonical text and their bytes as the kernel takes them. */
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';

/** 4 or 16 bytes. Throws AddressError. */
export function ipBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.includes(':') ? 16 : 4);
  if (bytes.length === 4) ipv4.writeAddress(bytes, 0, ipv4.parse(text));
  else ipv6.writeAddress(bytes, 0, ...ipv6.parse(text));
  return bytes;
}

/** Of 4 or 16 bytes. */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return ipv4.format(ipv4.address(bytes, 0));
  const word = (index: number) => ipv6.word(bytes, 0, index);
  return ipv6.format(word(0), word(1), word(2), word(3));
}

/** '10.0.0.1/24' → its parts; without a prefix length the whole address counts. Throws AddressError or RangeError. */
export function parseCidr(cidr: string): { bytes: Uint8Array; prefixLength: number } {
  const [address, length] = cidr.split('/');
  const bytes = ipBytes(address);
  const prefixLength = length === undefined ? bytes.length * 8 : Number(length);
  if (!(Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= bytes.length * 8))
    throw new RangeError(`${cidr} has no prefix length between 0 and ${bytes.length * 8}`);
  return { bytes, prefixLength };
}

export function macBytes(text: string): Uint8Array {
  const { high, low } = ethernet.parseMac(text);
  const bytes = new Uint8Array(6);
  ethernet.writeMac(bytes, 0, high, low);
  return bytes;
}

/** Of 6 bytes. */
export function macText(bytes: Uint8Array): string {
  return ethernet.formatMac(ethernet.macHigh(bytes, 0), ethernet.macLow(bytes, 0));
}
