/**
 * The way out of most frames in one pass, bridge and encapsulation together: untagged IPv4 without options and IPv6
 * without extensions, TCP and UDP, super-packets among them, to a MAC that the forwarding database has behind a VTEP.
 * It decides nothing of its own: what Bridge.forward and encap do with such a frame is done here, word by word. At the
 * first frame that it doesn't know it stops, and the engine has that one handled by those two, so that no packet
 * overtakes another.
 *
 * Why it looks as it does: V8 takes what a closure holds for constants, base address and length of an array among them,
 * if the closure is the only one of its kind on its thread, and within a loop only through locals of the function.
 * bench/micro, encap with its outer headers: 95 ns by the general path, 26 by this one; of them 17 here.
 */
import type { Batch } from '../../core/batch.js';
import { type Pool, SEGMENT_ANY } from '../../core/pool.js';
import { HEADER_WORDS, hash2 } from '../../core/table.js';
import * as rowOf from '../../core/vteps.js';
import * as ethernet from '../../wire/ethernet.js';
import * as flows from '../../wire/flow.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import { swap32 } from '../../wire/order.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import * as vxlan from '../../wire/vxlan.js';
import * as fdbOf from '../fdb.js';
import type { Network } from '../network.js';

// Constants of this file: V8 folds those, and loads those of another in every pass.
const { SEED } = flows;
const HEADER = HEADER_WORDS;
const ROW = rowOf.ROW_WORDS;
const MTU = rowOf.PATH_MTU;
const FAMILY_OF = rowOf.FAMILY;
const OVERHEAD4 = rowOf.OVERHEAD_IPV4;
const OVERHEAD6 = rowOf.OVERHEAD_IPV6;
const LOCAL_BIT = fdbOf.LOCAL;
const STATIC_BIT = fdbOf.STATIC;
const INDEX_BITS = fdbOf.INDEX;
const SUPER = SEGMENT_ANY;
const TCP = tcp.PROTOCOL;
const UDP = udp.PROTOCOL;
/** EtherTypes as the upper half of the word that they end, in memory's order. */
const IPV4 = 0x0008;
const IPV6 = 0xdd86;
/** MF and the offset, in the word that the fragment field of IPv4 ends. */
const FRAGMENT = 0xff3f0000;
/** Frames whose ports are there, and those whose TCP flags are. */
const WITH_PORTS4 = ethernet.HEADER + ipv4.HEADER + 4;
const WITH_PORTS6 = ethernet.HEADER + ipv6.HEADER + 4;
const WITH_FLAGS4 = ethernet.HEADER + ipv4.HEADER + tcp.HEADER;
const WITH_FLAGS6 = ethernet.HEADER + ipv6.HEADER + tcp.HEADER;
const SYN = tcp.SYN << 8;

/**
 * Frames of a port of `network`, from index `from` on, none of which is traced: each goes to `remote`, and begins at its
 * VXLAN header there. Returns the index of the first one that is left to the general path.
 */
export type ExpressOut = (from: number, network: Network, port: number, nowSeconds: number) => number;

/** @param frames where they are taken from, `from` on, and stay  @param remote where those go that are done */
export function expressOut(
  pool: Pool,
  fdb: fdbOf.Fdb,
  vteps: rowOf.Vteps,
  frames: Batch,
  remote: Batch,
): ExpressOut {
  const {
    words: WORDS,
    offset: OFFSET,
    length: LENGTH,
    segment: SEGMENT,
    offload: OFFLOAD,
    checksumStart: CHECKSUM_START,
    headerLength: HEADER_LENGTH,
    flow: FLOW,
    ecn: ECN,
    network: NETWORK,
    vtep: VTEP,
  } = pool;
  const tables = fdb.table;
  const { words: CELLS, mask: MASK } = tables;
  const { rows: ROWS } = vteps;
  const mix = flows.mix;
  const finish = flows.finish;
  const hash = hash2;
  const { packets: FRAMES } = frames;
  const { packets: REMOTE } = remote;

  return function forward(from, network, port, nowSeconds) {
    // See above: constants as long as they are read from here.
    const words = WORDS;
    const offset = OFFSET;
    const length = LENGTH;
    const segment = SEGMENT;
    const offload = OFFLOAD;
    const checksumStart = CHECKSUM_START;
    const headerLength = HEADER_LENGTH;
    const flow = FLOW;
    const ecn = ECN;
    const networkOf = NETWORK;
    const vtepOf = VTEP;
    const table = CELLS;
    const mask = MASK;
    const rows = ROWS;

    const packets = FRAMES;
    const out = REMOTE;
    const count = frames.count | 0;
    let sent = remote.count | 0;

    const index = network.index | 0;
    const prefix = index << 16;
    const learning = network.learning === true;
    const clamped = network.mssClamp === true;
    const here = LOCAL_BIT | port;
    const now = nowSeconds | 0;
    const flags = swap32(vxlan.firstWord(network.groupPolicy));
    const vni = swap32(network.vni << 8);
    let taught0 = 0;
    let taught1 = 0;
    let lastVtep = -1;
    let largest = 0;
    let i = from | 0;
    for (; i < count; i++) {
      const packet = packets[i];
      const at = offset[packet];
      const bytes = length[packet];
      if ((at & 3) !== 2 || bytes < WITH_PORTS4) break;

      // 1. MACs: the source one that can be, the destination no group's.
      const word = at >> 2;
      const to0 = words[word];
      const to1 = words[word + 1];
      const from0 = words[word + 2];
      const from1 = words[word + 3];
      if ((((to0 >>> 16) | from0) & 1) !== 0 || (from0 | (from1 & 0xffff)) === 0) break;

      // 2. The flow and the ECN field; nothing to clamp.
      const first = words[word + 4];
      let state = 0;
      let mark = 0;
      if (from1 >>> 16 === IPV4) {
        const protocol = (words[word + 6] >>> 8) & 0xff;
        if ((first & 0xff) !== 0x45 || (words[word + 5] & FRAGMENT) !== 0) break;
        if (protocol === TCP) {
          if (clamped && (bytes < WITH_FLAGS4 || (words[word + 12] & SYN) !== 0)) break;
        } else if (protocol !== UDP) break;
        mark = (first >>> 8) & 3;
        state = mix(mix(mix(SEED ^ protocol, words[word + 7]), words[word + 8]), words[word + 9]);
      } else if (from1 >>> 16 === IPV6) {
        const protocol = (words[word + 5] >>> 16) & 0xff;
        if ((first & 0xf0) !== 0x60 || bytes < WITH_PORTS6) break;
        if (protocol === TCP) {
          if (clamped && (bytes < WITH_FLAGS6 || (words[word + 17] & SYN) !== 0)) break;
        } else if (protocol !== UDP) break;
        mark = (first >>> 12) & 3;
        state = SEED ^ protocol;
        for (let i = word + 6; i < word + 15; i++) state = mix(state, words[i]);
      } else break;

      // 3. A network that learns knows the source already, and since this second.
      if (learning) {
        const k0 = prefix | (from0 & 0xffff);
        const k1 = (from0 >>> 16) | (from1 << 16);
        if (k0 !== taught0 || k1 !== taught1) {
          const entry = tables.locate(k0, k1);
          if (entry < 0) break;
          const known = tables.valueAt(entry);
          if ((known & STATIC_BIT) === 0 && (known !== here || tables.secondAt(entry) !== now)) break;
          taught0 = k0;
          taught1 = k1;
        }
      }

      // 4. Where to: behind a VTEP, and the path there takes it.
      const k0 = prefix | (to0 >>> 16);
      const mixed = hash(k0, to1);
      let entry = HEADER + ((mixed & mask) << 2);
      if (table[entry] !== k0 || table[entry + 1] !== to1) {
        let cell = mixed;
        for (let first = table[entry]; first !== 0; first = table[entry]) {
          if (first === k0 && table[entry + 1] === to1) break;
          entry = HEADER + ((++cell & mask) << 2);
        }
        if (table[entry] !== k0) break;
      }
      const target = table[entry + 2];
      if (table[entry + 3] !== (mixed ^ target) || (target & LOCAL_BIT) !== 0) break;
      const vtep = target & INDEX_BITS;
      if (vtep !== lastVtep) {
        lastVtep = vtep;
        const row = vtep * ROW;
        largest = (rows[row + MTU] - (rows[row + FAMILY_OF] === 4 ? OVERHEAD4 : OVERHEAD6)) | 0;
      }
      if (offload[packet] === 0) {
        if (bytes > largest) break;
      } else {
        const whole = (offload[packet] & SUPER) === 0;
        if ((whole ? bytes : (headerLength[packet] + segment[packet]) | 0) > largest) break;
        checksumStart[packet] += 8;
        headerLength[packet] += 8;
      }

      // 5. The VXLAN header. Its first two bytes end a word that the outer headers begin, and these write it whole.
      words[word - 2] = flags << 16;
      words[word - 1] = (flags >>> 16) | (vni << 16);
      words[word] = (to0 & ~0xffff) | (vni >>> 16);
      networkOf[packet] = index;
      vtepOf[packet] = vtep;
      flow[packet] = finish(state);
      ecn[packet] = mark;
      offset[packet] = at - 8;
      length[packet] = bytes + 8;
      out[sent++] = packet;
    }
    remote.count = sent;
    return i;
  };
}
