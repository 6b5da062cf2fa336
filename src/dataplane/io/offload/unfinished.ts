/**
 * A kernel vxlan peer over veth hands on inner checksums unfinished: in its own host that is allowed, for the
 * socket buffer says so, but a UDP socket's payload can't. Such a packet carries just the sum of its
 * pseudo-header; here it is recognised by that and marked, so that it is finished or passed on as what it is.
 */
import { CHECKSUM_UNFINISHED, type Pool } from '../../core/pool.js';
import * as checksum from '../../wire/checksum.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import * as vxlan from '../../wire/vxlan.js';

const UDP_CHECKSUM = 6;

/** `packet` begins at its VXLAN header. */
export function markUnfinished(pool: Pool, packet: number): void {
  const { bytes } = pool;
  const start = pool.offset[packet]!;
  const end = start + pool.length[packet]!;
  const ip = ethernet.payload(bytes, start + vxlan.HEADER, pool.length[packet]! - vxlan.HEADER);
  if (ip < 0) return;
  const type = ethernet.payloadType(bytes, ip);
  let l4: number;
  let protocol: number;
  let sum: number;
  if (type === ethernet.IPV4) {
    if (!ipv4.valid(bytes, ip, end - ip) || ipv4.isFragment(bytes, ip)) return;
    l4 = ip + ipv4.headerLength(bytes, ip);
    protocol = ipv4.protocol(bytes, ip);
    sum = checksum.pseudoHeader4(
      ipv4.source(bytes, ip),
      ipv4.destination(bytes, ip),
      protocol,
      ipv4.totalLength(bytes, ip) - (l4 - ip),
    );
  } else if (type === ethernet.IPV6) {
    if (!ipv6.valid(bytes, ip, end - ip)) return;
    l4 = ip + ipv6.HEADER;
    protocol = ipv6.nextHeader(bytes, ip);
    sum = checksum.pseudoHeader6(bytes, ip, protocol, ipv6.payloadLength(bytes, ip));
  } else return;
  const field = protocol === tcp.PROTOCOL ? tcp.CHECKSUM : protocol === udp.PROTOCOL ? UDP_CHECKSUM : -1;
  if (field < 0 || l4 + field + 2 > end) return;
  if (((bytes[l4 + field]! << 8) | bytes[l4 + field + 1]!) !== sum) return;
  pool.offload[packet] = CHECKSUM_UNFINISHED;
  pool.checksumStart[packet] = l4 - start;
  pool.checksumOffset[packet] = field;
}
