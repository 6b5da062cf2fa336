/** A TUN device that a daemon on the host has made becomes the workload's eth0. */
import type { Host } from '../../../src/cli/lab/lab.js';
import { sleep } from '../../machine.js';
import type { End } from '../side.js';

export async function awaitDevice(host: Host, device: string, seconds = 5): Promise<void> {
  for (const deadline = performance.now() + seconds * 1000; performance.now() < deadline; await sleep(50)) {
    const { code } = await host.run('ip', ['link', 'show', device], { check: false });
    if (code === 0) return;
  }
  throw new Error(`${device} did not appear within ${seconds} s`);
}

export async function moveTun(
  host: Host,
  workload: Host,
  device: string,
  end: End,
  mtu: number,
): Promise<void> {
  await awaitDevice(host, device);
  await sleep(300); // until the daemon has done what it does to its device
  await host.ip(`link set ${device} netns ${workload.netns}`);
  await workload.ip(`link set ${device} name eth0 mtu ${mtu}`);
  await workload.ip(`addr add ${end.overlay}/24 dev eth0`);
  await workload.ip('link set eth0 up');
}
