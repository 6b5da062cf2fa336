/**
 * The packet pool: one slab of memory that JavaScript and native both see, cut into slots, and columns
 * beside it. A packet is a number; everything known of it stands in the columns at that number.
 *
 * A packet lives in a slot. Datagrams that arrived glued together (UDP_GRO, outer USO) stay in the slot they
 * arrived in, each a packet of its own that shares it; the slot is free again when its last packet is.
 *
 * Slot layout (bytes from the slot's start):
 *
 *     0        32             80 / 122                    FRAME_AT = 130
 *     | sender | scratch      | outer headers ...          | inner frame ...            SLOT_BYTES |
 *
 * - sender: where a received datagram came from, as SENDER_* below; written by the underlay.
 * - FRAME_AT is 2 mod 4, so the IP header of a frame (14 bytes on) and the start of its outer headers
 *   (50 or 70 bytes before) are word-aligned.
 */

/** Bytes of a slot: a 64 KB super-packet and its outer headers; an odd number of pages, so that slots don't alias in the cache. */
export const SLOT_BYTES = 17 * 4096;

/** Where a frame from a workload begins in its slot; the room before it takes outer headers and the VXLAN header. */
export const FRAME_AT = 130;

/** Where a datagram from the underlay begins in its slot, so that the frame behind its 8-byte VXLAN header lies at FRAME_AT. */
export const DATAGRAM_AT = FRAME_AT - 8;

/** Sender of a received datagram, at the slot's start: family (4 or 6) u16, port u16 (host order), address 16 bytes (IPv4 in the first four). */
export const SENDER_FAMILY = 0;
export const SENDER_PORT = 2;
export const SENDER_ADDRESS = 4;

/** Bits of the `offload` column. */
export const CHECKSUM_UNFINISHED = 1; // only the sum of the pseudo-header stands in the checksum field (VIRTIO_NET_HDR_F_NEEDS_CSUM)
export const CHECKSUM_VERIFIED = 2; // somebody below has verified it (VIRTIO_NET_HDR_F_DATA_VALID)
export const SEGMENT_TCP4 = 4; // a super-packet: `segment` bytes of TCP payload per packet on the wire
export const SEGMENT_TCP6 = 8;
export const SEGMENT_UDP = 16; // USO: `segment` bytes of UDP payload per datagram
export const SEGMENT_ECN = 32; // CWR belongs to the first segment only
export const SEGMENT_ANY = SEGMENT_TCP4 | SEGMENT_TCP6 | SEGMENT_UDP;

/** Column order in the columns buffer; native reads the same (native/pool.h). Each column is one Int32 a packet. */
const COLUMNS = [
  'offset', // byte where the packet begins, from the slab's start
  'length', // bytes
  'segment', // payload bytes per segment of a super-packet, 0 for a packet that is one on the wire
  'offload', // the bits above
  'checksumStart', // where summing starts, bytes from the packet's start (when CHECKSUM_UNFINISHED or a super-packet)
  'checksumOffset', // where the sum goes, bytes from checksumStart
  'headerLength', // bytes of headers that every segment repeats (super-packets), from the packet's start
  'bundle', // transmit only: how many packets, from this one on in the batch, leave as one segmented send (0 or 1: alone)
  'bundleSkip', // transmit only: header bytes that the followers of a bundle leave out
  'slot', // the slot that the packet lives in
  'port', // the port it came in by, or leaves by
  'network', // index of its network
  'vtep', // index of the VTEP it goes to or came from
  'flow', // hash of its flow, unsigned 16 bits in use
  'trace', // 0, or the id under which a tracer follows it
  'ecn', // the outer header's ECN field (wire/ecn.ts): of the datagram that it arrived in, or leaves in
] as const;

export const COLUMN_COUNT = COLUMNS.length;
export type Column = (typeof COLUMNS)[number];

/**
 * Behind the columns, a record a packet: the virtio-net header that a TAP gave with the packet or shall be given
 * with it (24 bytes of the 32 in use; a plain TAP uses the first 12). Only io/ reads it.
 */
export const VIRTIO_BYTES = 32;
const VIRTIO_WORDS = VIRTIO_BYTES / 4;

/** Int32 cells of a columns buffer for so many packets. */
export const columnCells = (packets: number): number => (COLUMN_COUNT + VIRTIO_WORDS) * packets;

export const NO_PACKET = -1;

/** The largest frame a slot takes, from FRAME_AT on. */
export const FRAME_MAX = SLOT_BYTES - FRAME_AT;

export interface PoolMemory {
  /** slots × SLOT_BYTES, word-aligned */
  slab: ArrayBuffer;
  /** columnCells(packets) Int32 */
  columns: Int32Array;
}

export class Pool {
  readonly slots: number;
  readonly packets: number;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly view: DataView;
  readonly columns: Int32Array;

  readonly offset: Int32Array;
  readonly length: Int32Array;
  readonly segment: Int32Array;
  readonly offload: Int32Array;
  readonly checksumStart: Int32Array;
  readonly checksumOffset: Int32Array;
  readonly headerLength: Int32Array;
  readonly bundle: Int32Array;
  readonly bundleSkip: Int32Array;
  readonly slot: Int32Array;
  readonly port: Int32Array;
  readonly network: Int32Array;
  readonly vtep: Int32Array;
  readonly flow: Int32Array;
  readonly trace: Int32Array;
  readonly ecn: Int32Array;
  /** The virtio-net headers: VIRTIO_BYTES a packet, little-endian fields. */
  readonly virtio: DataView;

  /** Stacks of free numbers; the most recently freed is taken first, for it is warm in the cache. */
  readonly #freePackets: Int32Array;
  readonly #freeSlots: Int32Array;
  readonly #slotUsers: Int32Array;
  #packetsFree: number;
  #slotsFree: number;

  /**
   * @param slots how many slots; each can hold one super-packet
   * @param packets how many packet numbers; more than slots, for glued datagrams share a slot
   * @param memory where native allocated it; otherwise the pool allocates
   */
  constructor(
    slots: number,
    packets: number = slots * 16,
    memory: PoolMemory = {
      slab: new ArrayBuffer(slots * SLOT_BYTES),
      columns: new Int32Array(columnCells(packets)),
    },
  ) {
    this.slots = slots;
    this.packets = packets;
    this.bytes = new Uint8Array(memory.slab);
    this.words = new Int32Array(memory.slab);
    this.view = new DataView(memory.slab);
    this.columns = memory.columns;
    const column = (name: Column) => {
      const at = COLUMNS.indexOf(name) * packets;
      return memory.columns.subarray(at, at + packets);
    };
    this.offset = column('offset');
    this.length = column('length');
    this.segment = column('segment');
    this.offload = column('offload');
    this.checksumStart = column('checksumStart');
    this.checksumOffset = column('checksumOffset');
    this.headerLength = column('headerLength');
    this.bundle = column('bundle');
    this.bundleSkip = column('bundleSkip');
    this.slot = column('slot');
    this.port = column('port');
    this.network = column('network');
    this.vtep = column('vtep');
    this.flow = column('flow');
    this.trace = column('trace');
    this.ecn = column('ecn');
    this.virtio = new DataView(memory.columns.buffer, memory.columns.byteOffset + 4 * COLUMN_COUNT * packets);

    this.#freePackets = new Int32Array(packets);
    this.#freeSlots = new Int32Array(slots);
    this.#slotUsers = new Int32Array(slots);
    for (let i = 0; i < packets; i++) this.#freePackets[i] = packets - 1 - i;
    for (let i = 0; i < slots; i++) this.#freeSlots[i] = slots - 1 - i;
    this.#packetsFree = packets;
    this.#slotsFree = slots;
  }

  /** Packets in use; a test of a path ends by asserting that this is 0. */
  get allocated(): number {
    return this.packets - this.#packetsFree;
  }

  /** How many packets with a slot of their own could be taken now. */
  get room(): number {
    return Math.min(this.#slotsFree, this.#packetsFree);
  }

  /** How many packet numbers could be taken now: those with a slot of their own, and those that share one. */
  get packetsFree(): number {
    return this.#packetsFree;
  }

  /**
   * A packet with a slot of its own, empty, beginning at FRAME_AT (`at` otherwise); its offload columns are
   * cleared. NO_PACKET when the pool is exhausted: the caller counts `no-packet`.
   */
  take(at: number = FRAME_AT): number {
    if (this.#slotsFree === 0 || this.#packetsFree === 0) return NO_PACKET;
    const slot = this.#freeSlots[--this.#slotsFree]!;
    const packet = this.#freePackets[--this.#packetsFree]!;
    this.#slotUsers[slot] = 1;
    this.#reset(packet, slot, slot * SLOT_BYTES + at, 0);
    return packet;
  }

  /** A second packet in the slot of `packet`: `length` bytes from `offset` (from the slab's start). NO_PACKET when exhausted. */
  share(packet: number, offset: number, length: number): number {
    if (this.#packetsFree === 0) return NO_PACKET;
    const other = this.#freePackets[--this.#packetsFree]!;
    const slot = this.slot[packet]!;
    this.#slotUsers[slot]!++;
    this.#reset(other, slot, offset, length);
    this.inherit(other, packet);
    return other;
  }

  /** A copy of `packet`, bytes and columns, in a slot of its own at the same place. NO_PACKET when exhausted. */
  copy(packet: number): number {
    const from = this.offset[packet]!;
    const own = this.slot[packet]! * SLOT_BYTES;
    // A packet deep inside a glued slot moves to the usual place, so that it has headroom again.
    const at = from - own > FRAME_AT + 70 ? FRAME_AT + ((from - own - FRAME_AT) & 3) : from - own;
    const other = this.take(at);
    if (other === NO_PACKET) return NO_PACKET;
    const to = this.offset[other]!;
    const length = this.length[packet]!;
    this.bytes.copyWithin(to, from, from + length);
    this.length[other] = length;
    this.segment[other] = this.segment[packet]!;
    this.offload[other] = this.offload[packet]!;
    this.checksumStart[other] = this.checksumStart[packet]!;
    this.checksumOffset[other] = this.checksumOffset[packet]!;
    this.headerLength[other] = this.headerLength[packet]!;
    this.inherit(other, packet);
    return other;
  }

  /** The packet moves to a slot of its own, `copy`'s place in it, and keeps its number. False when the pool is exhausted. */
  move(packet: number): boolean {
    const other = this.copy(packet);
    if (other === NO_PACKET) return false;
    const { slot, offset } = this;
    const before = slot[packet]!;
    slot[packet] = slot[other]!;
    slot[other] = before;
    offset[packet] = offset[other]!;
    this.free(other);
    return true;
  }

  /** What `other`, which is made of `packet`, has of it: where it came from and goes, its flow, who follows it. */
  inherit(other: number, packet: number): void {
    this.port[other] = this.port[packet]!;
    this.network[other] = this.network[packet]!;
    this.vtep[other] = this.vtep[packet]!;
    this.flow[other] = this.flow[packet]!;
    this.trace[other] = this.trace[packet]!;
    this.ecn[other] = this.ecn[packet]!;
  }

  /** The packet's number is free again, and its slot when no other packet lives there. */
  free(packet: number): void {
    const slot = this.slot[packet]!;
    this.#freePackets[this.#packetsFree++] = packet;
    if (--this.#slotUsers[slot]! === 0) this.#freeSlots[this.#slotsFree++] = slot;
  }

  /** Byte offset of the packet's slot: where the sender of a datagram stands. */
  slotStart(packet: number): number {
    return this.slot[packet]! * SLOT_BYTES;
  }

  #reset(packet: number, slot: number, offset: number, length: number): void {
    this.slot[packet] = slot;
    this.offset[packet] = offset;
    this.length[packet] = length;
    this.segment[packet] = 0;
    this.offload[packet] = 0;
    this.checksumStart[packet] = 0;
    this.checksumOffset[packet] = 0;
    this.headerLength[packet] = 0;
    this.bundle[packet] = 0;
    this.bundleSkip[packet] = 0;
    this.trace[packet] = 0;
    this.ecn[packet] = 0;
  }
}
