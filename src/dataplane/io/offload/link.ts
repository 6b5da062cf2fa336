/**
 * The Ethernet header that packets of a TUN device lack. They get one on arrival, addresses zero, and lose it when they
 * leave, so that all else here knows frames only.
 */
import { CHECKSUM_UNFINISHED, FRAME_AT, type Pool, VIRTIO_BYTES } from '../../core/pool.js';
import * as ethernet from '../../wire/ethernet.js';
import { CSUM_START, NEEDS_CSUM } from './virtio.js';

/** Where an IP packet is received to. */
export const PACKET_AT = FRAME_AT + ethernet.HEADER;

/** Before the virtio record is read: the packet becomes a frame. False: it is empty. */
export function addLink(pool: Pool, packet: number): boolean {
  if (pool.length[packet]! === 0) return false;
  const record = packet * VIRTIO_BYTES;
  if ((pool.virtio.getUint8(record) & NEEDS_CSUM) !== 0) {
    const start = pool.virtio.getUint16(record + CSUM_START, true) + ethernet.HEADER;
    pool.virtio.setUint16(record + CSUM_START, Math.min(start, 0xffff), true);
  }
  const ip = pool.offset[packet]!;
  const at = ip - ethernet.HEADER;
  pool.bytes.fill(0, at, ip);
  const version = pool.bytes[ip]! >>> 4;
  ethernet.writeEtherType(pool.bytes, at, version === 6 ? ethernet.IPV6 : ethernet.IPV4);
  pool.offset[packet] = at;
  pool.length[packet]! += ethernet.HEADER;
  return true;
}

/** Before the virtio record is written: the frame becomes a packet; in a bundle, each of its packets. */
export function removeLink(pool: Pool, packet: number): void {
  pool.offset[packet]! += ethernet.HEADER;
  pool.length[packet]! -= ethernet.HEADER;
  if ((pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0) pool.checksumStart[packet]! -= ethernet.HEADER;
  if (pool.headerLength[packet]! > 0) pool.headerLength[packet]! -= ethernet.HEADER;
  if (pool.bundleSkip[packet]! > 0) pool.bundleSkip[packet]! -= ethernet.HEADER;
}
