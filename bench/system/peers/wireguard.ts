/** wireguard-go: encrypted, layer 3. Its TUN device is moved into the workload's namespace, its socket stays on the host. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, type Lab, run } from '../../../src/cli/lab/lab.js';
import { scratchDirectory } from '../../labs.js';
import { buildHosts, ENDS, type End, other, type Side, sideOf, UNDERLAY_MTU } from '../side.js';
import { awaitDevice, moveTun } from './tun.js';

/** IPv4, UDP, WireGuard's header and tag. */
const OVERHEAD = 20 + 8 + 16 + 16;
const PORT = 51820;

export async function buildWireguard(lab: Lab): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  const secrets: string[] = [];
  const keys: string[] = [];
  for (const _ of ENDS) {
    const secret = (await run('wg', ['genkey'])).stdout.trim();
    secrets.push(secret);
    keys.push((await run('wg', ['pubkey'], { input: secret })).stdout.trim());
  }
  const processes: number[] = [];
  for (const [i, end] of ENDS.entries())
    processes.push(await startEnd(hosts[i]!, workloads[i]!, end, secrets[i]!, keys[1 - i]!));
  return { ...sideOf('wireguard-go', hosts, workloads), processes };
}

async function startEnd(
  host: Host,
  workload: Host,
  end: End,
  secret: string,
  peerKey: string,
): Promise<number> {
  // Its control socket lies in one directory for all namespaces, so the name is one of a kind.
  const device = host.netns.replaceAll('-', '');
  const child = host.spawn('wireguard-go', ['-f', device], { LOG_LEVEL: 'error' });
  await awaitDevice(host, device);
  const peer = other(end);
  const file = join(await scratchDirectory(), `${device}.conf`);
  await writeFile(
    file,
    `[Interface]\nPrivateKey = ${secret}\nListenPort = ${PORT}\n
     [Peer]\nPublicKey = ${peerKey}\nEndpoint = ${peer.underlay}:${PORT}\nAllowedIPs = 10.10.0.0/24\n`.replace(
      /^ +/gm,
      '',
    ),
    { mode: 0o600 },
  );
  await host.run('wg', ['setconf', device, file]);
  await moveTun(host, workload, device, end, UNDERLAY_MTU - OVERHEAD);
  return child.pid!;
}
