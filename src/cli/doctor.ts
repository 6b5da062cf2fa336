/** `viaduct doctor`: what this host has and lacks, each with the way to get it, and what would be used. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type HostProbe, likelyUnderlay, probeHost } from '../dataplane/probe.js';
import { DEMO_PROGRAMS, isInstalled, PACKAGES, type Program } from './programs.js';
import { painter, type Style } from './text/style.js';

export interface Check {
  name: string;
  /** missing: a data plane doesn't work without; warn: something is slower or can't be used */
  status: 'ok' | 'warn' | 'missing';
  detail: string;
  /** how to get it, '' when there is nothing to get */
  fix: string;
}

/** Exit code 1 when something is missing. */
export async function doctor(options: { json?: boolean }): Promise<number> {
  const probe = probeHost();
  const checks = examine(probe);
  const underlay = likelyUnderlay(probe);
  if (options.json) process.stdout.write(`${JSON.stringify({ checks, underlay }, null, 2)}\n`);
  else process.stdout.write(doctorText(checks, underlay));
  return checks.some(({ status }) => status === 'missing') ? 1 : 0;
}

export function doctorText(checks: readonly Check[], underlay: string): string {
  const paint = painter(process.stdout);
  const styles: Record<Check['status'], Style> = { ok: 'green', warn: 'yellow', missing: 'red' };
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, status, detail, fix }) => [
    `${paint(styles[status], status.padEnd(7))}  ${name.padEnd(width)}  ${detail}`,
    ...(fix === '' ? [] : [`${' '.repeat(11 + width)}→ ${fix}`]),
  ]);
  return `${lines.join('\n')}\n\nThe underlay would be: ${paint('bold', underlay)}\n`;
}

/** What makes it fast: what is lost without it, and which Linux has it. */
const FEATURES: readonly [key: keyof HostProbe, name: string, well: string, loss: string, linux: string][] = [
  ['tso', 'TAP: TSO', 'TCP super-packets', 'TCP goes packet by packet', '2.6.27'],
  ['uso', 'TAP: USO', 'UDP super-packets', 'UDP goes packet by packet', '6.2'],
  ['tunnel', 'TAP: tunnel', 'encapsulated super-packets', 'the UDP underlay is used', '6.17'],
  ['tcx', 'tcx BPF', 'programs load', 'the UDP underlay is used', '6.6'],
  ['segment', 'UDP_SEGMENT', 'many datagrams a send', 'one datagram a send', '4.18'],
  ['gro', 'UDP_GRO', 'many datagrams a receive', 'one datagram a receive', '5.0'],
];

/** The addon's sources, three folders above dist/src/cli. */
const NATIVE = fileURLToPath(new URL('../../../native', import.meta.url));

export function examine(probe: HostProbe): Check[] {
  const right = rights();
  const able = right.status === 'ok' && probe.tap === '';
  const build = `apt-get install make gcc libc6-dev && make -C ${NATIVE}`;
  const tun = 'modprobe tun; in a container: --device /dev/net/tun --cap-add NET_ADMIN';
  return [
    node(),
    verdict('native addon', probe.addon, 'missing', 'loaded', build),
    right,
    verdict(
      '/dev/net/tun',
      probe.tap,
      'missing',
      'a TAP can be opened',
      right.fix || (probe.addon === '' ? tun : ''),
    ),
    ...FEATURES.map(([key, name, well, loss, linux]) => {
      const fault = probe[key] === '' ? '' : `${probe[key]}; without it ${loss}`;
      return verdict(name, fault, 'warn', well, able ? `Linux ${linux} or later (this is ${release()})` : '');
    }),
    program('tcpdump', 'filters of trace and capture are compiled by it'),
    ...DEMO_PROGRAMS.map((name) => program(name, 'the demo needs it')),
    rawSocket(),
  ];
}

function verdict(name: string, fault: string, status: 'warn' | 'missing', well: string, fix: string): Check {
  return fault === '' ? { name, status: 'ok', detail: well, fix: '' } : { name, status, detail: fault, fix };
}

function node(): Check {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
  const old = major < 20 || (major === 20 && minor < 19);
  return verdict(
    'Node',
    old ? `${process.version} is too old` : '',
    'missing',
    process.version,
    'Node 20.19 or later',
  );
}

const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

/** NET_ADMIN makes interfaces, SYS_ADMIN enters the namespaces of workloads. */
function rights(): Check {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const bits = BigInt(`0x${effective}`);
  const lacks = [
    ...((bits >> CAP_NET_ADMIN) & 1n ? [] : ['CAP_NET_ADMIN']),
    ...((bits >> CAP_SYS_ADMIN) & 1n ? [] : ['CAP_SYS_ADMIN']),
  ].join(' and ');
  return verdict(
    'rights',
    lacks && `${lacks} not held`,
    'missing',
    'interfaces can be made',
    'run as root: sudo viaduct …',
  );
}

function program(command: Program, use: string): Check {
  const fault = isInstalled(command) ? '' : `not installed; ${use}`;
  return verdict(command, fault, 'warn', 'installed', `apt-get install ${PACKAGES[command]}`);
}

function rawSocket(): Check {
  let fault = '';
  try {
    createRequire(import.meta.url)('raw-socket');
  } catch {
    fault = 'not built; a path MTU that shrinks is noticed later';
  }
  const fix = 'apt-get install make g++ python3 && npm rebuild raw-socket';
  return verdict('raw-socket', fault, 'warn', 'loaded', fix);
}
