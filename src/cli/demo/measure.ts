/** The measurements: real programs in two workloads, the figure read off what they print. */
import { fileURLToPath } from 'node:url';
import type { Host } from '../lab/lab.js';
import { finish, onLines, until } from './child.js';

/** Two workloads on different hosts; `from` connects to `to`. */
export interface Pair {
  from: Host;
  to: Host;
  /** addresses of `to` */
  ipv4: string;
  ipv6: string;
}

/** Is told each interim value, in the unit of the result. */
export type Live = (value: number) => void;

export interface Transfer {
  bytes: number;
  sha256: string;
  matches: boolean;
  megabytesPerSecond: number;
}

/** of the interim values of `tcp` and `udp` */
export const INTERVAL_SECONDS = 0.2;
export const PINGS = 50;
const HTTP_BYTES = 256 << 20;
const TRANSFER = fileURLToPath(new URL('./transfer.js', import.meta.url));

/** Median round trip in ms. The first echoes find neighbours and wake the path; they don't count. */
export async function ping(pair: Pair, family: 4 | 6, live: Live): Promise<number> {
  const address = family === 4 ? pair.ipv4 : pair.ipv6;
  const first = pair.from.spawn('ping', [`-${family}`, '-n', '-c', '3', '-i', '0.2', '-w', '5', address]);
  await finish(first, 10).catch(() => {
    throw new Error(`no answer from ${address}`);
  });
  const args = [`-${family}`, '-n', '-c', String(PINGS), '-i', '0.02', '-w', '10', address];
  const times: number[] = [];
  const child = pair.from.spawn('ping', args);
  onLines(child, (line) => {
    const time = /time=([\d.]+)/.exec(line);
    if (time === null) return;
    times.push(Number(time[1]));
    live(Number(time[1]));
  });
  await finish(child, 15);
  times.sort((a, b) => a - b);
  return times[times.length >> 1]!;
}

/** A body over HTTP from `to` to `from`, with its SHA-256 compared at the end. */
export async function http(pair: Pair, live: Live): Promise<Transfer> {
  const server = pair.to.spawn(process.execPath, [TRANSFER, 'serve', pair.ipv4, '8080', String(HTTP_BYTES)]);
  try {
    await until(server, /^ready$/, 30);
    let text = '';
    const client = pair.from.spawn(process.execPath, [TRANSFER, 'fetch', `http://${pair.ipv4}:8080/`]);
    onLines(client, (line) => {
      const now = /^now ([\d.]+)$/.exec(line);
      if (now === null) text += line;
      else live(Number(now[1]));
    });
    await finish(client, 120);
    const { bytes, milliseconds, sha256, matches } = JSON.parse(text) as Transfer & { milliseconds: number };
    const megabytesPerSecond = bytes / 1000 / milliseconds;
    live(megabytesPerSecond);
    return { bytes, sha256, matches, megabytesPerSecond };
  } finally {
    server.kill('SIGKILL');
  }
}

/** One TCP stream: Gbit/s as received. */
export async function tcp(pair: Pair, seconds: number, live: Live): Promise<number> {
  const rate = (line: string) => Number(/([\d.]+) Mbits\/sec/.exec(line)?.[1]) / 1000;
  return iperf(pair, seconds, [], (line) => rate(line), live);
}

/** Datagrams of 64 bytes as fast as iperf3 sends them: packets per second that arrived. */
export async function udp(pair: Pair, seconds: number, live: Live): Promise<number> {
  const packets = (line: string) => {
    const found = /([\d.]+)-([\d.]+)\s+sec.*\s(-?\d+)\/(\d+)\s+\(/.exec(line);
    if (found === null) return Number.NaN;
    const [from, to, lost, all] = found.slice(1).map(Number) as [number, number, number, number];
    return (all - lost) / (to - from);
  };
  return iperf(pair, seconds, ['-u', '-b', '0', '-l', '64'], packets, live);
}

/** iperf3 from `from` to `to`. The server's lines tell what arrived: interim ones, at the end the sum. */
async function iperf(
  pair: Pair,
  seconds: number,
  options: string[],
  value: (line: string) => number,
  live: Live,
): Promise<number> {
  let sum = Number.NaN;
  const server = pair.to.spawn('iperf3', [
    '-s',
    '-1',
    '-i',
    String(INTERVAL_SECONDS),
    '-f',
    'm',
    '--forceflush',
  ]);
  onLines(server, (line) => {
    const now = value(line);
    if (line.endsWith('receiver')) sum = now;
    else if (Number.isFinite(now)) live(now);
  });
  try {
    await until(server, /listening/, seconds + 30);
    const client = pair.from.spawn('iperf3', ['-c', pair.ipv4, '-t', String(seconds), ...options]);
    await Promise.all([finish(client, seconds + 15), finish(server, seconds + 16)]);
  } finally {
    server.kill('SIGKILL');
  }
  if (!Number.isFinite(sum)) throw new Error('iperf3 said no sum');
  return sum;
}
