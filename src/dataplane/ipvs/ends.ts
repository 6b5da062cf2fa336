/** The ends of a connection, for segments that the director sends in the name of one to the other. */
import type { Ends } from './packet.js';
import { CLIENT, CLIENT_PORTS, DESTINATION, KIND, KIND_IPV6, VIRTUAL } from './record.js';

/** From the client to the destination. */
export const TO_SERVER = 0;
/** From the virtual address to the client. */
export const TO_CLIENT = 1;
export type Way = typeof TO_SERVER | typeof TO_CLIENT;

/** Client and destination are of the same family: what masquerades changes addresses, not families. @param at of the record */
export function readEnds(records: Int32Array, at: number, way: Way, ends: Ends): void {
  const source = at + (way === TO_SERVER ? CLIENT : VIRTUAL);
  const destination = at + (way === TO_SERVER ? DESTINATION : CLIENT);
  ends.family = (records[at + KIND]! & KIND_IPV6) !== 0 ? 6 : 4;
  ends.source0 = records[source]!;
  ends.source1 = records[source + 1]!;
  ends.source2 = records[source + 2]!;
  ends.source3 = records[source + 3]!;
  ends.destination0 = records[destination]!;
  ends.destination1 = records[destination + 1]!;
  ends.destination2 = records[destination + 2]!;
  ends.destination3 = records[destination + 3]!;
  const ports = records[at + CLIENT_PORTS]!;
  ends.sourcePort = way === TO_SERVER ? ports >>> 16 : ports & 0xffff;
  ends.destinationPort = way === TO_SERVER ? records[at + KIND]! >>> 16 : ports >>> 16;
}
