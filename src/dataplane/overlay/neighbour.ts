/**
 * Neighbours: (network, IP address) → MAC, so that ARP and neighbour solicitations are answered where they are
 * asked. IPv4 addresses are mapped into ::ffff:0:0/96. Written by control only.
 */
import { NOT_FOUND, Table, type TableMemory } from '../core/table.js';

/** An address as four big-endian words, each a signed Int32. */
export type AddressWords = readonly [number, number, number, number];

export interface Neighbour {
  network: number;
  address: AddressWords;
  macHigh: number;
  macLow: number;
}

export class Neighbours {
  readonly table: Table;
  /** MAC of the neighbour that `find` found last. */
  macHigh = 0;
  macLow = 0;

  static allocate(entries: number): TableMemory {
    return Table.allocate(entries, 5);
  }

  constructor(memory: TableMemory) {
    this.table = new Table(memory);
  }

  find4(network: number, address: number): boolean {
    return this.find6(network, 0, 0, 0xffff, address | 0);
  }

  find6(network: number, a0: number, a1: number, a2: number, a3: number): boolean {
    const high = this.table.find(network, a0, a1, a2, a3);
    if (high === NOT_FOUND) return false;
    this.macHigh = high;
    this.macLow = this.table.second;
    return true;
  }

  /** False when the table is full. */
  set(network: number, address: AddressWords, macHigh: number, macLow: number): boolean {
    return this.table.locked(() => this.table.set([network, ...address], macHigh, macLow));
  }

  remove(network: number, address: AddressWords): boolean {
    return this.table.locked(() => this.table.remove([network, ...address]));
  }

  *entries(): Generator<Neighbour> {
    const { words } = this.table;
    for (const at of this.table.entries()) {
      yield {
        network: words[at]!,
        address: [words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]!],
        macHigh: words[at + 5]!,
        macLow: words[at + 6]!,
      };
    }
  }
}
