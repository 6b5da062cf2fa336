/** Configurations that are valid: what becomes of them, from text and from objects. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { z } from 'zod';
import { type Config, ConfigError, jsonSchema, netnsPath, parseConfig } from '../src/dataplane/config.js';

const minimal = readFileSync('examples/minimal.yaml', 'utf8');
const everyField = readFileSync('examples/every-field.yaml', 'utf8');
const underlay = { address: '10.0.0.1' };

const parse = (input: string | object) => parseConfig(input, 'test');
const one = (network: object) => parse({ underlay, networks: [{ name: 'blue', vni: 1, ...network }] });
const macOf = (config: Config) => config.networks[0]!.endpoints[0]!.mac;

test('the shortest configuration has an address and every default', (t) => {
  t.deepEqual(parse({ underlay }), {
    underlay: {
      address: ['10.0.0.1'],
      port: 4789,
      device: 'auto',
      mtu: null,
      receiveBuffer: 8 << 20,
      sendBuffer: 8 << 20,
      sourcePorts: 4,
    },
    offload: {
      tso: true,
      uso: true,
      checksum: true,
      tunnel: true,
      segment: true,
      gro: true,
      bundle: true,
      coalesce: true,
    },
    engine: { count: 1, slots: 256, spinMicros: 50, batch: 64 },
    tables: { fdb: 131072, neighbours: 262144, networks: 4096, endpoints: 4096, vteps: 4096 },
    networks: [],
  });
});

test("a network's defaults are filled in", (t) => {
  t.deepEqual(one({}).networks[0], {
    name: 'blue',
    vni: 1,
    vteps: [],
    learning: false,
    ageingSeconds: 300,
    mtu: null,
    mssClamp: false,
    floodUnknown: true,
    groupPolicy: null,
    endpoints: [],
    remotes: [],
  });
});

test('a missing list of networks, an empty one and one left empty in YAML are the same', (t) => {
  const expected = parse({ underlay });
  t.deepEqual(parse('underlay: { address: 10.0.0.1 }\nnetworks: []\n'), expected);
  t.deepEqual(parse('underlay: { address: 10.0.0.1 }\nnetworks:\n'), expected);
  t.deepEqual(parse('{"underlay": {"address": "10.0.0.1"}}'), expected);
});

test('YAML and JSON of the same configuration give the same value', (t) => {
  const fromYaml = parse(minimal);
  t.deepEqual(parse(JSON.stringify(fromYaml)), fromYaml);
  t.deepEqual(fromYaml.networks[0]!.endpoints[0], {
    netns: 'ctr-a',
    interface: 'eth0',
    mac: '02:42:0a:0a:00:02',
    addresses: ['10.10.0.2/24', 'fd00:10::2/64'],
    mtu: null,
    routes: [],
  });
});

test('a normalised configuration is itself a valid one, and stays as it is', (t) => {
  for (const text of [minimal, everyField]) {
    const config = parse(text);
    t.deepEqual(parse(config), config);
  }
});

test('MACs and addresses get their one spelling', (t) => {
  const { endpoints, remotes, vteps } = parse({
    underlay: { address: ['FD00:0:0::1', '10.0.0.1'] },
    networks: [
      {
        name: 'blue',
        vni: 1,
        vteps: ['FD00:0000::2'],
        endpoints: [
          {
            netns: 'a',
            interface: 'eth0',
            mac: '02:42:AC:00:00:02',
            addresses: ['2001:DB8:0:0:1::2/64'],
            routes: [{ to: '::/0', via: '2001:db8::1' }],
          },
        ],
        remotes: [{ mac: '02:42:AC:00:00:03', addresses: ['2001:db8:0:1:0:0:0:1'], vtep: 'fd00:0::2' }],
      },
    ],
  }).networks[0]!;
  t.deepEqual(vteps, ['fd00::2']);
  t.like(endpoints[0], { mac: '02:42:ac:00:00:02', addresses: ['2001:db8::1:0:0:2/64'] });
  t.deepEqual(endpoints[0]!.routes, [{ to: 'default', via: '2001:db8::1' }]);
  t.deepEqual(remotes[0], {
    mac: '02:42:ac:00:00:03',
    addresses: ['2001:db8:0:1::1'],
    vtep: 'fd00::2',
  });
});

test('of two underlay addresses the IPv4 one comes first', (t) => {
  t.deepEqual(parse({ underlay: { address: ['fd00::1', '10.0.0.1'] } }).underlay?.address, [
    '10.0.0.1',
    'fd00::1',
  ]);
});

test('an endpoint without a MAC gets 02:42 and its IPv4 address', (t) => {
  const config = one({
    endpoints: [{ netns: 'a', interface: 'eth0', addresses: ['fd00::2/64', '10.1.2.3/24'] }],
  });
  t.is(macOf(config), '02:42:0a:01:02:03');
});

test('an endpoint without MAC and IPv4 address gets a locally administered MAC that is always the same', (t) => {
  const of = (netns: string) =>
    macOf(one({ endpoints: [{ netns, interface: 'eth0', addresses: ['fd00::2/64'] }] }));
  t.is(of('a'), of('a'));
  t.not(of('a'), of('b'));
  t.is(Number.parseInt(of('a').slice(0, 2), 16) & 3, 2);
});

test('a namespace is a name under /run/netns or a path', (t) => {
  t.is(netnsPath('ctr-a'), '/run/netns/ctr-a');
  t.is(netnsPath('/proc/123/ns/net'), '/proc/123/ns/net');
  t.is(netnsPath('/var/run/netns/ctr-a'), '/run/netns/ctr-a');
});

test('the same names, MACs and addresses in different networks are no fault', (t) => {
  const network = (name: string, vni: number) => ({
    name,
    vni,
    endpoints: [{ netns: name, interface: 'eth0', addresses: ['10.10.0.2/24'] }],
    remotes: [{ mac: '02:42:0a:0a:00:03', addresses: ['10.10.0.3'], vtep: '10.0.0.2' }],
  });
  t.notThrows(() => parse({ underlay, networks: [network('a', 1), network('b', 2)] }));
});

test('the JSON schema takes the examples and refuses an unknown key, as the parser does', (t) => {
  const published = z.fromJSONSchema(jsonSchema() as Parameters<typeof z.fromJSONSchema>[0]);
  for (const text of [minimal, everyField]) {
    const config = structuredClone(parse(text)) as unknown;
    t.true(published.safeParse(config).success);
    t.false(published.safeParse({ ...(config as object), colour: 1 }).success);
  }
  t.false(published.safeParse({ underlay, networks: [{ name: 'a', vni: 0 }] }).success);
});

test('100,000 remotes in 1,000 networks are read in well under a second', (t) => {
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  const text = JSON.stringify({
    underlay,
    networks: Array.from({ length: 1000 }, (_, n) => ({
      name: `n${n}`,
      vni: 4096 + n,
      remotes: Array.from({ length: 100 }, (_, i) => ({
        mac: `02:42:0a:${hex(n >> 8)}:${hex(n & 255)}:${hex(i)}`,
        addresses: [
          `10.${n >> 8}.${n & 255}.${i + 1}`,
          `fd00:${(n + 1).toString(16)}::${(i + 1).toString(16)}`,
        ],
        vtep: `10.0.1.${i}`,
      })),
    })),
  });
  const times = Array.from({ length: 3 }, () => {
    const started = performance.now();
    t.is(parse(text).networks.length, 1000);
    return performance.now() - started;
  });
  const milliseconds = Math.round(Math.min(...times));
  t.log(`${milliseconds} ms`);
  t.true(milliseconds < 3000, 'a third of a second on an idle core; other tests run beside this one');
});

test('a configuration error has a stable code and names its source', (t) => {
  const error = t.throws(() => parseConfig('{}', '/etc/viaduct.yaml'), { instanceOf: ConfigError });
  t.is(error.code, 'CONFIG_INVALID');
  t.true(error.message.startsWith('/etc/viaduct.yaml is not a valid configuration:\n'));
});
