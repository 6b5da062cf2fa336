/** The underlay as a wire: split for real, captured, and read by tshark with every checksum checked. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { type Host, run } from '../../../src/cli/lab/lab.js';
import { scratch } from './plane.js';
import { CABLE, PORT } from './sites.js';

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

const CHECKED = ['ip', 'tcp', 'udp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
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
