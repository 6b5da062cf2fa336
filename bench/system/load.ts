/** The load generators, run between a side's workloads: each gives the figures of one short run. */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/cli/lab/lab.js';
import { scratchDirectory } from '../labs.js';
import { sleep } from '../machine.js';
import { reference } from '../reference/tools.js';
import type { Side } from './side.js';

/** Resolves when the program has printed `word`; rejects when it ends before. */
export function awaitWord(child: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const look = (chunk: Buffer) => {
      if ((text += chunk.toString()).includes(word)) resolve();
    };
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    child.once('exit', (code) =>
      reject(new Error(`${child.spawnargs.join(' ')}: exit ${code}: ${text.trim()}`)),
    );
  });
}

/** A line of JSON that the program prints at its end. */
async function lastJson<T>(child: ChildProcess): Promise<T> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
  return JSON.parse(text.slice(text.indexOf('{'))) as T;
}

/** iperf3 and wrk know whole seconds only. */
const whole = (seconds: number) => Math.max(1, Math.floor(seconds));

/** Where the server's programs listen. */
const listenOf = ({ listen, address }: Side) => listen ?? address;

const client = (side: Side, command: string, args: string[], seconds: number) =>
  side.client.run(command, args, { timeoutMs: (seconds + 8) * 1000 });

interface IperfReport {
  end: {
    sum_sent: { retransmits?: number };
    sum_received: { bytes: number; bits_per_second: number };
  };
}

/** TCP, one stream, client to server. */
export async function iperf(
  side: Side,
  seconds: number,
  streams = 1,
): Promise<{ gbits: number; gbit: number; retransmits: number }> {
  const server = side.server.spawn('iperf3', ['-s', '-1', '--forceflush', '-B', listenOf(side)]);
  await awaitWord(server, 'listening');
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const args = ['-c', side.address, '-t', String(whole(seconds)), '-P', String(streams), '-J'];
  try {
    const report = JSON.parse((await client(side, 'iperf3', args, seconds)).stdout) as IperfReport;
    const { bytes, bits_per_second: rate } = report.end.sum_received;
    return { gbits: rate / 1e9, gbit: (bytes * 8) / 1e9, retransmits: report.end.sum_sent.retransmits ?? 0 };
  } finally {
    server.kill('SIGKILL');
    await ended;
  }
}

/** UDP as fast as the sender can: packets a second that the sink has taken. */
export async function blast(
  side: Side,
  seconds: number,
  flows = 1,
  bytes = 64,
): Promise<{ delivered: number; offered: number }> {
  const program = await reference('blast');
  const to = (address: string) => ['-a', address, '-p', '7000'];
  const sink = side.server.spawn(program, ['sink', ...to(listenOf(side)), '-w', String(seconds + 3)]);
  await awaitWord(sink, 'ready');
  const counted = lastJson<{ packets: number }>(sink);
  const args = ['send', ...to(side.address), '-t', String(seconds), '-s', String(bytes), '-f', String(flows)];
  const sent = JSON.parse((await client(side, program, args, seconds)).stdout) as {
    seconds: number;
    pps: number;
  };
  return { delivered: (await counted).packets / sent.seconds, offered: sent.pps };
}

export interface RoundTrip {
  count: number;
  lost: number;
  p50: number;
  p90: number;
  p99: number;
}

/** UDP, one 64-byte datagram to and fro at a time: microseconds. */
export async function roundTrip(side: Side, seconds: number): Promise<RoundTrip> {
  const program = await reference('pingpong');
  const to = (address: string) => ['-a', address, '-p', '7001'];
  const echo = side.server.spawn(program, ['serve', ...to(listenOf(side))]);
  await awaitWord(echo, 'ready');
  try {
    return JSON.parse(
      (await client(side, program, ['ask', ...to(side.address), '-t', String(seconds)], seconds)).stdout,
    ) as RoundTrip;
  } finally {
    echo.kill('SIGKILL');
  }
}

/** nginx with one small page, in the server's workload until the lab closes. */
async function serve(host: Host): Promise<void> {
  const directory = join(await scratchDirectory(), `${host.netns}-nginx`);
  await mkdir(directory, { recursive: true });
  const file = join(directory, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${directory};`,
  );
  await writeFile(
    file,
    `daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log;
     events { worker_connections 4096; }
     http { access_log off; keepalive_requests 1000000; ${temporary.join(' ')}
       server { listen 8080 backlog=4096; listen [::]:8080 backlog=4096; location / { return 200 "ok\\n"; } } }`,
  );
  const nginx = host.spawn('nginx', ['-c', file, '-e', `${directory}/error.log`]);
  // It writes its number once it listens.
  while (!existsSync(`${directory}/pid`)) {
    if (nginx.exitCode !== null) throw new Error(`nginx ended with ${nginx.exitCode}`);
    await sleep(20);
  }
}

const serving = new WeakSet<Host>();

/** HTTP requests a second from 32 connections kept alive, or each request on a new one. */
export async function http(
  side: Side,
  seconds: number,
  keepAlive: boolean,
): Promise<{ rate: number; errors: number }> {
  const host = side.address.includes(':') ? `[${side.address}]` : side.address;
  const url = `http://${host}:8080/`;
  for (const server of side.servers ?? [side.server]) {
    if (serving.has(server)) continue;
    serving.add(server);
    await serve(server);
  }
  const header = keepAlive ? [] : ['-H', 'Connection: close'];
  const { stdout } = await client(
    side,
    'wrk',
    ['-t1', '-c32', `-d${whole(seconds)}s`, ...header, url],
    seconds,
  );
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
  const errors =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
  return { rate, errors: errors.reduce((sum, count) => sum + Number(count), 0) };
}
