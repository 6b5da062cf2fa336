/** Programs that people use, through a director to real servers: Redis, PostgreSQL, HTTP/2 over TLS, DNS, SIP. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import {
  addressOf,
  at,
  type Directed,
  FAMILIES,
  type Family,
  nothingDropped,
  type Services,
  service,
  VIRTUAL,
} from './world/directed.js';
import { place } from './world/director-place.js';
import { labTest } from './world/needs.js';
import { scratch } from './world/plane.js';
import { dns, https, listens, postgres, redis } from './world/services.js';

const MIB = 20;

const services = (protocol: 'tcp' | 'udp', port: number, servers = [1, 2]): Services =>
  FAMILIES.map((family) => service(`${protocol}://${at(VIRTUAL[family], port)}`, family, servers, port));

/** No packet was dropped, and the servers saw the client itself. */
async function clean(t: ExecutionContext, { plane }: Directed): Promise<void> {
  await nothingDropped(t, plane);
  const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
  t.true(rows.length > 0);
  t.true(rows.every(({ source }) => source.startsWith('10.0.0.2:') || source.startsWith('[fd00::2]:')));
}

labTest('redis-cli, redis-benchmark', ['redis-server', 'redis-cli'], async (t, lab) => {
  const where = await place(lab, services('tcp', 6379, [1]));
  await redis(where.servers[0]!);
  for (const family of FAMILIES) {
    const cli = (...args: string[]) => where.client.run('redis-cli', ['-h', VIRTUAL[family], ...args]);
    t.is((await cli('PING')).stdout, 'PONG\n');
    await cli('SET', 'name', `IPv${family}`);
    t.is((await cli('GET', 'name')).stdout, `IPv${family}\n`);
    const info = (await cli('CLIENT', 'LIST')).stdout;
    t.true(info.includes(`addr=${at(addressOf(0, family), 0).replace(/0$/, '')}`), info);
    const bench = ['-h', VIRTUAL[family], '-n', '3000', '-c', '20', '-d', '20000', '-q', '-t', 'set,get'];
    const { stdout } = await where.client.run('redis-benchmark', bench);
    t.is(stdout.match(/requests per second/g)?.length, 2, stdout);
  }
  await clean(t, where);
});

labTest('psql, and megabytes of rows both ways', ['psql', 'setpriv'], async (t, lab) => {
  const where = await place(lab, services('tcp', 5432, [1]));
  await postgres(where.servers[0]!);
  for (const family of FAMILIES) {
    const psql = (...args: string[]) =>
      where.client.run('psql', ['-h', VIRTUAL[family], '-U', 'postgres', '-XAtq', ...args], {
        timeoutMs: 60_000,
      });
    t.is((await psql('-c', 'select host(inet_client_addr())')).stdout.trim(), addressOf(0, family));
    const rows = 'select i, repeat(md5(i::text), 30) from generate_series(1, 10000) i';
    await psql('-c', `drop table if exists t; create table t(i int, text text)`);
    const file = join(scratch, `${where.client.netns}-rows-${family}`);
    await psql('-c', `\\copy (${rows}) to '${file}'`);
    await psql('-c', `\\copy t from '${file}'`);
    const sums = `select md5(string_agg(text, '' order by i)) from`;
    const { stdout } = await psql('-c', `${sums} t`, '-c', `${sums} (${rows}) as r(i, text)`);
    const [stored, made] = stdout.trim().split('\n');
    t.is(stored, made);
    t.is(stored?.length, 32);
  }
  await clean(t, where);
});

labTest('curl with HTTP/2 over TLS', ['nginx', 'curl', 'openssl'], async (t, lab) => {
  const where = await place(lab, services('tcp', 443));
  const sums = new Set<string>();
  for (const server of where.servers) {
    await https(server, MIB);
    const body = await readFile(join(scratch, `${server.netns}-https`, 'body'));
    sums.add(createHash('sha256').update(body).digest('hex'));
  }
  const seen = new Set<string>();
  for (const family of FAMILIES) {
    for (let turn = 0; turn < 2; turn++) {
      const url = `https://${at(VIRTUAL[family], 443)}/body`;
      const form = 'curl -sk --http2 -w "%{stderr}%{http_version} %{remote_ip}" "$0" | sha256sum';
      const { stdout, stderr } = await where.client.run('sh', ['-c', form, url]);
      t.is(stderr, `2 ${VIRTUAL[family]}`);
      seen.add(stdout.split(' ')[0]!);
    }
    // Several requests at once in one connection.
    const urls = Array.from({ length: 4 }, () => [
      '-o',
      '/dev/null',
      `https://${at(VIRTUAL[family], 443)}/body`,
    ]);
    const format = ['-w', '%{size_download}\n'];
    const { stdout } = await where.client.run('curl', ['-skZ', '--http2', ...format, ...urls.flat()]);
    t.deepEqual(stdout.trim().split('\n'), Array(4).fill(String(MIB << 20)));
  }
  t.deepEqual(seen, sums);
  await clean(t, where);
});

labTest('dig over UDP and TCP, answers that are cut short among them', ['dnsmasq', 'dig'], async (t, lab) => {
  const where = await place(lab, [...services('udp', 53), ...services('tcp', 53)]);
  for (const [i, server] of where.servers.entries()) await dns(server, `s${i + 1}`);
  for (const family of FAMILIES) {
    const dig = async (...args: string[]) =>
      (await where.client.run('dig', [`@${VIRTUAL[family]}`, '+short', '+tries=1', '+time=3', ...args]))
        .stdout;
    for (const how of ['+notcp', '+tcp']) {
      const answers = [await dig(how, 'who.test', 'TXT'), await dig(how, 'who.test', 'TXT')].sort();
      t.deepEqual(answers, ['"s1"\n', '"s2"\n'], how);
    }
    // A datagram doesn't hold it: dig asks again over TCP.
    const all = (await dig('+bufsize=512', 'large.test', 'A')).trim().split('\n').sort();
    t.is(all.length, 60);
  }
  await clean(t, where);
});

/** One call of SIPp's built-in scenario: INVITE, 100, 180, 200, ACK, BYE, 200. */
async function calls(t: ExecutionContext, { client, servers }: Directed, family: Family): Promise<void> {
  const own = addressOf(0, family);
  const listening = servers.map((server, i) =>
    server.spawn('sipp', [
      '-sn',
      'uas',
      '-i',
      addressOf(i + 1, family),
      '-p',
      '5060',
      '-nostdin',
      '-trace_err',
    ]),
  );
  for (const child of listening) for (const stream of [child.stdout, child.stderr]) stream?.resume();
  for (const server of servers) await listens(server, 5060, 'udp');
  const caller = ['-sn', 'uac', '-i', own, '-p', '5070', '-m', '50', '-r', '50', '-d', '100', '-nostdin'];
  const { code, stdout } = await client.run(
    'sipp',
    [...caller, '-timeout', '20s', at(VIRTUAL[family], 5060)],
    {
      check: false,
    },
  );
  t.is(code, 0, stdout.slice(-3000));
  t.regex(stdout, /Successful call\s+\|\s+\d+\s+\|\s+50/);
  for (const child of listening) child.kill('SIGKILL');
}

labTest('sipp: calls over UDP', ['sipp'], async (t, lab) => {
  const where = await place(lab, services('udp', 5060));
  for (const family of FAMILIES) await calls(t, where, family);
  await clean(t, where);
});
