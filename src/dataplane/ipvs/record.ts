/** A connection's record in the shared table: its words, and what they say. */
import type { Words } from '../wire/ipv6.js';
import { type DestinationSpec, FORWARD } from './destination.js';

/** Words of a record. */
export const CLIENT = 0; // 4 words; IPv4 in the first, the others 0
export const VIRTUAL = 4; // the address the client sends to
export const DESTINATION = 8;
export const CLIENT_PORTS = 12; // client port << 16 | virtual port
export const KIND = 13; // destination port << 16 | protocol << 8 | KIND_*
export const STATE = 14; // state | flags << 8
export const OWNER = 15; // row of the destination << 16 | index of the service
export const NETWORK = 16; // index of the overlay network of its client; 0: the host's own side
export const TIMEOUT = 17; // ticks from the last packet to the end
export const PACKETS = 18; // packets of the client; wraps
export const TEMPLATE = 19; // 1 + number of the persistence template that it belongs to, 0: none; of a template: how many belong to it
export const EXTRA = 20; // 1 + number of what a helper keeps for it, 0: nothing
export const STAMP = 21; // before the destination's first answer latency.ts has it; 0 afterwards
export const CLIENT_ACK = 22; // last acknowledgement of the client: what a reset towards it must carry
export const DESTINATION_ACK = 23;
export const ENGINE_HASH = 22; // of a template: hash of what its persistence engine goes by, a part of its key; 0: none
export const WORDS = 24;

/** Bits of the kind. */
export const KIND_IPV6 = 1; // client and virtual address
export const KIND_DESTINATION_IPV6 = 2;
export const KIND_TEMPLATE = 4; // a persistence template, not a connection
const KIND_FORWARD = 3; // two bits from here on: how its packets go on (FORWARD of destination.ts)

/** The state in a state word, without the flags. */
export const STATE_MASK = 0xff;

/** Flags of a connection: from bit 8 of the state word. */
export const FLAG_ACTIVE = 1 << 8; // counted as active at its destination
export const FLAG_NO_REPLY_YET = 1 << 9; // no packet of the destination seen (IP_VS_CONN_F_NOOUTPUT)
export const FLAG_REPLIES = 1 << 10; // has an index entry for replies
export const FLAG_SYNCED = 1 << 11; // came from another director
export const FLAG_RESET_ON_EXPIRY = 1 << 14; // both ends are told when it expires (resets.ts)
export const FLAG_PROXIED = 1 << 15; // the SYN proxy made both handshakes (defence/)
export const FLAG_OPENING = 1 << 16; // and waits for the server's answer

/** Of a connection whose answers come through here: none has, so far. */
export const UNANSWERED = FLAG_REPLIES | FLAG_NO_REPLY_YET;

/** Times of the table. */
export const TICKS_PER_SECOND = 16;
/** @param ms on the engines' clock */
export const ticksAt = (ms: number): number => Math.floor((ms * TICKS_PER_SECOND) / 1000) | 0;

/** NETWORK of what is in no overlay network, but on the host's own side. */
export const HOST_SIDE = 0;

/** The OWNER word of a connection, and what it says: both numbers are below 65,536. */
export const ownerOf = (service: number, row: number): number => (row << 16) | service;
export const serviceOf = (records: Int32Array, at: number): number => records[at + OWNER]! & 0xffff;
export const rowOf = (records: Int32Array, at: number): number => records[at + OWNER]! >>> 16;

/** The bits of the kind for a way to forward, and the way of a connection's: it has it also when its destination is gone. */
export const kindOfForward = (forward: number): number => forward << KIND_FORWARD;
export const forwardOf = (records: Int32Array, at: number): number =>
  (records[at + KIND]! >>> KIND_FORWARD) & 3;
/** The bits of the kind that a connection to the destination has. */
export const kindOf = ({ family, forward }: Pick<DestinationSpec, 'family' | 'forward'>): number =>
  (family === 6 ? KIND_DESTINATION_IPV6 : 0) | kindOfForward(FORWARD[forward]);

/** Protocol of a record with that kind. */
export const protocolOf = (kind: number): number => (kind >>> 8) & 0xff;

/** An address of the record: IPv4 in the first word. @param at of its first word */
export const wordsAt = (records: Int32Array, at: number): Words => [
  records[at]!,
  records[at + 1]!,
  records[at + 2]!,
  records[at + 3]!,
];

/** Where the connection's packets go, of a record that has no destination yet. */
export function setDestination(records: Int32Array, at: number, address: Words, port: number): void {
  for (let i = 0; i < 4; i++) records[at + DESTINATION + i] = address[i]!;
  records[at + KIND]! |= port << 16;
}
