/**
 * Connections, packets and bytes of every destination, in shared memory: one block an engine, so that no cell has two
 * writers and the path takes no lock. Services and the virtual server as a whole are sums over it, which the main
 * thread makes (host/accounts.ts). Cells are never set back: a row that is given anew is counted from where it stands.
 *
 * Counted is what a link would carry. Where IPVS adds 1 for a super-packet, and its headers once (ip_vs_in_stats adds
 * one skb and skb->len), here it is the packets that it is cut into, each with its headers, as the kernel's queueing
 * disciplines account for it (qdisc_pkt_len_init). For every other packet the two agree: bytes are those of the IP
 * packet, without a link's header, before it is put into a tunnel.
 *
 * Float64 holds whole numbers exactly up to 2^53: bytes at 100 Gbit/s for a week. From there on a packet's length is
 * rounded to an even number of bytes.
 */
import type { Pool } from '../core/pool.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import type { Parsed } from './packet.js';

/** Cells of a row; a row is a cache line. */
export const CONNS = 0;
export const IN_PACKETS = 1;
export const OUT_PACKETS = 2;
export const IN_BYTES = 3;
export const OUT_BYTES = 4;
/** How many there are. */
export const FIELDS = 5;
const ROW = 8;

export class Traffic {
  readonly cells: Float64Array;

  /** The pages are the system's until they are used. */
  static allocate(destinations: number): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * ROW * destinations);
  }

  constructor(memory: SharedArrayBuffer) {
    this.cells = new Float64Array(memory);
  }

  /** A connection began (ip_vs_conn_stats). */
  countConnection(row: number): void {
    this.cells[row * ROW + CONNS]!++;
  }

  /** A packet of a client. */
  countIn(row: number, pool: Pool, packet: number, parsed: Parsed): void {
    this.#count(row * ROW + IN_PACKETS, pool, packet, parsed);
  }

  /** A packet of a destination. */
  countOut(row: number, pool: Pool, packet: number, parsed: Parsed): void {
    this.#count(row * ROW + OUT_PACKETS, pool, packet, parsed);
  }

  /** Adds what the row has to `sums`, which has FIELDS of them. */
  addTo(sums: Float64Array, row: number): void {
    const at = row * ROW;
    for (let field = 0; field < FIELDS; field++) sums[field]! += this.cells[at + field]!;
  }

  #count(at: number, pool: Pool, packet: number, parsed: Parsed): void {
    const { cells } = this;
    const length = parsed.end - parsed.ip;
    const segment = pool.segment[packet]!;
    if (segment === 0) {
      cells[at]!++;
      cells[at + (IN_BYTES - IN_PACKETS)]! += length;
      return;
    }
    // Not the `headerLength` column: of what a TAP gives, the kernel puts the bytes that happen to be linear there.
    const headers = headersOf(pool, parsed);
    const segments = Math.max(1, Math.ceil((length - headers) / segment));
    cells[at]! += segments;
    cells[at + (IN_BYTES - IN_PACKETS)]! += length + (segments - 1) * headers;
  }
}

/** Bytes that every segment of a super-packet repeats: IP's header and TCP's or UDP's. */
function headersOf({ view }: Pool, { ip, transport, protocol }: Parsed): number {
  const upper = protocol === tcp.PROTOCOL ? (view.getUint8(transport + 12) >>> 4) << 2 : udp.HEADER;
  return transport - ip + upper;
}
