/**
 * The VTEPs, in shared memory: one row each, found by number on the way out and by address on the way in.
 * Control and (for learned ones) engines add rows under the table's lock; control alone fills in what the tunnel
 * device needs. It lies in core because the overlay and the underlay devices both read it.
 */
import { NOT_FOUND, Table, type TableMemory } from './table.js';

/** Bytes of a raw socket address row, as native's udpTransmit takes it. */
export const ADDRESS_BYTES = 32;
/** Bytes of the outer Ethernet, IP and UDP headers that a row keeps ready. */
export const OUTER_BYTES = 64;

/** A row, for those who read it word by word (the express paths). */
export const ROW_WORDS = 24;
const STATE = 0;
export const FAMILY = 1;
export const PATH_MTU = 2;
export const OUTER = 8; // 16 words: the outer header

/** Bits of a row's state. */
const USED = 1;
const TUNNEL = 2; // the outer header is complete: the tunnel device may carry to it
const RETIRED = 4; // found by nobody any more, and not yet given out again

/** IP + UDP + VXLAN header bytes before the inner frame, inside the outer IP packet. */
export const OVERHEAD_IPV4 = 20 + 8 + 8;
export const OVERHEAD_IPV6 = 40 + 8 + 8;

export interface VtepsMemory {
  index: TableMemory;
  rows: SharedArrayBuffer;
  addresses: SharedArrayBuffer;
  /** STATE_* below */
  state: SharedArrayBuffer;
}

const STATE_ROWS = 0; // rows ever used
const STATE_GENERATION = 1; // rises with each row added or removed
const STATE_PORT = 2; // UDP port (host order) and path MTU that a new row gets
const STATE_MTU = 3;
const STATE_NEXT = 4; // where the search for a free row begins
const STATE_LIMIT = 5; // never changes

export class Vteps {
  /** rows; engines leave those above `limit` to control, for what is wanted beside what is in force */
  readonly capacity: number;
  readonly limit: number;
  readonly addresses: Uint8Array;
  readonly rows: Int32Array;
  readonly memory: VtepsMemory;
  readonly #bytes: Uint8Array;
  readonly #index: Table;
  readonly #state: Int32Array;

  /** @param spare rows that only control gives out */
  static allocate(limit: number, spare = 0): VtepsMemory {
    const capacity = limit + spare;
    const state = new SharedArrayBuffer(24);
    new Int32Array(state)[STATE_LIMIT] = limit;
    return {
      index: Table.allocate(capacity, 5),
      rows: new SharedArrayBuffer(4 * ROW_WORDS * capacity),
      addresses: new SharedArrayBuffer(ADDRESS_BYTES * capacity),
      state,
    };
  }

  constructor(memory: VtepsMemory) {
    this.memory = memory;
    this.rows = new Int32Array(memory.rows);
    this.#bytes = new Uint8Array(memory.rows);
    this.addresses = new Uint8Array(memory.addresses);
    this.capacity = this.addresses.length / ADDRESS_BYTES;
    this.#index = new Table(memory.index);
    this.#state = new Int32Array(memory.state);
    this.limit = this.#state[STATE_LIMIT]!;
  }

  /** Control: what rows get from now on; the port is that of every row, the MTU of new ones. */
  setDefaults(port: number, pathMtu: number): void {
    this.#state[STATE_PORT] = port;
    this.#state[STATE_MTU] = pathMtu;
    const view = new DataView(this.memory.addresses);
    for (const vtep of this.used()) view.setUint16(vtep * ADDRESS_BYTES + 2, port);
  }

  /** Number of the VTEP at an address (IPv4 in the first word, the rest 0); -1 if there is none. */
  find(family: number, a0: number, a1: number, a2: number, a3: number): number {
    const found = this.#index.find(family, a0, a1, a2, a3);
    return found === NOT_FOUND ? -1 : found;
  }

  /** Finds or adds a row; -1 when there is no room. An engine doesn't `wait`: for it, -1 also when another writer is busy. */
  add(family: number, a0: number, a1: number, a2: number, a3: number, wait = true): number {
    const add = () => {
      const known = this.find(family, a0, a1, a2, a3);
      if (known >= 0) return known;
      const vtep = this.#freeRow();
      if (vtep < 0) return -1;
      this.#writeAddress(vtep, family, a0, a1, a2, a3);
      const row = vtep * ROW_WORDS;
      this.rows[row + FAMILY] = family;
      this.rows[row + PATH_MTU] = this.#state[STATE_MTU]!;
      Atomics.store(this.rows, row + STATE, USED);
      if (!this.#index.set([family, a0, a1, a2, a3], vtep, 0)) {
        Atomics.store(this.rows, row + STATE, 0);
        return -1;
      }
      Atomics.add(this.#state, STATE_GENERATION, 1);
      return vtep;
    };
    if (wait) return this.#index.locked(add);
    if (this.size >= this.limit || !this.#index.tryLock()) return this.find(family, a0, a1, a2, a3);
    const vtep = add();
    this.#index.unlock();
    return vtep;
  }

  /** Control only, and only when nothing refers to the row any more. */
  remove(vtep: number): void {
    this.retire(vtep);
    this.release(vtep);
  }

  /** Control: nobody finds the row any more, but it leads where it led for those who just found it. */
  retire(vtep: number): void {
    this.#index.locked(() => {
      this.#index.remove([this.family(vtep), ...this.addressWords(vtep)]);
      Atomics.store(this.rows, vtep * ROW_WORDS + STATE, RETIRED);
      Atomics.add(this.#state, STATE_GENERATION, 1);
    });
  }

  /** Control: a retired row may be given to another. */
  release(vtep: number): void {
    this.#index.locked(() => Atomics.store(this.rows, vtep * ROW_WORDS + STATE, 0));
  }

  /** Rows in use. */
  get size(): number {
    return this.#index.size;
  }

  /** Rises when a row has been added or removed; control looks at it once a second. */
  get generation(): number {
    return Atomics.load(this.#state, STATE_GENERATION);
  }

  *used(): Generator<number> {
    const rows = this.#state[STATE_ROWS]!;
    for (let vtep = 0; vtep < rows; vtep++) if ((this.rows[vtep * ROW_WORDS]! & USED) !== 0) yield vtep;
  }

  family(vtep: number): number {
    return this.rows[vtep * ROW_WORDS + FAMILY]!;
  }

  /** The address as four big-endian words; IPv4 in the first, the rest 0. */
  addressWords(vtep: number): [number, number, number, number] {
    const view = new DataView(this.memory.addresses, vtep * ADDRESS_BYTES, ADDRESS_BYTES);
    if (this.family(vtep) === 4) return [view.getInt32(4), 0, 0, 0];
    return [view.getInt32(8), view.getInt32(12), view.getInt32(16), view.getInt32(20)];
  }

  /** Bytes of IP packet that the path to it takes. */
  pathMtu(vtep: number): number {
    return this.rows[vtep * ROW_WORDS + PATH_MTU]!;
  }

  setPathMtu(vtep: number, mtu: number): void {
    this.rows[vtep * ROW_WORDS + PATH_MTU] = mtu;
  }

  /** The longest inner frame (Ethernet header included) that reaches it in one packet. */
  largestFrame(vtep: number): number {
    const row = vtep * ROW_WORDS;
    return this.rows[row + PATH_MTU]! - (this.rows[row + FAMILY] === 4 ? OVERHEAD_IPV4 : OVERHEAD_IPV6);
  }

  isTunnel(vtep: number): boolean {
    return (this.rows[vtep * ROW_WORDS]! & TUNNEL) !== 0;
  }

  /** Control: the outer headers (42 or 62 bytes) are known, the tunnel device may carry to it. */
  openTunnel(vtep: number, outer: Uint8Array): void {
    const row = vtep * ROW_WORDS;
    const at = (row + OUTER) * 4;
    let same = this.isTunnel(vtep);
    for (let i = 0; i < outer.length && same; i++) same = this.#bytes[at + i] === outer[i];
    if (same) return;
    this.closeTunnel(vtep);
    this.#bytes.set(outer, at);
    Atomics.or(this.rows, row, TUNNEL);
  }

  /** Control: back to the sockets, for instance while the next hop is unknown. */
  closeTunnel(vtep: number): void {
    Atomics.and(this.rows, vtep * ROW_WORDS, ~TUNNEL);
  }

  /** Word index in `rows` of the outer header. */
  outerAt(vtep: number): number {
    return vtep * ROW_WORDS + OUTER;
  }

  /** MAC of the next hop, as the outer header has it; null while there is none. */
  nextHop(vtep: number): Uint8Array | null {
    const at = this.outerAt(vtep) * 4;
    return this.isTunnel(vtep) ? this.#bytes.slice(at, at + 6) : null;
  }

  #freeRow(): number {
    // A full table is the case that strangers can bring about, with every packet.
    if (this.size >= this.capacity) return -1;
    const rows = this.#state[STATE_ROWS]!;
    if (rows < this.capacity) {
      this.#state[STATE_ROWS] = rows + 1;
      return rows;
    }
    for (let tries = 0, vtep = this.#state[STATE_NEXT]!; tries < rows; tries++) {
      const free = vtep;
      vtep = vtep + 1 === rows ? 0 : vtep + 1;
      if (this.rows[free * ROW_WORDS] !== 0) continue;
      this.#state[STATE_NEXT] = vtep;
      return free;
    }
    return -1;
  }

  /** struct sockaddr_in or sockaddr_in6, as the kernel takes it on a little-endian machine. */
  #writeAddress(vtep: number, family: number, a0: number, a1: number, a2: number, a3: number): void {
    const view = new DataView(this.memory.addresses, vtep * ADDRESS_BYTES, ADDRESS_BYTES);
    this.addresses.fill(0, vtep * ADDRESS_BYTES, (vtep + 1) * ADDRESS_BYTES);
    view.setUint16(0, family === 4 ? 2 : 10, true);
    view.setUint16(2, this.#state[STATE_PORT]!);
    if (family === 4) view.setInt32(4, a0);
    else for (const [i, word] of [a0, a1, a2, a3].entries()) view.setInt32(8 + 4 * i, word);
  }
}
