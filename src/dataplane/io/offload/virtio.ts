/**
 * The virtio-net header (virtio 1.3, 5.1.6) that a TAP gives and takes with each frame: it says whether the
 * checksum is finished and whether the frame is a super-packet. Fields are little-endian.
 *
 *     0       1          2         4          6            8              10
 *     | flags | gso type | hdr len | gso size | csum start | csum offset  | buffers |   virtio_net_hdr_v1
 *     12           16            18        20            22
 *     | hash value | hash report | padding | outer th at | inner nh at |                …_hash_tunnel, Linux 6.17
 *
 * Here it turns into the pool's columns and back. Everything a peer or a workload could have got wrong in it is
 * checked here, once.
 */
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  type Pool,
  SEGMENT_ANY,
  SEGMENT_ECN,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  SEGMENT_UDP,
  VIRTIO_BYTES,
} from '../../core/pool.js';

export const HEADER_BYTES = 12;
export const TUNNEL_HEADER_BYTES = 24;

export const NEEDS_CSUM = 1;
export const DATA_VALID = 2;
export const UDP_TUNNEL_CSUM = 8;

export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
export const GSO_UDP_TUNNEL_IPV4 = 0x20;
export const GSO_UDP_TUNNEL_IPV6 = 0x40;
export const GSO_ECN = 0x80;
const GSO_UDP_TUNNEL = GSO_UDP_TUNNEL_IPV4 | GSO_UDP_TUNNEL_IPV6;

const GSO_TYPE = 1;
const GSO_SIZE = 4;
export const CSUM_START = 6;
const CSUM_OFFSET = 8;
const OUTER_TH = 20;
const INNER_NH = 22;

const TCP_CHECKSUM_AT = 16;
const UDP_CHECKSUM_AT = 6;
const ETHERNET_BYTES = 14;

/** Reads the record into the columns. False: the header contradicts the frame, which had better be dropped. */
export function readHeader(pool: Pool, packet: number): boolean {
  const gso = pool.virtio.getUint8(packet * VIRTIO_BYTES + GSO_TYPE);
  return readCommon(pool, packet, gso);
}

/**
 * The same for a frame from a tunnel TAP; the frame has its outer headers, and the columns are counted from its start.
 * An outer-USO bundle comes out as SEGMENT_UDP whose `checksumStart` is the outer UDP header.
 */
export function readTunnelHeader(pool: Pool, packet: number): boolean {
  const at = packet * VIRTIO_BYTES;
  const gso = pool.virtio.getUint8(at + GSO_TYPE);
  const tunnel = gso & GSO_UDP_TUNNEL;
  if (!readCommon(pool, packet, gso & ~GSO_UDP_TUNNEL)) return false;
  // What the kernel found valid is the outer checksum, unless it says that it means both.
  if ((pool.virtio.getUint8(at) & UDP_TUNNEL_CSUM) === 0) pool.offload[packet] &= ~CHECKSUM_VERIFIED;
  if (tunnel === 0) return true;
  const outer = pool.virtio.getUint16(at + OUTER_TH, true);
  const inner = pool.virtio.getUint16(at + INNER_NH, true);
  return tunnel !== GSO_UDP_TUNNEL && inner >= outer + 8 && pool.checksumStart[packet] >= inner + 20;
}

function readCommon(pool: Pool, packet: number, gso: number): boolean {
  const at = packet * VIRTIO_BYTES;
  const flags = pool.virtio.getUint8(at);
  pool.segment[packet] = 0;
  if ((flags & NEEDS_CSUM) === 0) {
    pool.offload[packet] = (flags & DATA_VALID) !== 0 ? CHECKSUM_VERIFIED : 0;
    return gso === 0;
  }
  const start = pool.virtio.getUint16(at + CSUM_START, true);
  const offset = pool.virtio.getUint16(at + CSUM_OFFSET, true);
  const length = pool.length[packet];
  if (start < ETHERNET_BYTES + 20 || start + offset + 2 > length) return false;
  pool.offload[packet] = CHECKSUM_UNFINISHED;
  pool.checksumStart[packet] = start;
  pool.checksumOffset[packet] = offset;
  if (gso === 0) return true;

  const segment = pool.virtio.getUint16(at + GSO_SIZE, true);
  if (segment === 0) return false;
  let bits: number;
  let headerLength: number;
  if (gso === GSO_UDP_L4) {
    if (offset !== UDP_CHECKSUM_AT) return false;
    bits = SEGMENT_UDP;
    headerLength = start + 8;
  } else {
    const type = gso & ~GSO_ECN;
    if ((type !== GSO_TCPV4 && type !== GSO_TCPV6) || offset !== TCP_CHECKSUM_AT) return false;
    bits = type === GSO_TCPV4 ? SEGMENT_TCP4 : SEGMENT_TCP6;
    if (gso !== type) bits |= SEGMENT_ECN;
    // hdr_len is only how much of the frame lay in one piece; the true length follows from TCP's data offset.
    const words = pool.bytes[pool.offset[packet] + start + 12] >> 4;
    if (words < 5) return false;
    headerLength = start + 4 * words;
  }
  if (headerLength > length) return false;
  // As in the kernel: what fits into one packet is none of the super kind.
  if (length - headerLength <= segment) return true;
  pool.offload[packet] = CHECKSUM_UNFINISHED | bits;
  pool.segment[packet] = segment;
  pool.headerLength[packet] = headerLength;
  return true;
}

/** Writes the record from the columns, for a plain TAP. */
export function writeHeader(pool: Pool, packet: number): void {
  writeCommon(pool, packet, 0);
}

/**
 * Writes the 24-byte record for a tunnel TAP.
 * @param outerLength bytes of outer Ethernet, IP, UDP and VXLAN before the inner frame (50 or 70); the columns are counted
 * from the start of the outer Ethernet header
 */
export function writeTunnelHeader(pool: Pool, packet: number, outerLength: number, outerIpv6: boolean): void {
  const at = packet * VIRTIO_BYTES;
  pool.virtio.setInt32(at + 12, 0, true);
  pool.virtio.setInt32(at + 16, 0, true);
  if (pool.segment[packet] === 0 || pool.checksumStart[packet] < outerLength) {
    writeCommon(pool, packet, 0);
    pool.virtio.setInt32(at + OUTER_TH, 0, true);
    return;
  }
  writeCommon(pool, packet, outerIpv6 ? GSO_UDP_TUNNEL_IPV6 : GSO_UDP_TUNNEL_IPV4);
  const outer = outerLength - 16;
  // A checksum in the outer UDP header (then that of the pseudo-header alone) asks for one in each segment.
  if (pool.view.getUint16(pool.offset[packet] + outer + UDP_CHECKSUM_AT) !== 0)
    pool.virtio.setUint8(at, NEEDS_CSUM | UDP_TUNNEL_CSUM);
  let inner = outerLength + ETHERNET_BYTES;
  for (let tags = 0; tags < 2 && isTag(pool, pool.offset[packet] + inner - 2); tags++) inner += 4;
  pool.virtio.setUint16(at + OUTER_TH, outer, true);
  pool.virtio.setUint16(at + INNER_NH, inner, true);
}

/** 802.1Q or 802.1ad */
function isTag(pool: Pool, at: number): boolean {
  const type = pool.view.getUint16(at);
  return type === 0x8100 || type === 0x88a8;
}

function writeCommon(pool: Pool, packet: number, tunnel: number): void {
  const at = packet * VIRTIO_BYTES;
  const offload = pool.offload[packet];
  const segment = pool.segment[packet];
  if ((offload & CHECKSUM_UNFINISHED) === 0) {
    pool.virtio.setInt32(at, (offload & CHECKSUM_VERIFIED) !== 0 ? DATA_VALID : 0, true);
    pool.virtio.setInt32(at + 4, 0, true);
    pool.virtio.setInt32(at + 8, 0, true);
    return;
  }
  let gso = 0;
  let headerLength = 0;
  if (segment !== 0 && (offload & SEGMENT_ANY) !== 0) {
    gso =
      tunnel |
      ((offload & SEGMENT_TCP4) !== 0 ? GSO_TCPV4 : (offload & SEGMENT_TCP6) !== 0 ? GSO_TCPV6 : GSO_UDP_L4) |
      ((offload & SEGMENT_ECN) !== 0 ? GSO_ECN : 0);
    headerLength = pool.headerLength[packet];
  }
  pool.virtio.setInt32(at, NEEDS_CSUM | (gso << 8) | (headerLength << 16), true);
  pool.virtio.setInt32(at + 4, (gso === 0 ? 0 : segment) | (pool.checksumStart[packet] << 16), true);
  pool.virtio.setInt32(at + 8, pool.checksumOffset[packet], true);
}
