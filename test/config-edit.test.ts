/** Edits of the virtual server: all of them or a refusal, and what a rule can't say stays. */
import test from 'ava';
import { type Edited, edit } from '../src/dataplane/config/service-edit.js';
import { parseEdits } from '../src/dataplane/config/service-edit-schema.js';
import { type Edit, EditRefused } from '../src/dataplane/config/service-edit-types.js';
import { settle } from '../src/dataplane/config/settled.js';
import { parseConfig } from '../src/dataplane/config.js';

const NETWORKS = new Set(['blue']);
const config = (services: unknown[], more: object = {}): Edited =>
  settle(
    parseConfig(
      { underlay: { address: '10.9.9.9' }, networks: [{ name: 'blue', vni: 1 }], services, ...more },
      'the test',
    ),
    null,
  );
const after = (before: Edited, edits: unknown[]) => edit(before, parseEdits(edits), NETWORKS);

const WEB = 'tcp://10.0.0.1:80';
const of = { listen: WEB };
const health = { kind: 'http', path: '/healthz' };
const BEFORE = config([
  { listen: WEB, health, destinations: [{ address: '10.0.0.2', near: true }, { address: '10.0.0.3' }] },
  { listen: WEB, network: 'blue' },
  { listen: 'mark://7' },
]);

test('a service that is edited keeps what a rule cannot say', (t) => {
  const { services } = after(BEFORE, [
    { do: 'edit-service', ...of, rule: { scheduler: 'rr', persistence: {} } },
  ]);
  t.like(services[0], {
    listen: WEB,
    scheduler: 'rr',
    persistence: { timeoutSeconds: 300, mask: 32, engine: null },
  });
  t.deepEqual(services[0]!.health, BEFORE.services[0]!.health);
  t.deepEqual(services[0]!.destinations, BEFORE.services[0]!.destinations);
  t.is(services[1], BEFORE.services[1], 'the others are the very same');
});

test('a destination that is edited is as the rule says, and stays near', (t) => {
  const destination = { address: '10.0.0.2:80', weight: 9, forward: 'route' };
  const { services } = after(BEFORE, [{ do: 'edit-destination', ...of, destination }]);
  t.like(services[0]!.destinations[0], { address: '10.0.0.2:80', weight: 9, forward: 'route', near: true });
});

test('services are added at the end with every default, destinations likewise, and both go', (t) => {
  const { services } = after(BEFORE, [
    { do: 'add-service', listen: 'udp://[FD00::1]:53', network: 'blue' },
    {
      do: 'add-destination',
      listen: 'udp://[fd00::1]:53',
      network: 'blue',
      destination: { address: '[fd00::2]:53' },
    },
    { do: 'delete-service', ...of },
    { do: 'add-destination', listen: 'mark://7', destination: { address: '10.0.0.2:0' } },
    { do: 'delete-destination', listen: 'mark://7', address: '10.0.0.2:0' },
  ]);
  t.deepEqual(
    services.map(({ network, listen, destinations }) => [
      network,
      listen,
      destinations.map((each) => each.address),
    ]),
    [
      ['blue', WEB, []],
      [null, 'mark://7', []],
      ['blue', 'udp://[fd00::1]:53', ['[fd00::2]:53']],
    ],
  );
});

test("a flush is of one network, or of the host's own side", (t) => {
  const left = (network: string | null) =>
    after(BEFORE, [{ do: 'flush', network }]).services.map((each) => each.network);
  t.deepEqual(left(null), ['blue']);
  t.deepEqual(left('blue'), [null, null]);
});

test('what is replaced goes, but what comes back keeps what a rule cannot say', (t) => {
  const rules = [
    { do: 'add-service', ...of, rule: { scheduler: 'lc' } },
    { do: 'add-destination', ...of, destination: { address: '10.0.0.2:80', weight: 5 } },
    { do: 'add-destination', ...of, destination: { address: '10.0.0.4:80' } },
  ];
  const { services } = after(BEFORE, [{ do: 'replace', network: null }, ...rules]);
  t.deepEqual(
    services.map(({ network, listen }) => [network, listen]),
    [
      ['blue', WEB],
      [null, WEB],
    ],
  );
  t.deepEqual(services[1]!.health, BEFORE.services[0]!.health);
  t.deepEqual(
    services[1]!.destinations.map(({ address, weight, near }) => [address, weight, near]),
    [
      ['10.0.0.2:80', 5, true],
      ['10.0.0.4:80', 1, false],
    ],
  );
  t.deepEqual(after(BEFORE, [{ do: 'replace', network: '*' }]).services, []);
});

test('daemons are part of the whole state, not of one network', (t) => {
  const before = config([], { virtualServer: { tcpSeconds: 5, sync: { master: { interface: 'eth1' } } } });
  t.is(after(before, [{ do: 'replace', network: null }]).virtualServer, before.virtualServer);
  const { virtualServer } = after(before, [{ do: 'replace', network: '*' }]);
  t.like(virtualServer, { tcpSeconds: 5, sync: { master: null, backup: null } });
});

test('timeouts of 0 stay, daemons start and stop, a whole virtual server can be put', (t) => {
  const { virtualServer } = after(BEFORE, [
    { do: 'set-timeouts', tcpSeconds: 5, udpSeconds: 7 },
    { do: 'start-daemon', role: 'master', daemon: { interface: 'eth1' } },
    { do: 'start-daemon', role: 'backup', daemon: { interface: 'eth2' } },
    { do: 'stop-daemon', role: 'backup' },
  ]);
  t.like(virtualServer, { tcpSeconds: 5, tcpFinSeconds: 120, udpSeconds: 7, sync: { backup: null } });
  t.is(virtualServer.sync.master?.interface, 'eth1');
  t.is(
    after(BEFORE, [{ do: 'put-virtual-server', virtualServer: { dropRate: 3 } }]).virtualServer.dropRate,
    3,
  );
});

test('a whole service is put as it is', (t) => {
  const [service] = config([{ listen: 'tcp://10.0.0.9:9', health }]).services;
  t.deepEqual(after(BEFORE, [{ do: 'put-service', service }]).services.at(-1), service);
});

const INVALID = 'Invalid operation.  Possibly wrong module version, address not unicast, ...';
const REFUSED: readonly [title: string, edits: unknown[], message: string, at: number][] = [
  ['a service twice', [{ do: 'add-service', ...of }], 'Service already exists', 0],
  ['a whole service twice', [{ do: 'put-service', service: of }], 'Service already exists', 0],
  ['a service that is not there', [{ do: 'edit-service', listen: 'tcp://10.0.0.9:9' }], 'No such service', 0],
  [
    'one of another network',
    [{ do: 'delete-service', listen: 'mark://7', network: 'blue' }],
    'No such service',
    0,
  ],
  ['counts of nothing', [{ do: 'zero', listen: 'mark6://7' }], 'No such service', 0],
  [
    'a destination of no service',
    [{ do: 'zero' }, { do: 'add-destination', listen: 'mark6://7', destination: { address: '10.0.0.2:80' } }],
    'Service not defined',
    1,
  ],
  [
    'a destination twice',
    [{ do: 'add-destination', ...of, destination: { address: '10.0.0.2:80' } }],
    'Destination already exists',
    0,
  ],
  [
    'a destination that is not there',
    [{ do: 'delete-destination', ...of, address: '10.0.0.2:81' }],
    'No such destination',
    0,
  ],
  [
    'an unknown scheduler',
    [{ do: 'add-service', listen: 'mark://8', rule: { scheduler: 'best' } }],
    'Scheduler or persistence engine not found',
    0,
  ],
  [
    'an unknown engine',
    [{ do: 'add-service', listen: 'mark://8', rule: { persistence: { engine: 'h323' } } }],
    'Scheduler or persistence engine not found',
    0,
  ],
  ['a multicast service', [{ do: 'add-service', listen: 'udp://224.0.0.1:53' }], INVALID, 0],
  [
    'a broadcast destination',
    [{ do: 'add-destination', ...of, destination: { address: '255.255.255.255:80' } }],
    INVALID,
    0,
  ],
  [
    'a destination that is none',
    [{ do: 'add-destination', ...of, destination: { address: 'x' } }],
    INVALID,
    0,
  ],
  [
    'a lower threshold above the upper one',
    [{ do: 'add-destination', ...of, destination: { address: '10.0.0.9:80', lowerThreshold: 1 } }],
    'Numerical result out of range',
    0,
  ],
  ['a daemon that does not run', [{ do: 'stop-daemon', role: 'master' }], 'No daemon is running', 0],
  [
    'a daemon twice',
    [
      { do: 'start-daemon', role: 'master', daemon: { interface: 'a' } },
      { do: 'start-daemon', role: 'master', daemon: { interface: 'b' } },
    ],
    'Daemon has already run',
    1,
  ],
  [
    'a network that is not there',
    [{ do: 'add-service', listen: 'mark://8', network: 'red' }],
    'mark://8.network: there is no network red',
    0,
  ],
  [
    'sip over TCP',
    [{ do: 'edit-service', ...of, rule: { persistence: { engine: 'sip' } } }],
    `${WEB}.persistence.engine: sip is only for UDP, and this service is tcp`,
    0,
  ],
  [
    'a route to another port',
    [{ do: 'add-destination', ...of, destination: { address: '10.0.0.9:81', forward: 'route' } }],
    `${WEB}.destinations[2].address: forward: route keeps the service's port, 80; got 81`,
    0,
  ],
];

for (const [title, edits, message, at] of REFUSED) {
  test(`refused: ${title}`, (t) => {
    const error = t.throws(() => after(BEFORE, edits), { instanceOf: EditRefused });
    t.deepEqual([error.message, error.at, error.code], [message, at, 'EDIT_REFUSED']);
  });
}

test('edits that are none are refused with their path', (t) => {
  const fault = (edits: unknown) =>
    t
      .throws(() => parseEdits(edits))
      .message.split('\n')
      .slice(1);
  t.deepEqual(fault([{ do: 'dance' }]), [
    '  edits[0].do: must be the name of an edit, such as add-service, got "dance"',
  ]);
  t.deepEqual(fault([{ do: 'delete-service' }]), ['  edits[0].listen: is required']);
  t.deepEqual(fault([{ do: 'set-timeouts', tcpSeconds: -1 }]), [
    '  edits[0].tcpSeconds: must be 0..2678400, got -1',
  ]);
  t.deepEqual(fault({}), ['  edits: must be a list, got {}']);
});

test('random edits do what an obvious model does', (t) => {
  const model = new Map<string, Set<string>>();
  let state = config([]);
  let seed = 7;
  const below = (limit: number) => (seed = (seed * 48_271) % 2_147_483_647) % limit;
  for (let i = 0; i < 3000; i++) {
    const listen = `tcp://10.0.0.${below(5) + 1}:80`;
    const address = `10.1.0.${below(5) + 1}:80`;
    const destinations = model.get(listen);
    const steps: [Edit | object, boolean, () => void][] = [
      [{ do: 'add-service', listen }, destinations === undefined, () => model.set(listen, new Set())],
      [{ do: 'delete-service', listen }, destinations !== undefined, () => model.delete(listen)],
      [
        { do: 'add-destination', listen, destination: { address } },
        destinations?.has(address) === false,
        () => destinations?.add(address),
      ],
      [
        { do: 'delete-destination', listen, address },
        destinations?.has(address) === true,
        () => destinations?.delete(address),
      ],
    ];
    const [step, possible, perform] = steps[below(steps.length)]!;
    if (possible) {
      state = after(state, [step]);
      perform();
    } else t.throws(() => after(state, [step]), { instanceOf: EditRefused });
  }
  t.deepEqual(
    state.services.map(({ listen, destinations }) => [listen, destinations.map((each) => each.address)]),
    [...model].map(([listen, addresses]) => [listen, [...addresses]]),
  );
});
