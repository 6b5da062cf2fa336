/** The director on packets in memory: a connection's life from SYN to its end, both directions, both families. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { Director } from '../../src/dataplane/ipvs/director.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import { type ServiceSpec, Services } from '../../src/dataplane/ipvs/service.js';
import { Timeouts } from '../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import { DROPPED, NO_DESTINATION, PASS, SEND } from '../../src/dataplane/ipvs/verdict.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { testDefence } from './defence-memory.js';
import {
  build,
  CLIENT,
  CLIENT6,
  SCTP,
  sound,
  stage,
  TCP,
  UDP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';
import { destination, serviceAt, wordsOf } from './specs.js';

const SYN = 0x02;
const ACK = 0x10;
const FIN = 0x11;
const RST = 0x04;
const SERVERS = ['10.1.2.1', '10.1.2.2', '10.1.2.3'];
const SERVERS6 = ['fd00:1::1', 'fd00:1::2', 'fd00:1::3'];

const service = (
  virtual: string,
  servers: readonly string[],
  change: Partial<ServiceSpec> = {},
): ServiceSpec =>
  serviceAt(
    virtual,
    servers.map((address, row) => destination(row, address)),
    change,
  );

function world(connections = 64) {
  const { path, pool, parsed, put, drops } = stage();
  const counts = new DestinationCounts(DestinationCounts.allocate(16));
  const timeouts = new Timeouts();
  const services = new Services(counts, new Random(1), timeouts);
  const table = new Connections(Connections.allocate(connections));
  const extras = new Extras(Extras.allocate(16));
  const traffic = new Traffic(Traffic.allocate(16));
  const defence = testDefence(connections);
  const director = new Director({
    ...{ path, services, connections: table, extras, counts, traffic, defence, timeouts },
  });
  /** The verdict, and the packet as it left. */
  const send = (wanted: Wanted) => {
    const packet = put(build(wanted));
    const verdict = director.balance(packet, parsed(packet));
    if (verdict === DROPPED) return { verdict, from: '', to: '', good: true };
    const at = pool.offset[packet]!;
    const bytes = pool.bytes.slice(at + 14, at + pool.length[packet]!);
    const after = parsed(packet);
    const v6 = after.family === 6;
    const text = (a: number, b: number, c: number, d: number) =>
      v6 ? ipv6.format(a, b, c, d) : ipv4.format(a);
    const from = text(after.source0, after.source1, after.source2, after.source3);
    const to = text(after.destination0, after.destination1, after.destination2, after.destination3);
    pool.free(packet);
    return {
      verdict,
      from: `${from} ${after.sourcePort}`,
      to: `${to} ${after.destinationPort}`,
      good: sound(bytes),
    };
  };
  return { pool, services, table, director, counts, send, drops };
}

test('a connection goes to one destination and its replies come from the virtual address, in IPv4 and IPv6', (t) => {
  for (const [client, virtual, servers] of [
    [CLIENT, VIRTUAL, SERVERS],
    [CLIENT6, VIRTUAL6, SERVERS6],
  ] as const) {
    const { services, send, pool } = world();
    services.set(service(virtual, servers), 0);
    const out = { protocol: TCP, source: client, destination: virtual };
    const first = send({ ...out, flags: SYN });
    t.deepEqual([first.verdict, first.from, first.good], [SEND, `${client} 40000`, true]);
    const [server] = first.to.split(' ');
    t.true(servers.includes(server!));
    const back = {
      protocol: TCP,
      source: server,
      destination: client,
      sourcePort: 8080,
      destinationPort: 40000,
    };
    const reply = send({ ...back, flags: SYN | ACK });
    t.deepEqual(reply, { verdict: SEND, from: `${virtual} 80`, to: `${client} 40000`, good: true });
    for (let i = 0; i < 5; i++) t.is(send({ ...out, flags: ACK }).to, first.to);
    // Others go round.
    const seen = new Set([first.to]);
    for (let port = 1; port < 3; port++) seen.add(send({ ...out, sourcePort: port, flags: SYN }).to);
    t.is(seen.size, 3);
    t.is(pool.allocated, 0);
  }
});

test('what belongs to no service passes as it is; TCP begins with a SYN unless it is sloppy', (t) => {
  const { services, director, table, send } = world();
  services.set(service(VIRTUAL, SERVERS), 0);
  t.like(send({ protocol: TCP, destinationPort: 81, flags: SYN }), { verdict: PASS, to: `${VIRTUAL} 81` });
  t.is(send({ protocol: UDP }).verdict, PASS);
  t.is(send({ protocol: TCP, destination: '203.0.113.81', flags: SYN }).verdict, PASS);
  for (const flags of [ACK, SYN | ACK, RST, FIN]) t.is(send({ protocol: TCP, flags }).verdict, PASS);
  t.is(table.size, 0);
  director.scheduling.sloppyTcp = true;
  t.is(send({ protocol: TCP, flags: RST }).verdict, PASS);
  t.is(send({ protocol: TCP, flags: ACK }).verdict, SEND);
});

test('active and inactive connections are counted as their states go, and end when their time is over', (t) => {
  const { services, director, table, counts, send } = world();
  services.set(service(VIRTUAL, [SERVERS[0]!]), 0);
  const busy = () => [counts.active(0), counts.inactive(0)];
  const back = {
    protocol: TCP,
    source: SERVERS[0],
    destination: CLIENT,
    sourcePort: 8080,
    destinationPort: 40000,
  };
  send({ protocol: TCP, flags: SYN });
  t.deepEqual(busy(), [1, 0]);
  send({ ...back, flags: SYN | ACK });
  send({ protocol: TCP, flags: ACK });
  t.deepEqual(busy(), [1, 0]);
  // ESTABLISHED: 900 s from the last packet.
  director.nowMs = 899_000;
  t.is(director.expire(), 0);
  send({ protocol: TCP, flags: ACK });
  director.nowMs = 1_798_000;
  t.is(director.expire(), 0);
  // FIN both ways: no longer active; TIME_WAIT lasts 120 s.
  send({ protocol: TCP, flags: FIN });
  t.deepEqual(busy(), [0, 1]);
  send({ ...back, flags: FIN });
  director.nowMs = 1_798_000 + 119_000;
  t.is(director.expire(), 0);
  director.nowMs = 1_798_000 + 121_000;
  t.is(director.expire(), 1);
  t.deepEqual([...busy(), table.size], [0, 0, 0]);
  t.is(send({ protocol: TCP, flags: ACK }).verdict, PASS);
});

test('a service has timeouts of its own, and those of all where it says nothing', (t) => {
  const { services, director, send } = world();
  const quick = { timeouts: { tcp: 0, tcpFin: 0, udp: 5 }, protocol: UDP };
  services.set(service(VIRTUAL, SERVERS, { ...quick, port: 53 }), 0);
  services.set(service(VIRTUAL, SERVERS, { protocol: UDP, index: 1, port: 54 }), 0);
  send({ protocol: UDP, destinationPort: 53 });
  send({ protocol: UDP, destinationPort: 54 });
  director.nowMs = 6_000;
  t.is(director.expire(), 1);
  director.nowMs = 301_000;
  t.is(director.expire(), 1);
});

test('connections stay where they are when destinations change; a drained one gets no new ones', (t) => {
  const { services, send } = world();
  const spec = service(VIRTUAL, SERVERS);
  services.set(spec, 0);
  const before = new Map<number, string>();
  for (let port = 1; port <= 12; port++)
    before.set(port, send({ protocol: TCP, sourcePort: port, flags: SYN }).to);
  const [one, two, three] = spec.destinations;
  services.set({ ...spec, destinations: [{ ...one!, weight: 0 }, two!, destination(7, '10.1.2.9')] }, 1000);
  for (const [port, to] of before) t.is(send({ protocol: TCP, sourcePort: port, flags: ACK }).to, to);
  const fresh = new Set<string>();
  for (let port = 100; port < 112; port++)
    fresh.add(send({ protocol: TCP, sourcePort: port, flags: SYN }).to);
  t.deepEqual([...fresh].sort(), ['10.1.2.2 8080', '10.1.2.9 8080']);
  t.truthy(three);
  services.set({ ...spec, destinations: [] }, 2000);
  t.is(send({ protocol: TCP, sourcePort: 200, flags: SYN }).verdict, NO_DESTINATION);
  services.remove(0);
  t.is(send({ protocol: TCP, sourcePort: 201, flags: SYN }).verdict, PASS);
  for (const [port, to] of before) t.is(send({ protocol: TCP, sourcePort: port, flags: ACK }).to, to);
});

test('a destination at its upper threshold gets no more until enough have ended', (t) => {
  const { services, director, send } = world();
  const limited = { ...destination(0, SERVERS[0]!), upperThreshold: 4 };
  services.set(service(VIRTUAL, [], { protocol: UDP, destinations: [limited] }), 0);
  for (let port = 1; port <= 4; port++) {
    t.is(send({ protocol: UDP, sourcePort: port }).verdict, SEND);
    director.nowMs += 10_000;
  }
  t.is(send({ protocol: UDP, sourcePort: 5 }).verdict, NO_DESTINATION);
  // Below three quarters of it again after the second has ended.
  director.nowMs = 301_000;
  t.is(director.expire(), 1);
  t.is(send({ protocol: UDP, sourcePort: 5 }).verdict, NO_DESTINATION);
  director.nowMs = 311_000;
  t.is(director.expire(), 1);
  t.is(send({ protocol: UDP, sourcePort: 5 }).verdict, SEND);
});

test('a service of port 0 takes every port that has none of its own, and leaves the port', (t) => {
  const { services, send } = world();
  services.set(service(VIRTUAL, [], { destinations: [destination(0, SERVERS[0]!)] }), 0);
  const any = { index: 1, port: 0, destinations: [destination(1, SERVERS[1]!, 0)] };
  services.set(service(VIRTUAL, [], any), 0);
  t.is(send({ protocol: TCP, flags: SYN }).to, '10.1.2.1 8080');
  t.is(send({ protocol: TCP, flags: SYN, destinationPort: 443 }).to, '10.1.2.2 443');
});

test('a source begins only what the service lets it, and goes on with what it has begun', (t) => {
  const { services, director, send, drops, pool } = world();
  const spec = service(VIRTUAL, SERVERS);
  const defence = {
    allow: [{ address: wordsOf('192.0.2.0'), bits: 24 }],
    sourceRate: null,
    synProxy: false,
  };
  services.set({ ...spec, defence }, 0);
  t.is(send({ protocol: TCP, flags: SYN }).verdict, SEND);
  t.is(send({ protocol: TCP, flags: SYN, source: '192.0.3.7' }).verdict, DROPPED);
  const rate = { allow: [], sourceRate: { perSecond: 1, burst: 2 }, synProxy: false };
  services.set({ ...spec, defence: rate }, 0);
  const begin = (source: string, sourcePort: number) =>
    send({ protocol: TCP, flags: SYN, source, sourcePort }).verdict;
  t.deepEqual(
    [1, 2, 3].map((port) => begin('192.0.3.7', port)),
    [SEND, SEND, DROPPED],
  );
  for (let i = 0; i < 9; i++)
    t.is(send({ protocol: TCP, flags: ACK, source: '192.0.3.7', sourcePort: 1 }).verdict, SEND);
  t.is(begin('192.0.3.8', 1), SEND);
  director.nowMs = 1000;
  t.is(begin('192.0.3.7', 3), SEND);
  t.deepEqual(drops(), { 'source-not-allowed': 1, 'source-rate': 1 });
  t.is(pool.allocated, 0);
});

test('SCTP begins with an INIT', (t) => {
  const { services, send } = world();
  services.set(service(VIRTUAL, [SERVERS[0]!], { protocol: SCTP }), 0);
  const chunk = (type: number) => Uint8Array.of(type, 0, 0, 4);
  t.is(send({ protocol: SCTP, payload: chunk(0) }).verdict, PASS);
  t.like(send({ protocol: SCTP, payload: chunk(1) }), { verdict: SEND, to: '10.1.2.1 8080', good: true });
  t.is(send({ protocol: SCTP, payload: chunk(0) }).verdict, SEND);
});
