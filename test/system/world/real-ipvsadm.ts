/**
 * The real ipvsadm, with a stand-in for the kernel behind it (ipvs-kernel.c), and beside it ours with a data plane
 * that moves nothing: the same command lines for both.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type Outcome, perform } from '../../../src/cli/ipvsadm/ipvsadm.js';
import { SystemNames } from '../../../src/cli/ipvsadm/names.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import { virtualServerRows } from '../../../src/dataplane/host/virtual-server.js';
import { type Served, scratchFolder, serve } from '../../cli/fake-dataplane.js';

/** What the old interface has no room for: then the real one refuses what it has understood. */
export const ONLY_NETLINK = 'Operation not supported with specified address family\n';

export interface Both {
  real(words: readonly string[], input?: string): Outcome;
  ours(words: readonly string[], input?: string): Promise<Outcome>;
  served: Served;
}

export async function both(t: ExecutionContext): Promise<Both> {
  const folder = await scratchFolder(t);
  const library = join(folder, 'ipvs-kernel.so');
  const source = 'test/system/world/ipvs-kernel.c';
  const made = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, source], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(made.stderr);
  const env = { ...process.env, LD_PRELOAD: library, IPVS_TABLE: join(folder, 'table') };
  const served = await serve(t);
  served.dataplane.rowsOf = counted;
  const config = { virtualServer: { connections: 4096 }, services: [] };
  await served.running.apply(parseConfig(config, 'the test'));
  process.env.VIADUCT_SOCKET = served.socket;
  return {
    served,
    real(words, input = '') {
      const { status, stdout, stderr } = spawnSync('ipvsadm', words, { env, input, encoding: 'utf8' });
      return { code: status ?? -1, out: stdout, error: stderr };
    },
    ours(words, input = '') {
      const surroundings = { version: '0.0.0', input: async () => input, names: new SystemNames() };
      return perform('ipvsadm', words, surroundings);
    },
  };
}

/** Counts made up from the position, as the stand-in does. */
const counted: typeof virtualServerRows = (services) =>
  virtualServerRows(services).map((service, i) => ({
    ...service,
    ...made(i),
    destinations: service.destinations.map((destination, j) => ({
      ...destination,
      ...made(i + j),
      ...{ active: 10 * j, inactive: 10 * j + 1, persistent: 10 * j + 2 },
    })),
  }));

function made(n: number) {
  const inBytes = n === 0 ? 7 : n % 2 === 1 ? 123_456_789 * n : 12_345_678_901_234 * n * n;
  const packets = { inPackets: 99_999_999 + n, outPackets: 1_000_000_000 + n };
  return {
    stats: { conns: 1000 * n, ...packets, inBytes, outBytes: 99_999_999_999 + n },
    rates: { cps: n, inPps: 2 * n, outPps: 3 * n, inBps: 100_000_000 + n, outBps: 999_999_999 + n },
  };
}
