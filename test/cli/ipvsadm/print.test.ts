/** What is printed, letter by letter; IPv6, tunnels, SIP and connections too, which the system test can't compare. */
import test from 'ava';
import { type Names, numeric, spelledBy } from '../../../src/cli/ipvsadm/names.js';
import {
  connectionLines,
  connectionTitle,
  daemonText,
  header,
  large,
  serviceList,
  timeoutText,
} from '../../../src/cli/ipvsadm/print/listing.js';
import { serviceRules, settingRules } from '../../../src/cli/ipvsadm/print/rules.js';
import { sorted } from '../../../src/cli/ipvsadm/print/sorting.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import { virtualServerRows } from '../../../src/dataplane/host/virtual-server.js';
import type { ConnectionRow, VirtualServerReport } from '../../../src/dataplane/report.js';

const FORMAT = {
  ...{ numeric: true, stats: false, rate: false, thresholds: false },
  ...{ persistentConn: false, tunInfo: false, exact: false, sorted: true },
};

const CONFIG = parseConfig(
  {
    underlay: { address: '10.9.9.9' },
    networks: [{ name: 'blue', vni: 1 }],
    services: [
      {
        listen: 'tcp://10.0.0.1:80',
        scheduler: 'mh',
        schedulerFlags: ['mh-fallback', 'mh-port'],
        persistence: { mask: 24 },
        destinations: [{ address: '10.0.0.2', upperThreshold: 10, lowerThreshold: 5 }],
      },
      { listen: 'udp://10.0.0.1:5060', persistence: { engine: 'sip' }, onePacket: true },
      {
        listen: 'sctp://[fd00::1]:80',
        persistence: { timeoutSeconds: 60, mask: 64 },
        destinations: [
          { address: '[fd00:1234:5678:9abc:def0:1234:5678:9abc]:8080', weight: 0 },
          { address: '10.0.0.3', forward: 'tunnel', tunnel: { type: 'gue', port: 6080, checksum: 'remote' } },
        ],
      },
      {
        listen: 'mark6://7',
        destinations: [
          { address: '[fd00::2]:0', forward: 'tunnel', tunnel: { type: 'gre', checksum: 'checksum' } },
          { address: '[fd00::3]:0', forward: 'tunnel' },
          { address: '[fd00::4]:0', forward: 'route' },
        ],
      },
      { listen: 'mark://7', schedulerFlags: ['flag-1', 'flag-3'] },
      { listen: 'tcp://10.0.0.1:80', network: 'blue', destinations: [{ address: '10.10.0.2:8080' }] },
    ],
    virtualServer: { sync: { master: { interface: 'eth1', syncId: 7 }, backup: { interface: 'eth0' } } },
  },
  'the test',
);
const services = CONFIG.services!;
const rows = virtualServerRows(services);
const report: VirtualServerReport = {
  version: '1.2.1',
  tableSize: 4096,
  timeouts: { tcpSeconds: 900, tcpFinSeconds: 120, udpSeconds: 300 },
  daemons: [
    {
      role: 'master',
      interface: 'eth1',
      syncId: 7,
      group: '224.0.0.81',
      port: 8848,
      ttl: 1,
      maxLength: 1472,
    },
    { role: 'backup', interface: 'eth0', syncId: 0, group: 'ff02::81', port: 1, ttl: 2, maxLength: 1000 },
  ],
  services: rows,
};

test('services with their destinations', (t) => {
  t.is(
    header(report) + serviceList(rows, FORMAT, numeric),
    `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 mh (mh-fallback,mh-port) persistent 300 mask 255.255.255.0
  -> 10.0.0.2:80                  Masq    1      0          0         ${''}
UDP  10.0.0.1:5060 wlc persistent 300 pe sip ops
SCTP [fd00::1]:80 wlc persistent 60 mask 64
  -> [fd00:1234:5678:9abc:def0:1234:5678:9abc]:8080 Masq    0      0          0         ${''}
  -> 10.0.0.3:80                  Tunnel  1      0          0         ${''}
FWM  7 IPv6 wlc
  -> [fd00::2]:0                  Tunnel  1      0          0         ${''}
  -> [fd00::3]:0                  Tunnel  1      0          0         ${''}
  -> [fd00::4]:0                  Route   1      0          0         ${''}
FWM  7 wlc (flag-1,flag-3)
TCP  10.0.0.1:80 wlc network blue
  -> 10.10.0.2:8080               Masq    1      0          0         ${''}
`,
  );
});

test('tunnels', (t) => {
  const lines = serviceList(rows, { ...FORMAT, tunInfo: true }, numeric).split('\n');
  t.is(lines[1], '  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn');
  t.deepEqual(
    lines.filter((line) => line.includes('Tunnel ')),
    [
      '  -> 10.0.0.3:80                  Tunnel  gue:6080:r+c  1      0          0         ',
      '  -> [fd00::2]:0                  Tunnel  gre:+c        1      0          0         ',
      '  -> [fd00::3]:0                  Tunnel  ipip          1      0          0         ',
    ],
  );
  t.true(
    lines.includes('  -> [fd00::4]:0                  Route   n/a           1      0          0         '),
  );
});

test('a destination that is this host itself', (t) => {
  const local = [
    { ...rows[0]!, destinations: [{ ...rows[0]!.destinations[0]!, forward: 'local' as const }] },
  ];
  t.regex(serviceList(local, FORMAT, numeric), /-> 10\.0\.0\.2:80 {18}Local {3}1 /);
});

test('numbers take nine columns, and units from a hundred million on; exact ones as much as they need', (t) => {
  const cases: [number, string, string][] = [
    [0, '        0', '        0'],
    [99_999_999, ' 99999999', ' 99999999'],
    [100_000_000, '  100000K', ' 100000000'],
    [999_999_999, '  999999K', ' 999999999'],
    [1_000_000_000, '    1000M', ' 1000000000'],
    [99_999_999_999, '   99999M', ' 99999999999'],
    [100_000_000_000, '     100G', ' 100000000000'],
    [100_000_000_000_000, '     100T', ' 100000000000000'],
  ];
  for (const [value, short, exact] of cases) {
    t.is(large(value, false), short);
    t.is(large(value, true), exact);
  }
});

test('rules, as the real one saves them: no thresholds, no networks', (t) => {
  const own = services.filter(({ network }) => network === null);
  t.is(
    serviceRules(own, numeric, false),
    `-A -t 10.0.0.1:80 -s mh -p 300 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1
-A -u 10.0.0.1:5060 -s wlc -p 300 --pe sip -o
-A --sctp-service [fd00::1]:80 -s wlc -p 60 -M 64
-a --sctp-service [fd00::1]:80 -r [fd00:1234:5678:9abc:def0:1234:5678:9abc]:8080 -m -w 0
-a --sctp-service [fd00::1]:80 -r 10.0.0.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-A -f 7 -6 -s wlc
-a -f 7 -6 -r [fd00::2]:0 -i -w 1 --tun-type gre --tun-csum
-a -f 7 -6 -r [fd00::3]:0 -i -w 1 --tun-type ipip
-a -f 7 -6 -r [fd00::4]:0 -g -w 1
-A -f 7 -s wlc -b flag-1,flag-3
`,
  );
});

test('rules with all that rules can say', (t) => {
  const some = [services[0]!, services[5]!];
  t.is(
    settingRules(CONFIG.virtualServer!) + serviceRules(some, numeric, true),
    `--set 900 120 300
--start-daemon master --mcast-interface eth1 --syncid 7 --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1
--start-daemon backup --mcast-interface eth0 --syncid 0 --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1
-A -t 10.0.0.1:80 -s mh -p 300 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -x 10 -y 5
-A -t 10.0.0.1:80 -s wlc --network blue
-a -t 10.0.0.1:80 -r 10.10.0.2:8080 -m -w 1 --network blue
`,
  );
});

const CONNECTIONS: ConnectionRow[] = [
  {
    ...{ network: null, protocol: 'tcp', state: 'ESTABLISHED', expiresSeconds: 899, engine: null },
    ...{ source: '10.0.0.9:40000', virtual: '10.0.0.1:80', destination: '10.0.0.2:8080' },
  },
  {
    ...{ network: null, protocol: 'udp', state: 'UDP', expiresSeconds: 6000 },
    ...{ source: '[fd00::9]:5060', virtual: '[fd00::1]:5060', destination: '[fd00::2]:5060' },
    engine: { name: 'sip', data: '4711@host' },
  },
  {
    ...{ network: null, protocol: 'ip', state: 'ASSURED', expiresSeconds: 5, engine: null },
    ...{ source: '10.0.0.9:0', virtual: '0.0.0.7:0', destination: '10.0.0.2:0' },
  },
];

const connectionList = (format: typeof FORMAT) =>
  connectionTitle(format) + connectionLines(CONNECTIONS, format, numeric);

test('connections', (t) => {
  t.is(
    connectionList(FORMAT),
    `IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.0.0.9:40000     10.0.0.1:80        10.0.0.2:8080
UDP 100:00 UDP         [fd00::9]:5060     [fd00::1]:5060     [fd00::2]:5060
IP  00:05  ASSURED     10.0.0.9:0         0.0.0.7:0          10.0.0.2:0
`,
  );
});

test('connections with what their engine goes by', (t) => {
  t.is(
    connectionList({ ...FORMAT, persistentConn: true }),
    `IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
TCP 14:59  ESTABLISHED 10.0.0.9:40000     10.0.0.1:80        10.0.0.2:8080
UDP 100:00 UDP         [fd00::9]:5060     [fd00::1]:5060     [fd00::2]:5060   sip                4711@host
IP  00:05  ASSURED     10.0.0.9:0         0.0.0.7:0          10.0.0.2:0
`,
  );
});

test('timeouts and daemons', (t) => {
  t.is(timeoutText(report), 'Timeout (tcp tcpfin udp): 900 120 300\n');
  t.is(
    daemonText(report),
    'master sync daemon (mcast=eth1, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n' +
      'backup sync daemon (mcast=eth0, syncid=0, maxlen=1000, group=ff02::81, port=1, ttl=2)\n',
  );
});

test('names stand where there are some, and long ones are cut where they are of IPv4', async (t) => {
  const names: Names = {
    address: async () => undefined,
    host: async (address) =>
      address === '10.0.0.9' ? undefined : `a-rather-long-name.of-${address}.example`,
    port: () => undefined,
    service: (port) => (port === 80 ? 'http' : undefined),
  };
  const spell = await spelledBy(names, ['10.0.0.1:80', '10.0.0.9:81', '[fd00::1]:80']);
  t.is(spell('10.0.0.1:80', 'tcp'), 'a-rather-long-name.of-10.0.0.1.example:http');
  t.is(spell('10.0.0.9:81', 'tcp'), '10.0.0.9:81');
  t.is(spell('[fd00::1]:80', null), '[a-rather-long-name.of-fd00::1.example]:80');
  const line = serviceList(rows.slice(0, 1), FORMAT, spell).split('\n')[2];
  t.is(line, 'TCP  a-rather-long-name.of-10.0.0 mh (mh-fallback,mh-port) persistent 300 mask 255.255.255.0');
});

test('the order is by mark, family, protocol, address, port; networks come last', (t) => {
  const listens = [
    ...['mark://9', 'mark6://2', 'mark://2', 'udp://10.0.0.1:53', 'tcp://[fd00::2]:80', 'tcp://[fd00::1]:80'],
    ...['tcp://10.0.0.1:443', 'tcp://10.0.0.1:80', 'tcp://9.255.0.1:80'],
  ];
  const list = listens.map((listen) => ({ network: null, listen, destinations: [] }));
  t.deepEqual(
    sorted([{ network: 'blue', listen: 'tcp://1.1.1.1:1', destinations: [] }, ...list]).map(
      ({ listen }) => listen,
    ),
    [
      ...[
        'tcp://9.255.0.1:80',
        'tcp://10.0.0.1:80',
        'tcp://10.0.0.1:443',
        'udp://10.0.0.1:53',
        'tcp://[fd00::1]:80',
      ],
      ...['tcp://[fd00::2]:80', 'mark://2', 'mark6://2', 'mark://9', 'tcp://1.1.1.1:1'],
    ],
  );
});
