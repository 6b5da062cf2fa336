/**
 * The outer headers of most packets of a batch in one pass: to VTEPs over IPv4, single datagrams and super-packets. What it
 * writes is what outer.write and the tunnel device write for such a packet, word by word; at the first other one it stops. It
 * is written as overlay/express/out.ts is, for the reason that stands there (bench/micro, encap:
 * 10 of its 26 ns).
 */
import type { Batch } from '../../core/batch.js';
import { type Pool, SEGMENT_ANY } from '../../core/pool.js';
import * as rowOf from '../../core/vteps.js';
import { OUTER_IPV4 } from '../outer.js';

// Constants of this file: V8 folds those, and loads those of another in every pass.
const ROW = rowOf.ROW_WORDS;
const FAMILY = rowOf.FAMILY;
const TEMPLATE = rowOf.OUTER;
const TEMPLATE_WORDS = 10;
const SUPER = SEGMENT_ANY;
const OUTER = OUTER_IPV4;
/** Bytes of IP and UDP header, of UDP header. */
const IP_UDP = 28;
const UDP = 8;
const SOURCE_PORTS_FROM = 49_152;

/** Words of what is kept of the last VTEP: its template, the sum of its pseudo-header without the length. */
const PSEUDO = TEMPLATE_WORDS;
/** A typed array of more than 64 bytes lies outside of V8's heap, where its address is constant. */
const KEPT_WORDS = 32;

/**
 * Packets of the batch from index `from` on, whose `flow` is a number of source ports that are `portStep` apart. Returns the
 * index of the first that is left to the general path.
 */
export type ExpressWrite = (from: number, portStep: number) => number;

export function expressWrite(pool: Pool, vteps: rowOf.Vteps, batch: Batch): ExpressWrite {
  const { words: WORDS, offset: OFFSET, length: LENGTH, offload: OFFLOAD, bundle: BUNDLE } = pool;
  const { checksumStart: CHECKSUM_START, headerLength: HEADER_LENGTH } = pool;
  const { vtep: VTEP, flow: FLOW, ecn: ECN } = pool;
  const { rows: ROWS } = vteps;
  const { packets: PACKETS } = batch;
  const KEPT = new Int32Array(KEPT_WORDS);

  return function write(from, portStep) {
    const words = WORDS;
    const offset = OFFSET;
    const length = LENGTH;
    const offload = OFFLOAD;
    const bundle = BUNDLE;
    const checksumStart = CHECKSUM_START;
    const headerLength = HEADER_LENGTH;
    const vtepOf = VTEP;
    const flow = FLOW;
    const ecn = ECN;
    const rows = ROWS;
    const packets = PACKETS;
    const kept = KEPT;

    const count = batch.count | 0;
    const step = portStep | 0;
    let last = -1;
    let i = from | 0;
    for (; i < count; i++) {
      const packet = packets[i];
      const at = offset[packet];
      const size = length[packet];
      const vtep = vtepOf[packet];

      // 1. What is here written for: a whole datagram whose lengths fit, over IPv4.
      if ((at & 3) !== 2 || bundle[packet] > 1 || size > 0xffff - IP_UDP) break;
      if (vtep !== last) {
        last = vtep;
        const row = vtep * ROW;
        if (rows[row + FAMILY] !== 4) break;
        for (let word = 0; word < TEMPLATE_WORDS; word++) kept[word] = rows[row + TEMPLATE + word];
        // Words that hold a length or a port lose those halves, which are 0.
        kept[3] &= 0x00ffffff;
        kept[4] &= ~0xffff;
        kept[8] &= 0xffff;
        kept[9] &= 0xffff;
        // Source, destination, protocol.
        let sum = (kept[6] >>> 16) + (kept[7] & 0xffff) + (kept[7] >>> 16) + kept[8] + 0x1100;
        sum = (sum & 0xffff) + (sum >>> 16);
        kept[PSEUDO] = sum;
      }

      // 2. Lengths, and what they and the ECN field do to the header's checksum: RFC 1624 over swapped halves.
      const mark = ecn[packet];
      const udpLength = (size + UDP) | 0;
      const total = (size + IP_UDP) | 0;
      const swapped = ((total & 0xff) << 8) | (total >>> 8);
      const udpSwapped = ((udpLength & 0xff) << 8) | (udpLength >>> 8);
      let sum = ((~kept[6] & 0xffff) + swapped + (mark << 8)) | 0;
      sum = (sum & 0xffff) + (sum >>> 16);
      sum = (sum & 0xffff) + (sum >>> 16);

      // 3. A super-packet has the sum of its pseudo-header in the outer checksum's place (tunnel.ts says why).
      let checksum = 0;
      if (offload[packet] !== 0) {
        if ((offload[packet] & SUPER) !== 0) {
          checksum = (kept[PSEUDO] + udpSwapped) | 0;
          checksum = (checksum & 0xffff) + (checksum >>> 16);
          checksum = (checksum & 0xffff) + (checksum >>> 16);
        }
        checksumStart[packet] += OUTER;
        headerLength[packet] += OUTER;
      }

      // 4. The headers. The last word's upper half is VXLAN's.
      const port = (SOURCE_PORTS_FROM + Math.imul(flow[packet], step)) | 0;
      const start = (at - OUTER) >> 2;
      words[start] = kept[0];
      words[start + 1] = kept[1];
      words[start + 2] = kept[2];
      words[start + 3] = kept[3] | (mark << 24);
      words[start + 4] = kept[4] | swapped;
      words[start + 5] = kept[5];
      words[start + 6] = (kept[6] & ~0xffff) | (~sum & 0xffff);
      words[start + 7] = kept[7];
      words[start + 8] = kept[8] | ((port & 0xff) << 24) | ((port & 0xff00) << 8);
      words[start + 9] = kept[9] | (udpSwapped << 16);
      words[start + 10] = (words[start + 10] & ~0xffff) | checksum;
      offset[packet] = at - OUTER;
      length[packet] = size + OUTER;
    }
    return i;
  };
}
