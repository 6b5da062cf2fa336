/**
 * The outer headers of most arriving frames, checked and taken off in one pass: IPv4 without options, to this host, and no UDP
 * checksum to verify. What outer.strip does with such a frame is done here, word by word; at the first other one it stops. It
 * is written as overlay/express/out.ts is, for the reason that stands there.
 */
import type { Batch } from '../../core/batch.js';
import * as slots from '../../core/pool.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import { swap16, swap32 } from '../../wire/order.js';
import * as udp from '../../wire/udp.js';
import * as vxlan from '../../wire/vxlan.js';
import { type Here, OUTER_IPV4 } from '../outer.js';

// Constants of this file: V8 folds those, and loads those of another in every pass.
const OUTER = OUTER_IPV4;
const SLOT_WORDS = slots.SLOT_BYTES / 4;
const UNFINISHED = slots.CHECKSUM_UNFINISHED;
const ETHERNET = ethernet.HEADER;
const IP = ipv4.HEADER;
const UDP = udp.HEADER;
/** From where on a checksum or segmentation is the frame's own business, not that of the outer UDP header. */
const INNER = OUTER_IPV4 + vxlan.HEADER + ethernet.HEADER + ipv4.HEADER;
/** EtherType and the header's first byte, as memory has them; MF and the offset, in the word that the fragment field begins. */
const IPV4 = 0x450008;
const FRAGMENT = 0xff3f;
const PROTOCOL = udp.PROTOCOL;

/** Frames from index `from` on: they begin at their VXLAN header afterwards. Returns the index of the first that is left to the general path. */
export type ExpressStrip = (from: number, here: Here) => number;

export function expressStrip(pool: slots.Pool, frames: Batch): ExpressStrip {
  const { words: WORDS, offset: OFFSET, length: LENGTH, slot: SLOT, offload: OFFLOAD, ecn: ECN } = pool;
  const { checksumStart: CHECKSUM_START, headerLength: HEADER_LENGTH } = pool;
  const { packets: FRAMES } = frames;

  return function strip(from, here) {
    if (here.address4 === undefined) return from;
    // Constants as long as they are read from here.
    const words = WORDS;
    const offset = OFFSET;
    const length = LENGTH;
    const slotOf = SLOT;
    const offload = OFFLOAD;
    const ecn = ECN;
    const checksumStart = CHECKSUM_START;
    const headerLength = HEADER_LENGTH;
    const packets = FRAMES;

    const address0 = (swap32(here.address4) & 0xffff) | 0;
    const address1 = swap32(here.address4) >>> 16;
    const port = swap16(here.port);
    const count = frames.count | 0;
    let i = from | 0;
    for (; i < count; i++) {
      const packet = packets[i];
      const at = offset[packet];
      const bytes = length[packet];
      if ((at & 3) !== 0 || bytes < OUTER) break;

      // 1. Ethernet type; the IP header whole, without options, no fragment, UDP, its checksum right.
      const word = at >> 2;
      const w3 = words[word + 3];
      const w4 = words[word + 4];
      const w5 = words[word + 5];
      if ((w3 & 0xffffff) !== IPV4 || (w5 & FRAGMENT) !== 0 || w5 >>> 24 !== PROTOCOL) break;
      const total = ((w4 & 0xff) << 8) | ((w4 >>> 8) & 0xff);
      if (total < IP + UDP || total > bytes - ETHERNET) break;
      const w6 = words[word + 6];
      const w7 = words[word + 7];
      const w8 = words[word + 8];
      let sum = ((w3 >>> 16) + (w4 & 0xffff) + (w4 >>> 16) + (w5 & 0xffff) + (w5 >>> 16)) | 0;
      sum = (sum + (w6 & 0xffff) + (w6 >>> 16) + (w7 & 0xffff) + (w7 >>> 16) + (w8 & 0xffff)) | 0;
      sum = (sum & 0xffff) + (sum >>> 16);
      if ((sum & 0xffff) + (sum >>> 16) !== 0xffff) break;

      // 2. To this host and port; the UDP length; no checksum, or one that stayed in this host.
      if (w7 >>> 16 !== address0 || (w8 & 0xffff) !== address1) break;
      const w9 = words[word + 9];
      const udpLength = ((w9 >>> 8) & 0xff00) | (w9 >>> 24);
      if ((w9 & 0xffff) !== port || udpLength < UDP || udpLength > total - IP) break;
      const bits = offload[packet];
      if ((bits & UNFINISHED) === 0) {
        if ((words[word + 10] & 0xffff) !== 0) break;
      } else if (checksumStart[packet] < INNER) break;

      // 3. The sender goes to the slot (core/pool.ts), its port in the host's order; the rest begins at the VXLAN header.
      const slot = Math.imul(slotOf[packet], SLOT_WORDS);
      words[slot] = 4 | ((w8 >>> 8) & 0xff0000) | ((w8 & 0xff0000) << 8);
      words[slot + 1] = (w6 >>> 16) | (w7 << 16);
      ecn[packet] = (w3 >>> 24) & 3;
      offset[packet] = at + OUTER;
      length[packet] = udpLength - UDP;
      if (bits !== 0) {
        checksumStart[packet] -= OUTER;
        headerLength[packet] -= OUTER;
      }
    }
    return i;
  };
}
