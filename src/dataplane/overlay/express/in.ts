/**
 * The way in of most datagrams in one pass, decapsulation and bridge together: from a known VTEP over IPv4, for a network that
 * is here and a MAC that is behind one of its ports. What Decap.decap and Bridge.deliver do with such a datagram is done
 * here, word by word; at the first one that it doesn't know it stops, and the engine has that one handled by those two. It is
 * written as out.ts is, for the reason that stands there.
 *
 * Datagrams come in runs, of one network from one VTEP: both are looked up once a run, and counted at its end.
 */
import type { Batch } from '../../core/batch.js';
import { RX_BYTES, RX_PACKETS } from '../../core/counters.js';
import type { Path } from '../../core/path.js';
import * as slots from '../../core/pool.js';
import { HEADER_WORDS, hash2 } from '../../core/table.js';
import type { Vteps } from '../../core/vteps.js';
import * as ethernet from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import { swap32 } from '../../wire/order.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import * as vxlan from '../../wire/vxlan.js';
import * as fdbOf from '../fdb.js';
import type { Networks } from '../network.js';

// Constants of this file: V8 folds those, and loads those of another in every pass.
const HEADER = HEADER_WORDS;
const LOCAL_BIT = fdbOf.LOCAL;
const STATIC_BIT = fdbOf.STATIC;
const INDEX_BITS = fdbOf.INDEX;
const SLOT_WORDS = slots.SLOT_BYTES / 4;
const VXLAN = vxlan.HEADER;
const SHORTEST = vxlan.HEADER + ethernet.HEADER;
/** Flag I as the first byte of a word's upper half. */
const VALID = vxlan.FLAG_I << 16;
/** Datagrams whose frame has all of a TCP header, over IPv4 without options. */
const WITH_FLAGS = SHORTEST + ipv4.HEADER + tcp.HEADER;
const SYN = tcp.SYN << 8;
/** EtherType and first byte, as memory has them. */
const IPV4 = 0x0008;
const TCP = tcp.PROTOCOL;
const UDP = udp.PROTOCOL;

/**
 * Datagrams from index `from` on, each beginning at its VXLAN header: their frames go to `local`, the column `port` set.
 * Returns the index of the first one that is left to the general path.
 */
export type ExpressIn = (from: number, nowSeconds: number) => number;

/** @param datagrams where they are taken from, and stay  @param local where the frames go */
export function expressIn(
  path: Path,
  networks: Networks,
  fdb: fdbOf.Fdb,
  vteps: Vteps,
  datagrams: Batch,
  local: Batch,
): ExpressIn {
  const { words: WORDS, offset: OFFSET, length: LENGTH, slot: SLOT, offload: OFFLOAD, ecn: ECN } = path.pool;
  const { checksumStart: CHECKSUM_START, headerLength: HEADER_LENGTH } = path.pool;
  const { network: NETWORK, vtep: VTEP, port: PORT } = path.pool;
  const tables = fdb.table;
  const { words: CELLS, mask: MASK } = tables;
  const { packets: DATAGRAMS } = datagrams;
  const { packets: LOCAL } = local;
  const hash = hash2;

  return function deliver(from, nowSeconds) {
    // Constants as long as they are read from here.
    const words = WORDS;
    const offset = OFFSET;
    const length = LENGTH;
    const slotOf = SLOT;
    const offload = OFFLOAD;
    const ecn = ECN;
    const checksumStart = CHECKSUM_START;
    const headerLength = HEADER_LENGTH;
    const networkOf = NETWORK;
    const vtepOf = VTEP;
    const portOf = PORT;
    const table = CELLS;
    const mask = MASK;
    const packets = DATAGRAMS;
    const out = LOCAL;

    const count = datagrams.count | 0;
    const now = nowSeconds | 0;
    let i = from | 0;
    while (i < count) {
      // 1. The first of a run: its network and its sender, both known.
      const first = offset[packets[i]];
      const sender = Math.imul(slotOf[packets[i]], SLOT_WORDS);
      if ((first & 3) !== 2 || length[packets[i]] < SHORTEST || (words[sender] & 0xffff) !== 4) return i;
      const vni = (words[(first >> 2) + 1] >>> 16) | ((words[(first >> 2) + 2] & 0xff) << 16);
      const source = words[sender + 1];
      const network = networks.ofVni(swap32(vni) >>> 8);
      const vtep = vteps.find(4, swap32(source), 0, 0, 0) | 0;
      if (network === undefined || vtep < 0) return i;
      const index = network.index | 0;
      const prefix = index << 16;
      const learning = network.learning === true;
      const clamped = network.mssClamp === true;

      let delivered = local.count | 0;
      const before = delivered;
      let bytesSum = 0;
      let taught0 = 0;
      let taught1 = 0;
      let left = false;
      for (; i < count; i++) {
        const packet = packets[i];
        const at = offset[packet];
        const bytes = length[packet];
        const start = Math.imul(slotOf[packet], SLOT_WORDS);
        left = true;
        if ((at & 3) !== 2 || bytes < SHORTEST) break;

        // 2. The same network and sender; a flag says that there is a network; nothing happened to it on its way.
        const word = at >> 2;
        const to0 = words[word + 2];
        if ((words[word] & VALID) === 0 || (ecn[packet] & 1) !== 0) break;
        if (
          (words[start] & 0xffff) !== 4 ||
          words[start + 1] !== source ||
          ((words[word + 1] >>> 16) | ((to0 & 0xff) << 16)) !== vni
        ) {
          left = false;
          break;
        }

        // 3. MACs: the source one that can be, the destination no group's.
        const to1 = words[word + 3];
        const from0 = words[word + 4];
        const from1 = words[word + 5];
        if ((((to0 >>> 16) | from0) & 1) !== 0 || (from0 | (from1 & 0xffff)) === 0) break;

        // 4. A network that learns knows the source already, and since this second; nothing to clamp.
        if (learning) {
          const k0 = prefix | (from0 & 0xffff);
          const k1 = (from0 >>> 16) | (from1 << 16);
          if (k0 !== taught0 || k1 !== taught1) {
            const entry = tables.locate(k0, k1);
            if (entry < 0) break;
            const known = tables.valueAt(entry);
            if ((known & STATIC_BIT) === 0 && (known !== vtep || tables.secondAt(entry) !== now)) break;
            taught0 = k0;
            taught1 = k1;
          }
        }
        if (clamped) {
          if (from1 >>> 16 !== IPV4 || (words[word + 6] & 0xff) !== 0x45 || bytes < WITH_FLAGS) break;
          const protocol = (words[word + 8] >>> 8) & 0xff;
          if (protocol !== UDP && (protocol !== TCP || (words[word + 14] & SYN) !== 0)) break;
        }

        // 5. Where to: a port here.
        const k0 = prefix | (to0 >>> 16);
        const mixed = hash(k0, to1);
        let entry = HEADER + ((mixed & mask) << 2);
        if (table[entry] !== k0 || table[entry + 1] !== to1) {
          let cell = mixed;
          for (let key = table[entry]; key !== 0; key = table[entry]) {
            if (key === k0 && table[entry + 1] === to1) break;
            entry = HEADER + ((++cell & mask) << 2);
          }
          if (table[entry] !== k0) break;
        }
        const target = table[entry + 2];
        if (table[entry + 3] !== (mixed ^ target) || (target & LOCAL_BIT) === 0) break;

        // 6. The frame begins behind the header.
        networkOf[packet] = index;
        vtepOf[packet] = vtep;
        portOf[packet] = target & INDEX_BITS;
        offset[packet] = at + VXLAN;
        length[packet] = bytes - VXLAN;
        if (offload[packet] !== 0) {
          checksumStart[packet] -= 8;
          headerLength[packet] -= 8;
        }
        bytesSum += bytes;
        out[delivered++] = packet;
        left = false;
      }
      local.count = delivered;
      if (delivered > before) {
        const { cells } = path.counters;
        const row = path.counters.vtepRow(vtep);
        cells[row + RX_PACKETS] += delivered - before;
        cells[row + RX_BYTES] += bytesSum;
      }
      if (left) return i;
    }
    return i;
  };
}
