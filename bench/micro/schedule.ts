/** Picks of every scheduler, among 10 and 1000 destinations of weights 1 to 4 with a few connections each. */
import { Random } from '../../src/dataplane/core/random.js';
import {
  Destination,
  DestinationCounts,
  type DestinationSpec,
} from '../../src/dataplane/ipvs/destination.js';
import { SCHEDULERS, type SchedulerName, schedulerFor } from '../../src/dataplane/ipvs/schedulers/index.js';
import type { Flow } from '../../src/dataplane/ipvs/schedulers/scheduler.js';
import { type Case, sunk } from './case.js';
import { BATCH, expect } from './stage.js';

/** Addresses that clients send to, as lblc and lblcr remember them. */
const TARGETS = 64;

function destinations(n: number): Destination[] {
  const counts = new DestinationCounts(DestinationCounts.allocate(n));
  const random = new Random(n);
  return Array.from({ length: n }, (_, row) => {
    const spec: DestinationSpec = {
      ...{ row, family: 4, address: [0x0a000000 + row, 0, 0, 0], port: 8080, weight: 1 + (row & 3) },
      ...{ forward: 'nat', tunnel: { type: 'ipip', port: 0, checksum: 'none' }, near: false },
      ...{ upperThreshold: 0, lowerThreshold: 0 },
    };
    // More active ones than weight is work of a kind of its own to lblc, and nobody to ovf.
    counts.addActive(row, 1);
    counts.addInactive(row, random.below(100));
    counts.noteLatency(row, 1 + random.below(10_000));
    return new Destination(spec, counts);
  });
}

function scheduleCase(scheduler: SchedulerName, n: number): Case {
  const flags = { fallback: true, port: true, tableSize: 65537, expirationSeconds: 86400 };
  const make = schedulerFor({ scheduler, slowStartSeconds: 0, preferNear: false });
  const picker = make({ destinations: destinations(n), flags }, new Random(1));
  const flow: Flow = {
    ...{ family: 4, source0: 0, source1: 0, source2: 0, source3: 0, sourcePort: 0 },
    ...{ target0: 0, target1: 0, target2: 0, target3: 0, targetPort: 80 },
  };
  let client = 0;
  const pass = () => {
    let rows = 0;
    for (let i = 0; i < BATCH; i++) {
      client = (client + 0x9e3779b1) | 0;
      flow.source0 = client;
      flow.sourcePort = client & 0xffff;
      flow.target0 = client & (TARGETS - 1);
      rows += picker.pick(flow, 1000)!.row;
    }
    sunk.value += rows;
  };
  expect(picker.pick(flow, 1000) !== undefined, `${scheduler} picks nobody`);
  return {
    name: `schedule ${scheduler}, ${n} destinations`,
    unit: 'pick',
    units: BATCH,
    prepare: () => pass,
  };
}

export function scheduleCases(): Case[] {
  const names = Object.keys(SCHEDULERS) as SchedulerName[];
  return names.flatMap((name) => [10, 1000].map((n) => scheduleCase(name, n)));
}
