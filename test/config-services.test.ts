/** `services:` and `virtualServer:`: what is filled in, how it is spelled, and each rule with its sentence. */
import test from 'ava';
import { parseListen, parseSocket } from '../src/dataplane/config/service-address.js';
import { ConfigError, jsonSchema, parseConfig } from '../src/dataplane/config.js';

const parse = (services: unknown[], more: object = {}) => parseConfig({ services, ...more }, 'test');
const one = (service: object) => parse([{ listen: 'tcp://10.0.0.1:80', ...service }]).services![0]!;

function faults(services: unknown, more: object = {}): readonly string[] {
  try {
    parseConfig({ services, ...more }, 'test');
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

test('a service that says only where it listens has every default', (t) => {
  t.deepEqual(one({}), {
    listen: 'tcp://10.0.0.1:80',
    network: null,
    scheduler: 'wlc',
    schedulerFlags: [],
    maglevTableSize: 65537,
    persistence: null,
    onePacket: false,
    timeouts: { tcpSeconds: null, tcpFinSeconds: null, udpSeconds: null },
    resetOnExpiry: false,
    rescheduleRemoved: false,
    synProxy: false,
    sourceRate: null,
    allow: [],
    slowStartSeconds: 0,
    preferNear: false,
    quorum: 1,
    quorumHysteresis: 0,
    sorryServer: null,
    destinations: [],
    health: null,
  });
});

test('a destination that says only where it is has every default, and the port of the service', (t) => {
  t.deepEqual(one({ destinations: [{ address: '10.0.0.2' }] }).destinations, [
    {
      address: '10.0.0.2:80',
      weight: 1,
      forward: 'nat',
      tunnel: { type: 'ipip', port: 0, checksum: 'none' },
      upperThreshold: 0,
      lowerThreshold: 0,
      near: false,
    },
  ]);
});

test('persistence counts each client by default', (t) => {
  t.deepEqual(one({ persistence: {} }).persistence, { timeoutSeconds: 300, mask: 32, engine: null });
  t.is(one({ listen: 'tcp://[fd00::1]:80', persistence: {} }).persistence?.mask, 128);
  t.is(one({ listen: 'mark6://1', persistence: {} }).persistence?.mask, 128);
});

test('the kinds of health checks have defaults of their own', (t) => {
  const common = {
    ...{ intervalMs: 1000, timeoutMs: 1000, fall: 3, rise: 2 },
    ...{ inhibitOnFailure: false, port: null, passiveFailures: 0 },
  };
  const http = { path: '/', host: null, status: '200-299', digest: null, regex: null };
  const kinds: Record<string, object> = {
    tcp: {},
    icmp: {},
    http,
    https: http,
    smtp: { helo: 'localhost' },
    dns: { name: '.', type: 'SOA' },
    udp: { payload: '', requireReply: false },
  };
  for (const [kind, own] of Object.entries(kinds)) {
    t.deepEqual(one({ health: { kind } }).health as unknown, { kind, ...common, ...own });
  }
  t.like(one({ health: { kind: 'script', command: ['/bin/true'] } }).health, { dynamicWeight: false });
});

test('addresses are spelled one way', (t) => {
  const service = one({
    listen: 'udp://[FD00:0:0::1]:53',
    allow: ['FD00::/8'],
    destinations: [{ address: '[fd00::0:2]:53' }, { address: 'fd00::3' }],
    sorryServer: { address: 'fd00::0:9' },
  });
  t.is(service.listen, 'udp://[fd00::1]:53');
  t.deepEqual(service.allow, ['fd00::/8']);
  t.deepEqual(
    service.destinations.map(({ address }) => address),
    ['[fd00::2]:53', '[fd00::3]:53'],
  );
  t.is(service.sorryServer?.address, '[fd00::9]:53');
});

test('the virtual server has its defaults; what is absent stays absent', (t) => {
  t.deepEqual(parseConfig({ virtualServer: {} }, 'test').virtualServer, {
    ...{ tcpSeconds: 900, tcpFinSeconds: 120, udpSeconds: 300 },
    ...{ dropEntry: 0, dropPacket: 0, secureTcp: 0, dropRate: 10 },
    ...{ expireNodestConn: false, expireQuiescentTemplate: false, sloppyTcp: false },
    ...{ connReuseMode: 1, connections: 1048576, sync: { master: null, backup: null } },
  });
  t.false('virtualServer' in parse([]));
  t.false('services' in parseConfig({ virtualServer: {} }, 'test'));
  t.deepEqual(parseConfig('services:\n', 'test').services, [], 'the key alone is an empty list');
});

test('what was normalised is a valid configuration, and stays as it is', (t) => {
  const config = parseConfig(
    {
      underlay: { address: '10.0.0.1' },
      networks: [{ name: 'blue', vni: 1 }],
      services: [
        {
          listen: 'tcp://10.10.0.100:80',
          network: 'blue',
          persistence: { timeoutSeconds: 300, mask: 24 },
          destinations: [{ address: '10.10.0.2:8080' }, { address: 'fd00::2', forward: 'tunnel' }],
          health: { kind: 'http', path: '/healthz' },
        },
      ],
      virtualServer: { sync: { master: { interface: 'eth0' } } },
    },
    'test',
  );
  t.deepEqual(parseConfig(JSON.stringify(config), 'test'), config);
});

const L = 'tcp://10.0.0.1:80';
const D = (more: object) => [{ listen: L, destinations: [{ address: '10.0.0.2:80', ...more }] }];

const cases: readonly [title: string, services: unknown, fault: string][] = [
  ['services that are no list', {}, 'services: must be a list, got {}'],
  ['a service without listen', [{}], 'services[0].listen: is required'],
  [
    'a listen that is none',
    [{ listen: '10.0.0.1:80' }],
    'services[0].listen: must be tcp://, udp:// or sctp:// with address and port, or mark:// or mark6:// with a mark, got "10.0.0.1:80"',
  ],
  [
    'a listen without port',
    [{ listen: 'tcp://10.0.0.1' }],
    'services[0].listen: must be tcp://, udp:// or sctp:// with address and port, or mark:// or mark6:// with a mark, got "tcp://10.0.0.1"',
  ],
  [
    'mark 0',
    [{ listen: 'mark://0' }],
    'services[0].listen: must have a mark of 1..4294967295, as in mark://7, got "mark://0"',
  ],
  [
    'a mark that is too large',
    [{ listen: 'mark6://4294967296' }],
    'services[0].listen: must have a mark of 1..4294967295, as in mark://7, got "mark6://4294967296"',
  ],
  [
    'a multicast listen',
    [{ listen: 'udp://224.0.0.1:53' }],
    'services[0].listen: must be unicast, got "udp://224.0.0.1:53"',
  ],
  [
    'the same listen twice',
    [{ listen: 'tcp://[fd00::1]:80' }, { listen: 'tcp://[FD00:0::1]:80' }],
    'services[1].listen: tcp://[fd00::1]:80 is already used by services[0].listen',
  ],
  [
    'a network that is not there',
    [{ listen: L, network: 'red' }],
    'services[0].network: there is no network red',
  ],
  ['an unknown key', [{ listen: L, port: 1 }], 'services[0].port: unknown key'],
  [
    'an unknown scheduler',
    [{ listen: L, scheduler: 'best' }],
    'services[0].scheduler: must be one of rr, wrr, lc, wlc, fo, ovf, lblc, lblcr, dh, sh, mh, sed, nq, twos, p2c, got "best"',
  ],
  [
    "another scheduler's flag",
    [{ listen: L, scheduler: 'mh', schedulerFlags: ['sh-port'] }],
    'services[0].schedulerFlags[0]: sh-port is of scheduler sh, and this one is mh',
  ],
  [
    'a numbered flag of mh',
    [{ listen: L, scheduler: 'mh', schedulerFlags: ['flag-1'] }],
    'services[0].schedulerFlags[0]: mh has names for its flags: mh-fallback, mh-port',
  ],
  [
    'a flag twice',
    [{ listen: L, scheduler: 'mh', schedulerFlags: ['mh-port', 'mh-port'] }],
    'services[0].schedulerFlags[1]: mh-port is there twice',
  ],
  [
    'a Maglev size that is no prime',
    [{ listen: L, maglevTableSize: 65536 }],
    'services[0].maglevTableSize: must be a prime, got 65536',
  ],
  [
    'a Maglev size of 1',
    [{ listen: L, maglevTableSize: 1 }],
    'services[0].maglevTableSize: must be 3..16777216, got 1',
  ],
  [
    'port 0 without persistence',
    [{ listen: 'tcp://10.0.0.1:0' }],
    'services[0].listen: port 0 stands for every port, and needs persistence',
  ],
  [
    'too long a persistence',
    [{ listen: L, persistence: { timeoutSeconds: 2_678_401 } }],
    'services[0].persistence.timeoutSeconds: must be 1..2678400, got 2678401',
  ],
  [
    'a mask of IPv6 for IPv4',
    [{ listen: L, persistence: { mask: 64 } }],
    'services[0].persistence.mask: must be 1..32 for IPv4, got 64',
  ],
  [
    'sip over TCP',
    [{ listen: L, persistence: { engine: 'sip' } }],
    'services[0].persistence.engine: sip is only for UDP, and this service is tcp',
  ],
  [
    'one packet of TCP',
    [{ listen: L, onePacket: true }],
    'services[0].onePacket: is only for UDP, and this service is tcp',
  ],
  [
    'a SYN proxy for UDP',
    [{ listen: 'udp://10.0.0.1:53', synProxy: true }],
    'services[0].synProxy: is only for TCP, and this service is udp',
  ],
  [
    'host bits in allow',
    [{ listen: L, allow: ['10.0.0.1/8'] }],
    'services[0].allow[0]: has host bits set; write 10.0.0.0/8',
  ],
  [
    'IPv6 in allow',
    [{ listen: L, allow: ['fd00::/8'] }],
    'services[0].allow[0]: is IPv6, and the service is IPv4',
  ],
  [
    'a hysteresis as large as the quorum',
    [{ listen: L, quorum: 2, quorumHysteresis: 2 }],
    'services[0].quorumHysteresis: must be less than quorum (2), got 2',
  ],
  [
    'a destination twice',
    [{ listen: L, destinations: [{ address: '10.0.0.2' }, { address: '10.0.0.2:80' }] }],
    'services[0].destinations[1].address: 10.0.0.2:80 is already used by services[0].destinations[0].address',
  ],
  [
    'a destination that is none',
    D({ address: '10.0.0.2:http' }),
    'services[0].destinations[0].address: must be an address, with a port where it has one: 10.0.0.2:8080, got "10.0.0.2:http"',
  ],
  [
    'a broadcast destination',
    D({ address: '255.255.255.255' }),
    'services[0].destinations[0].address: must be the address of a host, got "255.255.255.255"',
  ],
  [
    'too great a weight',
    D({ weight: 2 ** 31 }),
    'services[0].destinations[0].weight: must be 0..2147483647, got 2147483648',
  ],
  [
    'mixed families without a tunnel',
    D({ address: '[fd00::2]:80' }),
    'services[0].destinations[0].address: fd00::2 is IPv6, and the service is IPv4: only forward: tunnel takes another family',
  ],
  [
    'a route to another port',
    D({ address: '10.0.0.2:8080', forward: 'route' }),
    "services[0].destinations[0].address: forward: route keeps the service's port, 80; got 8080",
  ],
  [
    'a lower threshold above the upper one',
    D({ upperThreshold: 5, lowerThreshold: 6 }),
    'services[0].destinations[0].lowerThreshold: must not exceed upperThreshold (5), got 6',
  ],
  [
    'tunnel options of nat',
    D({ tunnel: { type: 'gre' } }),
    'services[0].destinations[0].tunnel: is only for forward: tunnel, and this is nat',
  ],
  [
    'gue without port',
    D({ forward: 'tunnel', tunnel: { type: 'gue' } }),
    'services[0].destinations[0].tunnel.port: is required by gue',
  ],
  [
    'gre with a port',
    D({ forward: 'tunnel', tunnel: { type: 'gre', port: 1 } }),
    'services[0].destinations[0].tunnel.port: is only for gue, and this is gre',
  ],
  [
    'ipip with a checksum',
    D({ forward: 'tunnel', tunnel: { checksum: 'checksum' } }),
    'services[0].destinations[0].tunnel.checksum: ipip has no checksum mode checksum',
  ],
  [
    'an unknown kind of check',
    [{ listen: L, health: { kind: 'ftp' } }],
    'services[0].health.kind: must be one of tcp, icmp, http, https, smtp, dns, udp, script, got "ftp"',
  ],
  ['a check without kind', [{ listen: L, health: {} }], 'services[0].health.kind: is required'],
  [
    'a status that is none',
    [{ listen: L, health: { kind: 'http', status: '300-200' } }],
    'services[0].health.status: must be status codes such as 200, or 200-299,401, got "300-200"',
  ],
  [
    'a script without command',
    [{ listen: L, health: { kind: 'script' } }],
    'services[0].health.command: is required',
  ],
  [
    'a check of every port',
    [{ listen: 'mark://7', destinations: [{ address: '10.0.0.2' }], health: { kind: 'tcp' } }],
    'services[0].health.port: is required: a destination has port 0, which stands for every port',
  ],
];

for (const [title, services, fault] of cases) {
  test(`refused: ${title}`, (t) => t.deepEqual(faults(services), [fault]));
}

test('the same listen in two networks is no fault', (t) => {
  const networks = { underlay: { address: '10.0.0.1' }, networks: [{ name: 'blue', vni: 1 }] };
  t.deepEqual(faults([{ listen: L }, { listen: L, network: 'blue' }], networks), []);
  t.deepEqual(
    faults(
      [
        { listen: L, network: 'blue' },
        { listen: L, network: 'blue' },
      ],
      networks,
    ),
    ['services[1].listen: tcp://10.0.0.1:80 in network blue is already used by services[0].listen'],
  );
});

test('a virtual server out of range is refused', (t) => {
  t.deepEqual(faults([], { virtualServer: { dropEntry: 4, tcpSeconds: 0, sync: { master: {} } } }), [
    'virtualServer.tcpSeconds: must be 1..2678400, got 0',
    'virtualServer.dropEntry: must be 0..3, got 4',
    'virtualServer.sync.master.interface: is required',
  ]);
});

test('the JSON schema has both', (t) => {
  const { properties } = jsonSchema() as { properties: Record<string, unknown> };
  t.truthy(properties.services);
  t.truthy(properties.virtualServer);
});

test('sockets and listens are read as they are written, and nothing else is', (t) => {
  t.deepEqual(parseSocket('[fd00::1]'), { family: 6, address: 'fd00::1', port: null });
  for (const text of [
    '',
    ':80',
    '[10.0.0.1]:80',
    '10.0.0.1:',
    '10.0.0.1:65536',
    '10.0.0.1:080',
    'fd00::1]:80',
  ]) {
    t.is(parseSocket(text), undefined, text);
  }
  t.deepEqual(parseListen('mark6://4294967295'), { protocol: 'mark', family: 6, mark: 4294967295 });
  for (const text of [
    '',
    'tcp://',
    'TCP://10.0.0.1:80',
    'icmp://10.0.0.1:80',
    'mark://',
    'mark://-1',
    'mark://7.5',
  ]) {
    t.is(parseListen(text), undefined, text);
  }
});
