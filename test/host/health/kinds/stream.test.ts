/** The kinds that speak over TCP, against servers that are good, bad, slow, and talk garbage. */
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { HealthKind } from '../../../../src/dataplane/config/service-types.js';
import { httpCheck } from '../../../../src/dataplane/host/health/kinds/http.js';
import { smtpCheck } from '../../../../src/dataplane/host/health/kinds/smtp.js';
import { tcp } from '../../../../src/dataplane/host/health/kinds/tcp.js';
import { ask, listening } from './ask.js';
import { CERTIFICATE, KEY } from './certificate.js';

type HttpHealth = Extract<HealthKind, { kind: 'http' | 'https' }>;

const get = (more: Partial<HttpHealth> = {}) =>
  httpCheck({
    ...{ kind: 'http', path: '/', host: null, status: '200-299', digest: null, regex: null },
    ...more,
  });

/** A TCP server for the length of the test, that does this with each connection. */
async function server(t: ExecutionContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const made = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  t.teardown(() => {
    made.close();
    for (const socket of sockets) socket.destroy();
  });
  return listening(made);
}

const closedPort = async (): Promise<number> => {
  const made = createServer();
  const port = await listening(made);
  await new Promise((resolve) => made.close(resolve));
  return port;
};

test('tcp: a connection opens, is refused, or is not answered', async (t) => {
  t.is(await ask(tcp, await server(t, () => {})), 'well');
  t.regex(await ask(tcp, await closedPort()), /ECONNREFUSED/);
  // A documentation address (RFC 5737): nobody answers, or a router says so.
  t.not(await ask(tcp, 80, '192.0.2.1', 300), 'well');
  const six = createServer();
  t.teardown(() => six.close());
  t.is(await ask(tcp, await listening(six, '::1'), '::1'), 'well');
});

async function web(t: ExecutionContext, handler: http.RequestListener, address?: string): Promise<number> {
  const made = http.createServer(handler);
  t.teardown(() => made.closeAllConnections());
  t.teardown(() => made.close());
  return listening(made, address);
}

test('http: the status must be one of those that are good; redirections are not followed', async (t) => {
  const port = await web(t, ({ url }, response) => {
    response.writeHead(Number(url!.slice(1)), { location: '/200' }).end('body');
  });
  t.is(await ask(get({ path: '/204' }), port), 'well');
  t.is(await ask(get({ path: '/503' }), port), 'status 503, not 200-299');
  t.is(await ask(get({ path: '/302' }), port), 'status 302, not 200-299');
  t.is(await ask(get({ path: '/401', status: '200-299, 401' }), port), 'well');
  t.is(await ask(get({ path: '/402', status: '200-299, 401' }), port), 'status 402, not 200-299, 401');
});

test('http: it asks by HTTP/1.1 for the path, with the host that is wanted or the address', async (t) => {
  const port = await web(t, ({ method, url, httpVersion, headers }, response) =>
    response.end(`${method} ${url} ${httpVersion} ${headers.host}`),
  );
  t.is(
    await ask(get({ path: '/a?b=c%20d', host: 'web', regex: '^GET /a\\?b=c%20d 1\\.1 web$' }), port),
    'well',
  );
  t.is(await ask(get({ regex: `127\\.0\\.0\\.1:${port}$` }), port), 'well');
  const six = await web(t, ({ headers }, response) => response.end(headers.host), '::1');
  t.is(await ask(get({ regex: `^\\[::1\\]:${six}$` }), six, '::1'), 'well');
});

test('http: digest and regular expression look at the body, chunked or not', async (t) => {
  const body = 'all is well\n'.repeat(20_000);
  const port = await web(t, ({ url }, response) => {
    if (url === '/chunked')
      for (let i = 0; i < body.length; i += 7000) response.write(body.slice(i, i + 7000));
    response.end(url === '/chunked' ? '' : body);
  });
  const digest = createHash('md5').update(body).digest('hex');
  for (const path of ['/', '/chunked']) {
    t.is(await ask(get({ path, digest, regex: 'is (well|good)' }), port), 'well');
    t.regex(
      await ask(get({ path, digest: digest.replace(/./g, '0') }), port),
      /^digest [0-9a-f]{32}, not 0{32}$/,
    );
    t.is(await ask(get({ path, regex: 'bad' }), port), 'nothing in the body matches bad');
  }
});

test('http: a body that stops, garbage, silence and a closed connection are failures', async (t) => {
  const say = (text: string, end: boolean) =>
    server(t, (socket) => {
      socket.write(text);
      if (end) socket.end();
    });
  t.not(await ask(get(), await say('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort', true)), 'well');
  t.is(
    await ask(get(), await say('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort', false), undefined, 300),
    'no answer within 300 ms',
  );
  t.regex(await ask(get(), await say('SSH-2.0-OpenSSH\r\n', false)), /Parse Error|Expected HTTP/);
  t.regex(await ask(get(), await say('', true)), /socket hang up/);
  t.is(await ask(get(), await server(t, () => {}), undefined, 200), 'no answer within 200 ms');
  t.regex(await ask(get(), await closedPort()), /ECONNREFUSED/);
});

test('https: any certificate will do, and the name goes along', async (t) => {
  const names: unknown[] = [];
  const made = https.createServer({ key: KEY, cert: CERTIFICATE }, (_, response) => response.end('well'));
  made.on('secureConnection', (socket) => names.push(socket.servername || null));
  t.teardown(() => made.closeAllConnections());
  t.teardown(() => made.close());
  const port = await listening(made);
  t.is(await ask(get({ kind: 'https', regex: 'well' }), port), 'well');
  t.is(await ask(get({ kind: 'https', host: 'health.test:8443' }), port), 'well');
  t.deepEqual(names, [null, 'health.test']);
  t.not(await ask(get({ kind: 'https' }), await web(t, (_, response) => response.end())), 'well');
  t.is(
    await ask(get({ kind: 'https' }), await server(t, () => {}), undefined, 200),
    'no answer within 200 ms',
  );
});

/** A mail server of these replies: to the connection, and to each line. */
const mail = (t: ExecutionContext, ...replies: string[]) =>
  server(t, (socket) => {
    const rest = [...replies];
    socket.write(rest.shift() ?? '');
    socket.on('data', (data) => {
      for (const line of String(data).split('\r\n').slice(0, -1)) {
        socket.write((rest.shift() ?? '').replace('%', line));
      }
    });
  });

test('smtp: the dialogue must be had to its end', async (t) => {
  const smtp = smtpCheck('director.test');
  const good = ['220-mail\r\n220 ready\r\n', '250-%\r\n250 at your service\r\n', '221 bye\r\n'];
  t.is(await ask(smtp, await mail(t, ...good)), 'well');
  t.is(await ask(smtp, await mail(t, '220 ready\r\n', '250\r\n', '221\n')), 'well');
  t.is(await ask(smtp, await mail(t, '554 go away\r\n')), "the greeting: '554 go away', not 220");
  t.is(
    await ask(smtp, await mail(t, '220 ready\r\n', '550 %\r\n')),
    "HELO: '550 HELO director.test', not 250",
  );
  t.is(
    await ask(smtp, await mail(t, '220 ready\r\n', '250 ok\r\n', '502 no %\r\n')),
    "QUIT: '502 no QUIT', not 221",
  );
  t.is(await ask(smtp, await mail(t, '\x00\xff\r\n')), "the greeting: '\x00Ã¿', not 220");
  t.is(await ask(smtp, await mail(t, '2'.repeat(5000))), 'a line of more than 4096 bytes');
  t.is(
    await ask(smtp, await mail(t, '220-on\r\n'.repeat(200))),
    'the greeting: a reply of more than 100 lines',
  );
  t.is(
    await ask(smtp, await server(t, (socket) => socket.end('220'))),
    'closed instead of a reply to the greeting',
  );
  t.is(await ask(smtp, await mail(t, '220 ready\r\n'), undefined, 200), 'no answer within 200 ms');
  t.regex(await ask(smtp, await closedPort()), /ECONNREFUSED/);
});
