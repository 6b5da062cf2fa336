/** The underlay as a wire: split for real, captured, and read by tshark with every checksum checked. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Host, run } from '../../../src/cli/lab/lab.js';
import { scratch } from './plane.js';
import { stopProgram } from './programs.js';
import { CABLE, PORT, type Workload } from './sites.js';
import { until } from './until.js';

/** Takes a packet of the largest underlay whole. */
const SNAPLEN = 9216;

const FEATURES = ['tx', 'tso', 'gso', 'gro', 'tx-udp_tnl-segmentation', 'tx-udp-segmentation'];

/** From now on the wire carries whole packets of its MTU with finished checksums, as a real one does. */
export async function segmentWire(hosts: readonly Host[], device = CABLE): Promise<void> {
  for (const host of hosts)
    for (const feature of FEATURES)
      await host.run('ethtool', ['-K', device, feature, 'off'], { check: false });
}

export class Capture {
  readonly file: string;
  readonly #child: ChildProcess;

  private constructor(file: string, child: ChildProcess) {
    this.file = file;
    this.#child = child;
  }

  /** Captures on an interface from the time on at which this resolves. */
  static async start(host: Host, filter = '', device = CABLE): Promise<Capture> {
    const file = join(scratch, `${host.netns}-${device}.pcap`);
    // In immediate mode each frame takes the snaplen of the kernel's buffer.
    const buffer = ['-s', String(SNAPLEN), '-B', '32768', '--immediate-mode'];
    const args = ['-n', '-i', device, '-U', ...buffer, '-Z', 'root', '-w', file];
    const child = host.spawn('tcpdump', [...args, ...filter.split(' ').filter(Boolean)]);
    child.stdout?.resume();
    await new Promise<void>((resolve, reject) => {
      let text = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('listening on')) resolve();
      });
      child.once('exit', () => reject(new Error(`tcpdump: ${text}`)));
    });
    return new Capture(file, child);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGINT');
    await ended;
  }
}

/**
 * Checksums are looked at. Streams are not put together, nor is HTTP looked for in their segments: one that comes again,
 * or begins in the midst of a body, is no fault of a packet.
 */
const CHECKED = [
  ...['--disable-protocol', 'http'],
  ...[
    ...['ip', 'tcp', 'udp'].map((name) => `${name}.check_checksum:TRUE`),
    'tcp.desegment_tcp_streams:FALSE',
  ].flatMap((option) => ['-o', option]),
];
/** Wireshark's checksum status. */
const STATUS_BAD = '0';
const STATUS_GOOD = '1';
const BAD = [
  '_ws.malformed',
  ...['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].map((name) => `${name}.checksum.status == "Bad"`),
].join(' || ');

/** Lines of `fields` of the packets that a display filter matches; the port is VXLAN's. */
export async function tshark(file: string, filter: string, fields: string[], port = PORT): Promise<string[]> {
  const columns = fields.flatMap((field) => ['-e', field]);
  const { stdout } = await run(
    'tshark',
    [
      ...['-n', '-r', file, '-d', `udp.port==${port},vxlan`, ...CHECKED],
      ...['-Y', filter, '-T', 'fields', ...columns],
    ],
    { timeoutMs: 120_000 },
  );
  return stdout.split('\n').filter(Boolean);
}

/** How many VXLAN datagrams of a capture have a finished and right inner TCP checksum, and what is wrong in it. */
export async function inspect(file: string, port = PORT): Promise<{ sound: number; faults: string[] }> {
  const fields = [
    ...['frame.number', '_ws.malformed', 'tcp.checksum.status', 'ip.checksum.status'],
    ...['udp.checksum.status', 'icmp.checksum.status', 'icmpv6.checksum.status', '_ws.col.Info'],
  ];
  const lines = (await tshark(file, `vxlan || ${BAD}`, fields, port)).map((line) => line.split('\t'));
  const wrong = ([, malformed, ...columns]: string[]) =>
    malformed !== '' || columns.slice(0, 5).some((status) => status.split(',').includes(STATUS_BAD));
  return {
    sound: lines.filter((columns) => !wrong(columns) && columns[2] === STATUS_GOOD).length,
    faults: lines.filter(wrong).map((columns) => columns.join(' ')),
  };
}

/** As Linux sends 0 of TCP at times; both are the same number to who sums it, but Wireshark wants the other. */
const OTHER_ZERO = 'TCP CHECKSUM 0xFFFF';

/** What of a capture is malformed, or has a wrong checksum in any of its headers. */
export async function faultsIn(file: string): Promise<string[]> {
  const lines = await tshark(file, BAD, ['frame.number', 'frame.protocols', '_ws.col.Info']);
  return lines.filter((line) => !line.includes(OTHER_ZERO));
}

/** Frames of the local experimental EtherType that arrive at a workload, counted by their last byte. */
export class Listener {
  readonly #child;
  readonly lines: string[] = [];

  private constructor(host: Host, filter: string) {
    // A small snaplen, for in immediate mode each frame takes that much of the kernel's buffer.
    const capture = ['-i', 'eth0', '-Q', 'in', '-s', '2048', '--immediate-mode', '-Z', 'root'];
    const options = ['-n', '-e', '-xx', '-l', ...capture];
    this.#child = host.spawn('tcpdump', [...options, ...filter.split(' ')]);
  }

  static async start({ host }: Workload, filter = 'ether proto 0x88b5'): Promise<Listener> {
    const listener = new Listener(host, filter);
    createInterface({ input: listener.#child.stdout! }).on('line', (line) => listener.lines.push(line));
    await new Promise<void>((resolve) => {
      listener.#child.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('listening')) resolve();
      });
    });
    return listener;
  }

  /** All bytes, in hexadecimal digits, of the frames so far. */
  get frames(): string[] {
    const text = this.lines.map((line) => (/^\s+0x/.test(line) ? line.replace(/^\s+0x\w+:/, '') : '|'));
    return text
      .join('')
      .split('|')
      .map((frame) => frame.replace(/\s/g, ''))
      .filter(Boolean);
  }

  stop(): Promise<string> {
    return stopProgram(this.#child);
  }
}

export const digits = (mac: string) => mac.replaceAll(':', '');
/** A frame of the local experimental EtherType. */
export const experimental = (to: string, from: string, payload: string) =>
  `${digits(to)}${digits(from)}88b5${payload.padEnd(92, '0')}`;

/** The frames that came, once so many have. */
export async function sorted(listener: Listener, count: number): Promise<string[]> {
  await until(`${count} frames`, () => listener.frames.length >= count);
  return listener.frames.sort();
}
