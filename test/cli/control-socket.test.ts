/** The control socket as a real HTTP client meets it. */
import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { open } from '../../src/cli/socket/client.js';
import { DROPS } from '../../src/dataplane/report.js';
import { PING, serve } from './fake-dataplane.js';

interface Answer {
  status: number;
  type: string;
  text: string;
}

function call(socketPath: string, method: string, path: string, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          text,
        }),
      );
    });
    sent.on('error', reject).end(body);
  });
}

async function get<T>(socket: string, path: string): Promise<T> {
  return JSON.parse((await call(socket, 'GET', path)).text) as T;
}

interface Refused {
  error: { code: string; message: string; faults?: string[] };
}

test('each table is there as JSON', async (t) => {
  const { socket, dataplane } = await serve(t);
  t.deepEqual(await get(socket, '/v1/networks'), dataplane.networks());
  t.deepEqual(await get(socket, '/v1/endpoints'), dataplane.endpoints());
  t.deepEqual(await get(socket, '/v1/fdb'), dataplane.fdb());
  t.deepEqual(await get(socket, '/v1/neighbours'), dataplane.neighbours());
  t.deepEqual(await get(socket, '/v1/vteps'), dataplane.vteps());
  t.deepEqual(await get(socket, '/v1/counters'), dataplane.counters());
  t.deepEqual(await get(socket, '/v1/stats'), dataplane.stats());
  t.is((await call(socket, 'GET', '/v1/stats')).type, 'application/json');
});

test('drops are an object of every reason and its count', async (t) => {
  const { socket } = await serve(t);
  const drops = await get<Record<string, number>>(socket, '/v1/drops');
  t.deepEqual(
    Object.keys(drops),
    DROPS.map(([reason]) => reason),
  );
  t.is(drops['too-big'], 7);
});

test('curl speaks to it', async (t) => {
  const { socket } = await serve(t);
  const text = await new Promise<string>((resolve) => {
    execFile('curl', ['-s', '--unix-socket', socket, 'http://localhost/v1/networks'], (_, out) =>
      resolve(out),
    );
  });
  t.is((JSON.parse(text) as { vni: number }[])[0]!.vni, 4097);
});

test('the socket may be opened by its owner only', async (t) => {
  const { socket } = await serve(t);
  t.is((await stat(socket)).mode & 0o777, 0o600);
});

test('a configuration that is sent is applied, and the running one can be read back and sent again', async (t) => {
  const { socket, dataplane } = await serve(t);
  const sent = 'underlay: { address: 10.0.0.9 }\nnetworks: [{ name: blue, vni: 5 }]\n';
  const answer = await call(socket, 'PUT', '/v1/config', sent);
  t.is(answer.status, 200);
  t.like(JSON.parse(answer.text), { generation: 2, changed: true });
  t.deepEqual(dataplane.applied[1]!.underlay!.address, ['10.0.0.9']);

  const running = (await call(socket, 'GET', '/v1/config')).text;
  t.deepEqual(JSON.parse(running), dataplane.applied[1]);
  t.is((await call(socket, 'PUT', '/v1/config', running)).status, 200);
  t.deepEqual(dataplane.applied[2], dataplane.applied[1]);
});

test('a faulty configuration is refused with every fault, and the old one goes on', async (t) => {
  const { socket, dataplane } = await serve(t);
  const answer = await call(socket, 'PUT', '/v1/config', '{"networks": [{"name": "a", "vni": 0}]}');
  t.is(answer.status, 400);
  const { error } = JSON.parse(answer.text) as Refused;
  t.is(error.code, 'CONFIG_INVALID');
  t.deepEqual(error.faults, [
    'networks[0].vni: must be 1..16777215, got 0',
    'underlay: is required where there are networks',
  ]);
  t.is(dataplane.applied.length, 1);
});

test('a configuration that the host cannot have is refused with the reason', async (t) => {
  const { socket, dataplane, running } = await serve(t);
  dataplane.refuse = 'no namespace ctr-a';
  const answer = await call(socket, 'PUT', '/v1/config', '{"underlay": {"address": "10.0.0.9"}}');
  t.is(answer.status, 409);
  t.deepEqual(JSON.parse(answer.text), { error: { code: 'APPLY_FAILED', message: 'no namespace ctr-a' } });
  t.deepEqual(running.config, dataplane.applied[0]!);
});

test('a reload reads the file again', async (t) => {
  const { socket, dataplane, file } = await serve(t);
  await writeFile(file, '{"underlay": {"address": "10.0.0.7"}}');
  t.is((await call(socket, 'POST', '/v1/reload')).status, 200);
  t.deepEqual(dataplane.applied[1]!.underlay!.address, ['10.0.0.7']);
  await writeFile(file, '{"underlay": 1}');
  t.is((await call(socket, 'POST', '/v1/reload')).status, 400);
  t.is(dataplane.applied.length, 2);
});

test('what there is not is answered with 404 and what there is', async (t) => {
  const { socket } = await serve(t);
  const answer = await call(socket, 'GET', '/v1/nothing');
  t.is(answer.status, 404);
  const { error } = JSON.parse(answer.text) as Refused;
  t.is(error.code, 'NOT_FOUND');
  t.regex(error.message, /\/v1\/networks/);
  const wrong = await call(socket, 'DELETE', '/v1/config');
  t.is(wrong.status, 405);
  t.regex(wrong.text, /GET or PUT/);
});

test('a trace is a JSON line for each hop, and ends with the packets asked for', async (t) => {
  const { socket, dataplane } = await serve(t);
  const event = { time: 1.5, detail: 'eth0', frame: PING, length: 42 };
  dataplane.events = [
    { ...event, packet: 1, hop: 'tap.receive' },
    { ...event, packet: 2, hop: 'tap.receive' },
    { ...event, packet: 1, hop: 'underlay.transmit' },
    { ...event, packet: 3, hop: 'tap.receive' },
    { ...event, packet: 2, hop: 'drop' },
  ];
  const answer = await call(socket, 'GET', '/v1/trace?count=2&filter=icmp');
  t.is(answer.type, 'application/x-ndjson');
  const lines = answer.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { packet: number; hop: string });
  t.deepEqual(
    lines.map(({ packet, hop }) => `${packet} ${hop}`),
    ['1 tap.receive', '2 tap.receive', '1 underlay.transmit', '2 drop'],
  );
  t.like(lines[0], { frame: PING.toString('hex'), length: 42 });
  t.true(dataplane.watched[0]!.filter.length > 0, 'the filter was compiled');
  t.is(dataplane.watchers, 0);
});

test('a watcher that hangs up is no longer watched for', async (t) => {
  const { socket, dataplane } = await serve(t);
  const response = await open(socket, '/v1/trace');
  t.is(dataplane.watchers, 1);
  response.destroy();
  for (let i = 0; i < 100 && dataplane.watchers > 0; i++) await sleep(10);
  t.is(dataplane.watchers, 0);
});

test('a filter that is wrong is refused in the words of tcpdump', async (t) => {
  const { socket } = await serve(t);
  const answer = await call(socket, 'GET', '/v1/trace?filter=tcp+prt+80');
  t.is(answer.status, 400);
  const { error } = JSON.parse(answer.text) as Refused;
  t.is(error.code, 'FILTER_INVALID');
  t.regex(error.message, /'tcp prt 80' is not valid: .*syntax error/);
});

test('a capture is a pcap file that tcpdump reads', async (t) => {
  const { socket, dataplane, folder } = await serve(t);
  dataplane.frames = [
    { time: 1_700_000_000.000001, frame: PING, length: PING.length },
    { time: 1_700_000_001.25, frame: PING.subarray(0, 34), length: PING.length },
  ];
  const file = join(folder, 'out.pcap');
  const response = await open(socket, '/v1/capture', { query: { count: '2' } });
  t.is(response.headers['content-type'], 'application/vnd.tcpdump.pcap');
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  await writeFile(file, Buffer.concat(chunks));
  t.is((await readFile(file)).length, 24 + 16 + 42 + 16 + 34);
  const { out, notes } = await new Promise<{ out: string; notes: string }>((resolve) => {
    execFile('tcpdump', ['-nn', '-tt', '-r', file], (_, out, notes) => resolve({ out, notes }));
  });
  t.regex(notes, /EN10MB/);
  t.regex(out, /^1700000000\.000001 IP 10\.10\.0\.2 > 10\.10\.0\.3: ICMP echo request/);
  t.regex(out, /\n1700000001\.250000 IP /);
});

test('what a capture missed is logged once, when it ends', async (t) => {
  const { socket, dataplane, logged } = await serve(t);
  dataplane.frames = [{ time: 1, frame: PING, length: PING.length }];
  await call(socket, 'GET', '/v1/capture?count=1');
  t.deepEqual(logged, []);
  dataplane.lost = 3;
  await call(socket, 'GET', '/v1/capture?count=1');
  t.like(logged, [{ lost: 3 }]);
});

test('who sends a body gets the rest and what was missed when the body ends, however few were asked for', async (t) => {
  const { socket, dataplane } = await serve(t);
  dataplane.frames = [{ time: 1, frame: PING, length: PING.length }];
  dataplane.lost = 7;
  for (const path of ['/v1/capture', '/v1/trace']) {
    const enough = new AbortController();
    const response = await open(socket, path, { until: enough.signal });
    t.is(dataplane.watchers, 1);
    enough.abort();
    for await (const _ of response as AsyncIterable<Buffer>);
    t.is(response.trailers['viaduct-lost'], '7');
    t.is(dataplane.watchers, 0);
  }
});

test('a reader that is slow again and again costs no listeners', async (t) => {
  const { socket, dataplane } = await serve(t);
  const frame = Buffer.alloc(60_000);
  dataplane.frames = Array.from({ length: 100 }, () => ({ time: 1, frame, length: frame.length }));
  const warnings: string[] = [];
  const heard = (warning: Error) => void warnings.push(warning.name);
  process.on('warning', heard);
  t.teardown(() => void process.off('warning', heard));
  await call(socket, 'GET', '/v1/capture?count=100');
  await sleep(10);
  t.deepEqual(warnings, []);
});

test('nonsense in a count is refused', async (t) => {
  const { socket } = await serve(t);
  t.is((await call(socket, 'GET', '/v1/capture?count=0')).status, 400);
  t.is((await call(socket, 'GET', '/v1/capture?snaplen=1e3')).status, 400);
});
