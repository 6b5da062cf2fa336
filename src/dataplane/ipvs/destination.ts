/**
 * A real server of a service. What control says of it is plain; how busy it is stands in shared memory, because
 * every engine adds to it and every engine's scheduler compares by it.
 */
import type { Words } from '../wire/ipv6.js';

export const FORWARD = { nat: 0, local: 1, tunnel: 2, route: 3 } as const;
export type Forward = keyof typeof FORWARD;

export const TUNNEL_TYPES = ['ipip', 'gue', 'gre'] as const;
export type TunnelType = (typeof TUNNEL_TYPES)[number];

export const TUNNEL_CHECKSUMS = ['none', 'checksum', 'remote'] as const;
export type TunnelChecksum = (typeof TUNNEL_CHECKSUMS)[number];

/** What control says of a destination. */
export interface DestinationSpec {
  /** row in the shared counts, stable while the destination exists in the service */
  row: number;
  family: 4 | 6;
  /** IPv4 in the first word */
  address: Words;
  port: number;
  /** 0: only connections that exist go on */
  weight: number;
  forward: Forward;
  tunnel: { type: TunnelType; port: number; checksum: TunnelChecksum };
  /** connections from which on it is overloaded, and below which it no longer is; 0: no limit */
  upperThreshold: number;
  lowerThreshold: number;
  /** on this node, so that `locality` prefers it */
  near: boolean;
}

/** Where a destination or a service is. */
export type Place = Pick<DestinationSpec, 'family' | 'address' | 'port'>;

export const samePlace = (a: Place, b: Place): boolean =>
  a.family === b.family && a.port === b.port && a.address.every((word, i) => word === b.address[i]);

/** Cells of a row, Int32 each. */
const ACTIVE = 0;
const INACTIVE = 1;
const PERSISTENT = 2;
const OVERLOADED = 3;
/** connections that a health or data path fault has ended, for passive checks */
const FAILURES = 4;
/** smoothed time from SYN to SYN-ACK, microseconds; 0 while unknown */
const LATENCY = 5;
/** tick of the last packet that went there without a connection; 0: never */
const BYPASSED = 6;
const ROW = 8;

/** Counts of every destination of every service: one row each, written by all engines with Atomics. */
export class DestinationCounts {
  readonly cells: Int32Array;
  readonly memory: SharedArrayBuffer;

  static allocate(destinations: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * ROW * destinations);
  }

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.cells = new Int32Array(memory);
  }

  get capacity(): number {
    return this.cells.length / ROW;
  }

  active(row: number): number {
    return this.cells[row * ROW + ACTIVE]!;
  }

  inactive(row: number): number {
    return this.cells[row * ROW + INACTIVE]!;
  }

  persistent(row: number): number {
    return this.cells[row * ROW + PERSISTENT]!;
  }

  overloaded(row: number): boolean {
    return this.cells[row * ROW + OVERLOADED] !== 0;
  }

  failures(row: number): number {
    return this.cells[row * ROW + FAILURES]!;
  }

  latencyMicros(row: number): number {
    return this.cells[row * ROW + LATENCY]!;
  }

  addActive(row: number, change: number): void {
    Atomics.add(this.cells, row * ROW + ACTIVE, change);
  }

  addInactive(row: number, change: number): void {
    Atomics.add(this.cells, row * ROW + INACTIVE, change);
  }

  addPersistent(row: number, change: number): void {
    Atomics.add(this.cells, row * ROW + PERSISTENT, change);
  }

  addFailure(row: number): void {
    Atomics.add(this.cells, row * ROW + FAILURES, 1);
  }

  /** Takes one more measured latency in: an average over about eight of them. */
  noteLatency(row: number, micros: number): void {
    const at = row * ROW + LATENCY;
    const before = this.cells[at]!;
    this.cells[at] = before === 0 ? Math.max(1, micros) : Math.max(1, before + ((micros - before) >> 3));
  }

  bypassed(row: number): number {
    return this.cells[row * ROW + BYPASSED]!;
  }

  noteBypass(row: number, tick: number): void {
    this.cells[row * ROW + BYPASSED] = tick || 1;
  }

  setOverloaded(row: number, overloaded: boolean): void {
    this.cells[row * ROW + OVERLOADED] = overloaded ? 1 : 0;
  }

  /** A row that is given anew starts from 0. */
  clear(row: number): void {
    this.cells.fill(0, row * ROW, (row + 1) * ROW);
  }
}

/** A destination as an engine holds it: the object stays the same while control changes weight and limits. */
export class Destination {
  #spec: DestinationSpec;
  #weight: number;
  #lastWeight: number;
  #share = 1;
  /** milliseconds on the engine's clock when it was added, or became usable again: slow start counts from here */
  sinceMs = 0;
  /** control has taken it out; connections that exist may still refer to it */
  removed = false;
  readonly #counts: DestinationCounts;
  /** where its row begins, and the cells: schedulers read three of each (5 ns a destination, through the counts 15) */
  readonly #at: number;
  readonly #cells: Int32Array;

  constructor(spec: DestinationSpec, counts: DestinationCounts) {
    this.#spec = spec;
    this.#weight = spec.weight;
    this.#lastWeight = spec.weight;
    this.#counts = counts;
    this.#at = spec.row * ROW;
    this.#cells = counts.cells;
  }

  get spec(): DestinationSpec {
    return this.#spec;
  }

  set spec(spec: DestinationSpec) {
    this.#spec = spec;
    if (spec.weight !== 0) this.#lastWeight = spec.weight;
    // Whoever schedules from now on may have no slow start; one that has gives shares anew after the update that follows.
    this.share = 1;
  }

  get row(): number {
    return this.#spec.row;
  }

  /** What schedulers compare by: control's weight, times its share. Whole, and 0 only where control's is. */
  get weight(): number {
    return this.#weight;
  }

  /** 1, but under slow start, which alone sets it (schedulers/slow-start.ts); dyadic, so that products are exact. */
  get share(): number {
    return this.#share;
  }

  set share(share: number) {
    this.#share = share;
    this.#weigh();
  }

  /** Control's last weight that wasn't 0: a drained destination keeps its slots in mh's table. */
  get lastWeight(): number {
    return this.#lastWeight;
  }

  get active(): number {
    return this.#cells[this.#at + ACTIVE]!;
  }

  get inactive(): number {
    return this.#cells[this.#at + INACTIVE]!;
  }

  get latencyMicros(): number {
    return this.#cells[this.#at + LATENCY]!;
  }

  get overloaded(): boolean {
    return this.#cells[this.#at + OVERLOADED] !== 0;
  }

  /**
   * Sets or clears the overload mark after a connection came or went: set from the upper threshold on, cleared
   * below the lower one, or below three quarters of the upper where none is given (ip_vs_bind_dest, ip_vs_unbind_dest).
   */
  weigh(): void {
    const { row, upperThreshold, lowerThreshold } = this.#spec;
    const connections = this.active + this.inactive;
    if (upperThreshold === 0) this.#counts.setOverloaded(row, false);
    else if (connections >= upperThreshold) this.#counts.setOverloaded(row, true);
    else if (lowerThreshold !== 0 ? connections < lowerThreshold : connections * 4 < upperThreshold * 3) {
      this.#counts.setOverloaded(row, false);
    }
  }

  #weigh(): void {
    this.#weight = Math.ceil(this.#spec.weight * this.#share);
  }
}
