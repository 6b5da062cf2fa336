/** Lowers the MSS that a TCP SYN announces, so that both ends fit the overlay even where ICMP is lost (RFC 4459 §3.2). */
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED } from '../core/pool.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';

/** @param mtu bytes of IP packet that the network carries */
export function clampMss(path: Path, packet: number, mtu: number): void {
  const { pool } = path;
  const { bytes } = pool;
  const at = pool.offset[packet]!;
  const end = at + pool.length[packet]!;
  const ip = ethernet.payload(bytes, at, end - at);
  if (ip < 0) return;
  const type = ethernet.payloadType(bytes, ip);
  let segment = -1;
  let headers = 0;
  if (type === ethernet.IPV4 && ipv4.valid(bytes, ip, end - ip)) {
    if (ipv4.protocol(bytes, ip) !== tcp.PROTOCOL || ipv4.isFragment(bytes, ip)) return;
    segment = ip + ipv4.headerLength(bytes, ip);
    headers = ipv4.HEADER + tcp.HEADER;
  } else if (type === ethernet.IPV6 && ipv6.valid(bytes, ip, end - ip)) {
    segment = ipv6.transport(bytes, ip, end);
    if (segment < 0 || ipv6.transportProtocol !== tcp.PROTOCOL) return;
    headers = ipv6.HEADER + tcp.HEADER;
  }
  // An unfinished checksum covers the pseudo-header alone, which the option isn't part of.
  const unfinished = (pool.offload[packet]! & CHECKSUM_UNFINISHED) !== 0;
  if (segment >= 0 && tcp.clampMss(bytes, segment, end, mtu - headers, unfinished))
    path.counters.add('mssClamped');
}
