/** Our ipvsadm and the real one are given the same command lines: they say the same, end the same, and leave the same. */
import test, { type ExecutionContext } from 'ava';
import { SystemNames } from '../../src/cli/ipvsadm/names.js';
import { parse } from '../../src/cli/ipvsadm/parse/command-line.js';
import { Random } from '../../src/dataplane/core/random.js';
import { missing } from './world/needs.js';
import { type Both, both, ONLY_NETLINK } from './world/real-ipvsadm.js';

const lacking = missing(['ipvsadm', 'gcc']).filter((each) => each === 'ipvsadm' || each === 'gcc');
const needs = lacking.length === 0 ? '' : ` (needs ${lacking.join(', ')})`;
const realTest = lacking.length === 0 ? test.serial : test.serial.skip;

/** Every list that the stand-in can fill. */
const LISTS = [
  ...['-Ln', '-Sn', '-L --timeout', '-Ln --stats', '-Ln --rate', '-Ln --thresholds', '-Ln --persistent-conn'],
  ...['-Ln --tun-info', '-Ln --stats --exact', '-Ln --rate -X', '-ln --nosort', '-L -n --sort'],
];

async function compare(t: ExecutionContext, { real, ours }: Both, line: string, input = ''): Promise<void> {
  const words = line.split(' ').filter((word) => word !== '');
  const theirs = real(words, input);
  if (theirs.error === ONLY_NETLINK) await t.notThrowsAsync(parse('ipvsadm', words, new SystemNames()), line);
  else t.deepEqual(await ours(words, input), theirs, line);
}

async function compareLists(t: ExecutionContext, pair: Both): Promise<void> {
  for (const list of LISTS) await compare(t, pair, list);
}

const SOME = [
  '-A -t 10.0.0.1:80 -s rr',
  '-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 3 -x 100 -y 50',
  '-a -t 10.0.0.1:80 -r 10.0.0.3',
  '-a -t 10.0.0.1:80 -r 192.168.0.3:80 -i --weight=0',
  '-A -u 10.0.0.1:53 -o -s mh --sched-flags mh-port,mh-fallback',
  '-a -u 10.0.0.1:53 -r 10.0.0.2',
  '-A --sctp-service 192.168.0.1:0 -p',
  '-A -t 10.0.0.9:443 -s sh -b flag-1,flag-2 -p600 -M 255.255.255.0',
  '-A -f 7 -s wlc -b flag-3 -p 30 -M 255.255.0.0',
  '-a -f 7 -r 10.0.0.7:99 -m',
  '-a -f 7 -r 10.0.0.6 -g',
  '-A -f 2000000000',
];

realTest(`what is made is listed and saved to the letter${needs}`, async (t) => {
  const pair = await both(t);
  await compareLists(t, pair);
  for (const line of SOME) await compare(t, pair, line);
  await compareLists(t, pair);
  await compare(t, pair, '');
  for (const which of ['-t 10.0.0.1:80', '-f 7', '-t 10.0.0.1:81'])
    await compare(t, pair, `-Ln ${which} --stats`);
});

const LATER = [
  ...['-A -t 10.0.0.1:80', '-A -t 10.0.0.8:80 -s none', '-E -t 10.0.0.8:80', '-E -t 10.0.0.1:80 -s none'],
  ...[
    '-E -t 10.0.0.1:80',
    '-D -t 10.0.0.8:80',
    '-D -u 10.0.0.1:53',
    '-Z -t 10.0.0.8:80',
    '-Z -t 10.0.0.1:80',
    '-Z',
  ],
  ...[
    '-a -t 10.0.0.8:80 -r 10.0.0.2',
    '-a -t 10.0.0.1:80 -r 10.0.0.3',
    '-e -t 10.0.0.1:80 -r 10.0.0.3 -w 9 -x 5',
  ],
  ...['-e -t 10.0.0.1:80 -r 10.0.0.4', '-e -t 10.0.0.8:80 -r 10.0.0.4', '-e -t 10.0.0.1:80 -r 10.0.0.3 -y 5'],
  ...['-d -t 10.0.0.1:80 -r 10.0.0.4', '-d -t 10.0.0.8:80 -r 10.0.0.4', '-d -t 10.0.0.1:80 -r 10.0.0.3'],
  ...[
    '--set 0 0 42',
    '--set 7 8 9',
    '--start-daemon master',
    '--start-daemon master',
    '--stop-daemon backup',
  ],
  ...['--start-daemon backup --mcast-interface eth1 --syncid 3', '--stop-daemon master --syncid 9'],
  ...['--stop-daemon master', '-d -f 7 -r 10.0.0.7:99', '-D -f 7', '-D -f 7', '-C', '-C'],
];

realTest(`changes and refusals are the same one after the other${needs}`, async (t) => {
  const pair = await both(t);
  for (const line of [...SOME, ...LATER]) {
    await compare(t, pair, line);
    await compare(t, pair, '-Ln');
  }
});

/** Command lines that never come to a change. */
const WRONG = [
  ...[
    '-n -L',
    'x',
    '--',
    '-',
    '-At',
    '-A -t',
    '-Az',
    '--bogus',
    '-L --bogus=1',
    '-L --numeric=1',
    '-L -h',
    '-AD',
  ],
  ...[
    '-L --start-daemon master',
    '-A -D',
    '--start-daemon',
    '--start-daemon both',
    '--stop-daemon x',
    '-L extra',
  ],
  ...[
    '-A',
    '-A -t',
    '-A -t 10.0.0.1:80 -t 10.0.0.1:80',
    '-A -t 10.0.0.1:80 -u 10.0.0.1:80',
    '-A -t 80',
    '-A -t 10.0.0.1:',
  ],
  ...[
    '-A -t 10.0.0.1:65536',
    '-A -t [fd00::1]',
    '-A -t [fd00::1:80',
    '-A -t [10.0.0.1]:80',
    '-A -t 10.0.0.1',
  ],
  ...[
    '-A -u 10.0.0.1:x/y',
    '-A -f 0',
    '-A -f -1',
    '-A -f 4294967296',
    '-A -f x',
    '-A -6 -f 7',
    '-A -t 10.0.0.1:80 -6',
  ],
  ...[
    '-A -t 10.0.0.1:80 -p 0',
    '-A -t 10.0.0.1:80 -p 2678401',
    '-A -t 10.0.0.1:80 -p x',
    '-A -t 10.0.0.1:80 -M',
  ],
  ...[
    '-A -t 10.0.0.1:80 -o',
    '-A -t 10.0.0.1:80 -b',
    '-A -t 10.0.0.1:80 -b sh-port',
    '-A -t 10.0.0.1:80 -b what',
  ],
  ...[
    '-A -s sh -t 10.0.0.1:80 -b mh-port',
    '-A -t 10.0.0.1:80 -r 10.0.0.2',
    '-A -t 10.0.0.1:80 -w 1',
    '-A -s rr',
  ],
  ...[
    '-A -t [fd00::1]:80 -M 129',
    '-A -t [fd00::1]:80 -M x',
    '-A -t 10.0.0.1:80 -n',
    '-D',
    '-D -t 10.0.0.1:80 -s rr',
  ],
  ...['-C -n', '-C -t 10.0.0.1:80', '-R -n', '-S -t 10.0.0.1:80', '-S --nosort', '-Z -n', '-Z -r 10.0.0.1'],
  ...[
    '-a',
    '-a -t 10.0.0.1:80',
    '-a -r 10.0.0.1',
    '-a -t 10.0.0.1:80 -r 80',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -g -m',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -w -1',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -w 2147483648',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -w x',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -x -1',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -y 2147483648',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -s rr',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r fd00::2',
    '-a -t [fd00::1]:80 -r 10.0.0.2 -m',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 --tun-type gre',
  ],
  ...['-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type x', '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue'],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue --tun-port 0',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-csum',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-csum --tun-nocsum',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-port 5',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-remcsum',
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-port 9',
  ],
  ...[
    '-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue --tun-port 9 --tun-remcsum --tun-csum',
    '-a -f 7 -6 -r 10.0.0.2',
  ],
  ...[
    '-d -t 10.0.0.1:80',
    '-d -t 10.0.0.1:80 -r 10.0.0.2 -m',
    '--set',
    '--set 1 2',
    '--set 1 2 3 4',
    '--set 1 2 x',
    '--set 1 2 -3',
  ],
  ...[
    '--set 1 2 2678401',
    '--set -n 1 2 3',
    '-L -c -t 10.0.0.1:80',
    '-L -c --timeout',
    '-L --timeout --daemon',
    '-L -c --stats',
  ],
  ...[
    '-L --timeout --rate',
    '-L --daemon --persistent-conn',
    '-L --timeout --persistent-conn',
    '-L -n -n',
    '-L -w 1',
    '-Lnn',
  ],
  ...[
    '--start-daemon master --syncid 256',
    '--start-daemon master --syncid x',
    '--start-daemon master --mcast-group 10.0.0.1',
  ],
  ...[
    '--start-daemon master --mcast-group fd00::1',
    '--start-daemon master --mcast-group ff02::1::',
    '--start-daemon master --mcast-port 0',
  ],
  ...[
    '--start-daemon master --mcast-ttl 256',
    '--start-daemon master --sync-maxlen 65508',
    '--stop-daemon master --mcast-ttl 1',
  ],
  ...[
    '-A -t 10.0.0.1:80 --pe',
    '-L --syncid 3 --stats x',
    '-A -t 10.0.0.1:80 --s=rr',
    '-A --tcp-service= -s rr',
    '-A -t=10.0.0.1:0 -srr',
  ],
];

realTest(`what is refused is refused in the same words, with the same exit code${needs}`, async (t) => {
  const pair = await both(t);
  for (const line of WRONG) await compare(t, pair, line);
  await compareLists(t, pair);
});

realTest(`names of hosts and services are taken and printed the same way${needs}`, async (t) => {
  const pair = await both(t);
  const lines = [
    ...[
      '-A -t localhost:http -s rr',
      '-a -t localhost:http -r 127.0.0.1:www -m',
      '-a -t localhost:http -r 127.0.0.1:domain -m',
    ],
    ...[
      '-A -u 127.1:domain',
      '-A -u 0x7f.1:53',
      '-a -u 127.1:domain -r 017700000001',
      '-A -t 127.0.0.1:no-such-service',
    ],
    ...['-L', '-S', '-Sn', '-L --stats', '-l --nosort'],
  ];
  for (const line of lines) await compare(t, pair, line);
});

realTest(`what the real one saves ours restores, and the other way round${needs}`, async (t) => {
  const first = await both(t);
  for (const line of SOME) await compare(t, first, line);
  const theirs = first.real(['-Sn']).out;
  const ours = (await first.ours(['-Sn'])).out;
  t.is(ours, theirs);
  const second = await both(t);
  t.deepEqual(second.real(['-R'], ours), { code: 0, out: '', error: '' });
  t.deepEqual(await second.ours(['-R'], theirs), { code: 0, out: '', error: '' });
  await compareLists(t, second);
  await compare(t, second, '-R', 'ipvsadm -D -t 10.0.0.1:80\n\n  -C\t\n-A -t 10.0.0.5:80 -s rr\r\n');
  await compareLists(t, second);
});

realTest(`a thousand random command lines do the same${needs}`, async (t) => {
  t.timeout(300_000);
  const pair = await both(t);
  const line = lines(new Random(20_261_124));
  for (let i = 0; i < 1000; i++) {
    await compare(t, pair, line());
    if (i % 10 === 0)
      for (const list of ['-Ln', '-Sn', '-Ln --thresholds --nosort']) await compare(t, pair, list);
  }
});

/** Command lines, most of them right, of few services, so that they meet one another. */
function lines(random: Random): () => string {
  const one = <T>(items: readonly T[]): T => items[random.below(items.length)]!;
  const some = (share: number, text: () => string) => (random.below(100) < share ? ` ${text()}` : '');
  const port = () => one(['80', '81', '0', '8080', '99999', '']);
  const socket = () =>
    one([`10.0.0.${random.below(4)}:80`, `10.0.0.1:${port()}`, '192.168.1.1:443', '[fd00::1]:80']);
  const service = () =>
    one([
      ...[
        () => `-t ${socket()}`,
        () => `-t ${socket()}`,
        () => `-u ${socket()}`,
        () => `--sctp-service ${socket()}`,
      ],
      ...[() => `-f ${one([1, 2, 3, 0])}`, () => `-f ${one([1, 2])} -6`],
    ])();
  const rule = () =>
    some(50, () => `-s ${one(['rr', 'wlc', 'sh', 'mh', 'none'])}`) +
    some(30, () => one(['-p', '-p 60', '-p100', '--persistent=7', '-p x'])) +
    some(15, () => `-M ${one(['255.255.255.0', '255.255.255.255', '255.0.0.0', '255.255.255.x'])}`) +
    some(10, () => '-o') +
    some(
      15,
      () => `-b ${one(['sh-port', 'mh-port,mh-fallback', 'flag-1', 'flag-2,flag-3', 'sh-fallback', 'no'])}`,
    );
  const server = () => `-r ${one(['10.0.1.1', '10.0.1.2', '10.0.1.3'])}${one(['', ':80', ':8080'])}`;
  const weights = () =>
    some(60, () => one(['-m', '-g', '-i'])) +
    some(40, () => `-w ${one([0, 1, 100, 65535, 2147483647, 2147483648])}`) +
    some(30, () => `-x ${random.below(20)}`) +
    some(20, () => `-y ${random.below(10)}`) +
    some(10, () =>
      one(['--tun-type ipip', '--tun-type gue --tun-port 1', '--tun-type gre --tun-csum', '--tun-csum']),
    );
  const commands = [
    ...[() => `-A ${service()}${rule()}`, () => `-A ${service()}${rule()}`, () => `-E ${service()}${rule()}`],
    ...[() => `-D ${service()}`, () => `-a ${service()} ${server()}${weights()}`],
    ...[() => `-a ${service()} ${server()}${weights()}`, () => `-a ${server()}${weights()} ${service()}`],
    ...[
      () => `-e ${service()} ${server()}${weights()}`,
      () => `-d ${service()} ${server()}`,
      () => `-Z ${service()}`,
    ],
    ...[() => `--set ${random.below(9)} ${random.below(9)} ${random.below(9)}`, () => `-Ln ${service()}`],
    ...[
      () => `-A ${service()} ${server()}`,
      () => `-a ${service()}${rule()}`,
      () => `-L ${service()} -n --stats`,
    ],
  ];
  return () => (random.below(200) === 0 ? '-C' : one(commands)());
}
