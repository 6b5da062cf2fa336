/**
 * What is answered in the stead of a virtual service's address inside a network: pings, and packets that nobody
 * serves. The frame goes back to its port.
 */
import { drop } from './core/drops.js';
import type { Path } from './core/path.js';
import { NO_PACKET, type Pool } from './core/pool.js';
import { writeUnreachable } from './ipvs/icmp.js';
import { adjusted, isUnfinished, replaced16 } from './ipvs/nat.js';
import { LATER_FRAGMENT, type Parsed } from './ipvs/packet.js';
import { writeRefusal } from './ipvs/reset.js';
import * as ethernet from './wire/ethernet.js';
import * as icmp from './wire/icmp.js';
import * as icmpv6 from './wire/icmpv6.js';
import * as ipv6 from './wire/ipv6.js';
import * as tcp from './wire/tcp.js';

const CHECKSUM = 2;

/**
 * Turns an echo request into its reply in place (RFC 792; RFC 4443 §4.2). A fragment's as well: each fragment of the
 * request becomes the one of the reply, and only the first has a type. False: it is none.
 */
export function answerEcho(pool: Pool, packet: number, parsed: Parsed): boolean {
  const { family, protocol, transport, ip } = parsed;
  if (protocol !== (family === 4 ? icmp.PROTOCOL : icmpv6.PROTOCOL)) return false;
  const { bytes, view } = pool;
  if (parsed.fragment !== LATER_FRAGMENT) {
    const request = family === 4 ? icmp.ECHO_REQUEST : icmpv6.ECHO_REQUEST;
    const reply = family === 4 ? icmp.ECHO_REPLY : icmpv6.ECHO_REPLY;
    if (parsed.flags !== request) return false;
    bytes[transport] = reply;
    if (!isUnfinished(pool, packet, parsed)) {
      const field = transport + CHECKSUM;
      const change = replaced16((request << 8) | parsed.code, (reply << 8) | parsed.code);
      view.setUint16(field, adjusted(view.getUint16(field), change));
    }
  }
  // Sums don't mind that two addresses change places.
  if (family === 4) {
    const source = view.getInt32(ip + 12);
    view.setInt32(ip + 12, view.getInt32(ip + 16));
    view.setInt32(ip + 16, source);
  } else {
    for (let word = ip + ipv6.SOURCE; word < ip + ipv6.DESTINATION; word += 4) {
      const source = view.getInt32(word);
      view.setInt32(word, view.getInt32(word + 16));
      view.setInt32(word + 16, source);
    }
  }
  ethernet.swap(bytes, pool.offset[packet]!);
  return true;
}

/**
 * Ends a packet that nobody serves. A new one for its port, which is returned, says so where that may be said: a RST
 * as a host gives it that has no such connection, or "port unreachable"; NO_PACKET otherwise.
 * @param empty there is a service, without a usable destination: IPVS answers that with "port unreachable" alone (ip_vs_leave)
 */
export function refuse(path: Path, packet: number, parsed: Parsed, empty: boolean): number {
  const { pool } = path;
  const { bytes } = pool;
  const at = pool.offset[packet]!;
  const link = parsed.ip - at;
  const answer = pool.take();
  let length = 0;
  if (answer !== NO_PACKET) {
    const out = pool.offset[answer]!;
    length =
      parsed.protocol === tcp.PROTOCOL && !empty
        ? writeRefusal(pool, parsed, out + link)
        : writeUnreachable(pool, parsed, out + link);
    if (length === 0) pool.free(answer);
    else {
      bytes.copyWithin(out, at, parsed.ip);
      ethernet.swap(bytes, out);
      pool.length[answer] = link + length;
      pool.inherit(answer, packet);
    }
  }
  path.drop(packet, empty ? drop['service-empty'] : drop['not-served']);
  return length === 0 ? NO_PACKET : answer;
}
