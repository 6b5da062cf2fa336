/** Services inside networks by configuration: what is applied, what is refused, and what goes with a network. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import {
  ApplyError,
  createDataplane,
  type Dataplane,
  MemoryWorkload,
  parseConfig,
} from '../src/dataplane/dataplane.js';
import { QUIET } from './host/fake-carrier.js';
import { until } from './io/until.js';
import { build, parsedOf, TCP } from './ipvs/packets.js';

const MAC = (n: number) => [2, 0x42, 10, 0, 0, n];
const text = (bytes: number[]) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const VIRTUAL_MAC = [0x0a, 0x56, 10, 0, 0, 100];

type Services = { listen?: string; network?: string | null; to?: number; more?: object }[];

/** Networks, each with workloads 1 and 2 (interfaces NAME1, NAME2), and services that go to a workload of their network. */
function configFor(port: number, networks: string[], services?: Services, endpoint: object = {}) {
  return parseConfig(
    {
      underlay: { address: '127.0.0.1', port, device: 'dgram', mtu: 1500 },
      networks: networks.map((name, i) => ({
        name,
        vni: 4097 + i,
        endpoints: [1, 2].map((n) => ({
          ...{ netns: 'w', interface: `${name}${n}`, mac: text(MAC(n)), addresses: [`10.0.0.${n}/24`] },
          ...(n === 2 && endpoint),
        })),
      })),
      ...(services && {
        services: services.map(({ listen = 'tcp://10.0.0.100:80', network = 'blue', to = 2, more }) => ({
          ...{ listen, network, destinations: [{ address: `10.0.0.${to}:8080` }], ...more },
        })),
      }),
    },
    'the test',
  );
}

async function plane(t: ExecutionContext) {
  const workloads = new Map<string, MemoryWorkload>();
  const dataplane = createDataplane({
    logger: QUIET,
    deviceFor: (endpoint, path) => {
      const workload = new MemoryWorkload();
      workloads.set(endpoint.interface, workload);
      return workload.connect(path);
    },
  });
  await dataplane.start();
  t.teardown(() => dataplane.stop());
  const socket = createSocket('udp4').bind(0);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  const configOf = (networks: string[], services?: Services, endpoint?: object) =>
    configFor(port, networks, services, endpoint);
  return { dataplane, workloads, configOf };
}

/** A SYN of workload 1 of the network to the virtual address; to whom it went, as workload 2 has it. */
async function syn(
  workloads: Map<string, MemoryWorkload>,
  network: string,
  sourcePort: number,
): Promise<string> {
  const wanted = {
    protocol: TCP,
    source: '10.0.0.1',
    destination: '10.0.0.100',
    destinationPort: 80,
    sourcePort,
    flags: 2,
  };
  const frame = Uint8Array.from([...VIRTUAL_MAC, ...MAC(1), 8, 0, ...build(wanted)]);
  workloads.get(`${network}1`)!.send(frame);
  const got = await until(() => workloads.get(`${network}2`)!.receive());
  const { destination0, destinationPort } = parsedOf(got!.slice(14));
  return `10.0.0.${destination0 & 255}:${destinationPort}`;
}

const states = (dataplane: Dataplane) =>
  dataplane
    .connections()
    .map(({ network, virtual, destination, state }) => ({ network, virtual, destination, state }));

test('a service inside a network serves, is listed, and is one of its network alone', async (t) => {
  const { dataplane, workloads, configOf } = await plane(t);
  await dataplane.apply(configOf(['blue', 'red'], [{}, { network: 'red', more: { scheduler: 'rr' } }]));
  t.deepEqual(
    dataplane.services().map(({ network, listen, scheduler }) => [network, listen, scheduler]),
    [
      ['blue', 'tcp://10.0.0.100:80', 'wlc'],
      ['red', 'tcp://10.0.0.100:80', 'rr'],
    ],
  );
  t.is(await syn(workloads, 'blue', 40_000), '10.0.0.2:8080');
  t.is(await syn(workloads, 'red', 40_000), '10.0.0.2:8080');
  const row = { virtual: '10.0.0.100:80', destination: '10.0.0.2:8080', state: 'SYN_RECV' };
  t.deepEqual(states(dataplane), [
    { network: 'blue', ...row },
    { network: 'red', ...row },
  ]);
  t.deepEqual(
    dataplane.services().map(({ destinations }) => destinations.map(({ active }) => active)),
    [[1], [1]],
  );
  const virtual = dataplane.neighbours().filter(({ mac }) => mac === text(VIRTUAL_MAC));
  t.deepEqual(virtual.map(({ network, address }) => `${network} ${address}`).sort(), [
    'blue 10.0.0.100',
    'red 10.0.0.100',
  ]);
});

test('a service that goes leaves its connections, and its address answered, until they have ended', async (t) => {
  const { dataplane, workloads, configOf } = await plane(t);
  const virtual = () => dataplane.neighbours().filter(({ mac }) => mac === text(VIRTUAL_MAC)).length;
  await dataplane.apply(configOf(['blue'], [{ more: { timeouts: { tcpSeconds: 1 } } }]));
  t.is(await syn(workloads, 'blue', 40_000), '10.0.0.2:8080');
  await dataplane.apply(configOf(['blue'], []));
  t.is(virtual(), 1);
  t.is(await syn(workloads, 'blue', 40_000), '10.0.0.2:8080', 'the same connection');
  // Without connections nothing is left of it.
  await dataplane.apply(configOf(['blue'], [{ listen: 'tcp://10.0.0.101:80' }]));
  await dataplane.apply(configOf(['blue'], []));
  t.deepEqual(
    dataplane
      .neighbours()
      .map(({ address }) => address)
      .sort(),
    ['10.0.0.1', '10.0.0.100', '10.0.0.2'],
  );
});

test('a network goes with its services and connections in one change, and another gets nothing of them', async (t) => {
  const { dataplane, workloads, configOf } = await plane(t);
  await dataplane.apply(configOf(['blue'], [{}]));
  t.is(await syn(workloads, 'blue', 40_000), '10.0.0.2:8080');
  const error = await t.throwsAsync(dataplane.apply(configOf(['red'])), { instanceOf: ApplyError });
  t.is(error!.message, 'service tcp://10.0.0.100:80: there is no network blue; remove the service with it');
  t.deepEqual(
    dataplane.networks().map(({ name }) => name),
    ['blue'],
  );
  await dataplane.apply(configOf(['red'], []));
  t.deepEqual([dataplane.connections(), dataplane.services()], [[], []]);
  // Index 1 is free again.
  await dataplane.apply(configOf(['green', 'red'], []));
  t.false(dataplane.neighbours().some(({ mac }) => mac === text(VIRTUAL_MAC)));
  t.false(await silent(workloads, 'green'));
});

/** Whether a frame to the virtual MAC is not simply flooded, as to any MAC that nobody knows. */
async function silent(workloads: Map<string, MemoryWorkload>, network: string): Promise<boolean> {
  return (await syn(workloads, network, 40_000)) !== '10.0.0.100:80';
}

test('what can not be had is refused by name, and nothing has changed', async (t) => {
  const { dataplane, workloads, configOf } = await plane(t);
  await dataplane.apply(configOf(['blue'], [{}]));
  const refused: [Services, RegExp, object?][] = [
    [
      [{ listen: 'tcp://10.0.0.2:80', to: 1 }],
      /10\.0\.0\.2 is the address of 02:42:0a:00:00:02 in network blue/,
    ],
    [[{ more: { synProxy: true } }], /not supported yet: synProxy in a network/],
    [[{ more: { resetOnExpiry: true } }], /not supported yet: resetOnExpiry in a network/],
    [[{ more: { health: { kind: 'tcp' } } }], /not supported yet: health in a network/],
    [
      [{ more: { destinations: [{ address: '10.0.0.2:80', forward: 'route' }] } }],
      /forward other than nat inside a network/,
    ],
    [[{}], /the MAC 0a:56:0a:00:00:07 is of those kept for its services/, { mac: '0a:56:0a:00:00:07' }],
    [[{ network: null }], /on the host's own side need the native addon/],
  ];
  for (const [services, message, endpoint] of refused) {
    await t.throwsAsync(dataplane.apply(configOf(['blue'], services, endpoint)), {
      instanceOf: ApplyError,
      message,
    });
  }
  t.deepEqual(
    dataplane.services().map(({ network, listen }) => [network, listen]),
    [['blue', 'tcp://10.0.0.100:80']],
  );
  t.is(await syn(workloads, 'blue', 40_001), '10.0.0.2:8080');
});
