/** The kinds that send a packet, and the script: answers that are good, bad, late, and nobody's. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import * as dns from 'dns-packet';
import { dnsCheck } from '../../../../src/dataplane/host/health/kinds/dns.js';
import { type Echo, Pinger } from '../../../../src/dataplane/host/health/kinds/icmp.js';
import { scriptCheck } from '../../../../src/dataplane/host/health/kinds/script.js';
import { udpCheck } from '../../../../src/dataplane/host/health/kinds/udp.js';
import { ask } from './ask.js';

type Serve = (message: Buffer, answer: (bytes: Uint8Array) => void, from: RemoteInfo) => void;

/** A UDP server for the length of the test. */
async function server(t: ExecutionContext, serve: Serve, address = '127.0.0.1'): Promise<number> {
  const socket: Socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (message, from) =>
    serve(message, (bytes) => socket.send(bytes, from.port, from.address), from),
  );
  socket.bind(0, address);
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return socket.address().port;
}

const closedPort = async (): Promise<number> => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
};

test('udp: silence is good unless a reply is required; a closed port never is', async (t) => {
  const asked: string[] = [];
  const silent = await server(t, (message) => void asked.push(message.toString('hex')));
  const talks = await server(t, (message, answer) => answer(message));
  const lax = udpCheck({ kind: 'udp', payload: 'c0ffee', requireReply: false });
  const strict = udpCheck({ kind: 'udp', payload: '', requireReply: true });
  t.is(await ask(lax, silent, undefined, 150), 'well');
  t.is(await ask(strict, silent, undefined, 150), 'no answer within 150 ms');
  t.deepEqual(asked, ['c0ffee', '']);
  t.is(await ask(lax, talks), 'well');
  t.is(await ask(strict, talks), 'well');
  t.regex(await ask(lax, await closedPort()), /ECONNREFUSED/);
  // What the host itself doesn't send is told as well: a broadcast isn't allowed.
  t.regex(await ask(lax, 9, '255.255.255.255'), /EACCES/);
  t.is(await ask(strict, await server(t, (_, answer) => answer(Buffer.from('x')), '::1'), '::1'), 'well');
});

/** A name server whose answers are made of the query. */
const names = (t: ExecutionContext, make: (query: dns.DecodedPacket, bytes: Buffer) => Uint8Array[]) =>
  server(t, (bytes, answer) => {
    for (const each of make(dns.decode(bytes), bytes)) answer(each);
  });

const reply = (query: dns.DecodedPacket, more: Partial<dns.Packet> & { rcode?: number } = {}): Buffer =>
  dns.encode({
    ...{ type: 'response', id: query.id!, questions: query.questions!, answers: [] },
    ...more,
    flags: more.rcode ?? 0,
  });

test('dns: the answer must be to the question, and say NOERROR', async (t) => {
  const check = dnsCheck({ kind: 'dns', name: 'www.example.', type: 'AAAA' });
  const questions: unknown[] = [];
  const good = await names(t, (query) => {
    questions.push(...query.questions!);
    return [reply(query)];
  });
  t.is(await ask(check, good), 'well');
  t.like(questions[0], { name: 'www.example', type: 'AAAA', class: 'IN' });
  for (const type of ['A', 'AAAA', 'NS', 'CNAME', 'SOA', 'MX', 'TXT', 'SRV', 'PTR']) {
    t.is(await ask(dnsCheck({ kind: 'dns', name: '.', type }), good), 'well', type);
  }
  t.is(await ask(check, await names(t, (query) => [reply(query, { rcode: 3 })])), 'the answer is NXDOMAIN');
  t.is(await ask(check, await names(t, (query) => [reply(query, { rcode: 2 })])), 'the answer is SERVFAIL');
  const formerr = await names(t, (query) => [reply(query, { rcode: 1, questions: [] })]);
  t.is(await ask(check, formerr), 'the answer is FORMERR');
});

test('dns: what answers another question or none is not heard', async (t) => {
  const check = dnsCheck({ kind: 'dns', name: 'www.example', type: 'A' });
  const late = 'no answer within 200 ms';
  const others = await names(t, (query, bytes) => [
    bytes,
    Buffer.from('garbage'),
    reply({ ...query, id: query.id! ^ 1 }, { rcode: 2 }),
    reply(query, { rcode: 2, questions: [{ type: 'A', name: 'www.example.net' }] }),
  ]);
  t.is(await ask(check, others, undefined, 200), late);
  const then = await names(t, (query) => [
    reply({ ...query, id: query.id! ^ 1 }, { rcode: 2 }),
    reply(query, { questions: [{ type: 'A', name: 'WWW.EXAMPLE' }] }),
  ]);
  t.is(await ask(check, then), 'well');
  // Its id is right, what follows isn't: a name that points to itself.
  const malformed = await names(t, (_, bytes) => {
    const made = Buffer.from(bytes.subarray(0, 14));
    made[2] = 0x80;
    made.writeUInt16BE(0xc00c, 12);
    return [made];
  });
  t.is(await ask(check, malformed), 'the answer is malformed');
  t.regex(await ask(check, await closedPort()), /ECONNREFUSED/);
});

test('icmp: replies go to the request with their number; what can not be sent fails at once', async (t) => {
  const sent: number[] = [];
  const make = (): Echo => ({
    listener: undefined,
    open: (family) => (family === 6 ? 'no raw socket' : undefined),
    send(address, size, sequence) {
      t.is(size, 84);
      sent.push(sequence);
      if (address === '10.0.0.1') queueMicrotask(() => this.listener?.answered(sequence));
      if (address === '10.0.0.2') queueMicrotask(() => this.listener?.unsent?.(sequence, 'no route'));
      if (address === '10.0.0.3') queueMicrotask(() => this.listener?.answered(sequence + 1));
    },
    close() {},
  });
  const pinger = new Pinger({ debug() {}, info() {}, warn() {} }, make);
  const words = await Promise.all(
    ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1'].map((address) => ask(pinger.check, 0, address, 100)),
  );
  t.deepEqual(words, ['well', 'no route', 'no answer within 100 ms', 'no ICMP: no raw socket']);
  t.is(new Set(sent).size, 3);
});

const script = (text: string, dynamicWeight = false) =>
  scriptCheck({ kind: 'script', command: ['/bin/sh', '-c', text], dynamicWeight });

test('script: its exit code says how the destination is, and what weight it gets', async (t) => {
  t.is(await ask(script('exit 0'), 80), 'well');
  t.is(await ask(script('echo disk full >&2; exit 1'), 80), 'exit code 1: disk full');
  t.is(await ask(script('exit 12'), 80), 'exit code 12');
  t.is(await ask(script('exit 0', true), 80), 'well');
  t.is(await ask(script('exit 1', true), 80), 'exit code 1');
  t.is(await ask(script('exit 2', true), 80), 'weight 0');
  t.is(await ask(script('exit 255', true), 80), 'weight 253');
  t.is(await ask(script('kill -9 $$', true), 80), 'was ended by SIGKILL');
  const none = scriptCheck({ kind: 'script', command: ['/nowhere/check'], dynamicWeight: false });
  t.regex(await ask(none, 80), /^\/nowhere\/check can't be run: .*ENOENT/);
});

test('script: no shell reads its arguments, and its environment says what to check', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-health-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'said');
  const program = join(folder, 'check');
  writeFileSync(
    program,
    `#!/bin/sh\nprintf '%s\\n' "$1" "$VIADUCT_SERVICE" "$VIADUCT_ADDRESS" "$VIADUCT_PORT" > ${file}\n`,
    { mode: 0o755 },
  );
  const check = scriptCheck({ kind: 'script', command: [program, '$(id); *'], dynamicWeight: false });
  t.is(await ask(check, 8080, 'fd00::2'), 'well');
  t.deepEqual(readFileSync(file, 'utf8').split('\n'), [
    ...['$(id); *', 'tcp://203.0.113.80:80', 'fd00::2', '8080', ''],
  ]);
});

test('script: when its time is over it ends with all that it has started, also if it does not listen', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-health-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'pid');
  // A zombie waits for whoever is process 1, and runs no more.
  const alive = () => {
    const status = `/proc/${readFileSync(file, 'utf8').trim()}/status`;
    return existsSync(status) && !/^State:\s+Z/m.test(readFileSync(status, 'utf8'));
  };
  t.is(
    await ask(script(`sleep 60 & echo $! > ${file}; wait`), 80, undefined, 300),
    'no answer within 300 ms',
  );
  await sleep(100);
  t.false(alive());
  const stubborn = script(`trap '' TERM; sleep 60 & echo $! > ${file}; while :; do wait; done`);
  const began = performance.now();
  t.is(await ask(stubborn, 80, undefined, 300), 'no answer within 300 ms');
  t.true(performance.now() - began < 3000);
  await sleep(100);
  t.false(alive());
});
