/** What the demo does, in order: each measurement over Viaduct, then each over the kernel's vxlan on the same hosts. */
import { MEASUREMENTS, NAMES, type Name, type Results, type Side } from './figures.js';
import {
  http,
  INTERVAL_SECONDS,
  type Live,
  type Pair,
  PINGS,
  ping,
  type Transfer,
  tcp,
  udp,
} from './measure.js';
import { type Plane, readStats } from './planes.js';
import { pairs, type Site } from './topology.js';
import type { Picture } from './view/page.js';

export interface Outcome {
  results: Results;
  transfers: Partial<Record<Side, Transfer>>;
  /** a sentence for each measurement that failed */
  faults: string[];
}

const OVER: Record<Side, string> = { viaduct: 'Viaduct', kernel: "the kernel's vxlan" };

/** Keeps `picture` up to date all along, and says each result in a line. */
export async function measureAll(
  sites: [Site, Site],
  seconds: number,
  picture: Picture,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const outcome: Outcome = { results: picture.results, transfers: {}, faults: [] };
  const pair = pairs(sites);
  for (const side of ['viaduct', 'kernel'] as const) {
    picture.side = side;
    for (const [which, host] of [picture.left, picture.right].entries()) {
      const { workloads, rival } = sites[which]!;
      host.workloads = (side === 'viaduct' ? workloads : [rival]).map(({ name, ipv4 }) => ({
        name,
        address: ipv4,
      }));
    }
    for (const name of NAMES) {
      const { title, format } = MEASUREMENTS[name];
      picture.step = `measuring over ${OVER[side]}`;
      picture.live = { name, history: [], expected: expected(name, seconds) };
      const live: Live = (value) => picture.live?.history.push(value);
      try {
        const value = await measure(name, pair[side], seconds, live, (transfer) => {
          outcome.transfers[side] = transfer;
          if (!transfer.matches) throw new Error('the body arrived with a wrong SHA-256');
          picture.note = `HTTP body of ${transfer.bytes >> 20} MiB arrived whole: SHA-256 ${transfer.sha256.slice(0, 16)}…`;
        });
        outcome.results[side][name] = value;
        say(`${title} over ${OVER[side]}: ${format(value)}`);
      } catch (error) {
        signal.throwIfAborted();
        const fault = `${title} over ${OVER[side]}: ${(error as Error).message}`;
        outcome.faults.push(fault);
        say(fault);
        Object.assign(picture, { note: fault, noteInk: 'bad' });
      }
      signal.throwIfAborted();
    }
  }
  return outcome;
}

/** How many interim values there will be, about. */
function expected(name: Name, seconds: number): number {
  if (name === 'tcp' || name === 'udp') return seconds / INTERVAL_SECONDS;
  return name === 'http' ? 20 : PINGS;
}

async function measure(
  name: Name,
  pair: Pair,
  seconds: number,
  live: Live,
  arrived: (transfer: Transfer) => void,
): Promise<number> {
  switch (name) {
    case 'ping4':
      return ping(pair, 4, live);
    case 'ping6':
      return ping(pair, 6, live);
    case 'tcp':
      return tcp(pair, seconds, live);
    case 'udp':
      return udp(pair, seconds, live);
    case 'http': {
      const transfer = await http(pair, live);
      arrived(transfer);
      return transfer.megabytesPerSecond;
    }
  }
}

/** Puts the data planes' counters into the picture, four times a second, until it is stopped. */
export function followStats(
  planes: [Plane, Plane],
  picture: Picture,
): { refresh(): Promise<void>; stop(): void } {
  const refresh = async () => {
    const [left, right] = await Promise.all(planes.map(readStats));
    if (left !== undefined) picture.left.stats = left;
    if (right !== undefined) picture.right.stats = right;
  };
  const timer = setInterval(refresh, 250);
  return { refresh, stop: () => clearInterval(timer) };
}
