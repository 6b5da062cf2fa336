/**
 * Counters in shared memory: an engine adds, anybody reads without stopping it. One block per engine, so that
 * no counter has two writers; readers add the blocks up. Float64 holds whole numbers exactly up to 2^53.
 */
import { DROPS, type DropReason } from './drops.js';

/** Fields of one port's or VTEP's row. */
export const RX_PACKETS = 0;
export const RX_BYTES = 1;
export const TX_PACKETS = 2;
export const TX_BYTES = 3;
export const ROW = 4;

/** Whole-engine counters. */
export const ENGINE_COUNTERS = [
  'turns', // times around the loop with something to do
  'waits', // times the engine slept
  'rxPackets', // packets received from any device; a super-packet is one
  'txPackets',
  'arpAnswered',
  'ndAnswered',
  'flooded', // frames copied to more than one place
  'tooBigAnswered', // ICMP fragmentation-needed and packet-too-big sent
  'mssClamped',
  'learned', // FDB entries learned or moved
  'vtepsRefused', // packets of a sender that could not be learned, for the table of VTEPs was full (or busy)
  'bundlesSent', // segmented sends made of several packets
  'bundledPackets', // packets in them
  'segmented', // super-packets split in user space
  'coalesced', // packets merged into super-packets
  'bypassed', // packets that went to a destination without a connection, for there was no room for one
  'cookiesSent', // SYNs that the SYN proxy answered
  'cookiesAccepted', // connections that it opened to servers
] as const;

export type EngineCounter = (typeof ENGINE_COUNTERS)[number];

const DROPS_AT = 0;
const ENGINE_AT = DROPS_AT + 64;
const PORTS_AT = ENGINE_AT + 64;

const ENGINE_INDEX = Object.fromEntries(ENGINE_COUNTERS.map((name, i) => [name, ENGINE_AT + i])) as {
  readonly [C in EngineCounter]: number;
};

export class Counters {
  readonly cells: Float64Array;
  readonly ports: number;
  readonly vteps: number;
  readonly memory: SharedArrayBuffer;

  constructor(ports: number, vteps: number, memory?: SharedArrayBuffer) {
    this.ports = ports;
    this.vteps = vteps;
    this.memory = memory ?? new SharedArrayBuffer(8 * (PORTS_AT + ROW * (ports + vteps)));
    this.cells = new Float64Array(this.memory);
  }

  drop(code: number): void {
    this.cells[DROPS_AT + code]!++;
  }

  dropMany(code: number, count: number): void {
    this.cells[DROPS_AT + code]! += count;
  }

  add(counter: EngineCounter, count = 1): void {
    this.cells[ENGINE_INDEX[counter]]! += count;
  }

  /** Index of the first cell of a port's row; add RX_PACKETS … TX_BYTES. */
  portRow(port: number): number {
    return PORTS_AT + port * ROW;
  }

  vtepRow(vtep: number): number {
    return PORTS_AT + (this.ports + vtep) * ROW;
  }

  /** Adds to a row: `field` is RX_PACKETS or TX_PACKETS, whose bytes stand behind it. */
  count(row: number, field: number, packets: number, bytes: number): void {
    this.cells[row + field]! += packets;
    this.cells[row + field + 1]! += bytes;
  }

  /** A row whose port or VTEP number is given anew starts from 0. */
  clearRow(row: number): void {
    this.cells.fill(0, row, row + ROW);
  }

  dropped(reason: DropReason): number {
    return this.cells[DROPS_AT + DROPS.findIndex(([r]) => r === reason)]!;
  }

  /** Reason → count, every reason that has a row. */
  drops(): Record<DropReason, number> {
    return Object.fromEntries(
      DROPS.map(([reason], code) => [reason, this.cells[DROPS_AT + code]!]),
    ) as Record<DropReason, number>;
  }

  engine(): Record<EngineCounter, number> {
    return Object.fromEntries(
      ENGINE_COUNTERS.map((name) => [name, this.cells[ENGINE_INDEX[name]]!]),
    ) as Record<EngineCounter, number>;
  }
}
