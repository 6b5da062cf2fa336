/**
 * viaduct demo: the overlay at work on one screen, measured beside the kernel's own. It removes everything that it
 * made when it ends, fails or is interrupted, and what an earlier one that was killed couldn't remove.
 */
import { availableParallelism, release } from 'node:os';
import { delimiter } from 'node:path';
import { DEMO_PROGRAMS, lacking } from '../programs.js';
import { MEASUREMENTS, NAMES, ratio, table } from './figures.js';
import { removeLeftovers } from './leftovers.js';
import { startPlanes } from './planes.js';
import { findPrivilege, onOutsideSignal, runInside } from './privilege.js';
import { followStats, measureAll, type Outcome } from './story.js';
import { build, newLab, remove, type Topology } from './topology.js';
import { draw, type Picture } from './view/page.js';
import { Screen } from './view/screen.js';

export interface DemoOptions {
  /** one JSON document on stdout instead of a screen; notes go to stderr */
  json?: boolean;
  /** of each throughput measurement, 4 otherwise */
  seconds?: number | string;
}

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof SIGNALS;
const SIGNAL_NAMES = Object.keys(SIGNALS) as Signal[];

/** Resolves with the exit code once everything is removed. */
export async function demo(options: DemoOptions): Promise<number> {
  // Where a user's PATH has no sbin, its programs are there all the same.
  process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin'].filter(Boolean).join(delimiter);
  const lacks = lacking(DEMO_PROGRAMS);
  if (lacks !== '') {
    console.error(`viaduct demo: ${lacks}`);
    return 1;
  }
  const privilege = findPrivilege();
  if (privilege.kind === 'none') {
    console.error(`viaduct demo: ${privilege.why}`);
    return 1;
  }
  if (privilege.kind === 'namespace') return runInside(privilege.flags);

  const lab = newLab();
  const interrupted = new AbortController();
  const stop = (signal: NodeJS.Signals) => {
    interrupted.abort(signal);
    // What runs in the hosts ends now; whoever waits for it sees the abort.
    for (const host of lab.hosts) void host.stop();
  };
  for (const signal of SIGNAL_NAMES) process.on(signal, stop);
  onOutsideSignal(stop);
  // A reader that has had enough is no reason to leave without cleaning up.
  process.stdout.removeAllListeners('error').on('error', () => stop('SIGHUP'));

  const seconds = Math.min(60, Number(options.seconds ?? 4));
  const picture = blank();
  const say = (line: string) => (options.json ? console.error(line) : console.log(line));
  const screen = options.json || !process.stdout.isTTY ? undefined : show(picture);
  let topology: Topology | undefined;
  try {
    const progress = screen === undefined ? say : () => {};
    for (const netns of await removeLeftovers())
      progress(`removed ${netns}, which an earlier demo left behind`);
    progress('two hosts, three workloads on each; underlay MTU 1550, overlay MTU 1500');
    topology = await build(lab);
    interrupted.signal.throwIfAborted();
    const planes = await startPlanes(topology);
    const stats = followStats(planes, picture);
    let outcome: Outcome;
    try {
      await stats.refresh();
      progress(`the data planes are up: ${picture.left.stats?.underlay.kind ?? 'unknown'} underlay`);
      outcome = await measureAll(topology.sites, seconds, picture, progress, interrupted.signal);
      await stats.refresh();
    } finally {
      stats.stop();
    }
    screen?.leave();
    if (options.json) console.log(JSON.stringify(report(picture, seconds, outcome), null, 2));
    else for (const line of summary(picture, outcome)) console.log(line);
    return outcome.faults.length > 0 ? 1 : 0;
  } catch (error) {
    screen?.leave();
    if (interrupted.signal.aborted) return SIGNALS[interrupted.signal.reason as Signal] ?? 1;
    console.error(`viaduct demo: ${(error as Error).message}`);
    return 1;
  } finally {
    screen?.leave();
    await remove(lab, topology?.folder);
    for (const signal of SIGNAL_NAMES) process.off(signal, stop);
  }
}

function blank(): Picture {
  return {
    step: 'building two hosts',
    seconds: 0,
    side: 'viaduct',
    left: { name: 'host a', underlay: '10.0.0.1', workloads: [] },
    right: { name: 'host b', underlay: '10.0.0.2', workloads: [] },
    results: { viaduct: {}, kernel: {} },
    note: '',
    noteInk: 'good',
  };
}

function show(picture: Picture): Screen {
  const started = performance.now();
  return new Screen(process.stdout, (columns, rows) => {
    picture.seconds = (performance.now() - started) / 1000;
    return draw(picture, columns, rows);
  });
}

function summary(picture: Picture, { results, faults }: Outcome): string[] {
  const lines = ['', ...table(results), ''];
  if (picture.note !== '') lines.push(`  ${picture.note}`);
  const { stats } = picture.left;
  if (stats !== undefined)
    lines.push(`  ${stats.underlay.kind} underlay, Linux ${release()}, Node ${process.version}`);
  return [...lines, ...faults.map((fault) => `  failed: ${fault}`)];
}

/** The document of `--json`. */
function report(picture: Picture, seconds: number, { results, transfers, faults }: Outcome) {
  return {
    seconds,
    kernel: release(),
    node: process.version,
    cpus: availableParallelism(),
    underlay: picture.left.stats?.underlay ?? null,
    measurements: NAMES.map((name) => ({
      name,
      unit: MEASUREMENTS[name].unit,
      viaduct: results.viaduct[name] ?? null,
      kernel: results.kernel[name] ?? null,
      ratio: ratio(results, name) ?? null,
    })),
    transfers,
    stats: { a: picture.left.stats ?? null, b: picture.right.stats ?? null },
    faults,
  };
}
