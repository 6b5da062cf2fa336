/** IP and MAC addresses between their text and their bytes in network order. */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 or 16 bytes. Throws on anything that isn't an address. */
export function ipBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) throw new TypeError(`not an IP address: ${text}`);
  const bytes = new Uint8Array(16);
  // '::' stands for as many zero groups as are missing; a dotted quad at the end for two groups
  const words = text.replace(/\d+\.\d+\.\d+\.\d+$/, (quad) => {
    const [a = 0, b = 0, c = 0, d = 0] = ipBytes(quad);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = words.split('::');
  const groups = (part: string | undefined) =>
    (part ? part.split(':') : []).map((g) => Number.parseInt(g, 16));
  const front = groups(head);
  const back = groups(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  for (const [at, group] of all.entries()) {
    bytes[2 * at] = group >> 8;
    bytes[2 * at + 1] = group & 0xff;
  }
  return bytes;
}

/** Canonical text (RFC 5952) of 4 or 16 bytes. */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) =>
    ((bytes[2 * at]! << 8) | bytes[2 * at + 1]!).toString(16),
  );
  let [from, length] = [0, 1]; // the first longest run of at least two zero groups
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === '0') end++;
    if (end - at > length) [from, length] = [at, end - at];
  }
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, from).join(':')}::${groups.slice(from + length).join(':')}`;
}

/** '10.0.0.1/24' → its parts; without a prefix length the whole address counts. */
export function parseCidr(cidr: string): { bytes: Uint8Array; prefixLength: number } {
  const [address = '', length] = cidr.split('/');
  const bytes = ipBytes(address);
  const prefixLength = length === undefined ? bytes.length * 8 : Number(length);
  if (!(Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= bytes.length * 8))
    throw new TypeError(`not an address with prefix length: ${cidr}`);
  return { bytes, prefixLength };
}

export function macBytes(text: string): Uint8Array {
  if (!/^([\da-f]{2}:){5}[\da-f]{2}$/i.test(text)) throw new TypeError(`not a MAC address: ${text}`);
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
