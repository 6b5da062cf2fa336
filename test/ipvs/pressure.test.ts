/** What a nearly full table does to what would come in, and to what is in it: drop_packet, drop_entry, secure_tcp. */
import test from 'ava';
import { CLIENT_PORTS, STATE } from '../../src/dataplane/ipvs/record.js';
import { stateName } from '../../src/dataplane/ipvs/states.js';
import { ACK, SERVERS, SYN, service, world } from './life-world.js';
import { CLIENT, TCP, UDP } from './packets.js';

const back = (server: string, port: number) => ({
  ...{ protocol: TCP, source: server, destination: CLIENT, sourcePort: 8080, destinationPort: port },
});

test('by default nothing is dropped and nothing ended, however full the table', (t) => {
  const { services, table, send, second, drops } = world(64);
  services.set(service({ protocol: UDP }), 0);
  for (let port = 1; port <= 64; port++) t.is(send({ protocol: UDP, sourcePort: port }).length, 1);
  second(1);
  t.is(second(200).ended, 0);
  t.deepEqual([table.size, drops()], [64, {}]);
});

test('drop_packet 3 drops each n-th packet that would begin a connection, and no other', (t) => {
  const { services, send, configure, drops } = world(256);
  services.set(service({ protocol: UDP }), 0);
  configure({ dropPacket: 3, dropRate: 4 });
  const lost: number[] = [];
  for (let port = 1; port <= 20; port++)
    if (send({ protocol: UDP, sourcePort: port }).length === 0) lost.push(port);
  t.deepEqual(lost, [4, 8, 12, 16, 20]);
  for (let i = 0; i < 20; i++) t.is(send({ protocol: UDP, sourcePort: 1 }).length, 1);
  for (let i = 0; i < 20; i++) t.is(send({ protocol: UDP, destinationPort: 81 }).length, 1);
  t.deepEqual(drops(), { 'connections-scarce': 5 });
});

test('drop_packet 1 and 2 drop the more the fuller the table, and nothing while a 32nd of it is free', (t) => {
  for (const dropPacket of [1, 2] as const) {
    const { services, send, configure, drops, second } = world(256);
    services.set(service({ protocol: UDP, timeouts: { tcp: 0, tcpFin: 0, udp: 100 } }), 0);
    configure({ dropPacket });
    let port = 0;
    const begin = (count: number) => {
      let begun = 0;
      for (let i = 0; i < count; i++) begun += send({ protocol: UDP, sourcePort: ++port }).length;
      return begun;
    };
    // 8 of 256 are a 32nd.
    t.is(begin(248), 248);
    second(1);
    t.is(begin(4), 4);
    // 4 are free: 8 / (8 - 4).
    second(2);
    t.is(begin(4), 2);
    // 2 are free: 8 / (8 - 2), every packet.
    second(3);
    t.is(begin(10), 0);
    t.is(drops()['connections-scarce'], 12);
    second(104);
    second(105);
    t.is(begin(20), 20);
  }
});

test('drop_entry ends what is half-open, and leaves what is used', (t) => {
  const { services, table, send, configure, second } = world(256);
  services.set(service(), 0);
  configure({ dropEntry: 3 });
  const name = () => stateName(TCP, table.records[STATE]! & 0xff);
  for (let port = 1; port <= 100; port++) send({ protocol: TCP, sourcePort: port, flags: SYN });
  t.is(name(), 'SYN_RECV');
  // SYN_RECV lasts 60 s; by then most have gone.
  let ended = 0;
  for (let at = 1; at < 59; at++) ended += second(at).ended;
  t.true(ended > 50, `${ended}`);
  t.is(table.size, 100 - ended);
  second(100);
  t.is(table.size, 0);
  // Open ones in use stay.
  for (let port = 1; port <= 100; port++) {
    const to = send({ protocol: TCP, sourcePort: port, flags: SYN })[0]!.to.split(' ')[0]!;
    send({ ...back(to, port), flags: SYN | ACK });
    send({ protocol: TCP, sourcePort: port, flags: ACK });
  }
  for (let at = 101; at < 500; at++) {
    if (at % 20 === 0) {
      for (let port = 1; port <= 100; port++) send({ protocol: TCP, sourcePort: port, flags: ACK });
    }
    t.is(second(at).ended, 0);
  }
});

test('drop_entry ends one of n that were idle for a minute and whose clients sent n packets, up to eight', (t) => {
  for (const packets of [1, 3, 8, 9]) {
    const { services, table, send, configure, second } = world(512);
    services.set(service({ protocol: UDP, timeouts: { tcp: 0, tcpFin: 0, udp: 100_000 } }), 0);
    configure({ dropEntry: 3 });
    for (let port = 1; port <= 320; port++) {
      for (let i = 0; i < packets; i++) send({ protocol: UDP, sourcePort: port });
    }
    for (let at = 1; at < 60; at++) t.is(second(at).ended, 0);
    let looks = 0;
    let ended = 0;
    for (let at = 60; at < 70; at++) {
      looks += 10;
      ended += second(at).ended;
    }
    // Some looks fall on those that have ended.
    const expected = packets > 8 ? 0 : looks / packets;
    t.true(
      ended <= Math.ceil(expected) && ended >= expected * 0.7,
      `${packets} packets: ${ended} of ${looks}`,
    );
    t.is(table.size, 320 - ended);
  }
});

test('drop_entry 1 acts only under pressure', (t) => {
  const { services, table, send, configure, second } = world(64);
  services.set(service(), 0);
  configure({ dropEntry: 1 });
  for (let port = 1; port <= 62; port++) send({ protocol: TCP, sourcePort: port, flags: SYN });
  for (let at = 1; at < 50; at++) t.is(second(at).ended, 0);
  send({ protocol: TCP, sourcePort: 63, flags: SYN });
  for (let at = 50; at < 58; at++) second(at);
  // Two looks a second, and it stops once two are free.
  t.true(table.size === 61 || table.size === 62);
});

test('secure_tcp counts a connection as open only once the server has answered', (t) => {
  const { services, table, send, configure, second } = world(64);
  services.set(service({}, undefined, [SERVERS[0]!]), 0);
  const name = (connection = table.highWater - 1) =>
    stateName(TCP, table.records[table.at(connection) + STATE]! & 0xff);
  const open = () => {
    send({ protocol: TCP, flags: SYN });
    send({ protocol: TCP, flags: ACK });
    return name();
  };
  t.is(open(), 'ESTABLISHED');
  second(1000);
  configure({ secureTcp: 3 });
  t.is(open(), 'SYN_RECV');
  send({ ...back(SERVERS[0]!, 40000), flags: SYN | ACK });
  t.is(name(), 'SYNACK');
  second(2000);
  t.is(table.size, 0);
  configure({ secureTcp: 1 });
  t.is(open(), 'ESTABLISHED');
  for (let port = 1; port <= 62; port++) send({ protocol: TCP, sourcePort: port, flags: SYN });
  second(2001);
  send({ protocol: TCP, sourcePort: 62, flags: ACK });
  const found = table.records.findIndex(
    (_, i) => i % table.at(1) === CLIENT_PORTS && table.records[i]! >>> 16 === 62,
  );
  t.is(name(Math.floor(found / table.at(1))), 'SYN_RECV');
});
