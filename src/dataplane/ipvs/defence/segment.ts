/** TCP segments without payload that the director sends itself: headers, options, checksums. */
import { drop } from '../../core/drops.js';
import type { Path } from '../../core/path.js';
import { NO_PACKET } from '../../core/pool.js';
import * as checksums from '../../wire/checksum.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import type { Ends } from '../packet.js';
import { type TcpOptions, writeOptions } from './tcp-options.js';

/** What is said in the header; numbers as they come, signed or not. */
export interface Segment {
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
}

export const noSegment = (): Segment => ({ sequence: 0, acknowledgment: 0, flags: 0, window: 0 });

/** A frame of a header without addresses; NO_PACKET, and counted, without room. */
export function takeFrame({ pool, counters }: Path, family: 4 | 6): number {
  const packet = pool.take();
  if (packet === NO_PACKET) {
    counters.drop(drop['no-packet']);
    return NO_PACKET;
  }
  const frame = pool.offset[packet]!;
  pool.bytes.fill(0, frame, frame + ethernet.HEADER);
  ethernet.writeEtherType(pool.bytes, frame, family === 4 ? ethernet.IPV4 : ethernet.IPV6);
  pool.length[packet] = ethernet.HEADER;
  return packet;
}

/** A frame with the segment from the source to the destination of `ends`; NO_PACKET, and counted, without room. */
export function makeSegment(path: Path, ends: Ends, segment: Segment, options: TcpOptions): number {
  const { pool } = path;
  const packet = takeFrame(path, ends.family);
  if (packet === NO_PACKET) return NO_PACKET;
  const { bytes, view } = pool;
  const frame = pool.offset[packet]!;
  const ip = frame + ethernet.HEADER;
  const transport = ip + (ends.family === 4 ? ipv4.HEADER : ipv6.HEADER);
  const length = tcp.HEADER + writeOptions(pool, transport + tcp.HEADER, options);
  view.setUint16(transport, ends.sourcePort);
  view.setUint16(transport + 2, ends.destinationPort);
  view.setInt32(transport + 4, segment.sequence);
  view.setInt32(transport + 8, segment.acknowledgment);
  view.setInt32(transport + 12, ((length >> 2) << 28) | (segment.flags << 16) | segment.window);
  view.setInt32(transport + 16, 0);
  let pseudo: number;
  if (ends.family === 4) {
    ipv4.write(bytes, ip, ipv4.HEADER + length, tcp.PROTOCOL, ends.source0, ends.destination0);
    pseudo = checksums.pseudoHeader4(ends.source0, ends.destination0, tcp.PROTOCOL, length);
  } else {
    ipv6.write(bytes, ip, length, tcp.PROTOCOL);
    const { source0, source1, source2, source3 } = ends;
    ipv6.writeAddress(bytes, ip + ipv6.SOURCE, source0, source1, source2, source3);
    const { destination0, destination1, destination2, destination3 } = ends;
    ipv6.writeAddress(bytes, ip + ipv6.DESTINATION, destination0, destination1, destination2, destination3);
    pseudo = checksums.pseudoHeader6(bytes, ip, tcp.PROTOCOL, length);
  }
  tcp.writeChecksum(bytes, transport, checksums.finish(checksums.sum(bytes, transport, length, pseudo)));
  pool.length[packet] = transport + length - frame;
  return packet;
}
