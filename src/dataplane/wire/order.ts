/**
 * Words as they lie in memory. What is only compared or hashed (MACs in the forwarding database, addresses and ports of
 * a flow) is never turned into the network's order: a load from an Int32Array is all that it takes. Little-endian, as
 * all machines that Viaduct runs on are.
 */

/** The word at any place. */
export const native32 = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

/** From the network's order to that in memory, and back. */
export const swap16 = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff);

export const swap32 = (word: number): number =>
  (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
