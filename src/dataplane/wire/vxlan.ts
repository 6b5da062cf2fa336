/**
 * The VXLAN header (RFC 7348 §5) and its group policy extension (draft-smith-vxlan-group-policy-05 §2.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-------------------------------+
 *     |G|R|R|R|I|R|R|R|R|D|R|R|A|R|R|R|        Group Policy ID        |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+---------------+---------------+
 *     |         VXLAN Network Identifier (VNI)        |   Reserved    |
 *     +-----------------------------------------------+---------------+
 */

export const HEADER = 8;

/** The UDP port that IANA assigned. */
export const PORT = 4789;

/** The largest VNI. */
export const VNI_MAX = 0xffffff;

/** Bits of `flags`: the VNI is valid; there is a policy id. */
export const FLAG_I = 0x08;
export const FLAG_G = 0x80;

/** Bits of `policyFlags`: do not learn the source; the policy has been applied. */
export const FLAG_D = 0x40;
export const FLAG_A = 0x08;

/** A whole header whose VNI counts. Other bits are ignored on receipt, as RFC 7348 §5 asks. */
export const valid = (bytes: Uint8Array, at: number, end: number): boolean =>
  at + HEADER <= end && (bytes[at] & FLAG_I) !== 0;

export const flags = (bytes: Uint8Array, at: number): number => bytes[at];

export const vni = (bytes: Uint8Array, at: number): number =>
  (bytes[at + 4] << 16) | (bytes[at + 5] << 8) | bytes[at + 6];

export const hasPolicy = (bytes: Uint8Array, at: number): boolean => (bytes[at] & FLAG_G) !== 0;

/** Means something only where `hasPolicy`. */
export const policyFlags = (bytes: Uint8Array, at: number): number => bytes[at + 1];

/** Means something only where `hasPolicy`. */
export const policy = (bytes: Uint8Array, at: number): number => (bytes[at + 2] << 8) | bytes[at + 3];

export function write(bytes: Uint8Array, at: number, vni: number): void {
  bytes[at] = FLAG_I;
  bytes[at + 1] = 0;
  bytes[at + 2] = 0;
  bytes[at + 3] = 0;
  bytes[at + 4] = vni >>> 16;
  bytes[at + 5] = vni >>> 8;
  bytes[at + 6] = vni;
  bytes[at + 7] = 0;
}

/** The header's first word, with a group policy id, or with -1 without one. */
export const firstWord = (policy: number): number =>
  policy < 0 ? FLAG_I << 24 : ((FLAG_G | FLAG_I) << 24) | policy;

/** The same through a DataView. */
export function writeTo(view: DataView, at: number, vni: number): void {
  view.setInt32(at, FLAG_I << 24);
  view.setInt32(at + 4, vni << 8);
}

/** With a group policy id; `policyFlags` are FLAG_D and FLAG_A. */
export function writeGroup(
  bytes: Uint8Array,
  at: number,
  vni: number,
  policy: number,
  policyFlags = 0,
): void {
  write(bytes, at, vni);
  bytes[at] = FLAG_G | FLAG_I;
  bytes[at + 1] = policyFlags;
  bytes[at + 2] = policy >>> 8;
  bytes[at + 3] = policy;
}
