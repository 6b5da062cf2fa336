/** vsftpd in a host, for everybody: files of its root can be read, and written in the folder `up` of it. */
import { writeFile } from 'node:fs/promises';
import type { Host } from '../../../src/cli/lab/lab.js';
import { until } from './until.js';

export async function spawnServer(host: Host, root: string): Promise<void> {
  const file = `${root}.conf`;
  await writeFile(
    file,
    [
      ...['listen=NO', 'listen_ipv6=YES', 'background=NO', 'seccomp_sandbox=NO'],
      ...['anonymous_enable=YES', 'no_anon_password=YES', 'local_enable=NO', `anon_root=${root}`],
      ...['write_enable=YES', 'anon_upload_enable=YES', 'anon_umask=022', 'anon_world_readable_only=NO'],
      ...['connect_from_port_20=YES', 'secure_chroot_dir=/var/run/vsftpd/empty', ''],
    ].join('\n'),
  );
  await host.run('mkdir', ['-p', '/var/run/vsftpd/empty']);
  host.spawn('vsftpd', [file]);
  await until('vsftpd listens', async () => (await host.run('ss', ['-ltnH', 'sport = :21'])).stdout !== '');
}
