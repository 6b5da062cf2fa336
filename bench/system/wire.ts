/**
 * The underlay between two hosts: a veth pair either hands 64 KB super-packets over by reference (the most
 * favourable case for a kernel), or carries real packets of its MTU, as a wire without help from the card does.
 */
import { has } from '../machine.js';
import { iperf } from './load.js';
import { type Side, UNDERLAY_INTERFACE, UNDERLAY_MTU } from './side.js';

/**
 * 'gro', only when asked for: segmented, but received with GRO, as a real card's driver does it. 'director': no underlay,
 * a host between client and servers.
 */
export const WIRES = ['whole', 'segmented', 'gro', 'director'] as const;
export type Wire = (typeof WIRES)[number];

const SEND_FEATURES = [
  ...['tso', 'gso'],
  ...['tx-udp_tnl-segmentation', 'tx-udp_tnl-csum-segmentation', 'tx-udp-segmentation'],
];

/** Sets the features of both ends of the underlay. A veth's GRO is off until asked for, and stays so on a whole wire. */
export async function setWire(side: Side, wire: Wire): Promise<void> {
  for (const host of side.hosts) {
    const set = (feature: string, on: boolean) =>
      host.run('ethtool', ['-K', UNDERLAY_INTERFACE, feature, on ? 'on' : 'off'], { check: false });
    for (const feature of SEND_FEATURES) await set(feature, wire === 'whole');
    if (wire !== 'whole') await set('gro', wire === 'gro');
  }
}

/**
 * The largest packet (Ethernet header included) that the client's host puts on the wire during a short transfer, so
 * that the setting is seen and not believed. Undefined without tcpdump.
 */
export async function largestPacket(side: Side): Promise<number | undefined> {
  const sender = side.hosts[0];
  if (sender === undefined || !(await has('tcpdump')) || !(await has('iperf3'))) return undefined;
  const filter = ['-nn', '-e', '-q', '-s', '96', '-Q', 'out', '-i', UNDERLAY_INTERFACE, 'udp or ip6'];
  const watch = sender.spawn('tcpdump', filter);
  let largest = 0;
  let rest = '';
  watch.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) largest = Math.max(largest, Number(/, length (\d+):/.exec(line)?.[1] ?? 0));
  });
  const ended = new Promise((resolve) => watch.once('close', resolve));
  await new Promise((resolve) => watch.stderr?.once('data', resolve));
  try {
    await iperf(side, 1);
  } finally {
    watch.kill('SIGTERM');
    await ended;
  }
  return largest;
}

/** Puts a side's wire in order, sees that it is so, and says what was seen. */
export async function prepareWire(side: Side, wire: Wire): Promise<string | undefined> {
  if (side.hosts.length === 0) return undefined;
  await setWire(side, wire);
  const largest = await largestPacket(side);
  if (largest === undefined) return `${side.name}: not verified (needs tcpdump and iperf3)`;
  if (largest === 0) return `${side.name}: not seen by tcpdump`;
  if (wire !== 'whole' && largest > UNDERLAY_MTU + 14)
    throw new Error(`${side.name}: a packet of ${largest} bytes on a wire that should be segmented`);
  return `${side.name}: ${largest.toLocaleString('en-US')} bytes`;
}
