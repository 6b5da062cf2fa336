/** The command and the control socket together, before a data plane that moves nothing. */
import { execFile } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { perform } from '../../../src/cli/ipvsadm/ipvsadm.js';
import { ask } from '../../../src/cli/socket/client.js';
import type { Service } from '../../../src/dataplane/config/service-types.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import type { VirtualServerReport } from '../../../src/dataplane/report.js';
import { type Served, serve } from '../fake-dataplane.js';

const NAMES = {
  address: async () => undefined,
  host: async () => undefined,
  port: () => undefined,
  service: () => undefined,
};

interface Site extends Served {
  /** A command line; its output, when it went well. */
  run(line: string, input?: string): Promise<string>;
  /** One that is refused: its exit code and what it says. */
  refused(line: string, input?: string, program?: string): Promise<[number, string]>;
  services(): readonly Service[];
}

async function site(t: ExecutionContext): Promise<Site> {
  const served = await serve(t);
  const call = (line: string, input = '', program = 'ipvsadm') => {
    const words = line.split(' ').filter((word) => word !== '');
    const surroundings = { version: '0', input: async () => input, names: NAMES };
    return perform(program, [...words, '--socket', served.socket], surroundings);
  };
  return {
    ...served,
    async run(line, input) {
      const { code, out, error } = await call(line, input);
      t.deepEqual([code, error], [0, ''], line);
      return out;
    },
    async refused(line, input, program) {
      const { code, out, error } = await call(line, input, program);
      t.is(out, '', line);
      return [code, error];
    },
    services: () => served.running.config!.services,
  };
}

/** As the real ipvsadm 1.31 saves them. */
const RULES = `-A -t 10.0.0.1:80 -s mh -p 360 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1
-a -t 10.0.0.1:80 -r 10.0.0.3:8080 -m -w 0
-A -t 10.0.0.9:0 -s sh -p 60 -b sh-fallback
-A -u 10.0.0.1:5060 -s wlc -p 300 --pe sip -o
-A --sctp-service 10.0.0.1:80 -s rr
-a --sctp-service 10.0.0.1:80 -r 10.0.0.4:80 -i -w 7 --tun-type ipip
-a --sctp-service 10.0.0.1:80 -r 10.0.0.5:80 -i -w 7 --tun-type gue --tun-port 6080 --tun-remcsum
-A -t [fd00::1]:80 -s lblcr -p 360 -M 64
-a -t [fd00::1]:80 -r [fd00::2]:80 -g -w 1
-a -t [fd00::1]:80 -r 10.0.0.6:80 -i -w 1 --tun-type gre --tun-csum
-A -f 7 -s wrr
-a -f 7 -r 10.0.0.7:0 -g -w 1
-A -f 8 -6 -s wlc -p 360 -M 64 -b flag-1,flag-2
-a -f 8 -6 -r [fd00::7]:99 -m -w 100
`;

test('rules of the real one are restored, and saved again as they were', async (t) => {
  const { run, services } = await site(t);
  t.is(await run('-R', RULES), '');
  t.is(services().length, 7);
  t.is(await run('-S -n'), RULES);
  t.is(await run('-S'), RULES, 'where nothing has a name');
  await run('-C');
  t.is(await run('-S -n'), '');
});

test('a file with one bad line is refused by its number, and nothing of it is applied', async (t) => {
  const { refused, services, dataplane } = await site(t);
  const bad = (line: string) => refused('-R', `-A -t 10.0.0.1:80\n\n${line}\n-A -f 9\n`);
  t.deepEqual(await bad('-a -t 10.0.0.1:80 -r x'), [
    2,
    'line 3: illegal real server address[:port] specified\n',
  ]);
  t.deepEqual(await bad('-A -t 10.0.0.1:80'), [255, 'line 3: Service already exists\n']);
  t.deepEqual(await bad('-D -f 1'), [255, 'line 3: No such service\n']);
  t.deepEqual(await bad('--bogus'), [
    255,
    "line 3: Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n",
  ]);
  t.deepEqual(await bad('-L'), [2, 'line 3: only what changes something can be restored\n']);
  t.deepEqual(await bad('-R'), [2, 'line 3: only what changes something can be restored\n']);
  t.deepEqual(services(), []);
  t.is(dataplane.applied.length, 1);
});

test('comments, empty lines and the name of the program are passed over', async (t) => {
  const { run, services } = await site(t);
  await run('-R', '# a file\n\n\tipvsadm -A -f 1 # one\r\n  -A -f 2\n');
  t.deepEqual(
    services().map(({ listen }) => listen),
    ['mark://1', 'mark://2'],
  );
});

test('a restore is one change', async (t) => {
  const { run, dataplane } = await site(t);
  await run('-R', RULES);
  t.is(dataplane.applied.length, 2);
});

test('what is replaced is exactly the file, and the rest of a service stays', async (t) => {
  const { run, running, services } = await site(t);
  const health = { kind: 'tcp' };
  const config = { services: [{ listen: 'mark://1', health }, { listen: 'mark://2' }] };
  await running.apply(parseConfig(config, 'the test'));
  await run('-R --replace', '-A -f 3\n-A -f 1 -s rr\n');
  t.deepEqual(
    services().map(({ listen, scheduler, health: check }) => [listen, scheduler, check?.kind]),
    [
      ['mark://3', 'wlc', undefined],
      ['mark://1', 'rr', 'tcp'],
    ],
  );
  await run('-R --replace', '');
  t.deepEqual(services(), []);
});

test('ipvsadm-restore replaces too, and leaves the services of networks, which it cannot have saved', async (t) => {
  const { refused, running, services } = await site(t);
  const network = { underlay: { address: '10.0.0.1' }, networks: [{ name: 'blue', vni: 1 }] };
  const config = { ...network, services: [{ listen: 'mark://1' }, { listen: 'mark://1', network: 'blue' }] };
  await running.apply(parseConfig(config, 'the test'));
  t.deepEqual(await refused('', '-A -f 2\n', 'ipvsadm-restore'), [0, '']);
  t.deepEqual(
    services().map((service) => [service.network, service.listen]),
    [
      ['blue', 'mark://1'],
      [null, 'mark://2'],
    ],
  );
});

const FULL = {
  underlay: { address: '10.0.0.1' },
  networks: [{ name: 'blue', vni: 1 }],
  services: [
    {
      listen: 'tcp://10.0.0.1:80',
      network: 'blue',
      resetOnExpiry: true,
      destinations: [{ address: '10.0.0.2', near: true, upperThreshold: 10, lowerThreshold: 5 }],
      sorryServer: { address: '10.0.0.9' },
      health: { kind: 'http', path: '/healthz' },
    },
    { listen: 'mark6://9', destinations: [{ address: '[fd00::9]:0', upperThreshold: 3 }] },
  ],
  virtualServer: { dropRate: 3, tcpSeconds: 77, sync: { master: { interface: 'eth1' } } },
};

test('JSON is saved with all that there is, and restored to the same', async (t) => {
  const { run, running } = await site(t);
  await running.apply(parseConfig(FULL, 'the test'));
  const before = running.config;
  const saved = await run('-S --json');
  await run('-R --replace', '{}');
  t.deepEqual(running.config?.services, []);
  await run('-R --replace --json', saved);
  t.deepEqual(running.config, before);
  await run('-C');
  t.is(running.config!.services.length, 1, 'the one of a network');
  await run('-C --network blue');
  await run('-R', saved);
  t.deepEqual(running.config, before);
});

test('a document with a fault is refused with its path', async (t) => {
  const { refused, services } = await site(t);
  const [broken, why] = await refused('-R', '{');
  t.is(broken, 2);
  t.regex(why, /^the document is no JSON: /);
  t.deepEqual(await refused('-R', '{"service": []}'), [
    2,
    'service: unknown key; there are services and virtualServer\n',
  ]);
  const [code, error] = await refused('-R', '{"services": [{"listen": "mark://1"}, {"listen": "mark://0"}]}');
  t.is(code, 1);
  t.regex(error, /edits\[1\]\.service\.listen: must have a mark of 1\.\.4294967295/);
  t.deepEqual(services(), []);
});

test('text that replaces has thresholds, networks, timeouts and daemons, and is restored to the same', async (t) => {
  const { run, running } = await site(t);
  await running.apply(parseConfig(FULL, 'the test'));
  const saved = await run('-S -n --replace');
  t.is(
    saved,
    `--set 77 120 300
--start-daemon master --mcast-interface eth1 --syncid 0 --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1
-A -f 9 -6 -s wlc
-a -f 9 -6 -r [fd00::9]:0 -m -w 1 -x 3
-A -t 10.0.0.1:80 -s wlc --network blue
-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -x 10 -y 5 --network blue
`,
  );
  const before = running.config!;
  await run('-C');
  await run('-R --replace', saved);
  const sorted = (services: readonly Service[]) =>
    [...services].sort((a, b) => (a.listen < b.listen ? -1 : 1));
  t.deepEqual(sorted(running.config!.services), sorted(before.services));
  t.deepEqual(running.config!.virtualServer, before.virtualServer);
});

test('services of networks are named where they are listed, and left out where the real one has no word for them', async (t) => {
  const { run, refused, running } = await site(t);
  await running.apply(parseConfig(FULL, 'the test'));
  t.regex(await run('-Ln'), /FWM {2}9 IPv6 wlc\n(.*\n)*TCP {2}10\.0\.0\.1:80 wlc network blue\n/);
  t.notRegex(await run('-Ln --network blue'), /FWM/);
  t.deepEqual(await refused('-Ln -t 10.0.0.1:80'), [1, 'No such service\n']);
  t.regex(await run('-Ln -t 10.0.0.1:80 --network blue'), /^Prot Local/);
  t.regex(
    await run('-S -n --network blue'),
    /^-A -t 10\.0\.0\.1:80 -s wlc\n-a -t 10\.0\.0\.1:80 -r 10\.0\.0\.2:80 -m -w 1\n$/,
  );
  await run('-e -t 10.0.0.1:80 -r 10.0.0.2 -m -w 9 --network blue');
  t.is(running.config!.services[0]!.destinations[0]!.weight, 9);
});

test('JSON has what the lists have', async (t) => {
  const { run, dataplane, running } = await site(t);
  await running.apply(parseConfig(FULL, 'the test'));
  dataplane.open = [
    {
      ...{ network: null, protocol: 'tcp', state: 'ESTABLISHED', expiresSeconds: 899, engine: null },
      ...{ source: '10.0.0.9:40000', virtual: '10.0.0.1:80', destination: '10.0.0.2:8080' },
    },
  ];
  const report = JSON.parse(await run('-L --json')) as VirtualServerReport;
  t.like(report, { version: '1.2.1', tableSize: 1048576, timeouts: { tcpSeconds: 77 } });
  t.deepEqual(report.daemons, [
    {
      role: 'master',
      interface: 'eth1',
      syncId: 0,
      group: '224.0.0.81',
      port: 8848,
      ttl: 1,
      maxLength: 1472,
    },
  ]);
  t.like(report.services[1], { network: 'blue', listen: 'tcp://10.0.0.1:80', stats: { conns: 0 } });
  t.like(JSON.parse(await run('-L -f 9 -6 --json')), { listen: 'mark6://9' });
  t.deepEqual(JSON.parse(await run('-Lc --json')), dataplane.open);
  t.regex(await run('-Lnc'), /TCP 14:59 {2}ESTABLISHED/);
  t.like(JSON.parse(await run('-L --timeout --json')), { udpSeconds: 300 });
  t.like(JSON.parse(await run('-A -f 1 --json')), { changed: true });
});

test('counts go to zero for one service, or for all', async (t) => {
  const { run, refused, dataplane, socket } = await site(t);
  await run('-A -f 1');
  await run('-Z -f 1');
  await run('-Z');
  t.deepEqual(await refused('-Z -f 2'), [255, 'No such service\n']);
  await ask(socket, '/v1/ipvs/zero', { method: 'POST' });
  await ask(socket, '/v1/ipvs/zero', { method: 'POST', body: '{"listen": "mark://1"}' });
  const one = { network: null, listen: 'mark://1' };
  t.deepEqual(dataplane.zeroed, [one, null, null, one]);
});

test('what ipvsadm made stays when the file is read again, unless the file has services', async (t) => {
  const { run, running, file, services } = await site(t);
  await run('-A -f 1');
  await run('--set 5 6 7');
  await running.reload();
  t.deepEqual(
    services().map(({ listen }) => listen),
    ['mark://1'],
  );
  t.is(running.config!.virtualServer.udpSeconds, 7);
  await writeFile(file, '{"services": [{"listen": "mark://2"}], "virtualServer": {}}');
  await running.reload();
  t.deepEqual(
    services().map(({ listen }) => listen),
    ['mark://2'],
  );
  t.is(running.config!.virtualServer.udpSeconds, 300);
});

test('a data plane that cannot have it says so, and all stays', async (t) => {
  const { run, refused, dataplane, services } = await site(t);
  await run('-A -f 1');
  dataplane.refuse = 'not on this host';
  t.deepEqual(await refused('-D -f 1'), [1, 'not on this host\n']);
  t.is(services().length, 1);
});

test('edits of one another come one after the other', async (t) => {
  const { run, services } = await site(t);
  await run('-A -f 1');
  await Promise.all(Array.from({ length: 20 }, (_, i) => run(`-a -f 1 -r 10.0.0.${i + 1}`)));
  t.is(services()[0]!.destinations.length, 20);
});

test('ten thousand rules are restored in a moment', async (t) => {
  const { run, services } = await site(t);
  const rules = Array.from({ length: 100 }, (_, i) => [
    `-A -f ${i + 1}`,
    ...Array.from({ length: 99 }, (_, j) => `-a -f ${i + 1} -r 10.0.${i}.${j + 1} -m`),
  ]);
  const began = performance.now();
  await run('-R', rules.flat().join('\n'));
  const milliseconds = Math.round(performance.now() - began);
  t.log(`${milliseconds} ms`);
  t.is(services().flatMap(({ destinations }) => destinations).length, 9900);
  t.true(milliseconds < 5000, 'a third of a second on an idle core');
});

test('it is a command of viaduct, and itself under its own names', async (t) => {
  const { socket, folder, run } = await site(t);
  await run('-A -f 7 -s rr');
  const main = resolve('dist/src/cli/main.js');
  const shell = (file: string, ...args: string[]) =>
    new Promise<[number, string, string]>((done) => {
      const env = { ...process.env, VIADUCT_SOCKET: socket };
      execFile(process.execPath, [file, ...args], { env }, (error, out, err) =>
        done([error === null ? 0 : Number(error.code), out, err]),
      );
    });
  t.deepEqual(await shell(main, 'ipvsadm', '-S'), [0, '-A -f 7 -s rr\n', '']);
  t.deepEqual(await shell(main, 'ipvsadm', '--what'), [
    255,
    '',
    "Try `viaduct ipvsadm -h' or 'viaduct ipvsadm --help' for more information.\n",
  ]);
  t.regex(
    (await shell(main, 'ipvsadm', '-h'))[1],
    /^ipvsadm v1\.31 .*\nUsage:\n {2}viaduct ipvsadm -A\|E SERVICE/,
  );
  const names = { 'viaduct-ipvsadm': ['-S'], ipvsadm: ['-S'], 'ipvsadm-save': [] };
  for (const [name, args] of Object.entries(names)) {
    await symlink(main, join(folder, name));
    t.deepEqual(await shell(join(folder, name), ...args), [0, '-A -f 7 -s rr\n', ''], name);
  }
  t.regex((await shell(join(folder, 'ipvsadm')))[1], /^IP Virtual Server version 1\.2\.1 \(size=1048576\)\n/);
});
