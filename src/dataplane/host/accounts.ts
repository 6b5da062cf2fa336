/**
 * What the services, their destinations and the virtual server as a whole have carried: the engines' blocks
 * (ipvs/traffic.ts) added up, from where each account begins. A destination's account begins when it enters a service
 * and ends when it leaves; what it had by then stays with the service, and a service's with the whole, as in IPVS,
 * where later packets of a removed destination's connections count nowhere either (IP_VS_DEST_F_AVAILABLE).
 */
import { Estimator } from '../ipvs/estimator.js';
import type { Statement } from '../ipvs/service-report.js';
import {
  CONNS,
  FIELDS,
  IN_BYTES,
  IN_PACKETS,
  OUT_BYTES,
  OUT_PACKETS,
  type Traffic,
} from '../ipvs/traffic.js';

export class Accounts {
  readonly #blocks: readonly Traffic[];
  readonly #total = new Account(new Sum());
  readonly #services = new Map<number, Account<Sum>>();
  readonly #destinations = new Map<number, Account<Row>>();

  /** @param blocks one an engine */
  constructor(blocks: readonly Traffic[] = []) {
    this.#blocks = blocks;
  }

  /** A destination enters a service: its row has been given to it. */
  enter(service: number, row: number): void {
    const account = new Account(new Row(this.#blocks, row));
    this.#destinations.set(row, account);
    this.#service(service).source.add(account.source);
  }

  /** It leaves the service. */
  leave(service: number, row: number): void {
    const account = this.#destinations.get(row);
    if (account === undefined) return;
    this.#destinations.delete(row);
    this.#service(service).source.close(account.source);
  }

  /** The service is gone, its destinations before it. */
  close(service: number): void {
    const account = this.#services.get(service);
    if (account === undefined) return;
    this.#services.delete(service);
    this.#total.source.close(account.source);
  }

  /** Every ESTIMATE_MS. */
  estimate(): void {
    this.#total.estimate();
    for (const account of this.#services.values()) account.estimate();
    for (const account of this.#destinations.values()) account.estimate();
  }

  /** A service's and its destinations' counts and rates (ip_vs_zero_service). */
  zero(service: number, rows: Iterable<number>): void {
    this.#service(service).zero();
    for (const row of rows) this.#destinations.get(row)?.zero();
  }

  /** All services', and the whole's (ip_vs_zero_all). */
  zeroAll(): void {
    this.#total.zero();
    for (const account of this.#services.values()) account.zero();
    for (const account of this.#destinations.values()) account.zero();
  }

  get total(): Statement {
    return this.#total.statement();
  }

  service(index: number): Statement {
    return this.#service(index).statement();
  }

  /** @param row of a destination that is in a service */
  destination(row: number): Statement | undefined {
    return this.#destinations.get(row)?.statement();
  }

  #service(index: number): Account<Sum> {
    let account = this.#services.get(index);
    if (account === undefined) {
      account = new Account(new Sum());
      this.#services.set(index, account);
      this.#total.source.add(account.source);
    }
    return account;
  }
}

/** Something that has counts, FIELDS of them, which only grow. */
interface Source {
  addTo(sums: Float64Array): void;
}

/** A row of every block, from where it stood when it was given out. */
class Row implements Source {
  readonly #blocks: readonly Traffic[];
  readonly #row: number;
  readonly #began = new Float64Array(FIELDS);

  constructor(blocks: readonly Traffic[], row: number) {
    this.#blocks = blocks;
    this.#row = row;
    for (const block of blocks) block.addTo(this.#began, row);
  }

  addTo(sums: Float64Array): void {
    for (const block of this.#blocks) block.addTo(sums, this.#row);
    for (let field = 0; field < FIELDS; field++) sums[field]! -= this.#began[field]!;
  }
}

/** All that its parts have, and what those had that are no longer. */
class Sum implements Source {
  readonly #parts = new Set<Source>();
  readonly #closed = new Float64Array(FIELDS);

  add(part: Source): void {
    this.#parts.add(part);
  }

  close(part: Source): void {
    if (this.#parts.delete(part)) part.addTo(this.#closed);
  }

  addTo(sums: Float64Array): void {
    for (let field = 0; field < FIELDS; field++) sums[field]! += this.#closed[field]!;
    for (const part of this.#parts) part.addTo(sums);
  }
}

/** Counts of a source since they were set to zero, and their rates. */
class Account<S extends Source> {
  readonly source: S;
  readonly #zero = new Float64Array(FIELDS);
  readonly #estimator = new Estimator();
  readonly #now = new Float64Array(FIELDS);

  constructor(source: S) {
    this.source = source;
  }

  estimate(): void {
    this.#estimator.estimate(this.#read());
  }

  /** What it has now is its new zero point, and its rates begin anew (ip_vs_zero_stats). */
  zero(): void {
    this.#zero.set(this.#read());
    this.#estimator.zero(this.#now);
  }

  statement(): Statement {
    const now = this.#read();
    const count = (field: number) => now[field]! - this.#zero[field]!;
    const rate = (field: number) => this.#estimator.rate(field);
    return {
      stats: {
        ...{ conns: count(CONNS), inPackets: count(IN_PACKETS), outPackets: count(OUT_PACKETS) },
        ...{ inBytes: count(IN_BYTES), outBytes: count(OUT_BYTES) },
      },
      rates: {
        ...{ cps: rate(CONNS), inPps: rate(IN_PACKETS), outPps: rate(OUT_PACKETS) },
        ...{ inBps: rate(IN_BYTES), outBps: rate(OUT_BYTES) },
      },
    };
  }

  #read(): Float64Array {
    this.#now.fill(0);
    this.source.addTo(this.#now);
    return this.#now;
  }
}
