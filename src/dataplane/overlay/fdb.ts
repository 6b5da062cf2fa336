/**
 * The forwarding database: (network, MAC) → a local port or a VTEP. Control writes static entries; engines
 * learn the others, which age. A learned entry never replaces a static one.
 *
 * Key: network << 16 | the MAC's first two bytes, its other four, both as they lie in memory (wire/order.ts).
 * Value: the target, then the second at which a learned entry was last seen.
 */
import { NOT_FOUND, Table, type TableMemory } from '../core/table.js';
import { swap16, swap32 } from '../wire/order.js';

export const STATIC = 1 << 30;
export const LOCAL = 1 << 29;
export const INDEX = (1 << 24) - 1;

export const NOWHERE = NOT_FOUND;

/** A target is a number: a port (local) or a VTEP (remote), static or learned. */
export const localTarget = (port: number): number => LOCAL | port;
export const remoteTarget = (vtep: number): number => vtep;
export const isLocal = (target: number): boolean => (target & LOCAL) !== 0;
export const isStatic = (target: number): boolean => (target & STATIC) !== 0;
export const indexOf = (target: number): number => target & INDEX;

export interface FdbEntry {
  network: number;
  macHigh: number;
  macLow: number;
  target: number;
  seenSeconds: number;
}

export class Fdb {
  readonly table: Table;
  readonly #key = new Int32Array(2);

  static allocate(entries: number): TableMemory {
    return Table.allocate(entries, 2);
  }

  constructor(memory: TableMemory) {
    this.table = new Table(memory);
  }

  /** The target, or NOWHERE. */
  find(network: number, macHigh: number, macLow: number): number {
    return this.table.find2((network << 16) | swap16(macHigh), swap32(macLow));
  }

  /** The same with the MAC's first two bytes and its other four as they lie in memory: the packet path's. */
  findNative(network: number, first: number, rest: number): number {
    return this.table.find2((network << 16) | first, rest);
  }

  /** Control's entry. False when the table is full. */
  setStatic(network: number, macHigh: number, macLow: number, target: number): boolean {
    return this.table.locked(() => this.table.set(this.#at(network, macHigh, macLow), target | STATIC, 0));
  }

  remove(network: number, macHigh: number, macLow: number): boolean {
    return this.table.locked(() => this.table.remove(this.#at(network, macHigh, macLow)));
  }

  /**
   * A frame came from `target`: its source is there. The common case, nothing new, is a look-up and at most a
   * store of the time. When another writer is busy, the next frame will teach it. True if something was learned.
   */
  learn(network: number, macHigh: number, macLow: number, target: number, nowSeconds: number): boolean {
    const { table } = this;
    const k0 = (network << 16) | swap16(macHigh);
    const k1 = swap32(macLow);
    const at = table.locate(k0, k1);
    if (at >= 0) {
      const known = table.valueAt(at);
      if ((known & STATIC) !== 0) return false;
      if (known === target) {
        if (table.secondAt(at) !== nowSeconds) table.stampSecond(at, nowSeconds);
        return false;
      }
    }
    if (!table.tryLock()) return false;
    // Control may have come first with an entry of its own.
    const now = table.locate(k0, k1);
    const free = now < 0 || (table.valueAt(now) & STATIC) === 0;
    const learned = free && table.set(this.#at(network, macHigh, macLow), target, nowSeconds);
    table.unlock();
    return learned;
  }

  /** Control needs their place: removes so many learned entries, those first that were unseen for longest. Returns how many there were. */
  evict(count: number): number {
    const seen: number[] = [];
    for (const { target, seenSeconds } of this.entries()) if (!isStatic(target)) seen.push(seenSeconds);
    const last = seen.sort((a, b) => a - b)[Math.min(count, seen.length) - 1];
    if (last === undefined) return 0;
    // Of those that were seen in the same second not all.
    let alike = count - seen.indexOf(last);
    return this.sweep(({ seenSeconds }) => seenSeconds < last || (seenSeconds === last && alike-- > 0));
  }

  /** Removes learned entries for which `gone` holds; static ones stay. */
  sweep(gone: (entry: FdbEntry) => boolean): number {
    // First all of them, for a removal moves entries.
    const found: FdbEntry[] = [];
    for (const entry of this.entries()) if (!isStatic(entry.target) && gone(entry)) found.push(entry);
    let removed = 0;
    for (const entry of found) {
      this.table.locked(() => {
        const key = this.#at(entry.network, entry.macHigh, entry.macLow);
        const now = this.table.locate(key[0]!, key[1]!);
        if (now < 0 || this.table.valueAt(now) !== entry.target) return;
        this.table.removeAt(now);
        removed++;
      });
    }
    return removed;
  }

  *entries(): Generator<FdbEntry> {
    for (const at of this.table.entries()) yield this.#entry(at);
  }

  #entry(at: number): FdbEntry {
    const { words } = this.table;
    return {
      network: words[at]! >>> 16,
      macHigh: swap16(words[at]!),
      macLow: swap32(words[at + 1]!),
      target: this.table.valueAt(at),
      seenSeconds: this.table.secondAt(at),
    };
  }

  #at(network: number, macHigh: number, macLow: number): Int32Array {
    this.#key[0] = (network << 16) | swap16(macHigh);
    this.#key[1] = swap32(macLow);
    return this.#key;
  }
}
