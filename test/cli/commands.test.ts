/** The command as a shell starts it: what it prints, and the code it exits with. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { listen } from '../../src/cli/socket/place.js';
import { DROPS } from '../../src/dataplane/report.js';
import { PING, scratchFolder, serve } from './fake-dataplane.js';

interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

const MAIN = 'dist/src/cli/main.js';
const environment = { ...process.env, NO_COLOR: '1', VIADUCT_SOCKET: '/nonexistent/viaduct.sock' };

function viaduct(args: string[], env: Record<string, string> = {}, input = ''): Promise<Finished> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      { env: { ...environment, ...env }, timeout: 30_000 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {}).end(input); // it may end without having read it
  });
}

test('a client that nobody answers says what to do and exits with 3', async (t) => {
  for (const args of [['show', 'drops'], ['reload'], ['trace'], ['capture', '-w', '/dev/null']]) {
    const { code, stdout, stderr } = await viaduct(args);
    t.is(code, 3);
    t.is(stdout, '');
    t.regex(
      stderr,
      /^viaduct: No data plane answers at \/nonexistent\/viaduct\.sock; start one with .*--socket or VIADUCT_SOCKET\.\n$/,
    );
  }
});

test('wrong usage exits with 2', async (t) => {
  const { file } = await serve(t);
  const wrong = [
    [],
    ['nothing'],
    ['show'],
    ['show', 'nothing'],
    ['show', 'drops', '--colour'],
    ['show', 'drops', '--watch', 'soon'],
    ['capture'],
    ['trace', '--count', '0'],
    ['dataplane'],
    ['dataplane', '--config', file, '--log-level', 'loud'],
    ['dataplane', '--config', file, '--offload', 'tso=maybe'],
    ['dataplane', '--config', file, '--offload', 'lro=off'],
    ['dataplane', '--config', file, '--underlay-device', 'carrier-pigeon'],
  ];
  const codes = await Promise.all(wrong.map(async (args) => [args.join(' '), (await viaduct(args)).code]));
  t.deepEqual(
    codes,
    wrong.map((args) => [args.join(' '), 2]),
  );
});

test('help and version exit with 0', async (t) => {
  t.regex((await viaduct(['--help'])).stdout, /^Usage: viaduct /);
  t.regex((await viaduct(['show', '--help'])).stdout, /networks/);
  const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
  t.is((await viaduct(['version'])).stdout, `${version}\n`);
  t.is((await viaduct(['--version'])).stdout, `${version}\n`);
});

test('a valid file passes the check, a faulty one is refused with every fault', async (t) => {
  t.deepEqual(await viaduct(['check', 'examples/minimal.yaml']), {
    code: 0,
    stdout: 'examples/minimal.yaml is valid (networks: 1, endpoints: 1, remotes: 1)\n',
    stderr: '',
  });
  const file = join(await scratchFolder(t), 'faulty.yaml');
  await writeFile(file, 'networks: [{ name: a, vni: 0 }]\n');
  t.deepEqual(await viaduct(['check', file]), {
    code: 1,
    stdout: '',
    stderr:
      `viaduct: ${file} is not a valid configuration:\n` +
      '  networks[0].vni: must be 1..16777215, got 0\n' +
      '  underlay: is required where there are networks\n',
  });
});

test('a file that can not be read is called that, by every command, and not an invalid configuration', async (t) => {
  const { socket, file, folder, dataplane } = await serve(t);
  const absent = join(folder, 'absent.yaml');
  const said = new Map([
    [
      absent,
      `${absent} can't be read: there is no such file; check the path, or begin with a copy of examples/minimal.yaml`,
    ],
    [folder, `${folder} can't be read: it is a folder; name the file in it`],
  ]);
  for (const [path, sentence] of said) {
    const refused = { code: 1, stdout: '', stderr: `viaduct: ${sentence}\n` };
    t.deepEqual(await viaduct(['check', path]), refused);
    t.deepEqual(await viaduct(['apply', path, '--socket', socket]), refused);
    const started = await viaduct(['dataplane', '--config', path, '--socket', join(folder, 'other.sock')]);
    t.is(started.code, 1);
    const { file: named, reason, message } = JSON.parse(started.stderr) as Record<string, string>;
    t.is(message, 'configuration not read');
    t.is(`${named} can't be read: ${reason}`, sentence);
  }
  await rm(file);
  t.regex(
    (await viaduct(['reload', '--socket', socket])).stderr,
    /^viaduct: .*can't be read: there is no such/,
  );
  t.is(dataplane.applied.length, 1);
});

test('apply and check read stdin where the file is a dash', async (t) => {
  const { socket, dataplane } = await serve(t);
  const input = 'underlay: { address: 10.0.0.9 }\n';
  const checked = await viaduct(['check', '-'], {}, input);
  t.deepEqual(checked, {
    code: 0,
    stdout: 'stdin is valid (networks: 0, endpoints: 0, remotes: 0)\n',
    stderr: '',
  });
  t.regex(
    (await viaduct(['check', '-'], {}, '{}')).stderr,
    /^viaduct: stdin is not a valid configuration:\n/,
  );
  t.is((await viaduct(['apply', '-', '--socket', socket], {}, input)).code, 0);
  t.deepEqual(dataplane.applied[1]!.underlay!.address, ['10.0.0.9']);
  const faulty = await viaduct(['apply', '-', '--socket', socket], {}, 'networks: [');
  t.is(faulty.code, 1);
  t.regex(faulty.stderr, /^viaduct: stdin is not a valid configuration:\n/);
  const started = await viaduct(['dataplane', '--config', '-'], {}, input);
  t.is(started.code, 2);
  t.regex(started.stderr, /can't be stdin; name a file\n$/);
});

test('the demo where its programs are missing names their packages and the command, before it makes anything', async (t) => {
  const folder = await scratchFolder(t);
  const sh = ['#!/bin/sh', ''].join('\n');
  for (const name of ['ip', 'sysctl', 'apt-get']) await writeFile(join(folder, name), sh, { mode: 0o755 });
  const { code, stdout, stderr } = await viaduct(['demo', '--json'], { PATH: folder });
  t.deepEqual([code, stdout], [1, '']);
  t.regex(
    stderr,
    /^viaduct demo: ping and iperf3 are not installed; run: (sudo )?apt-get install iputils-ping iperf3\n$/,
  );
});

test('the schema is JSON', async (t) => {
  const { code, stdout } = await viaduct(['schema']);
  t.is(code, 0);
  t.like(JSON.parse(stdout), { type: 'object', additionalProperties: false });
});

test('show finds the socket by --socket and by VIADUCT_SOCKET', async (t) => {
  const { socket } = await serve(t);
  const byOption = await viaduct(['show', 'networks', '--socket', socket]);
  t.regex(byOption.stdout, /^NETWORK +VNI/);
  t.deepEqual(await viaduct(['show', 'networks'], { VIADUCT_SOCKET: socket }), byOption);
});

test('show drops as JSON has every reason and its count', async (t) => {
  const { socket, dataplane } = await serve(t);
  const { stdout } = await viaduct(['show', 'drops', '--json', '--socket', socket]);
  const drops = JSON.parse(stdout) as Record<string, number>;
  t.deepEqual(drops, dataplane.drops());
  t.is(Object.keys(drops).length, DROPS.length);
  const table = await viaduct(['show', 'drops', '--socket', socket]);
  t.is(table.stdout.split('\n').length, 3);
  const all = await viaduct(['show', 'drops', '--all', '--socket', socket]);
  t.is(all.stdout.split('\n').length, DROPS.length + 2);
});

test('show --watch shows the table again and again', async (t) => {
  const { socket } = await serve(t);
  const args = [MAIN, 'show', 'counters', '--json', '--watch', '0.1', '--socket', socket];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.split('\n').length > 3) child.kill();
  });
  await once(child, 'exit');
  for (const line of text.trimEnd().split('\n')) t.is((JSON.parse(line) as { turns: number }).turns, 10);
});

test('apply and reload say what they did', async (t) => {
  const { socket, dataplane, file } = await serve(t);
  const done = 'in 4 ms: networks +1 -0 ~0, endpoints +2 -0, fdb +3 -0\n';
  t.deepEqual(await viaduct(['apply', 'examples/minimal.yaml', '--socket', socket]), {
    code: 0,
    stdout: `generation 2 ${done}`,
    stderr: '',
  });
  t.is(dataplane.applied[1]!.networks[0]!.vni, 4097);
  await writeFile(file, '{"underlay": {"address": "10.0.0.5"}}');
  t.is((await viaduct(['reload', '--socket', socket])).stdout, `generation 3 ${done}`);
  t.deepEqual(dataplane.applied[2]!.underlay!.address, ['10.0.0.5']);

  await writeFile(file, '{"underlay": {"address": "10.0.0.5", "port": 0}}');
  const faulty = `${file} is not a valid configuration:\n  underlay.port: must be 1..65535, got 0\n`;
  t.is((await viaduct(['apply', file, '--socket', socket])).stderr, `viaduct: ${faulty}`);
  const refused = await viaduct(['reload', '--socket', socket]);
  t.is(refused.code, 1);
  t.is(refused.stderr, `viaduct: ${faulty}`);
  dataplane.refuse = 'no namespace ctr-a';
  t.deepEqual(await viaduct(['apply', 'examples/minimal.yaml', '--socket', socket]), {
    code: 1,
    stdout: '',
    stderr: 'viaduct: no namespace ctr-a\n',
  });
});

test('trace prints a line for each hop of so many packets', async (t) => {
  const { socket, dataplane } = await serve(t);
  const event = { packet: 1, time: 1.5, detail: 'eth0', frame: PING, length: 42 };
  dataplane.events = [
    { ...event, hop: 'tap.receive' },
    { ...event, hop: 'drop', detail: 'too-big' },
    { ...event, packet: 2, hop: 'tap.receive' },
  ];
  const { code, stdout } = await viaduct(['trace', 'icmp', 'or', 'arp', '--count', '1', '--socket', socket]);
  t.is(code, 0);
  t.is(stdout.trimEnd().split('\n').length, 2);
  t.regex(stdout, /^00:00:01\.500000 #1 +tap\.receive +eth0 .*echo request, 42 bytes$/m);
  t.regex(stdout, /^00:00:01\.500000 #1 +drop +too-big /m);
  const json = await viaduct(['trace', '--json', '--count', '1', '--socket', socket]);
  t.like(JSON.parse(json.stdout.split('\n')[0]!), { hop: 'tap.receive', frame: PING.toString('hex') });
});

test('a filter that is wrong ends a trace with 1 and the reason', async (t) => {
  const { socket } = await serve(t);
  const wrong = await viaduct(['trace', 'tcp', 'prt', '80', '--socket', socket]);
  t.is(wrong.code, 1);
  t.regex(wrong.stderr, /^viaduct: The filter 'tcp prt 80' is not valid: can't parse filter expression/);
});

test('capture writes a file that opens, also when it is interrupted', async (t) => {
  const { socket, dataplane, folder } = await serve(t);
  dataplane.frames = [1, 2, 3].map((time) => ({ time, frame: PING, length: PING.length }));
  const file = join(folder, 'out.pcap');
  const counted = await viaduct(['capture', '-w', file, 'icmp', '--count', '2', '--socket', socket]);
  t.is(counted.code, 0);
  t.regex(counted.stderr, /2 frames captured\n$/);
  t.is((await readFile(file)).length, 24 + 2 * (16 + PING.length));

  const args = [MAIN, 'capture', '-w', '-', '--snaplen', '64', '--socket', socket];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    if (Buffer.concat(chunks).length >= 24 + 3 * (16 + PING.length)) child.kill('SIGINT');
  });
  const [code] = (await once(child, 'exit')) as [number];
  t.is(code, 0);
  t.is(Buffer.concat(chunks).readUInt32LE(16), 64);
  t.is(dataplane.watched[1]!.snapLength, 64);
});

test('what a capture or trace missed is said at its end, on stderr or as JSON', async (t) => {
  const { socket, dataplane } = await serve(t);
  dataplane.frames = [{ time: 1, frame: PING, length: PING.length }];
  dataplane.events = [{ packet: 1, time: 1, hop: 'tap.receive', detail: '', frame: PING, length: 42 }];
  const capture = ['capture', '-w', '/dev/null', '--count', '1', '--socket', socket];
  const trace = ['trace', '--count', '1', '--socket', socket];
  t.notRegex((await viaduct(capture)).stderr, /lost/);
  t.deepEqual(JSON.parse((await viaduct([...capture, '--json'])).stdout), { frames: 1, lost: 0 });
  t.notRegex((await viaduct([...trace, '--json'])).stdout, /lost/);

  dataplane.lost = 3;
  t.regex(
    (await viaduct(capture)).stderr,
    /1 frames captured\n3 records were lost; .*--snaplen\) let it keep up\n$/,
  );
  const json = await viaduct([...capture, '--json']);
  t.deepEqual([JSON.parse(json.stdout), json.stderr], [{ frames: 1, lost: 3 }, '']);
  const piped = await viaduct(['capture', '-w', '-', '--count', '1', '--json', '--socket', socket]);
  t.deepEqual(JSON.parse(piped.stderr), { frames: 1, lost: 3 });
  t.regex((await viaduct(trace)).stderr, /3 records were lost; /);
  const lines = (await viaduct([...trace, '--json'])).stdout.trimEnd().split('\n');
  t.deepEqual([lines.length, JSON.parse(lines[1]!)], [2, { lost: 3 }]);
});

test('a capture that is interrupted says what it missed as well', async (t) => {
  const { socket, dataplane, folder } = await serve(t);
  dataplane.frames = [{ time: 1, frame: PING, length: PING.length }];
  dataplane.lost = 5;
  const args = [MAIN, 'capture', '-w', join(folder, 'out.pcap'), '--socket', socket];
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'], env: environment });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.endsWith('Ctrl-C ends it\n')) child.kill(signal);
    });
    const [code] = (await once(child, 'close')) as [number];
    t.is(code, 0);
    t.regex(text, /\n1 frames captured\n5 records were lost; /);
    t.is(dataplane.watchers, 0);
  }
});

test('an interrupted capture waits for no data plane that says nothing, and a second signal ends it at once', async (t) => {
  const socket = join(await scratchFolder(t), 'dataplane.sock');
  const server = createServer((_, response) => void response.write(' '));
  await listen(server, socket);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const args = [MAIN, 'capture', '-w', '/dev/null', '--socket', socket];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'], env: environment });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (!text.endsWith('Ctrl-C ends it\n')) return;
    child.kill('SIGINT');
    setTimeout(() => child.kill('SIGINT'), 300);
  });
  const [code] = (await once(child, 'close')) as [number];
  t.is(code, 0);
  t.regex(text, /\n0 frames captured\nhow many records were lost the data plane did not say\n$/);
});

test('capture into a folder that is not there fails before it begins', async (t) => {
  const { socket } = await serve(t);
  const { code, stderr } = await viaduct(['capture', '-w', '/nonexistent/x.pcap', '--socket', socket]);
  t.is(code, 1);
  t.regex(stderr, /\/nonexistent\/x\.pcap can't be written: ENOENT/);
});

test('capture onto a full disk says so', async (t) => {
  const { socket, dataplane } = await serve(t);
  dataplane.frames = [{ time: 1, frame: PING, length: PING.length }];
  const { code, stderr } = await viaduct(['capture', '-w', '/dev/full', '--socket', socket]);
  t.is(code, 1);
  t.regex(stderr, /^viaduct: \/dev\/full can't be written: ENOSPC.*\n$/m);
});

test('a trace whose data plane dies says so', async (t) => {
  const socket = join(await scratchFolder(t), 'dataplane.sock');
  const server = createServer((_, response) => {
    response.write(' ', () => response.destroy());
  });
  await listen(server, socket);
  t.teardown(() => server.close());
  const { code, stderr } = await viaduct(['trace', '--json', '--socket', socket]);
  t.is(code, 1);
  t.regex(stderr, /^viaduct: The data plane at .* ended without a farewell\.\n$/);
});

test('doctor names each thing with a verdict, and the underlay', async (t) => {
  const { stdout } = await viaduct(['doctor', '--json']);
  const { checks, underlay } = JSON.parse(stdout) as {
    checks: { name: string; status: string; fix: string }[];
    underlay: string;
  };
  t.true(['tunnel', 'udp', 'dgram'].includes(underlay));
  t.true(checks.length >= 12);
  for (const { status } of checks) t.true(['ok', 'warn', 'missing'].includes(status));
  t.like(
    checks.find(({ name }) => name === 'Node'),
    { status: 'ok', fix: '' },
  );
});

test('doctor without the addon says how to get it, and exits with 1', async (t) => {
  const { code, stdout } = await viaduct(['doctor'], { VIADUCT_ADDON: '/nonexistent.node' });
  t.is(code, 1);
  t.regex(stdout, /^missing +native addon .*has not been built; run: make -C /m);
  t.regex(stdout, /^ +→ apt-get install make gcc libc6-dev && make -C .*\/native$/m);
  t.regex(stdout, /The underlay would be: dgram\n$/);
});

test('doctor where tcpdump is not on the path says how to get it', async (t) => {
  const folder = await scratchFolder(t);
  const { stdout } = await viaduct(['doctor', '--json'], { PATH: folder });
  const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string; fix: string }[] };
  t.like(
    checks.find(({ name }) => name === 'tcpdump'),
    { status: 'warn', fix: 'apt-get install tcpdump' },
  );
});
