/** What goes between workloads: pings, iperf3, and HTTP bodies whose SHA-256 is known beforehand. */
import { createCipheriv, createHash } from 'node:crypto';
import type { Finished } from '../../../src/cli/lab/lab.js';
import { awaitWord, program, spawnProgram, stopProgram } from './programs.js';
import { address, type Family, type Workload } from './sites.js';

const BODY = program('body');
const BODY_PORT = 8000;

/** Bytes of IP and ICMP headers around a ping's payload. */
const PING_HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };

export interface PingOptions {
  family?: Family;
  /** bytes of IP packet; otherwise ping's own size */
  size?: number;
  /** don't fragment (default when a size is given) */
  whole?: boolean;
  count?: number;
  /** seconds to wait for an answer */
  patience?: number;
}

/** One ping that may be answered late: the machine is a busy one. */
export function ping(from: Workload, to: Workload, options: PingOptions = {}): Promise<Finished> {
  const { family = 4, size, count = 1, patience = 10, whole = size !== undefined } = options;
  const args = ['-n', '-c', String(count), '-i', '0.01', '-W', String(patience)];
  if (size !== undefined) args.push('-s', String(size - PING_HEADERS[family]));
  if (whole) args.push('-M', 'do');
  return from.host.run('ping', [...args, address(to, family)], { check: false });
}

/** Whether a ping gets its answer; the second time at the latest, since the first may be what peers learn from. */
export async function reaches(from: Workload, to: Workload, options: PingOptions = {}): Promise<boolean> {
  return (await ping(from, to, options)).code === 0 || (await ping(from, to, options)).code === 0;
}

/** What a ping of a size that is too large says the MTU is; undefined when it isn't refused. */
export async function refusedWithMtu(
  from: Workload,
  to: Workload,
  size: number,
  family: Family,
): Promise<number | undefined> {
  const { code, stdout, stderr } = await ping(from, to, { family, size, patience: 2 });
  const mtu = /\bmtu\s*[=:]\s*(\d+)/.exec(stdout + stderr)?.[1];
  return code === 0 || mtu === undefined ? undefined : Number(mtu);
}

interface IperfSum {
  bytes: number;
  seconds: number;
  packets?: number;
  lost_packets?: number;
}

async function iperf(
  client: Workload,
  server: Workload,
  family: Family,
  args: string[],
): Promise<IperfSum[]> {
  const at = address(server, family);
  const child = server.host.spawn('iperf3', ['-s', '-1', '--forceflush', '-B', at]);
  await awaitWord(child, 'listening');
  try {
    const said = await client.host.run('iperf3', ['-c', at, '-J', '--connect-timeout', '10000', ...args], {
      check: false,
    });
    const { end, error } = JSON.parse(said.stdout) as { end: Record<string, IperfSum>; error?: string };
    if (error !== undefined) throw new Error(`iperf3 ${args.join(' ')}: ${error}`);
    return ['sum_received', 'sum_received_bidir_reverse', 'sum']
      .map((name) => end[name])
      .filter((sum) => sum !== undefined);
  } finally {
    await stopProgram(child);
  }
}

/** Bytes that arrived by TCP in each direction, both at once. */
export async function tcpBothWays(
  a: Workload,
  b: Workload,
  family: Family,
  bytes = '64M',
  streams = 1,
): Promise<number[]> {
  const sums = await iperf(a, b, family, ['--bidir', '-n', bytes, '-P', String(streams)]);
  return sums.slice(0, 2).map((sum) => sum.bytes);
}

/** UDP at a modest rate: datagrams sent, and of them lost. */
export async function udp(
  from: Workload,
  to: Workload,
  family: Family,
  options: { bytes?: number; packets?: number } = {},
): Promise<{ sent: number; lost: number }> {
  const { bytes = 1000, packets = 2000 } = options;
  const args = ['-u', '-l', String(bytes), '-k', String(packets), '-b', String(bytes * 8 * 5000)];
  const [sum] = (await iperf(from, to, family, args)).slice(-1);
  return { sent: sum?.packets ?? 0, lost: sum?.lost_packets ?? 0 };
}

const digests = new Map<string, string>();

/** SHA-256 of the body that body.ts makes of a seed. */
function digestOf(seed: number, mebibytes: number): string {
  const key = `${seed} ${mebibytes}`;
  let digest = digests.get(key);
  if (digest === undefined) {
    const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
    const hash = createHash('sha256');
    const zeros = Buffer.alloc(1 << 20);
    for (let i = 0; i < mebibytes; i++) hash.update(cipher.update(zeros));
    digest = hash.digest('hex');
    digests.set(key, digest);
  }
  return digest;
}

/**
 * An HTTP body from each to the other, both at once. Resolves with whether the SHA-256 is right in each direction.
 */
export async function bodiesBothWays(
  a: Workload,
  b: Workload,
  mebibytes: number,
  options: { family?: Family; timeoutMs?: number } = {},
): Promise<boolean[]> {
  const { family = 4, timeoutMs = 120_000 } = options;
  const servers = [a, b].map((each) =>
    spawnProgram(each.host, 'body', ['serve', address(each, family), String(BODY_PORT)]),
  );
  try {
    await Promise.all(servers.map((server) => awaitWord(server, 'ready')));
    const fetchFrom = async (from: Workload, to: Workload, seed: number) => {
      const at = family === 4 ? from.ipv4 : `[${from.ipv6}]`;
      const url = `http://${at}:${BODY_PORT}/${seed}/${mebibytes}`;
      const { stdout } = await to.host.run(process.execPath, [BODY, 'fetch', url], { timeoutMs });
      return stdout.trim() === digestOf(seed, mebibytes);
    };
    return await Promise.all([fetchFrom(a, b, 1), fetchFrom(b, a, 2)]);
  } finally {
    await Promise.all(servers.map((server) => stopProgram(server)));
  }
}
