import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Connections, NO_CONNECTION } from '../../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../../src/dataplane/ipvs/destination.js';
import { Extras } from '../../../src/dataplane/ipvs/extras.js';
import { noFlow } from '../../../src/dataplane/ipvs/flow.js';
import { hashCallId } from '../../../src/dataplane/ipvs/persistence-sip.js';
import {
  FLAG_ACTIVE,
  FLAG_NO_REPLY_YET,
  FLAG_PROXIED,
  FLAG_REPLIES,
  FLAG_SYNCED,
  PACKETS,
  rowOf,
  STATE,
  serviceOf,
  TEMPLATE,
  TICKS_PER_SECOND,
  TIMEOUT,
} from '../../../src/dataplane/ipvs/record.js';
import { type ServiceSpec, Services } from '../../../src/dataplane/ipvs/service.js';
import { Timeouts } from '../../../src/dataplane/ipvs/states.js';
import { Bindings, UNBOUND } from '../../../src/dataplane/ipvs/sync/binding.js';
import { describe } from '../../../src/dataplane/ipvs/sync/describe.js';
import { SyncEntry } from '../../../src/dataplane/ipvs/sync/entry.js';
import { SyncScan } from '../../../src/dataplane/ipvs/sync/scan.js';
import {
  FLAG,
  readMessage,
  type SyncConnection,
  SyncWriter,
} from '../../../src/dataplane/ipvs/sync-message.js';
import { TEMPLATE_OF } from '../../../src/dataplane/ipvs/tuple.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../../src/dataplane/wire/ipv6.js';

const CAPACITY = 64;
const NOW = 1600;

/** A director's tables. */
function director(capacity = CAPACITY) {
  const connections = new Connections(Connections.allocate(capacity));
  const extras = new Extras(Extras.allocate(16));
  const counts = new DestinationCounts(DestinationCounts.allocate(65_536));
  const services = new Services(counts, new Random(1), new Timeouts());
  return { connections, extras, counts, entry: new SyncEntry(connections, extras, services, counts) };
}

type Director = ReturnType<typeof director>;

const four = (text: string): ipv6.Words => [ipv4.parse(text), 0, 0, 0];

const CLIENT = four('192.0.2.7');
const VIRTUAL = four('203.0.113.80');
const SERVER = four('10.1.2.3');

const WEB: SyncConnection = {
  ...{ family: 4, protocol: 6, flags: 0, state: 1, fwmark: 0, timeout: 900 },
  ...{ clientPort: 40000, virtualPort: 80, destinationPort: 8080 },
  ...{ client: CLIENT, virtual: VIRTUAL, destination: SERVER },
};

const CALL: SyncConnection = {
  ...{ family: 4, protocol: 17, flags: FLAG.template, state: 1, fwmark: 0, timeout: 60 },
  ...{ clientPort: 0, virtualPort: 5060, destinationPort: 5060 },
  ...{ client: CLIENT, virtual: VIRTUAL, destination: SERVER },
  ...{ engineData: Uint8Array.from(Buffer.from('a84b@pc33')), engineName: 'sip' },
};

const SIX: SyncConnection = {
  ...{ ...WEB, family: 6, protocol: 132, state: 8, timeout: 30, flags: FLAG.noOutput },
  client: ipv6.parse('2001:db8::7'),
  virtual: ipv6.parse('2001:db8::80'),
  destination: ipv6.parse('fd00::3'),
};

const FTP: SyncConnection = {
  ...{ ...WEB, virtualPort: 21, destinationPort: 21, flags: FLAG.outSequence },
  inSequence: { initial: 0, delta: 0, previous: 0 },
  outSequence: { initial: 0xfffffff0, delta: -4, previous: 3 },
};

function service(over: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    ...{ index: 3, network: 0, family: 4, protocol: 6, address: VIRTUAL, port: 80, scheduler: 'rr' },
    ...{ slowStartSeconds: 0, preferNear: false, timeouts: { tcp: 77, tcpFin: 0, udp: 0 } },
    flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 1 },
    destinations: [
      {
        ...{ row: 9, family: 4, address: SERVER, port: 8080, weight: 1, forward: 'nat' },
        tunnel: { type: 'ipip', port: 0, checksum: 'none' },
        ...{ upperThreshold: 1, lowerThreshold: 0, near: false },
      },
    ],
    ...over,
  };
}

function numberOf({ connections }: Director, told: SyncConnection): number {
  const flow = noFlow();
  [flow.source0, flow.source1, flow.source2, flow.source3] = told.client;
  [flow.target0, flow.target1, flow.target2, flow.target3] = told.virtual;
  flow.ports = (told.clientPort << 16) | told.virtualPort;
  flow.family = told.family;
  flow.protocol = told.protocol;
  if ((told.flags & FLAG.template) !== 0) flow.protocol |= TEMPLATE_OF;
  const data = told.engineData;
  if (data !== undefined) flow.engine = hashCallId(data, { from: 0, length: data.length }, 0) || 1;
  const reference = connections.find(flow);
  return reference === NO_CONNECTION ? -1 : reference >> 1;
}

test('what is told is said again in the same words, whatever it is', (t) => {
  const { connections, extras, entry } = director();
  for (const each of [WEB, CALL, SIX, FTP]) {
    t.is(entry.take(each, NOW), undefined);
    const all = { connections, extras } as Director;
    const said = describe(connections, extras, connections.at(numberOf(all, each)), 0);
    t.deepEqual(said, each);
  }
  t.is(connections.size, 4);
  t.is(extras.size, 2);
});

test('a connection whose service is here counts at its destination, and packets find it from both ends', (t) => {
  const all = director();
  const { connections, counts, entry } = all;
  entry.bindings = new Bindings([service()], counts);
  entry.take(WEB, NOW);
  const connection = numberOf(all, WEB);
  const at = connections.at(connection);
  const { records, expires } = connections;
  t.is(records[at + STATE], 1 | FLAG_ACTIVE | FLAG_REPLIES | FLAG_SYNCED);
  t.deepEqual([rowOf(records, at), serviceOf(records, at)], [9, 3]);
  t.is(expires[connection], NOW + 900 * TICKS_PER_SECOND);
  t.deepEqual([counts.active(9), counts.inactive(9)], [1, 0]);
  t.true(counts.overloaded(9), 'at its upper threshold');
  const reply = noFlow();
  reply.source0 = SERVER[0];
  reply.target0 = CLIENT[0];
  reply.ports = (8080 << 16) | 40000;
  reply.protocol = 6;
  t.is(connections.find(reply), connection * 2 + 1);

  entry.take({ ...WEB, state: 4, timeout: 120, flags: FLAG.inactive }, NOW + 16);
  t.is(records[at + STATE], 4 | FLAG_REPLIES | FLAG_SYNCED);
  t.deepEqual([counts.active(9), counts.inactive(9)], [0, 1]);
  t.is(expires[connection], NOW + 16 + 120 * TICKS_PER_SECOND);
  t.is(connections.size, 1);
});

test('one without a service counts nowhere, and is bound when its service comes', (t) => {
  const all = director();
  const { connections, counts, entry, extras } = all;
  for (const each of [WEB, CALL, { ...WEB, clientPort: 1, state: 4 }]) entry.take(each, NOW);
  t.is(entry.unbound, 3);
  t.deepEqual([counts.active(UNBOUND), counts.inactive(UNBOUND), counts.persistent(UNBOUND)], [1, 1, 1]);
  entry.bindings = new Bindings([service()], counts);
  entry.bind(0, CAPACITY, (at) => describe(connections, extras, at, 0));
  t.deepEqual([counts.active(9), counts.inactive(9), counts.persistent(9)], [1, 1, 0]);
  t.is(entry.unbound, 1);
  t.is(rowOf(connections.records, connections.at(numberOf(all, WEB))), 9);
});

test('services are found in the kernel’s order, and a destination that routes takes the connection its way', (t) => {
  const all = director();
  const { connections, counts, entry } = all;
  const [end] = service().destinations;
  const routed = { ...end!, row: 10, forward: 'route' as const, port: 80 };
  entry.bindings = new Bindings(
    [
      service({ port: 0, index: 1, destinations: [{ ...end!, row: 1, port: 0 }] }),
      service({ index: 2, destinations: [routed] }),
      service({ index: 4, mark: 7, protocol: 0, port: 0, destinations: [{ ...end!, row: 4, port: 0 }] }),
    ],
    counts,
  );
  const bound = (told: SyncConnection) => {
    t.is(entry.take(told, NOW), undefined);
    return connections.records[connections.at(numberOf(all, told)) + STATE]! & FLAG_NO_REPLY_YET
      ? -rowOf(connections.records, connections.at(numberOf(all, told)))
      : rowOf(connections.records, connections.at(numberOf(all, told)));
  };
  t.is(bound({ ...WEB, clientPort: 1, virtualPort: 81 }), 1, 'the service of every port');
  t.is(
    bound({ ...WEB, clientPort: 2, destinationPort: 80, flags: 3 }),
    -10,
    'answers don’t come through here',
  );
  t.is(bound({ ...WEB, clientPort: 3, fwmark: 7 }), 4);
});

test('without a timeout it lasts as its state does, by the service’s own', (t) => {
  const all = director();
  const { connections, counts, entry } = all;
  entry.bindings = new Bindings([service()], counts);
  const seconds = (told: SyncConnection) => {
    entry.take({ ...told, timeout: 0 }, NOW);
    return connections.records[connections.at(numberOf(all, told)) + TIMEOUT]! / TICKS_PER_SECOND;
  };
  t.is(seconds(WEB), 77);
  t.is(seconds({ ...WEB, clientPort: 2, state: 5 }), 120);
  t.is(seconds(CALL), 180);
  entry.take({ ...SIX, timeout: 0xffffffff }, NOW);
  const expires = connections.expires[numberOf(all, SIX)]!;
  t.true(((expires - NOW) | 0) > 0, 'the longest there is is not in the past');
});

test('one that goes elsewhere now replaces the old one; the old one’s end changes nothing', (t) => {
  const all = director();
  const { connections, entry } = all;
  entry.take(WEB, NOW);
  const moved = { ...WEB, destination: four('10.1.2.4') };
  t.is(entry.take({ ...moved, flags: FLAG.inactive, state: 4 }, NOW), 'already-replaced');
  t.is(entry.take(moved, NOW), undefined);
  t.is(connections.size, 1);
  const said = describe(connections, all.extras, connections.at(numberOf(all, WEB)), 0);
  t.deepEqual(said.destination, moved.destination);
});

test('an older message that comes later changes nothing', (t) => {
  const all = director();
  const { connections, entry } = all;
  t.is(entry.take({ ...WEB, state: 4 }, NOW, 12), undefined);
  t.is(entry.take(WEB, NOW, 11), 'stale');
  t.is(connections.records[connections.at(numberOf(all, WEB)) + STATE]! & 0xff, 4);
  t.is(entry.take(WEB, NOW, 13), undefined);
});

test('what can’t be is refused by name, and a full table stays as it is', (t) => {
  const { connections, extras, entry } = director(16);
  const refused = (over: Partial<SyncConnection>) => entry.take({ ...WEB, ...over }, NOW);
  t.is(refused({ protocol: 50 }), 'unknown-protocol');
  t.is(refused({ protocol: 0 }), 'unknown-protocol');
  t.is(refused({ state: 11 }), 'unknown-state');
  t.is(refused({ protocol: 17, state: 1 }), 'unknown-state');
  t.is(refused({ flags: 4 }), 'unknown-forward');
  t.is(refused({ destination: [0, 0, 0, 0] }), 'no-address');
  t.is(refused({ clientPort: 0 }), 'no-address');
  t.is(refused({ engineName: 'sip', engineData: Uint8Array.of(1) }), 'unknown-engine');
  t.is(entry.take({ ...CALL, engineName: 'other' }, NOW), 'unknown-engine');
  t.is(refused({ ...FTP, virtualPort: 80 }), 'unknown-helper');
  t.deepEqual([connections.size, extras.size], [0, 0]);
  for (let port = 1; port <= 16; port++) t.is(refused({ clientPort: port }), undefined);
  t.is(refused({ clientPort: 17 }), 'table-full');
  t.is(entry.take(CALL, NOW), 'table-full');
  t.deepEqual([connections.size, extras.size], [16, 0]);
});

test('messages that were changed at random are taken or refused, and the tables stay whole', (t) => {
  const random = new Random(3);
  const all = director(256);
  const { connections, counts, entry, extras } = all;
  entry.bindings = new Bindings([service()], counts);
  const writer = new SyncWriter(1);
  for (const each of [WEB, CALL, SIX, FTP]) writer.add(each);
  const seed = writer.take()!;
  let taken = 0;
  for (let run = 0; run < 20_000; run++) {
    const bytes = seed.slice();
    for (let n = random.below(4); n >= 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    bytes[2] = bytes.length >>> 8;
    bytes[3] = bytes.length;
    for (const each of readMessage(bytes)?.connections ?? []) {
      if (entry.take(each, NOW, run % 3) === undefined) taken++;
    }
  }
  t.true(taken > 1000);
  const rows = [9, UNBOUND];
  const counted = rows.map((row) => counts.active(row) + counts.inactive(row) + counts.persistent(row));
  t.is(counted[0]! + counted[1]!, connections.size);
  t.true(extras.size <= 16);
  for (let connection = 0; connection < connections.highWater; connection++) {
    if (connections.expires[connection] === 0) continue;
    const said = describe(connections, extras, connections.at(connection), 0);
    t.is(numberOf(all, said), connection);
  }
});

/** As if the connection had begun here. */
function own({ connections }: Director, told: SyncConnection, packets: number): number {
  const at = connections.at(numberOf({ connections } as Director, told));
  connections.records[at + STATE]! &= ~FLAG_SYNCED;
  connections.records[at + PACKETS] = packets;
  return at;
}

function scanOf({ connections, extras }: Director) {
  const scan = new SyncScan(connections, extras, (index) => (index === 3 ? 7 : 0));
  return (now: number, room = 1000): SyncConnection[] => {
    const told: SyncConnection[] = [];
    scan.slice(now, room, (each) => told.push(each));
    return told;
  };
}

test('the scan tells an open connection at its third packet, when it closes, and again while it goes on', (t) => {
  const all = director();
  const { connections, counts, entry } = all;
  entry.bindings = new Bindings([service()], counts);
  entry.take(WEB, NOW);
  const look = scanOf(all);
  t.deepEqual(look(NOW), [], 'another director told of it, and nothing has come here');
  const at = own(all, WEB, 2);
  const { records } = connections;
  t.deepEqual(look(NOW), []);
  records[at + PACKETS] = 5;
  t.deepEqual(look(NOW), [{ ...WEB, fwmark: 7 }]);
  t.deepEqual(look(NOW), []);
  t.deepEqual(look(NOW + 800 * TICKS_PER_SECOND), [], 'half its timeout is over, but nothing has come');
  connections.touch(numberOf(all, WEB), NOW + 400 * TICKS_PER_SECOND);
  t.is(look(NOW + 800 * TICKS_PER_SECOND).length, 1);
  records[at + STATE] = (records[at + STATE]! & ~(0xff | FLAG_ACTIVE)) | 4;
  t.deepEqual(
    look(NOW + 801 * TICKS_PER_SECOND).map(({ state, flags }) => [state, flags]),
    [[4, FLAG.inactive]],
  );
});

test('a template is told at once, and one of another director once connections here belong to it', (t) => {
  const all = director();
  all.entry.take(CALL, NOW);
  const { records } = all.connections;
  const at = all.connections.at(numberOf(all, CALL));
  const look = scanOf(all);
  t.deepEqual(look(NOW), []);
  records[at + TEMPLATE] = 1;
  t.deepEqual(look(NOW), [CALL]);
  t.deepEqual(look(NOW), []);
  all.connections.touch(numberOf(all, CALL), NOW + 40 * TICKS_PER_SECOND);
  t.deepEqual(look(NOW + 40 * TICKS_PER_SECOND), [CALL]);
});

test('the scan stops where there is no more room, and goes on there', (t) => {
  const all = director();
  for (let port = 1; port <= 10; port++) {
    all.entry.take({ ...WEB, clientPort: port }, NOW);
    own(all, { ...WEB, clientPort: port }, 3);
  }
  const look = scanOf(all);
  const ports = [look(NOW, 4), look(NOW, 4), look(NOW, 4)].map((each) => each.map((one) => one.clientPort));
  t.deepEqual(ports, [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
    [9, 10],
  ]);
});

test('another connection in the same record is told anew; what the SYN proxy opened is not', (t) => {
  const all = director(1);
  all.entry.take(WEB, NOW);
  own(all, WEB, 60);
  const look = scanOf(all);
  t.is(look(NOW).length, 1);
  all.connections.locked(() => all.connections.remove(0));
  const next = { ...WEB, clientPort: 40001 };
  all.entry.take(next, NOW);
  own(all, next, 60);
  t.deepEqual(look(NOW), [next]);
  all.connections.locked(() => all.connections.remove(0));
  const proxied = { ...WEB, clientPort: 40002 };
  all.entry.take(proxied, NOW);
  const at = own(all, proxied, 60);
  all.connections.records[at + STATE]! |= FLAG_PROXIED;
  t.deepEqual(look(NOW), []);
});
