/** What isn't masqueraded, in memory: the way of each packet, the states of who sees one side, and errors both ways. */
import test from 'ava';
import { SEGMENT_TCP4 } from '../../src/dataplane/core/pool.js';
import { type DestinationSpec, FORWARD } from '../../src/dataplane/ipvs/destination.js';
import { forwardOf, STATE } from '../../src/dataplane/ipvs/record.js';
import { TCP_STATE } from '../../src/dataplane/ipvs/states.js';
import { carried, type Tunnel, tunnelTo } from '../../src/dataplane/ipvs/tunnel.js';
import type { Way } from '../../src/dataplane/ipvs/ways.js';
import { hex } from '../wire/bytes.js';
import { ingressWorld, serviceOf } from './ingress-world.js';
import {
  build,
  CLIENT,
  CLIENT6,
  memoryOf,
  parsedOf,
  SERVER,
  SERVER6,
  sound,
  TCP,
  UDP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';
import { wordsOf } from './specs.js';

const HERE = '10.9.9.9';
const SYN = 0x02;
const ACK = 0x10;
const FIN = 0x11;
/** A port beyond that of the host's own side. */
const PORT = 3;
const ROUTED: Way = { row: 0, forward: 'route', reach: 'remote', port: PORT, tunnel: null, mtu: 0 };

type Forwarding = Pick<DestinationSpec, 'forward' | 'tunnel'>;
const tunnelled = (type: DestinationSpec['tunnel']['type'], port = 0): Forwarding => ({
  forward: 'tunnel',
  tunnel: { type, port, checksum: 'none' },
});
const route: Forwarding = { forward: 'route', tunnel: { type: 'ipip', port: 0, checksum: 'none' } };

const toServer = (how: Forwarding, server = SERVER): Tunnel =>
  tunnelTo(
    { family: server.includes(':') ? 6 : 4, address: wordsOf(server), tunnel: how.tunnel },
    wordsOf(HERE),
  );

/** One service with one server, and the way to that. */
function world(how: Forwarding, way: Partial<Way>, protocol = TCP, virtual = VIRTUAL, server = SERVER) {
  const all = ingressWorld();
  const spec = serviceOf(protocol, virtual, 80, [server]);
  all.services.set({ ...spec, destinations: spec.destinations.map((each) => ({ ...each, ...how })) }, 0);
  all.ways.set({ ...ROUTED, forward: how.forward as Way['forward'], ...way });
  /** What was routed directly since it was asked last: each packet's bytes and port. */
  const routed = () => {
    const batch = all.director.forwarding.routed;
    const packets = Array.from(batch.packets.slice(0, batch.count), (packet) => ({
      bytes: all.bytes(packet),
      port: all.pool.port[packet],
    }));
    batch.release(all.pool);
    return packets;
  };
  return { ...all, routed };
}

const client = (wanted: Partial<Wanted> = {}): Uint8Array =>
  build({ protocol: TCP, source: CLIENT, destination: VIRTUAL, ...wanted });

/** The packet within a tunnel. */
function inner(bytes: Uint8Array, guePort = 0): Uint8Array {
  const memory = memoryOf(bytes.slice());
  return memory.bytes.slice(carried(memory, parsedOf(memory.bytes), guePort));
}

/** An ICMP error from a router at `from`, about the packet. */
function error(
  from: string,
  to: string,
  type: number,
  code: number,
  rest: string,
  about: Uint8Array,
): Uint8Array {
  const head = hex(`${type.toString(16).padStart(2, '0')}${code.toString(16).padStart(2, '0')}0000 ${rest}`);
  return build({ protocol: 1, source: from, destination: to, payload: Uint8Array.from([...head, ...about]) });
}

test('direct routing leaves a packet as it is, for the port of its next hop; the states are of who sees one side', (t) => {
  const { direct, routed, table, pool, drops } = world(route, {});
  const state = () => table.records[table.at(0) + STATE]! & 0xff;
  for (const [flags, next] of [
    [SYN, TCP_STATE.synReceived],
    [ACK, TCP_STATE.established],
    // Both ends' is seen here as the client's alone: CLOSE_WAIT where the answers come through.
    [FIN, TCP_STATE.finWait],
  ] as const) {
    const sent = client({ flags });
    t.deepEqual(direct(sent), []);
    t.deepEqual(routed(), [{ bytes: sent, port: PORT }]);
    t.is(state(), next);
  }
  t.is(forwardOf(table.records, table.at(0)), FORWARD.route);
  // What the server sends to the client directly is of no connection, should it pass here.
  const passing = build({
    protocol: TCP,
    source: SERVER,
    destination: CLIENT,
    sourcePort: 80,
    destinationPort: 40000,
  });
  t.deepEqual(direct(passing), [passing]);
  t.deepEqual([pool.allocated, drops()], [0, {}]);
});

test('a connection goes on in its way when its destination has left, and the way alone says when it is no more', (t) => {
  const { direct, routed, services, ways, drops, pool } = world(route, {});
  direct(client({ flags: SYN }));
  services.remove(0);
  direct(client({ flags: ACK }));
  t.is(routed().length, 2);
  ways.remove(0);
  const [answer, ...rest] = direct(client({ flags: ACK }));
  t.deepEqual(rest, []);
  const parsed = parsedOf(answer!);
  t.deepEqual([parsed.protocol, parsed.flags, parsed.code, sound(answer!)], [1, 3, 1, true]);
  t.deepEqual([drops(), pool.allocated], [{ 'destination-unreachable': 1 }, 0]);
});

test('a destination that is the host itself gets the packet as it was, by the host’s own side', (t) => {
  for (const how of [route, tunnelled('ipip')]) {
    const { direct, routed } = world(how, { reach: 'local' });
    const sent = client({ flags: SYN });
    t.deepEqual(direct(sent), [sent]);
    t.deepEqual(routed(), []);
  }
});

test('a packet goes into its tunnel, with one hop more outside for the host to take', (t) => {
  for (const [how, port] of [
    [tunnelled('ipip'), 0],
    [tunnelled('gre'), 0],
    [tunnelled('gue', 6080), 6080],
  ] as const) {
    const { direct, pool, drops } = world(how, { tunnel: toServer(how), mtu: 1500 });
    const sent = client({ flags: SYN, ttl: 9 });
    const [out, ...rest] = direct(sent);
    t.deepEqual(rest, []);
    t.deepEqual([out![8], sound(out!), inner(out!, port)], [10, true, sent]);
    t.is(parsedOf(out!).destination0, wordsOf(SERVER)[0]);
    t.deepEqual([pool.allocated, drops()], [0, {}]);
  }
});

test('IPv6 goes in IPv4 and the other way round', (t) => {
  const four = tunnelled('ipip');
  const six = world(four, { tunnel: toServer(four), mtu: 1500 }, TCP, VIRTUAL6);
  const sent = client({ source: CLIENT6, destination: VIRTUAL6, flags: SYN });
  t.deepEqual(
    six.direct(sent).map((each) => inner(each)),
    [sent],
  );
  const tunnel = tunnelTo(
    { family: 6, address: wordsOf(SERVER6), tunnel: four.tunnel },
    wordsOf('fd00:9::9'),
  );
  const over = world(four, { tunnel, mtu: 1500 }, TCP, VIRTUAL, SERVER6);
  t.deepEqual(
    over.direct(client({ flags: SYN })).map((each) => inner(each)),
    [client({ flags: SYN })],
  );
});

test('what does not fit is answered with what does; what may be fragmented goes', (t) => {
  const how = tunnelled('gre');
  const { direct, pool, drops } = world(how, { tunnel: toServer(how), mtu: 1500 }, UDP);
  const sized = (bytes: number, fragment: number) =>
    client({ protocol: UDP, payload: new Uint8Array(bytes - 28), fragment });
  t.is(direct(sized(1476, 0x4000))[0]!.length, 1500);
  const [answer, ...rest] = direct(sized(1477, 0x4000));
  t.deepEqual(rest, []);
  const parsed = parsedOf(answer!);
  t.deepEqual(
    [parsed.flags, parsed.code, (answer![26]! << 8) | answer![27]!, sound(answer!)],
    [3, 4, 1476, true],
  );
  const [whole] = direct(sized(1500, 0));
  t.deepEqual([whole!.length, whole![6]! & 0x40], [1524, 0]);
  t.deepEqual([drops(), pool.allocated], [{ 'too-big': 1 }, 0]);
});

test('a super-packet goes as the packets that it stands for, in few slots; one that does not fit is answered once', (t) => {
  const how = tunnelled('ipip');
  const { run, put, direct, pool, ways, drops } = world(how, { tunnel: toServer(how), mtu: 1500 });
  direct(client({ flags: SYN }));
  const payload = Uint8Array.from({ length: 42 * 1400 }, (_, i) => i * 7);
  const big = () => {
    const packet = put(client({ payload }), { unfinished: true, segment: 1400 });
    pool.bytes.set(hex('020000000002 020000000001 0800'), pool.offset[packet]!);
    pool.offload[packet]! |= SEGMENT_TCP4;
    pool.headerLength[packet] = 54;
    return packet;
  };
  while (pool.room > 4) pool.take();
  const out = run(big());
  t.is(out.length, 42);
  t.true(out.every((each) => sound(each) && sound(inner(each))));
  const arrived = out.flatMap((each) => [...inner(each).slice(40)]);
  t.deepEqual(Uint8Array.from(arrived), payload);
  ways.set({ ...ROUTED, forward: 'tunnel', tunnel: toServer(how), mtu: 1400 });
  const answers = run(big());
  t.deepEqual([answers.length, parsedOf(answers[0]!).code], [1, 4]);
  t.deepEqual(drops(), { 'too-big': out.length });
  t.is(pool.room, 4);
});

test('an error about the server’s packet goes to the server as it came, by the way of all else', (t) => {
  const answer = build({
    protocol: TCP,
    source: VIRTUAL,
    destination: CLIENT,
    sourcePort: 80,
    destinationPort: 40000,
  });
  const sent = error('192.0.2.1', VIRTUAL, 3, 4, '00000500', answer);
  const direct = world(route, {});
  direct.direct(client({ flags: SYN }), sent);
  t.deepEqual(
    direct
      .routed()
      .map(({ bytes }) => bytes)
      .slice(1),
    [sent],
  );
  const how = tunnelled('ipip');
  const { direct: tunnel } = world(how, { tunnel: toServer(how), mtu: 1500 });
  t.deepEqual(
    tunnel(client({ flags: SYN }), sent)
      .slice(1)
      .map((each) => inner(each)),
    [sent],
  );
});

test('an error about a packet in a tunnel comes to its client, as if it were about its own', (t) => {
  for (const how of [tunnelled('ipip'), tunnelled('gre'), tunnelled('gue', 6080)]) {
    const { direct, pool, drops } = world(how, { tunnel: toServer(how), mtu: 1500 });
    const sent = client({ flags: SYN, payload: new Uint8Array(1000) });
    const [out] = direct(sent);
    const overhead = out!.length - sent.length;
    // As much as a router quotes.
    const [needed, ...rest] = direct(error('10.5.5.5', HERE, 3, 4, '00000384', out!.slice(0, 548)));
    t.deepEqual(rest, []);
    const parsed = parsedOf(needed!);
    t.deepEqual([parsed.flags, parsed.code, parsed.destination0], [3, 4, wordsOf(CLIENT)[0]]);
    t.deepEqual([(needed![26]! << 8) | needed![27]!, sound(needed!)], [900 - overhead, true]);
    t.deepEqual(needed!.slice(28), sent.slice(0, 548 - overhead));
    const [host] = direct(error('10.5.5.5', HERE, 3, 1, '00000000', out!.slice(0, 100)));
    t.deepEqual([parsedOf(host!).code, parsedOf(host!).destination0], [1, wordsOf(CLIENT)[0]]);
    // Another's tunnel, and what was of no connection, are the host's.
    const other = error(
      '10.5.5.5',
      HERE,
      3,
      1,
      '00000000',
      build({ protocol: 4, source: HERE, destination: '10.1.2.4', payload: sent }),
    );
    const stranger = error(
      '10.5.5.5',
      HERE,
      3,
      1,
      '00000000',
      build({ protocol: 4, source: HERE, destination: SERVER, payload: client({ sourcePort: 5 }) }),
    );
    t.deepEqual(direct(other, stranger), [other, stranger]);
    t.deepEqual([pool.allocated, drops()], [0, {}]);
  }
});

test('IPv6 in IPv4 that met too small an MTU is told ICMPv6’s "packet too big", never below its least', (t) => {
  const how = tunnelled('ipip');
  const { direct } = world(how, { tunnel: toServer(how), mtu: 1500 }, TCP, VIRTUAL6);
  const sent = client({ source: CLIENT6, destination: VIRTUAL6, flags: SYN });
  const [out] = direct(sent);
  const [big] = direct(error('10.5.5.5', HERE, 3, 4, '00000578', out!));
  t.deepEqual([big![40], memoryOf(big!).view.getUint32(44), sound(big!)], [2, 1400 - 20, true]);
  const [least] = direct(error('10.5.5.5', HERE, 3, 4, '00000384', out!));
  t.is(memoryOf(least!).view.getUint32(44), 1280);
});
