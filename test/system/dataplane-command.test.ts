/** `viaduct dataplane` from its start to its end, as root: readiness, reloading, signals, the socket. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Host, Lab, run } from '../../src/cli/lab/lab.js';
import { ask } from '../../src/cli/socket/client.js';
import { answers } from '../../src/cli/socket/place.js';
import type { NetworkRow, Stats } from '../../src/dataplane/report.js';

const rootTest = process.getuid?.() === 0 ? test.serial : test.serial.skip;

const MAIN = 'dist/src/cli/main.js';

interface Line {
  level: string;
  message: string;
  [field: string]: unknown;
}

interface Started {
  child: ChildProcess;
  socket: string;
  file: string;
  /** the log so far */
  lines: Line[];
  stderr: string;
  /** waits for a line of the log, from the numbered one on */
  logged(message: string, from?: number): Promise<Line>;
}

interface Place {
  host: Host;
  workload: Host;
  folder: string;
}

async function makePlace(t: ExecutionContext): Promise<Place> {
  const lab = new Lab();
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-test-'));
  t.teardown(async () => {
    await lab.remove();
    await rm(folder, { recursive: true, force: true });
  });
  const host = await lab.host('h');
  const peer = await lab.host('p');
  const workload = await lab.host('w');
  await lab.link({ host, name: 'eth0', addresses: ['10.0.0.1/24'] }, { host: peer, name: 'eth0' });
  return { host, workload, folder };
}

function config({ workload }: Place, vni: number): object {
  const addresses = ['10.10.0.2/24', 'fd00:10::2/64'];
  const endpoint = { netns: workload.netns, interface: 'eth0', addresses };
  return {
    underlay: { address: '10.0.0.1' },
    networks: [{ name: 'blue', vni, vteps: ['10.0.0.2'], endpoints: [endpoint] }],
  };
}

async function start(
  t: ExecutionContext,
  { host, folder }: Place,
  wanted: object,
  ...more: string[]
): Promise<Started> {
  const file = join(folder, 'config.json');
  const socket = join(folder, 'run', 'dataplane.sock');
  await writeFile(file, JSON.stringify(wanted));
  const args = [MAIN, 'dataplane', '--config', file, '--socket', socket, ...more];
  const child = host.spawn(process.execPath, args);
  async function logged(message: string, from = 0): Promise<Line> {
    for (let i = 0; i < 400; i++) {
      const found = started.lines.slice(from).find((line) => line.message === message);
      if (found !== undefined) return found;
      await sleep(25);
    }
    throw new Error(`no '${message}' in the log:\n${started.stderr}`);
  }
  const started: Started = { child, socket, file, lines: [], stderr: '', logged };
  t.teardown(() => child.kill('SIGKILL'));
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    started.stderr += text;
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    started.lines.push(
      ...lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line),
    );
  });
  return started;
}

async function exitCode({ child }: Started): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  return child.exitCode;
}

function end(started: Started, signal: NodeJS.Signals): Promise<number | null> {
  started.child.kill(signal);
  return exitCode(started);
}

const vni = async (socket: string) => (await ask<NetworkRow[]>(socket, '/v1/networks'))[0]!.vni;

rootTest(
  'it is ready when the interface is up with its addresses, and SIGTERM leaves nothing behind',
  async (t) => {
    const place = await makePlace(t);
    const started = await start(t, place, config(place, 4097));
    t.like(await started.logged('ready'), { level: 'info', socket: started.socket });
    const link = await place.workload.ip('addr show dev eth0');
    t.regex(link, /[<,]UP[,>]/);
    t.regex(link, /inet 10\.10\.0\.2\/24/);
    t.regex(link, /inet6 fd00:10::2\/64/);
    t.notRegex(link, /tentative/);
    t.is(await vni(started.socket), 4097);

    t.is(await end(started, 'SIGTERM'), 0);
    t.false(existsSync(started.socket));
    t.notRegex(await place.workload.ip('link'), /eth0/);
    t.notRegex(await place.host.ip('link'), /viaduct/);
    t.deepEqual(
      started.lines.filter(({ level }) => level === 'error'),
      [],
    );
  },
);

rootTest('a client that comes before it is ready is answered once it is', async (t) => {
  const place = await makePlace(t);
  const started = await start(t, place, config(place, 4097));
  while (!(await answers(started.socket))) await sleep(1);
  t.is(await vni(started.socket), 4097);
  t.is(await end(started, 'SIGTERM'), 0);
});

rootTest(
  'SIGHUP reads the file again; of a faulty one every fault is logged and the old one goes on',
  async (t) => {
    const place = await makePlace(t);
    const started = await start(t, place, config(place, 4097));
    await started.logged('ready');
    await writeFile(started.file, '{"networks": [{"name": "blue", "vni": 0}]}');
    started.child.kill('SIGHUP');
    await started.logged('configuration refused');
    await sleep(100);
    t.deepEqual(
      started.lines.filter(({ message }) => message === 'configuration refused').map(({ fault }) => fault),
      ['networks[0].vni: must be 1..16777215, got 0', 'underlay: is required where there are networks'],
    );
    t.is(await vni(started.socket), 4097);

    const from = started.lines.length;
    await writeFile(started.file, JSON.stringify(config(place, 5000)));
    started.child.kill('SIGHUP');
    await started.logged('configuration applied', from);
    t.is(await vni(started.socket), 5000);
    t.is(await end(started, 'SIGINT'), 0);
  },
);

rootTest('one that was killed is followed by one that takes over its socket and its interface', async (t) => {
  const place = await makePlace(t);
  const first = await start(t, place, config(place, 4097));
  await first.logged('ready');
  await end(first, 'SIGKILL');
  t.true(existsSync(first.socket));
  const second = await start(t, place, config(place, 4098));
  await second.logged('ready');
  t.is(await vni(second.socket), 4098);
  t.regex(await place.workload.ip('addr show dev eth0'), /inet 10\.10\.0\.2/);
  t.is(await end(second, 'SIGTERM'), 0);
});

rootTest('a second one at the same socket is refused, and the first is undisturbed', async (t) => {
  const place = await makePlace(t);
  const first = await start(t, place, config(place, 4097));
  await first.logged('ready');
  const second = await start(t, place, config(place, 4097));
  t.is(await exitCode(second), 1);
  t.regex(second.stderr, /^viaduct: Another data plane answers at /);
  t.is(await vni(first.socket), 4097);
  t.is(await end(first, 'SIGTERM'), 0);
});

rootTest('what cannot start says why and exits with 1', async (t) => {
  const place = await makePlace(t);
  const faulty = await start(t, place, { underlay: { address: '10.0.0.1', port: 0 } });
  t.is(await exitCode(faulty), 1);
  t.like(faulty.lines[0], { level: 'error', fault: 'underlay.port: must be 1..65535, got 0' });

  const elsewhere = await start(t, place, { underlay: { address: '10.9.9.9' } });
  t.is(await exitCode(elsewhere), 1);
  t.regex(String(elsewhere.lines.find(({ level }) => level === 'error')?.reason), /10\.9\.9\.9/);
  t.false(existsSync(elsewhere.socket));
});

rootTest('a TAP of somebody else that has the name is refused, and stays as it was', async (t) => {
  const place = await makePlace(t);
  await place.workload.ip('tuntap add dev eth0 mode tap');
  const seen = () => place.workload.ip('-d addr show dev eth0');
  const before = await seen();
  const refused = await start(t, place, config(place, 4097));
  t.is(await exitCode(refused), 1);
  const { reason } = refused.lines.find(({ level }) => level === 'error')!;
  t.true(String(reason).includes(`'ip -n ${place.workload.netns} link delete eth0'`), String(reason));
  t.is(await seen(), before);
  await place.workload.ip('link delete eth0');
  const second = await start(t, place, config(place, 4097));
  await second.logged('ready');
  t.is(await end(second, 'SIGTERM'), 0);
});

rootTest('one that is killed again and again is followed at once, without a false refusal', async (t) => {
  const place = await makePlace(t);
  const more = ['--underlay-device', 'udp'];
  let running = await start(t, place, { ...config(place, 4097), engine: { count: 2 } }, ...more);
  await running.logged('ready');
  for (let round = 0; round < 4; round++) {
    running.child.kill('SIGKILL'); // and its end isn't waited for
    running = await start(t, place, { ...config(place, 4097), engine: { count: 2 } }, ...more);
    await running.logged('ready');
  }
  t.is(await end(running, 'SIGTERM'), 0);
});

rootTest('a second one with the port of the first says so, whatever holds it', async (t) => {
  const place = await makePlace(t);
  await place.host.ip('link add vx type vxlan id 7 local 10.0.0.1 dstport 4789 dev eth0');
  await place.host.ip('link set vx up');
  const refused = await start(t, place, config(place, 4097));
  t.is(await exitCode(refused), 1);
  t.regex(
    String(refused.lines.find(({ level }) => level === 'error')?.reason),
    /^underlay: UDP port 4789 of 10\.0\.0\.1 is in use; .*ip -d link show type vxlan/,
  );
});

rootTest('a VTEP without a route is named in the log, and nothing counts as sent to it', async (t) => {
  const place = await makePlace(t);
  const wanted = config(place, 4097) as { networks: { vteps: string[] }[] };
  wanted.networks[0]!.vteps = ['192.0.2.77'];
  const started = await start(t, place, wanted);
  await started.logged('ready');
  place.workload.spawn('ping', ['-i', '0.2', '10.10.0.9']);
  const line = await started.logged(
    'a datagram to a VTEP was refused; compare the way there with: ip route get 192.0.2.77; ' +
      'further ones are only counted: viaduct show drops',
  );
  t.like(line, { vtep: '192.0.2.77', error: 'ENETUNREACH', drop: 'vtep-unreachable' });
  t.is(line.port, undefined);
  const { vteps, drops } = await ask<Stats>(started.socket, '/v1/stats');
  t.deepEqual([vteps[0]!.txPackets, vteps[0]!.txBytes], [0, 0]);
  t.true(drops['vtep-unreachable'] > 0);
  t.is(await end(started, 'SIGTERM'), 0);
});

rootTest('a tunnel device that is removed is not reported as in use any more', async (t) => {
  const place = await makePlace(t);
  const started = await start(t, place, config(place, 4097));
  await started.logged('ready');
  const underlay = async () => (await ask<Stats>(started.socket, '/v1/stats')).underlay;
  const before = await underlay();
  if (before.kind !== 'tunnel') {
    t.log('skipped: the kernel has no tunnel device');
  } else {
    t.true(before.offloads.tunnel);
    await place.host.ip('link delete viaduct0');
    await started.logged('the tunnel device is gone; UDP sockets carry until a restart');
    const after = await underlay();
    t.is(after.kind, 'udp');
    t.deepEqual([after.offloads.tunnel, after.offloadsWanted.tunnel], [false, true]);
  }
  t.is(await end(started, 'SIGTERM'), 0);
});

rootTest('offloads and the underlay device can be set on the command line', async (t) => {
  const place = await makePlace(t);
  const more = ['--offload', 'tso=off,uso=off', '--underlay-device', 'udp', '--log-level', 'debug'];
  const started = await start(t, place, config(place, 4097), ...more);
  await started.logged('ready');
  const { underlay } = await ask<Stats>(started.socket, '/v1/stats');
  t.is(underlay.kind, 'udp');
  t.like(underlay.offloads, { tso: false, uso: false, checksum: true });
  t.is(await end(started, 'SIGTERM'), 0);
});

rootTest('a trace shows the hops of a real packet, and a capture the packet', async (t) => {
  const place = await makePlace(t);
  const started = await start(t, place, config(place, 4097));
  await started.logged('ready');
  const file = join(place.folder, 'out.pcap');
  const watch = (...args: string[]) =>
    run(process.execPath, [MAIN, ...args, '--socket', started.socket], { timeoutMs: 20_000 });
  const watched = Promise.all([
    watch('trace', '--json', '--count', '1', 'arp'),
    watch('capture', '-w', file, '--count', '1', 'arp'),
  ]);
  place.workload.spawn('ping', ['-i', '0.2', '10.10.0.9']);
  const [trace] = await watched;
  const hops = trace.stdout
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { hop: string }).hop);
  t.is(hops[0], 'tap.receive');
  t.true(hops.includes('bridge.flood'), hops.join(' '));
  const { stdout } = await run('tcpdump', ['-nr', file]);
  t.regex(stdout, /ARP, Request who-has 10\.10\.0\.9 tell 10\.10\.0\.2/);
  t.is(await end(started, 'SIGTERM'), 0);
});
