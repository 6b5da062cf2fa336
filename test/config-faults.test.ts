/** Configurations that are refused: each rule with the sentence that names path, rule and value. */
import test from 'ava';
import { ConfigError, parseConfig } from '../src/dataplane/config.js';

const underlay = { address: '10.0.0.1' };

function faults(input: string | object): readonly string[] {
  try {
    parseConfig(input, 'test');
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

const network = (more: object) => ({ underlay, networks: [{ name: 'blue', vni: 1, ...more }] });
const endpoint = (more: object) =>
  network({ endpoints: [{ netns: 'a', interface: 'eth0', addresses: ['10.1.0.2/24'], ...more }] });
const remote = (more: object) =>
  network({ remotes: [{ mac: '02:42:00:00:00:01', addresses: [], vtep: '10.0.0.2', ...more }] });
const route = (to: string, via: string) => endpoint({ routes: [{ to, via }] });

const N = 'networks[0]';
const E = 'networks[0].endpoints[0]';
const R = 'networks[0].remotes[0]';

/** What is written → the one fault. */
const cases: readonly [title: string, input: string | object, fault: string][] = [
  ['a list', [], 'must be a mapping, got []'],
  ['an empty file', '# nothing\n', 'has none of underlay, networks, services, virtualServer'],
  [
    'networks without underlay',
    { networks: [{ name: 'blue', vni: 1 }] },
    'underlay: is required where there are networks',
  ],
  ['an underlay without address', { underlay: {} }, 'underlay.address: is required'],
  [
    'an underlay address that is none',
    { underlay: { address: '10.0.0.256' } },
    'underlay.address: must be an IPv4 or IPv6 address, got "10.0.0.256"',
  ],
  [
    'an address with a zone',
    { underlay: { address: 'fe80::1%eth0' } },
    'underlay.address: must be an IPv4 or IPv6 address, got "fe80::1%eth0"',
  ],
  [
    'a link-local underlay address',
    { underlay: { address: 'fe80::1' } },
    'underlay.address: must not be link-local, got "fe80::1"',
  ],
  [
    'an IPv4 address in IPv6 dress',
    { underlay: { address: '::ffff:10.0.0.1' } },
    'underlay.address: must be written as IPv4, got "::ffff:10.0.0.1"',
  ],
  [
    'a list with a fault',
    { underlay: { address: ['10.0.0.1', 'x'] } },
    'underlay.address[1]: must be an IPv4 or IPv6 address, got "x"',
  ],
  [
    'an empty list of addresses',
    { underlay: { address: [] } },
    'underlay.address: must not be empty, got []',
  ],
  [
    'two addresses of one family',
    { underlay: { address: ['10.0.0.1', '10.0.0.2'] } },
    'underlay.address: has two IPv4 addresses; give one of each family',
  ],
  ['port 0', { underlay: { ...underlay, port: 0 } }, 'underlay.port: must be 1..65535, got 0'],
  ['a port in quotes', { underlay: { ...underlay, port: '1' } }, 'underlay.port: must be 1..65535, got "1"'],
  [
    'an unknown device',
    { underlay: { ...underlay, device: 'xdp' } },
    'underlay.device: must be one of auto, tunnel, udp, dgram, got "xdp"',
  ],
  [
    '65 source ports',
    { underlay: { ...underlay, sourcePorts: 65 } },
    'underlay.sourcePorts: must be 1..64, got 65',
  ],
  [
    'an offload that is no flag',
    { underlay, offload: { tso: 'no' } },
    'offload.tso: must be true or false, got "no"',
  ],
  ['an unknown offload', { underlay, offload: { lro: true } }, 'offload.lro: unknown key'],
  ['no engine', { underlay, engine: { count: 0 } }, 'engine.count: must be 1..64, got 0'],
  [
    'much spinning',
    { underlay, engine: { spinMicros: 1001 } },
    'engine.spinMicros: must be 0..1000, got 1001',
  ],
  [
    'fewer slots than a batch',
    { underlay, engine: { slots: 32 } },
    'engine.slots: must be at least engine.batch (64), got 32',
  ],
  ['a table too small', { ...network({}), tables: { fdb: 1 } }, 'tables.fdb: must be 16..16777216, got 1'],
  [
    'more networks than their table holds',
    {
      underlay,
      tables: { networks: 1 },
      networks: [
        { name: 'a', vni: 1 },
        { name: 'b', vni: 2 },
      ],
    },
    'tables.networks: must be at least 2, is 1',
  ],
  ['an unknown key', { underlay, colour: 'blue' }, 'colour: unknown key'],
  ['an unknown key of a network', network({ vlan: 3 }), `${N}.vlan: unknown key`],
  ['networks that are no list', { underlay, networks: {} }, 'networks: must be a list, got {}'],
  ['a network that is no mapping', { underlay, networks: ['a'] }, `${N}: must be a mapping, got "a"`],
  ['a network without a name', { underlay, networks: [{ vni: 1 }] }, `${N}.name: is required`],
  ['a name that is a number', network({ name: 7 }), `${N}.name: must be text, got 7`],
  [
    'an empty name',
    network({ name: '' }),
    `${N}.name: must be 1..128 printable characters without space around them, got ""`,
  ],
  ['a network without VNI', { underlay, networks: [{ name: 'a' }] }, `${N}.vni: is required`],
  ['a VNI of 27 bits', network({ vni: 99999999 }), `${N}.vni: must be 1..16777215, got 99999999`],
  ['VNI 0', network({ vni: 0 }), `${N}.vni: must be 1..16777215, got 0`],
  ['half a VNI', network({ vni: 1.5 }), `${N}.vni: must be 1..16777215, got 1.5`],
  ['a tiny MTU', network({ mtu: 67 }), `${N}.mtu: must be 68..65485, got 67`],
  [
    'a group policy of 17 bits',
    network({ groupPolicy: 65536 }),
    `${N}.groupPolicy: must be 0..65535, got 65536`,
  ],
  ['no ageing', network({ ageingSeconds: 0 }), `${N}.ageingSeconds: must be 1..1000000, got 0`],
  [
    'a network name twice',
    {
      underlay,
      networks: [
        { name: 'a', vni: 1 },
        { name: 'a', vni: 2 },
      ],
    },
    'networks[1].name: a is already used by networks[0].name',
  ],
  [
    'a VNI twice',
    {
      underlay,
      networks: [
        { name: 'a', vni: 5 },
        { name: 'b', vni: 5 },
      ],
    },
    'networks[1].vni: 5 is already used by networks[0].vni',
  ],
  [
    'a VTEP that is multicast',
    network({ vteps: ['239.1.1.1'] }),
    `${N}.vteps[0]: must be unicast, got "239.1.1.1"`,
  ],
  [
    'a VTEP of zeros',
    network({ vteps: ['0.0.0.0'] }),
    `${N}.vteps[0]: must be the address of a host, got "0.0.0.0"`,
  ],
  [
    'the own VTEP',
    network({ vteps: ['10.0.0.1'] }),
    `${N}.vteps[0]: 10.0.0.1 is this host's own underlay address`,
  ],
  [
    'a VTEP of a family that the underlay lacks',
    network({ vteps: ['fd00::2'] }),
    `${N}.vteps[0]: fd00::2 is IPv6, and the underlay has no IPv6 address`,
  ],
  [
    'a VTEP twice',
    network({ vteps: ['10.0.0.2', '10.0.0.2'] }),
    `${N}.vteps[1]: 10.0.0.2 is already used by ${N}.vteps[0]`,
  ],
  ['no namespace', endpoint({ netns: undefined }), `${E}.netns: is required`],
  [
    'a namespace that is a relative path',
    endpoint({ netns: 'a/b' }),
    `${E}.netns: must be a name under /run/netns or an absolute path, got "a/b"`,
  ],
  [
    'an interface name of 16 characters',
    endpoint({ interface: 'abcdefghijklmnop' }),
    `${E}.interface: must be 1..15 characters without space, slash, colon or per cent, got "abcdefghijklmnop"`,
  ],
  [
    'an interface name that the kernel would number',
    endpoint({ interface: 'eth%d' }),
    `${E}.interface: must be 1..15 characters without space, slash, colon or per cent, got "eth%d"`,
  ],
  [
    'an endpoint address without prefix length',
    endpoint({ addresses: ['10.1.0.2'] }),
    `${E}.addresses[0]: must be an address with its prefix length, got "10.1.0.2"`,
  ],
  [
    'a prefix length too long',
    endpoint({ addresses: ['10.1.0.2/33'] }),
    `${E}.addresses[0]: must be an address with its prefix length, got "10.1.0.2/33"`,
  ],
  [
    'a MAC of five bytes',
    endpoint({ mac: '02:42:0a:0a:00' }),
    `${E}.mac: must be a MAC address such as 02:42:0a:0a:00:02, got "02:42:0a:0a:00"`,
  ],
  [
    'a multicast MAC',
    endpoint({ mac: '01:00:5e:00:00:01' }),
    `${E}.mac: must not be a multicast address, got "01:00:5e:00:00:01"`,
  ],
  [
    'a MAC of zeros',
    endpoint({ mac: '00:00:00:00:00:00' }),
    `${E}.mac: must not be zero, got "00:00:00:00:00:00"`,
  ],
  [
    "a remote's multicast MAC",
    remote({ mac: 'ff:ff:ff:ff:ff:ff' }),
    `${R}.mac: must not be a multicast address, got "ff:ff:ff:ff:ff:ff"`,
  ],
  [
    "a remote's address with prefix length",
    remote({ addresses: ['10.1.0.3/24'] }),
    `${R}.addresses[0]: must be an IPv4 or IPv6 address, got "10.1.0.3/24"`,
  ],
  ['a remote without VTEP', remote({ vtep: undefined }), `${R}.vtep: is required`],
  [
    'a remote behind the own VTEP',
    remote({ vtep: '10.0.0.1' }),
    `${R}.vtep: 10.0.0.1 is this host's own underlay address`,
  ],
  [
    "an MTU beyond its network's",
    network({ mtu: 1400, endpoints: [{ netns: 'a', interface: 'eth0', mtu: 1500 }] }),
    `${E}.mtu: must not exceed its network's (1400), got 1500`,
  ],
  [
    'an MTU too small for IPv6',
    endpoint({ mtu: 1000, addresses: ['fd00::2/64'] }),
    `${E}.mtu: must be at least 1280 for the endpoint's IPv6 addresses, is 1000`,
  ],
  [
    'a route to nowhere',
    route('x', '10.1.0.1'),
    `${E}.routes[0].to: must be default or a prefix such as 10.1.0.0/16, got "x"`,
  ],
  [
    'a route with host bits',
    route('10.9.0.1/16', '10.1.0.1'),
    `${E}.routes[0].to: has host bits set; write 10.9.0.0/16`,
  ],
  [
    'a route with IPv6 host bits',
    endpoint({ addresses: ['fd00::2/64'], routes: [{ to: 'fd01::1/33', via: 'fd00::1' }] }),
    `${E}.routes[0].to: has host bits set; write fd01::/33`,
  ],
  [
    'a gateway out of reach',
    route('default', '10.2.0.1'),
    `${E}.routes[0].via: 10.2.0.1 is in none of the endpoint's subnets`,
  ],
  ['a route of two families', route('fd01::/64', '10.1.0.1'), `${E}.routes[0]: mixes IPv4 and IPv6`],
];

for (const [title, input, fault] of cases) {
  test(`${title}: refused with path and value`, (t) => {
    t.deepEqual(faults(input), [fault]);
  });
}

test('duplicates within a network are found between endpoints, between remotes and across', (t) => {
  const found = faults(
    network({
      endpoints: [
        { netns: 'a', interface: 'eth0', addresses: ['10.1.0.2/24'] },
        { netns: '/run/netns/a', interface: 'eth0', addresses: ['10.1.0.2/24'] },
      ],
      remotes: [
        { mac: '02:42:0A:01:00:02', addresses: ['10.1.0.3', 'fd00::3'], vtep: '10.0.0.2' },
        { mac: '02:42:00:00:00:03', addresses: ['fd00:0::3'], vtep: '10.0.0.2' },
      ],
    }),
  );
  t.deepEqual(found, [
    `networks[0].endpoints[1]: interface eth0 in /run/netns/a is already used by ${E}`,
    `networks[0].endpoints[1].addresses[0]: 10.1.0.2 is already used by ${E}.addresses[0]`,
    `networks[0].endpoints[1].mac: 02:42:0a:01:00:02 is already used by ${E}.mac`,
    `${R}.mac: 02:42:0a:01:00:02 is already used by ${E}.mac`,
    `networks[0].remotes[1].addresses[0]: fd00::3 is already used by ${R}.addresses[1]`,
  ]);
});

test('every fault is listed, those of single values and those between values', (t) => {
  const found = faults({
    underlay: { address: '10.0.0.1', port: 70000, colour: 1 },
    networks: [
      { name: 'a', vni: 0, vteps: ['10.0.0.1'] },
      { name: 'a', vni: 2, endpoints: [{ netns: 'x', interface: 'eth0', mac: 'nonsense' }] },
    ],
  });
  t.deepEqual(
    [...found].sort(),
    [
      'networks[0].vni: must be 1..16777215, got 0',
      "networks[0].vteps[0]: 10.0.0.1 is this host's own underlay address",
      'networks[1].endpoints[0].mac: must be a MAC address such as 02:42:0a:0a:00:02, got "nonsense"',
      'networks[1].name: a is already used by networks[0].name',
      'underlay.colour: unknown key',
      'underlay.port: must be 1..65535, got 70000',
    ].sort(),
  );
});

test('text that is neither JSON nor YAML is refused with line and column', (t) => {
  t.deepEqual(faults('underlay:\n  address: 10.0.0.1\n bad: 1\n'), [
    'line 3, column 2: bad indentation of a mapping entry',
  ]);
  t.deepEqual(faults('a: 1\na: 2\n'), ['line 2, column 1: duplicated mapping key']);
  t.deepEqual(faults('a: 1\n---\na: 2\n'), ['holds several YAML documents, and must be one']);
});

test('a mapping called __proto__ is an unknown key like any other', (t) => {
  t.deepEqual(faults('{"underlay": {"address": "10.0.0.1"}, "__proto__": {"vni": 1}}'), [
    '__proto__: unknown key',
  ]);
});

test('no value of a wrong type makes it fall over', (t) => {
  const values = [null, true, 0, -1, 1.5, '', 'x', [], [[]], {}, { a: 1 }];
  const paths = ['underlay', 'offload', 'engine', 'tables', 'networks'];
  for (const value of values) {
    for (const path of paths) t.notThrows(() => faults({ underlay, [path]: value }));
    for (const key of ['name', 'vni', 'vteps', 'endpoints', 'remotes', 'mtu']) {
      t.notThrows(() => faults(network({ [key]: value })));
    }
    for (const key of ['netns', 'interface', 'mac', 'addresses', 'routes']) {
      t.notThrows(() => faults(endpoint({ [key]: value })));
    }
    for (const key of ['mac', 'addresses', 'vtep']) t.notThrows(() => faults(remote({ [key]: value })));
  }
});
