import { type Endpoint, parseConfig } from '../../src/dataplane/config.js';
import { ApplyError } from '../../src/dataplane/face.js';
import { changeTap, closeTap, limitSupers, openTap } from '../../src/dataplane/host/endpoints.js';
import { linkByIndex } from '../../src/dataplane/io/rtnetlink/link.js';
import { asRoot, namespace, run } from '../native/machine.js';
import { QUIET } from './fake-carrier.js';

const endpointOf = (netns: string, part: object): Endpoint =>
  parseConfig(
    {
      underlay: { address: '10.0.0.1' },
      networks: [{ name: 'blue', vni: 1, endpoints: [{ netns, interface: 'eth0', ...part }] }],
    },
    'the test',
  ).networks[0]!.endpoints[0]!;

asRoot('an interface is changed as a whole or not at all', (t) => {
  const netns = namespace(t);
  const before = endpointOf(netns.path, {
    mac: '02:42:00:00:00:01',
    addresses: ['10.1.0.1/24', '10.2.0.1/24'],
    routes: [{ to: '10.9.0.0/16', via: '10.2.0.9' }],
  });
  const offloads = { checksum: true, tso: true, uso: true, coalesce: true };
  const open = openTap(before, 'blue', 0, 1400, 1, offloads, QUIET);
  t.teardown(() => closeTap(open));
  const ip = (...words: string[]): unknown => JSON.parse(run('ip', '-n', netns.name, '-j', ...words));
  const seen = () => {
    const [link] = ip('addr', 'show', 'dev', 'eth0') as [
      { address: string; mtu: number; addr_info: { local: string }[] },
    ];
    const routes = ip('route', 'show', 'proto', 'static') as { dst: string }[];
    const rest = ip('route', 'show', '10.9.0.0/16') as { dst: string }[];
    return {
      mac: link.address,
      mtu: link.mtu,
      addresses: link.addr_info.map(({ local }) => local).sort(),
      routes: [...routes, ...rest].map(({ dst }) => dst),
    };
  };
  const as = seen();
  t.deepEqual([as.mac, as.mtu, as.addresses], ['02:42:00:00:00:01', 1400, ['10.1.0.1', '10.2.0.1']]);

  const next = endpointOf(netns.path, {
    mac: '02:42:00:00:00:02',
    addresses: ['10.1.0.1/24', '10.3.0.1/24'],
    routes: [{ to: '10.8.0.0/16', via: '10.3.0.9' }],
  });
  const impossible = { ...next, routes: [...next.routes, { to: '10.7.0.0/16', via: '192.0.2.1' }] };
  t.throws(() => changeTap(open, impossible, 1300), {
    instanceOf: ApplyError,
    message: /^endpoint eth0 in /,
  });
  t.deepEqual(seen(), as);
  t.deepEqual([open.endpoint, open.mtu], [before, 1400]);

  changeTap(open, next, 1300);
  const now = seen();
  t.deepEqual([now.mac, now.mtu, now.addresses], ['02:42:00:00:00:02', 1300, ['10.1.0.1', '10.3.0.1']]);
});

asRoot(
  'by sockets a workload makes super-packets whose datagrams fit into one send, by the tunnel whole ones',
  (t) => {
    const netns = namespace(t);
    const endpoint = endpointOf(netns.path, { mac: '02:42:00:00:00:01' });
    const offloads = { checksum: true, tso: true, uso: true, coalesce: true };
    const open = openTap(endpoint, 'blue', 0, 1500, 1, offloads, QUIET);
    t.teardown(() => closeTap(open));
    const limit = (kind: string) => {
      limitSupers(open, kind);
      return linkByIndex(netns.path, open.link)?.gsoMaxSize;
    };
    t.is(limit('tunnel'), 65_536);
    const limited = limit('udp')!;
    // 43 segments of 1,448 bytes of payload, with 74 bytes of headers each, and 44 are too many for a send.
    t.is(Math.floor((limited - 321) / 1448), 43);
    t.true(43 * (1448 + 74) <= 65_507 && 44 * (1448 + 74) > 65_507);
    changeTap(open, endpoint, 9000);
    t.is(Math.floor((limit('udp')! - 321) / 8948), 7);
    changeTap(open, endpoint, 40_000);
    t.is(limit('udp'), 40_280);
    t.is(limit('tunnel'), 65_536);
  },
);
