/** nebula: encrypted, layer 3. Its TUN device is moved into the workload's namespace, its socket stays on the host. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, type Lab, run } from '../../../src/cli/lab/lab.js';
import { scratchDirectory } from '../../labs.js';
import { buildHosts, ENDS, type End, other, type Side, sideOf, UNDERLAY_MTU } from '../side.js';
import { moveTun } from './tun.js';

/** IPv4, UDP, nebula's header and tag. */
const OVERHEAD = 20 + 8 + 16 + 16;
const PORT = 4242;

export async function buildNebula(lab: Lab): Promise<Side> {
  const { hosts, workloads } = await buildHosts(lab);
  const directory = join(await scratchDirectory(), `${lab.prefix}-nebula`);
  await mkdir(directory, { recursive: true });
  const certify = (...args: string[]) => run('nebula-cert', args);
  const ca = `${directory}/ca`;
  await certify('ca', '-name', 'bench', '-out-crt', `${ca}.crt`, '-out-key', `${ca}.key`);
  const processes: number[] = [];
  for (const [i, end] of ENDS.entries()) {
    const own = `${directory}/${end.name}`;
    const signer = [
      '-ca-crt',
      `${ca}.crt`,
      '-ca-key',
      `${ca}.key`,
      '-out-crt',
      `${own}.crt`,
      '-out-key',
      `${own}.key`,
    ];
    await certify('sign', '-name', end.name, '-ip', `${end.overlay}/24`, ...signer);
    processes.push(await startEnd(hosts[i]!, workloads[i]!, end, own, ca));
  }
  return { ...sideOf('nebula', hosts, workloads), processes };
}

async function startEnd(host: Host, workload: Host, end: End, own: string, ca: string): Promise<number> {
  const peer = other(end);
  const device = `neb${end.name}`;
  const config = {
    pki: { ca: `${ca}.crt`, cert: `${own}.crt`, key: `${own}.key` },
    static_host_map: { [peer.overlay]: [`${peer.underlay}:${PORT}`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: '0.0.0.0', port: PORT },
    tun: { dev: device, mtu: UNDERLAY_MTU - OVERHEAD },
    logging: { level: 'error', format: 'text' },
    firewall: {
      outbound: [{ port: 'any', proto: 'any', host: 'any' }],
      inbound: [{ port: 'any', proto: 'any', host: 'any' }],
    },
  };
  await writeFile(`${own}.yml`, JSON.stringify(config)); // JSON is YAML
  const child = host.spawn('nebula', ['-config', `${own}.yml`]);
  await moveTun(host, workload, device, end, UNDERLAY_MTU - OVERHEAD);
  return child.pid!;
}
