/** Real servers in a host, each on its usual port, both families: Redis, PostgreSQL, nginx with HTTP/2, a DNS server. */

import { readdirSync } from 'node:fs';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, run } from '../../../src/cli/lab/lab.js';
import { scratch } from './plane.js';
import { until } from './until.js';

const ROOT = '/usr/lib/postgresql';
/** Debian keeps a release's programs apart. */
const binaries = (): string => join(ROOT, readdirSync(ROOT).sort().at(-1)!, 'bin');

async function folder(host: Host, name: string): Promise<string> {
  const path = join(scratch, `${host.netns}-${name}`);
  await mkdir(path, { recursive: true });
  return path;
}

export const listens = (host: Host, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
  until(`${host.netns} listens on ${port}`, async () =>
    (await host.run('ss', [`-Hln${protocol[0]}`, `sport = :${port}`])).stdout.trim() !== ''
      ? true
      : undefined,
  );

export async function redis(host: Host): Promise<void> {
  const args = ['--port', '6379', '--bind', '0.0.0.0', '::', '--protected-mode', 'no', '--save', ''];
  host.spawn('redis-server', [...args, '--dir', await folder(host, 'redis')]);
  await listens(host, 6379);
}

/** User postgres, no password. The server refuses to run as root. */
export async function postgres(host: Host): Promise<void> {
  const data = await folder(host, 'postgres');
  await chmod(scratch, 0o755);
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'postgres'])).stdout)),
  );
  await chown(data, uid!, gid!);
  await chmod(data, 0o700);
  const as = ['--reuid=postgres', '--regid=postgres', '--clear-groups'];
  await run('setpriv', [...as, `${binaries()}/initdb`, '-D', data, '-A', 'trust', '--no-sync', '-N']);
  await writeFile(join(data, 'pg_hba.conf'), 'host all all all trust\n');
  host.spawn('setpriv', [
    ...[...as, `${binaries()}/postgres`, '-D', data, '-c', 'listen_addresses=*', '-c', 'fsync=off'],
    ...['-c', 'unix_socket_directories='],
  ]);
  await listens(host, 5432);
}

/** HTTPS with HTTP/2, a file of so many MiB under /body. */
export async function https(host: Host, mebibytes: number): Promise<void> {
  const base = await folder(host, 'https');
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    `${base}/key.pem`,
  ];
  await run('openssl', [
    'req',
    '-x509',
    ...key,
    '-out',
    `${base}/cert.pem`,
    '-subj',
    '/CN=test',
    '-days',
    '1',
  ]);
  await run('sh', ['-c', `head -c ${mebibytes}M /dev/urandom > ${base}/body`]);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${base};`,
  );
  await writeFile(
    `${base}/nginx.conf`,
    `daemon off; user root; worker_processes 1; pid ${base}/pid; error_log ${base}/error.log;
     events {}
     http { access_log off; ${temporary.join(' ')}
       server { listen 443 ssl http2; listen [::]:443 ssl http2; root ${base};
                ssl_certificate ${base}/cert.pem; ssl_certificate_key ${base}/key.pem; } }`,
  );
  host.spawn('nginx', ['-c', `${base}/nginx.conf`, '-e', `${base}/error.log`]);
  await listens(host, 443);
}

/** who.test is the host's own name, large.test more addresses than a datagram of 512 bytes takes. */
export async function dns(host: Host, name: string): Promise<void> {
  const large = Array.from({ length: 60 }, (_, i) => `--host-record=large.test,192.0.2.${i + 1}`);
  host.spawn('dnsmasq', [
    ...[
      '--keep-in-foreground',
      '--no-resolv',
      '--no-hosts',
      '--user=root',
      '--pid-file=',
      '--conf-file=/dev/null',
    ],
    ...['--edns-packet-max=512', `--txt-record=who.test,${name}`, ...large],
  ]);
  await listens(host, 53);
}
