/** The C peer of bench/reference: the tunnel device's I/O and work without TypeScript. */
import type { Lab } from '../../../src/cli/lab/lab.js';
import { reference } from '../../reference/tools.js';
import { awaitWord } from '../load.js';
import { buildHosts, ENDS, OVERLAY_MTU, other, type Side, sideOf, UNDERLAY_INTERFACE } from '../side.js';

export async function buildReference(lab: Lab): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  const program = await reference('c-vxlan');
  const macs: string[] = [];
  for (const host of hosts) {
    const [link] = JSON.parse(await host.ip(`-j link show ${UNDERLAY_INTERFACE}`)) as [{ address: string }];
    macs.push(link.address);
  }
  const processes: number[] = [];
  for (const [i, end] of ENDS.entries()) {
    const peer = other(end);
    const workload = workloads[i]!;
    const where = [`/run/netns/${workload.netns}`, end.underlay, peer.underlay, UNDERLAY_INTERFACE];
    const child = hosts[i]!.spawn(program, [...where, macs[1 - i]!, peer.mac]);
    await awaitWord(child, 'ready');
    processes.push(child.pid!);
    await workload.ip(`link set eth0 address ${end.mac} mtu ${OVERLAY_MTU}`);
    await workload.ip(`addr add ${end.overlay}/24 dev eth0`);
    await workload.ip(`addr add ${end.overlay6}/64 dev eth0 nodad`);
    await workload.ip('link set eth0 up');
  }
  return { ...sideOf('C reference', hosts, workloads), processes };
}
