/** Command lines → the edits or the list that they ask for; what is refused is compared with the real program in test/system. */
import test from 'ava';
import type { Names } from '../../../src/cli/ipvsadm/names.js';
import { parse } from '../../../src/cli/ipvsadm/parse/command-line.js';
import { UsageFault } from '../../../src/cli/ipvsadm/parse/usage-fault.js';
import { ipv4Of, prefixOf } from '../../../src/cli/ipvsadm/parse/values.js';

const NO_NAMES: Names = {
  address: async (host) => (host === 'web' ? '10.0.0.80' : undefined),
  host: async () => undefined,
  port: (service, protocol) => (service === 'http' && protocol === 'tcp' ? 80 : undefined),
  service: () => undefined,
};

const read = (line: string) => parse('ipvsadm', line === '' ? [] : line.split(' '), NO_NAMES);

const rule = (more: object = {}) => ({
  ...{ scheduler: 'wlc', schedulerFlags: [], persistence: null, onePacket: false },
  ...more,
});
const to = (address: string, more: object = {}) => ({
  ...{ address, weight: 1, forward: 'route', tunnel: { type: 'ipip', port: 0, checksum: 'none' } },
  ...{ upperThreshold: 0, lowerThreshold: 0 },
  ...more,
});
const tunnel = (type: string, port = 0, checksum = 'none') => ({
  forward: 'tunnel',
  tunnel: { type, port, checksum },
});
const persistence = (timeoutSeconds: number, mask: number | null = null, engine: string | null = null) => ({
  persistence: { timeoutSeconds, mask, engine },
});
const WEB = { network: null, listen: 'tcp://10.0.0.1:80' };
const ADD = { do: 'add-service', ...WEB };

const EDITS: readonly [line: string, edit: object][] = [
  ['-A -t 10.0.0.1:80', { ...ADD, rule: rule() }],
  ['--add-service --tcp-service 10.0.0.1:80 --scheduler rr', { ...ADD, rule: rule({ scheduler: 'rr' }) }],
  ['-A -t10.0.0.1:80 -srr', { ...ADD, rule: rule({ scheduler: 'rr' }) }],
  ['-A -t=10.0.0.1:80 --scheduler=rr', { ...ADD, rule: rule({ scheduler: 'rr' }) }],
  ['-At 10.0.0.1:80', { ...ADD, rule: rule() }],
  ['-A -t web:http', { ...ADD, listen: 'tcp://10.0.0.80:80', rule: rule() }],
  ['-A -t 10.1:80', { ...ADD, listen: 'tcp://10.0.0.1:80', rule: rule() }],
  ['-A -t [FD00:0::1]:443', { ...ADD, listen: 'tcp://[fd00::1]:443', rule: rule() }],
  ['-A -t fd00::1 -p', { ...ADD, listen: 'tcp://[fd00::1]:0', rule: rule(persistence(360)) }],
  ['-A -u 10.0.0.1:53 -o', { ...ADD, listen: 'udp://10.0.0.1:53', rule: rule({ onePacket: true }) }],
  ['-A --sctp-service 10.0.0.1:80', { ...ADD, listen: 'sctp://10.0.0.1:80', rule: rule() }],
  ['-A -f 7', { ...ADD, listen: 'mark://7', rule: rule() }],
  ['-A -f 4294967295 -6', { ...ADD, listen: 'mark6://4294967295', rule: rule() }],
  ['-A -f 7 -6 -p 9 -M 64', { ...ADD, listen: 'mark6://7', rule: rule(persistence(9, 64)) }],
  ['-A -t 10.0.0.1:80 -p', { ...ADD, rule: rule(persistence(360)) }],
  ['-A -p -t 10.0.0.1:80', { ...ADD, rule: rule(persistence(360)) }],
  ['-A -t 10.0.0.1:80 -p 60 -M 255.255.255.0', { ...ADD, rule: rule(persistence(60, 24)) }],
  [
    '-A -t [fd00::1]:80 -p 60 -M 64',
    { ...ADD, listen: 'tcp://[fd00::1]:80', rule: rule(persistence(60, 64)) },
  ],
  [
    '-A -M 255.0.0.0 -t [fd00::1]:80 -p',
    { ...ADD, listen: 'tcp://[fd00::1]:80', rule: rule(persistence(360)) },
  ],
  ['-A -t 10.0.0.1:80 -M 255.255.255.0', { ...ADD, rule: rule() }],
  [
    '-A -u 10.0.0.1:5060 -p 9 --pe sip',
    { ...ADD, listen: 'udp://10.0.0.1:5060', rule: rule(persistence(9, null, 'sip')) },
  ],
  [
    '-A -t 10.0.0.1:80 -b mh-port,mh-fallback -s mh',
    { ...ADD, rule: rule({ scheduler: 'mh', schedulerFlags: ['mh-fallback', 'mh-port'] }) },
  ],
  [
    '-A -t 10.0.0.1:80 -s sh -b flag-1,flag-2,flag-3',
    { ...ADD, rule: rule({ scheduler: 'sh', schedulerFlags: ['sh-fallback', 'sh-port'] }) },
  ],
  ['-A -t 10.0.0.1:80 -b flag-3', { ...ADD, rule: rule({ schedulerFlags: ['flag-3'] }) }],
  ['-E -t 10.0.0.1:80 -s lc', { do: 'edit-service', ...WEB, rule: rule({ scheduler: 'lc' }) }],
  ['-D -t 10.0.0.1:80', { do: 'delete-service', ...WEB }],
  ['-C', { do: 'flush', network: null }],
  ['-C --network blue', { do: 'flush', network: 'blue' }],
  ['--network blue -D -t 10.0.0.1:80', { do: 'delete-service', ...WEB, network: 'blue' }],
  ['-a -t 10.0.0.1:80 -r 10.0.0.2', { do: 'add-destination', ...WEB, destination: to('10.0.0.2:80') }],
  ['-a -t 10.0.0.1:80 -r 10.0.0.2:8080', { do: 'add-destination', ...WEB, destination: to('10.0.0.2:80') }],
  [
    '-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m',
    { do: 'add-destination', ...WEB, destination: to('10.0.0.2:8080', { forward: 'nat' }) },
  ],
  [
    '-a -r 10.0.0.2 -m -t 10.0.0.1:80',
    { do: 'add-destination', ...WEB, destination: to('10.0.0.2:0', { forward: 'nat' }) },
  ],
  [
    '-a -f 7 -r 10.0.0.2:99',
    { do: 'add-destination', ...WEB, listen: 'mark://7', destination: to('10.0.0.2:99') },
  ],
  [
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -g -w 0 -x 10 -y 5',
    {
      do: 'add-destination',
      ...WEB,
      destination: to('10.0.0.2:80', { weight: 0, upperThreshold: 10, lowerThreshold: 5 }),
    },
  ],
  [
    '-a -t 10.0.0.1:80 -r fd00::2 -i',
    { do: 'add-destination', ...WEB, destination: to('[fd00::2]:80', tunnel('ipip')) },
  ],
  [
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue --tun-port 6080 --tun-remcsum',
    { do: 'add-destination', ...WEB, destination: to('10.0.0.2:80', tunnel('gue', 6080, 'remote')) },
  ],
  [
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-csum',
    { do: 'add-destination', ...WEB, destination: to('10.0.0.2:80', tunnel('gre', 0, 'checksum')) },
  ],
  [
    '-e -t 10.0.0.1:80 -r 10.0.0.2 -w 7',
    { do: 'edit-destination', ...WEB, destination: to('10.0.0.2:80', { weight: 7 }) },
  ],
  ['-d -t 10.0.0.1:80 -r 10.0.0.2:8080', { do: 'delete-destination', ...WEB, address: '10.0.0.2:8080' }],
  ['-d -t 10.0.0.1:80 -r 10.0.0.2', { do: 'delete-destination', ...WEB, address: '10.0.0.2:80' }],
  ['-Z', { do: 'zero', network: null, listen: null }],
  ['-Z -f 7', { do: 'zero', network: null, listen: 'mark://7' }],
  ['--set 900 0 300', { do: 'set-timeouts', tcpSeconds: 900, tcpFinSeconds: 0, udpSeconds: 300 }],
  [
    '--start-daemon backup --mcast-interface eth1 --syncid 9 --mcast-group FF02::81 --mcast-port 9000 --mcast-ttl 3 --sync-maxlen 1000',
    {
      do: 'start-daemon',
      role: 'backup',
      daemon: { interface: 'eth1', syncId: 9, group: 'ff02::81', port: 9000, ttl: 3, maxLength: 1000 },
    },
  ],
  [
    '--start-daemon=master',
    {
      do: 'start-daemon',
      role: 'master',
      daemon: { interface: 'eth0', syncId: 0, group: '224.0.0.81', port: 8848, ttl: 1, maxLength: 1472 },
    },
  ],
  ['--stop-daemon master', { do: 'stop-daemon', role: 'master' }],
];

for (const [line, edit] of EDITS) {
  test(`ipvsadm ${line}`, async (t) => {
    const parsed = await read(line);
    t.deepEqual(parsed.kind === 'edits' ? (parsed.edits as readonly unknown[]) : parsed.kind, [edit]);
  });
}

const PLAIN = {
  ...{ numeric: false, stats: false, rate: false, thresholds: false },
  ...{ persistentConn: false, tunInfo: false, exact: false, sorted: true },
};

const LISTS: readonly [line: string, wanted: object][] = [
  ['-L', { kind: 'list', what: 'services', listen: null, format: PLAIN, json: false }],
  ['-ln', { kind: 'list', what: 'services', format: { ...PLAIN, numeric: true } }],
  ['-Lnc', { kind: 'list', what: 'connections', format: { ...PLAIN, numeric: true } }],
  [
    '-L -t 10.0.0.1:80 --rate -X',
    { listen: 'tcp://10.0.0.1:80', format: { ...PLAIN, rate: true, exact: true } },
  ],
  ['-L --timeout', { what: 'timeouts' }],
  ['-L --daemon --json', { what: 'daemons', json: true }],
  ['-L --thresholds --nosort --sort', { format: { ...PLAIN, thresholds: true, sorted: false } }],
  ['-L --persistent-conn --tun-info', { format: { ...PLAIN, persistentConn: true, tunInfo: true } }],
  ['-S -n', { kind: 'save', replace: false, format: { ...PLAIN, numeric: true } }],
  ['-S --replace --network blue', { kind: 'save', replace: true, network: 'blue' }],
  ['-R --replace --socket /run/x', { kind: 'restore', replace: true, socket: '/run/x' }],
  ['-h', { kind: 'help' }],
  ['--version --bogus', { kind: 'version' }],
];

for (const [line, wanted] of LISTS) {
  test(`ipvsadm ${line}`, async (t) => t.like(await read(line), wanted));
}

const REFUSED: readonly [line: string, exitCode: number, message: string][] = [
  ['', 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."],
  ['-n -L', 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."],
  ['-L --bogus', 255, '--bogus: unknown option'],
  ['-A -t', 255, '-t: missing argument'],
  ['-A', 2, "You need to supply the 'service-address' option for the 'add-service' command"],
  ['-C -n', 2, "Illegal 'numeric' option with the 'flush' command"],
  ['-L -c --timeout', 2, "The option 'timeout' conflicts with the 'connection' option in the 'list' command"],
  ['-L -n -n', 2, "multiple 'numeric' options specified"],
  ['-A -6 -f 1', 2, '-6 used before -f\n'],
  ['-L --replace', 2, "Illegal 'replace' option with the 'list' command"],
  ['-L --json --json', 2, "multiple 'json' options specified"],
  ['-A -t 10.0.0.1:80 -p -M 255.0.255.0', 2, 'illegal virtual server persistent mask specified'],
  ['-A -t 10.0.0.1:80 -p -M 0.0.0.0', 2, 'illegal virtual server persistent mask specified'],
  ['-A -t nowhere:80', 2, 'illegal virtual server address[:port] specified'],
  ['-A -t web:https', 2, 'illegal virtual server address[:port] specified'],
];

for (const [line, exitCode, message] of REFUSED) {
  test(`refused: ipvsadm ${line}`, async (t) => {
    const error = await t.throwsAsync(read(line), { instanceOf: UsageFault });
    t.deepEqual([error.exitCode, error.message], [exitCode, message]);
  });
}

test('IPv4 addresses are read as inet_aton does', (t) => {
  const good = {
    '1.2.3.4': '1.2.3.4',
    '127.1': '127.0.0.1',
    '10.0.258': '10.0.1.2',
    '0x7f.1': '127.0.0.1',
    '010.0.0.1': '8.0.0.1',
  };
  for (const [text, address] of Object.entries(good)) t.is(ipv4Of(text), address, text);
  t.is(ipv4Of('4294967295'), '255.255.255.255');
  for (const text of ['', '1.2.3.4.5', '256.1', '1.2.3.256', '08', 'a', '1..2', '4294967296', '-1']) {
    t.is(ipv4Of(text), undefined, text);
  }
});

test('a mask has its ones in front', (t) => {
  t.is(prefixOf('255.255.255.255'), 32);
  t.is(prefixOf('128.0.0.0'), 1);
  for (const text of ['0.0.0.0', '255.0.255.0', '0.0.0.255']) t.is(prefixOf(text), undefined, text);
});
