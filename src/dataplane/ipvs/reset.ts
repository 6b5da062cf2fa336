/** TCP's RST (RFC 9293 §3.10.7): to both ends of a connection that ends, and to who asks for one that there is not. */
import * as checksums from '../wire/checksum.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import { type Ends, type Memory, noEnds, type Parsed, turn, WHOLE } from './packet.js';

/** Bytes of the longest RST. */
export const RESET_MAX = ipv6.HEADER + tcp.HEADER;

/**
 * A RST from the source to the destination of `ends`, to `out`. Its bytes.
 * @param sequence what the destination expects next, or it ignores the RST (RFC 9293 §3.10.7.4)
 * @param flags RST, with ACK where `acknowledgment` counts
 */
export function writeReset(
  memory: Memory,
  out: number,
  ends: Ends,
  sequence: number,
  acknowledgment: number,
  flags = tcp.RST | tcp.ACK,
): number {
  const { view } = memory;
  const length = writeHead(memory, out, ends);
  const segment = out + length;
  view.setUint16(segment, ends.sourcePort);
  view.setUint16(segment + 2, ends.destinationPort);
  view.setUint32(segment + 4, sequence);
  view.setUint32(segment + 8, (flags & tcp.ACK) === 0 ? 0 : acknowledgment);
  view.setUint32(segment + 12, ((tcp.HEADER >> 2) << 28) | (flags << 16));
  view.setUint32(segment + 16, 0);
  finishSegment(memory, out, segment, ends);
  return length + tcp.HEADER;
}

/**
 * The RST that answers the TCP segment that was read, as a host without such a connection would (RFC 9293 §3.10.7.1).
 * Its bytes; 0 for a segment that is a RST itself, or to or from what no host has as its own address.
 */
export function writeRefusal(memory: Memory, parsed: Parsed, out: number): number {
  const { view } = memory;
  const { transport, end, flags } = parsed;
  if (parsed.protocol !== tcp.PROTOCOL || parsed.fragment !== WHOLE || (flags & tcp.RST) !== 0) return 0;
  if (!isUnicast(parsed)) return 0;
  turn(parsed, turned);
  const sequence = view.getUint32(transport + 4);
  if ((flags & tcp.ACK) !== 0) {
    return writeReset(memory, out, turned, view.getUint32(transport + 8), 0, tcp.RST);
  }
  const payload = end - transport - ((view.getUint8(transport + 12) >>> 4) << 2);
  const length = payload + (flags & tcp.SYN ? 1 : 0) + (flags & tcp.FIN ? 1 : 0);
  return writeReset(memory, out, turned, 0, (sequence + length) >>> 0);
}

/** The ends of the segment that is being answered, turned round. */
const turned = noEnds();

function isUnicast(parsed: Parsed): boolean {
  if (parsed.family === 6) {
    return parsed.source0 >>> 24 !== 0xff && parsed.destination0 >>> 24 !== 0xff;
  }
  const { source0, destination0 } = parsed;
  return source0 >>> 28 < 0xe && destination0 >>> 28 < 0xe && source0 !== 0;
}

/** The IP header before a RST. Its bytes. */
function writeHead(memory: Memory, out: number, ends: Ends): number {
  const { bytes } = memory;
  if (ends.family === 4) {
    ipv4.write(bytes, out, ipv4.HEADER + tcp.HEADER, tcp.PROTOCOL, ends.source0, ends.destination0);
    return ipv4.HEADER;
  }
  ipv6.write(bytes, out, tcp.HEADER, tcp.PROTOCOL);
  ipv6.writeAddress(bytes, out + ipv6.SOURCE, ends.source0, ends.source1, ends.source2, ends.source3);
  ipv6.writeAddress(
    bytes,
    out + ipv6.DESTINATION,
    ends.destination0,
    ends.destination1,
    ends.destination2,
    ends.destination3,
  );
  return ipv6.HEADER;
}

function finishSegment({ bytes }: Memory, out: number, segment: number, ends: Ends): void {
  const pseudo =
    ends.family === 4
      ? checksums.pseudoHeader4(ends.source0, ends.destination0, tcp.PROTOCOL, tcp.HEADER)
      : checksums.pseudoHeader6(bytes, out, tcp.PROTOCOL, tcp.HEADER);
  tcp.writeChecksum(bytes, segment, checksums.finish(checksums.sum(bytes, segment, tcp.HEADER, pseudo)));
}
