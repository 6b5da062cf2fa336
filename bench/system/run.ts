/**
 * The comparison: all sides are built first, then they take turns (A B C, A B C, …) through one measurement after
 * another, so that what else goes on in the machine meets all alike; the table has medians of the rounds.
 */

import type { Lab } from '../../src/cli/lab/lab.js';
import { closeLab, openLab } from '../labs.js';
import { has } from '../machine.js';
import { median } from '../statistics.js';
import { blast } from './load.js';
import { type Figures, MEASUREMENTS, type Measurement, type Row } from './rows.js';
import { awaitReach, pause, type Side } from './side.js';
import { prepareWire, type Wire } from './wire.js';

export interface Plan {
  /** name → how to build it; one that throws is left out and said so */
  sides: Map<string, (lab: Lab) => Promise<Side>>;
  wires: readonly Wire[];
  only: readonly string[];
  rounds: number;
  /** the workloads speak IPv6 */
  ipv6: boolean;
  /** of one measurement of weight 1 */
  seconds: number;
  /** one line about what goes on */
  say(line: string): void;
}

export interface Sample {
  wire: Wire;
  side: string;
  device: string;
  row: Row;
  /** median of the rounds */
  value: number;
  values: number[];
}

export interface Outcome {
  samples: Sample[];
  /** what was seen, left out or went wrong, for the reader of the table */
  notes: string[];
  /** whether Viaduct or the kernel could not be measured; a peer that is missing is no failure */
  failed: boolean;
}

/** Sides that are always there. */
const essential = (name: string) => /^(viaduct|kernel|nftables)/.test(name);

async function build(plan: Plan, outcome: Outcome): Promise<Side[]> {
  const sides: Side[] = [];
  for (const [name, make] of plan.sides) {
    plan.say(`building ${name}`);
    const lab = openLab();
    try {
      const side = await make(lab);
      await awaitReach(side);
      if (!side.without?.includes('udp')) await blast(side, 0.5); // until code that is compiled when it gets hot has been
      await pause(side, true);
      sides.push(plan.ipv6 ? inIpv6(side) : side);
    } catch (error) {
      outcome.notes.push(`skipped ${name}: ${(error as Error).message}`);
      outcome.failed ||= essential(name);
      await closeLab(lab);
    }
  }
  return sides;
}

/** Without `listen6` it listens where loads are sent to. */
const inIpv6 = (side: Side): Side => {
  const { address6: address, listen6: listen } = side;
  return { ...side, address, ...(listen !== undefined && { listen }) };
};

async function choose(plan: Plan, wire: Wire, outcome: Outcome): Promise<Measurement[]> {
  const chosen: Measurement[] = [];
  for (const measurement of MEASUREMENTS) {
    const asked = plan.only.includes(measurement.name);
    if (!asked && (plan.only.length > 0 || measurement.extra || !measurement.wires.includes(wire))) continue;
    const missing: string[] = [];
    for (const tool of measurement.tools) if (!(await has(tool))) missing.push(tool);
    if (missing.length === 0) chosen.push(measurement);
    else outcome.notes.push(`skipped ${measurement.name}: needs ${missing.join(', ')} (apt-get install)`);
  }
  return chosen;
}

export async function compare(plan: Plan): Promise<Outcome> {
  const outcome: Outcome = { samples: [], notes: [], failed: false };
  const sides = await build(plan, outcome);
  for (const wire of plan.wires) {
    const measurements = await choose(plan, wire, outcome);
    const present: Side[] = [];
    for (const side of sides) {
      if ((wire === 'segmented' || wire === 'gro') && side.hosts.length === 0) continue;
      plan.say(`${wire}: setting the wire of ${side.name}`);
      try {
        await pause(side, false);
        const seen = await prepareWire(side, wire);
        if (seen !== undefined) outcome.notes.push(`largest packet on the ${wire} wire, ${seen}`);
        present.push(side);
      } catch (error) {
        outcome.notes.push(`skipped ${side.name} on the ${wire} wire: ${(error as Error).message}`);
        outcome.failed ||= essential(side.name);
      } finally {
        await pause(side, true);
      }
    }
    for (const measurement of measurements) await takeTurns(plan, wire, measurement, present, outcome);
  }
  return outcome;
}

async function takeTurns(
  plan: Plan,
  wire: Wire,
  measurement: Measurement,
  sides: Side[],
  outcome: Outcome,
): Promise<void> {
  const able = sides.filter(({ without }) => !without?.includes(measurement.name));
  const taken = new Map<Side, Figures[]>(able.map((side) => [side, []]));
  for (let round = 1; round <= plan.rounds; round++) {
    for (const [side, figures] of taken) {
      plan.say(`${wire}: ${measurement.name}, round ${round} of ${plan.rounds}, ${side.name}`);
      try {
        await pause(side, false);
        figures.push(await measurement.run(side, plan.seconds * measurement.weight));
      } catch (error) {
        outcome.notes.push(`${measurement.name} of ${side.name} (${wire}): ${(error as Error).message}`);
        outcome.failed ||= essential(side.name);
      } finally {
        await pause(side, true);
      }
    }
  }
  for (const [{ name, device }, figures] of taken) {
    for (const row of new Set(figures.flatMap((each) => Object.keys(each) as Row[]))) {
      const values = figures.map((each) => each[row] ?? Number.NaN).filter(Number.isFinite);
      if (values.length > 0)
        outcome.samples.push({ wire, side: name, device, row, value: median(values), values });
    }
  }
}
