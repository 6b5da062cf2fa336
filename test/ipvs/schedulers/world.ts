/**
 * A service whose destinations come, go, are drained, weighed anew, loaded and overloaded at random, and a scheduler that has
 * to pick what an obvious model picks. Models see plain copies, and are written from the definitions.
 */
import type { ExecutionContext } from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import {
  Destination,
  DestinationCounts,
  type DestinationSpec,
} from '../../../src/dataplane/ipvs/destination.js';
import type {
  Flow,
  MakeScheduler,
  Pool,
  Scheduler,
  SchedulerFlags,
} from '../../../src/dataplane/ipvs/schedulers/scheduler.js';

export const ROWS = 4096;

export const FLAGS: SchedulerFlags = { fallback: false, port: false, tableSize: 251, expirationSeconds: 100 };

export function spec(row: number, weight: number, changes: Partial<DestinationSpec> = {}): DestinationSpec {
  return {
    ...{ row, weight, family: 4, address: [0x0a000000 + row, 0, 0, 0], port: 8080, forward: 'nat' },
    ...{
      tunnel: { type: 'ipip', port: 0, checksum: 'none' },
      upperThreshold: 0,
      lowerThreshold: 0,
      near: false,
    },
    ...changes,
  };
}

export const newCounts = () => new DestinationCounts(DestinationCounts.allocate(ROWS));

/** Destinations of these weights, rows from 0. */
export function destinationsOf(weights: readonly number[], counts = newCounts()): Destination[] {
  return weights.map((weight, row) => new Destination(spec(row, weight), counts));
}

export const poolOf = (destinations: readonly Destination[], flags: Partial<SchedulerFlags> = {}): Pool => ({
  destinations,
  flags: { ...FLAGS, ...flags },
});

export const flowOf = (source0: number, sourcePort = 0, target0 = 0): Flow => ({
  ...{ family: 4, source0, source1: 0, source2: 0, source3: 0, sourcePort },
  ...{ target0, target1: 0, target2: 0, target3: 0, targetPort: 80 },
});

/** A destination as a model sees it. */
export interface Plain {
  readonly row: number;
  readonly weight: number;
  readonly lastWeight: number;
  readonly active: number;
  readonly inactive: number;
  readonly latency: number;
  readonly overloaded: boolean;
  readonly address: readonly number[];
  readonly port: number;
}

export interface Model {
  /** @returns the row, -1 for nobody */
  pick(list: readonly Plain[], flow: Flow, nowMs: number): number;
  changed?(list: readonly Plain[]): void;
}

export const usable = (list: readonly Plain[]): Plain[] =>
  list.filter(({ weight, overloaded }) => weight > 0 && !overloaded);

/** Of these the one that is first after a stable sort. */
export function firstBy(list: readonly Plain[], compare: (a: Plain, b: Plain) => bigint): number {
  return [...list].sort((a, b) => Number(compare(a, b) > 0n) - Number(compare(a, b) < 0n))[0]?.row ?? -1;
}

export const overheadOf = ({ active, inactive }: Plain): bigint => (BigInt(active) << 8n) + BigInt(inactive);

const WEIGHTS: readonly ((random: Random) => number)[] = [
  () => 1,
  (random) => random.below(4),
  (random) => 5 * random.below(6),
  (random) => 1 + random.below(100),
  () => 65535,
];

export class World {
  readonly random: Random;
  readonly counts = newCounts();
  readonly flags: SchedulerFlags;
  list: Destination[] = [];
  nowMs = 1e6;
  #row = 0;

  constructor(seed: number, flags: SchedulerFlags) {
    this.random = new Random(seed);
    this.flags = flags;
  }

  get pool(): Pool {
    return { destinations: [...this.list], flags: this.flags };
  }

  plain(): Plain[] {
    return this.list.map((each) => ({
      ...{
        row: each.row,
        weight: each.spec.weight,
        lastWeight: each.lastWeight,
        overloaded: each.overloaded,
      },
      ...{ active: each.active, inactive: each.inactive, latency: each.latencyMicros },
      ...{ address: each.spec.address, port: each.spec.port },
    }));
  }

  weight(): number {
    return WEIGHTS[this.random.below(WEIGHTS.length)]!(this.random);
  }

  one(): Destination | undefined {
    return this.list[this.random.below(this.list.length)];
  }

  flow(): Flow {
    const { random } = this;
    const word = () => random.word() | 0;
    const wide = random.chance(0.3);
    const rest = () => (wide ? word() : 0);
    const target = [0x0a000000 + random.below(12), 0, wide ? 7 : 0, 0] as const;
    return {
      ...{ family: wide ? 6 : 4, source0: word(), source1: rest(), source2: rest(), source3: rest() },
      ...{ sourcePort: random.below(65536), targetPort: 80, target0: target[0], target1: target[1] },
      ...{ target2: target[2], target3: target[3] },
    };
  }

  /** Control's changes. @returns whether the scheduler has to know */
  change(): boolean {
    const { random } = this;
    const chosen = this.one();
    const what = random.below(4);
    if (this.list.length < 12 && (what === 0 || chosen === undefined)) {
      const row = this.#row++;
      const family = random.chance(0.3) ? 6 : 4;
      const low = family === 6 ? random.word() | 0 : 0;
      const made = new Destination(
        spec(row, this.weight(), {
          family,
          address: [random.word() | 0, low, 0, low],
          port: random.below(65536),
        }),
        this.counts,
      );
      this.list.splice(random.below(this.list.length + 1), 0, made);
      return true;
    }
    if (chosen === undefined) return false;
    if (what === 1) {
      this.list = this.list.filter((each) => each !== chosen);
      chosen.removed = true;
    } else chosen.spec = { ...chosen.spec, weight: random.chance(0.3) ? 0 : this.weight() };
    return true;
  }

  /** What the data path changes. */
  load(): void {
    const { random, counts } = this;
    this.nowMs += random.below(3000);
    const row = this.one()?.row;
    if (row === undefined) return;
    const what = random.below(5);
    if (what === 0) counts.addActive(row, random.below(40) - Math.min(20, counts.active(row)));
    if (what === 1) counts.addInactive(row, random.below(600) - Math.min(300, counts.inactive(row)));
    if (what === 2) counts.setOverloaded(row, !counts.overloaded(row));
    if (what === 3) counts.noteLatency(row, random.below(100_000));
    if (what === 4) counts.addActive(row, -counts.active(row));
  }
}

export interface Trial {
  make: MakeScheduler;
  /** a random generator that is seeded like the scheduler's */
  model: (random: Random, flags: SchedulerFlags) => Model;
  flags?: Partial<SchedulerFlags>;
  rounds?: number;
  steps?: number;
}

/** @returns how often somebody was picked, and how often nobody */
export function agree(t: ExecutionContext, { make, model, flags, rounds = 400, steps = 80 }: Trial): void {
  let picked = 0;
  let nobody = 0;
  for (let seed = 1; seed <= rounds; seed++) {
    const world = new World(seed, { ...FLAGS, ...flags });
    for (let i = world.random.below(6); i > 0; i--) world.change();
    const scheduler: Scheduler = make(world.pool, new Random(seed));
    const obvious = model(new Random(seed), world.flags);
    obvious.changed?.(world.plain());
    for (let step = 0; step < steps; step++) {
      const chance = world.random.below(100);
      if (chance < 8) {
        if (world.change()) {
          scheduler.update(world.pool);
          obvious.changed?.(world.plain());
        }
      } else if (chance < 30) world.load();
      else {
        const flow = world.flow();
        const expected = obvious.pick(world.plain(), flow, world.nowMs);
        const found = scheduler.pick(flow, world.nowMs);
        if ((found?.row ?? -1) !== expected) {
          t.fail(`seed ${seed}, step ${step}: ${found?.row} picked, the model says ${expected}`);
          return;
        }
        if (found === undefined) nobody++;
        else {
          picked++;
          if (world.random.chance(0.7)) world.counts.addActive(found.row, 1);
        }
      }
    }
  }
  t.true(
    picked > (rounds * steps) / 4 && nobody > 0,
    `${picked} picks and ${nobody} times nobody say little`,
  );
}
