/**
 * The Internet checksum (RFC 1071), its pseudo-headers (RFC 9293 §3.1, RFC 8200 §8.1) and incremental updates
 * (RFC 1624).
 *
 * A *sum* is the 16-bit one's-complement sum, folded, not complemented: sums can be chained through `initial`.
 * A *checksum* is what stands in a header: `finish(sum)`. A range whose checksum stands in it sums to 0xffff.
 */

/** A 32-bit accumulator down to 16 bits, end-around carries added. */
export function fold(accumulator: number): number {
  const once = (accumulator & 0xffff) + (accumulator >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The checksum field for a sum. */
export const finish = (sum: number): number => ~sum & 0xffff;

/**
 * Sum of `length` bytes from `start`, an odd last byte padded with zero. `start` counts as even, wherever it
 * lies. For headers and small packets; bulk belongs to native. Below 128 KiB, where the accumulator overflows.
 */
export function sum(bytes: Uint8Array, start: number, length: number, initial = 0): number {
  const end = start + length;
  let at = start;
  let total = initial;
  for (; at + 8 <= end; at += 8) {
    total =
      (total +
        ((bytes[at] << 8) | bytes[at + 1]) +
        ((bytes[at + 2] << 8) | bytes[at + 3]) +
        ((bytes[at + 4] << 8) | bytes[at + 5]) +
        ((bytes[at + 6] << 8) | bytes[at + 7])) |
      0;
  }
  for (; at + 2 <= end; at += 2) total = (total + ((bytes[at] << 8) | bytes[at + 1])) | 0;
  if (at < end) total = (total + (bytes[at] << 8)) | 0;
  return fold(total);
}

/**
 * The same through a DataView, in half the time from 256 bytes on (1,500 bytes: 478 → 194 ns): little-endian words, added as
 * doubles, which hold whole numbers up to 2^53, so that no carry needs looking after; the sum's bytes are swapped in the end
 * (RFC 1071 §2 (B)).
 */
export function sumWords(view: DataView, start: number, length: number): number {
  const end = start + length;
  let at = start;
  let [a, b, c, d] = [0, 0, 0, 0];
  for (; at + 16 <= end; at += 16) {
    a += view.getUint32(at, true);
    b += view.getUint32(at + 4, true);
    c += view.getUint32(at + 8, true);
    d += view.getUint32(at + 12, true);
  }
  const words = a + b + c + d;
  let rest = 0;
  for (; at + 2 <= end; at += 2) rest = (rest + view.getUint16(at, true)) | 0;
  if (at < end) rest = (rest + view.getUint8(at)) | 0;
  const low = words >>> 0;
  const swapped = fold((low & 0xffff) + (low >>> 16) + Math.floor(words / 2 ** 32) + rest);
  return ((swapped & 0xff) << 8) | (swapped >>> 8);
}

/** Sum of the IPv4 pseudo-header. Addresses are words as `ipv4.source` reads them, `length` the bytes of the layer above. */
export function pseudoHeader4(source: number, destination: number, protocol: number, length: number): number {
  return fold(
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length,
  );
}

/** Sum of the IPv6 pseudo-header. `at` is the IPv6 header that holds the addresses, `length` the bytes of the layer above. */
export function pseudoHeader6(bytes: Uint8Array, at: number, protocol: number, length: number): number {
  return sum(bytes, at + 8, 32, fold(protocol + length));
}

/** The checksum after a 16-bit word that it covers changed (RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m')). */
export function update16(checksum: number, before: number, after: number): number {
  return finish(fold((~checksum & 0xffff) + (~before & 0xffff) + (after & 0xffff)));
}

/** The same for a 32-bit word that lies at an even offset of what is summed. */
export function update32(checksum: number, before: number, after: number): number {
  return finish(
    fold((~checksum & 0xffff) + (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff)),
  );
}
