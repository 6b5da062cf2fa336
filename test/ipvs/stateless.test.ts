/** Packets that go without a connection: one-packet services, and flows for which the table has no room. */
import test from 'ava';
import { ACK, destination, FIN, SERVERS, SYN, service, share, world } from './life-world.js';
import { CLIENT, CLIENT6, SCTP, TCP, UDP, VIRTUAL, VIRTUAL6 } from './packets.js';

const SERVERS6 = ['fd00:1::1', 'fd00:1::2', 'fd00:1::3'];
const client = (number: number) => `198.51.${100 + (number >> 7)}.${1 + (number & 127)}`;
const hostOf = (end: string) => end.split(' ')[0]!;

test('each datagram of a one-packet service is scheduled for itself, nothing is kept, and answers come from the virtual address', (t) => {
  for (const [from, virtual, servers] of [
    [CLIENT, VIRTUAL, SERVERS],
    [CLIENT6, VIRTUAL6, SERVERS6],
  ] as const) {
    const { services, table, counts, pool, send } = world();
    services.set(service({ protocol: UDP, onePacket: true }, virtual, servers), 0);
    const out = { protocol: UDP, source: from, destination: virtual };
    const to = Array.from({ length: 6 }, () => send(out)[0]!);
    t.deepEqual(
      to
        .map((each) => each.to)
        .slice(0, 3)
        .sort(),
      servers.map((each) => `${each} 8080`),
    );
    t.deepEqual(
      to.slice(3).map((each) => each.to),
      to.slice(0, 3).map((each) => each.to),
    );
    t.true(to.every((each) => each.good && each.from === `${from} 40000`));
    for (const server of servers) {
      const back = {
        protocol: UDP,
        source: server,
        destination: from,
        sourcePort: 8080,
        destinationPort: 40000,
      };
      t.like(send(back)[0], { from: `${virtual} 80`, to: `${from} 40000`, good: true });
      // Of another port it is the server's own.
      t.like(send({ ...back, sourcePort: 8081 })[0], { from: `${server} 8081` });
    }
    t.deepEqual([table.size, counts.inactive(0), counts.active(0), pool.allocated], [0, 0, 0, 0]);
  }
});

test('of a destination of two one-packet services it can’t be told, of one of another kind of service it can', (t) => {
  const { services, send } = world();
  const once = { protocol: UDP, onePacket: true, destinations: [destination(0, SERVERS[0]!)] };
  services.set(service(once), 0);
  const back = {
    protocol: UDP,
    source: SERVERS[0],
    destination: CLIENT,
    sourcePort: 8080,
    destinationPort: 9,
  };
  t.is(send(back)[0]!.from, `${VIRTUAL} 80`);
  services.set(
    service({ index: 1, port: 81, protocol: UDP, destinations: [destination(1, SERVERS[0]!)] }),
    0,
  );
  t.is(send(back)[0]!.from, `${VIRTUAL} 80`);
  services.set(service({ ...once, index: 2, port: 82, destinations: [destination(2, SERVERS[0]!)] }), 0);
  t.is(send(back)[0]!.from, '10.1.2.1 8080');
  services.remove(2);
  t.is(send(back)[0]!.from, `${VIRTUAL} 80`);
  services.remove(0);
  t.is(send(back)[0]!.from, '10.1.2.1 8080');
});

test('one-packet services of every port keep the port both ways', (t) => {
  const { services, send } = world();
  const any = { protocol: UDP, onePacket: true, port: 0, destinations: [destination(0, SERVERS[0]!, 0)] };
  services.set(service(any), 0);
  t.is(send({ protocol: UDP, destinationPort: 5353 })[0]!.to, '10.1.2.1 5353');
  const back = {
    protocol: UDP,
    source: SERVERS[0],
    destination: CLIENT,
    sourcePort: 5353,
    destinationPort: 9,
  };
  t.is(send(back)[0]!.from, `${VIRTUAL} 5353`);
});

test('a persistent one-packet service keeps its client at one destination', (t) => {
  const { services, table, send } = world();
  const persistence = { timeoutSeconds: 60, mask: 32, engine: null, expireQuiescent: false };
  services.set(service({ protocol: UDP, onePacket: true, persistence }), 0);
  const to = new Set(Array.from({ length: 6 }, (_, i) => send({ protocol: UDP, sourcePort: 1 + i })[0]!.to));
  t.deepEqual([to.size, table.size], [1, 1]);
});

test('a table of 64 serves 500 clients: each flow stays at its destination, and its answers are right, on any engine', (t) => {
  for (const protocol of [TCP, UDP]) {
    const shared = share(64);
    const engines = [world(64, shared), world(64, shared)];
    for (const { services } of engines) services.set(service({ protocol }), 0);
    const begin = protocol === TCP ? { flags: SYN } : {};
    const goOn = protocol === TCP ? { flags: ACK } : {};
    const at: string[] = [];
    for (let i = 0; i < 500; i++) {
      at[i] = engines[i & 1]!.send({ protocol, source: client(i), ...begin })[0]!.to;
    }
    t.is(engines[0]!.table.size, 64);
    const share500 = SERVERS.map((server) => at.filter((to) => hostOf(to) === server).length);
    t.true(
      share500.every((count) => count > 120 && count < 220),
      share500.join(),
    );
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 500; i++) {
        // Each direction at either engine.
        const { send } = engines[(i + round) & 1]!;
        const back = {
          protocol,
          source: hostOf(at[i]!),
          destination: client(i),
          sourcePort: 8080,
          destinationPort: 40000,
        };
        t.like(send({ ...back, flags: SYN | ACK })[0], {
          from: `${VIRTUAL} 80`,
          to: `${client(i)} 40000`,
          good: true,
        });
        t.like(send({ protocol, source: client(i), ...goOn })[0], { to: at[i]!, good: true });
      }
    }
    const bypassed = engines.map(({ path }) => path.counters.engine().bypassed);
    t.is(bypassed[0]! + bypassed[1]!, 436 * 4);
    t.deepEqual(
      engines.map(({ pool, drops }) => [pool.allocated, drops()]),
      [
        [0, {}],
        [0, {}],
      ],
    );
  }
});

test('when there is room again, flows without a connection stay where they are, and new ones get one', (t) => {
  const { services, table, send, second } = world(16);
  services.set(service({ protocol: UDP, timeouts: { tcp: 0, tcpFin: 0, udp: 30 } }), 0);
  const at = Array.from({ length: 100 }, (_, i) => send({ protocol: UDP, source: client(i) })[0]!.to);
  // The sixteen have ended; the others speak.
  second(20);
  for (let i = 16; i < 100; i++) t.is(send({ protocol: UDP, source: client(i) })[0]!.to, at[i]);
  t.is(second(31).ended, 16);
  for (let i = 16; i < 100; i++) t.is(send({ protocol: UDP, source: client(i) })[0]!.to, at[i]);
  t.is(table.size, 16);
  // Long after the flood, all is as ever: answers of nobody's connection are the server's own.
  second(70);
  second(200);
  t.is(table.size, 0);
  const back = {
    protocol: UDP,
    source: SERVERS[0],
    destination: client(3),
    sourcePort: 8080,
    destinationPort: 40000,
  };
  t.is(send(back)[0]!.from, '10.1.2.1 8080');
  const fresh = Array.from(
    { length: 3 },
    (_, i) => send({ protocol: UDP, source: client(i), sourcePort: 7 })[0]!.to,
  );
  t.is(new Set(fresh).size, 3);
});

test('TCP segments of no connection go by the hash only while there may be such flows', (t) => {
  const { services, send, second, way } = world(16);
  services.set(service(), 0);
  t.is(way({ protocol: TCP, source: client(50), flags: ACK }), `${VIRTUAL} 80`);
  const at = Array.from(
    { length: 40 },
    (_, i) => send({ protocol: TCP, source: client(i), flags: SYN })[0]!.to,
  );
  t.is(send({ protocol: TCP, source: client(39), flags: FIN })[0]!.to, at[39]);
  second(1000);
  t.is(way({ protocol: TCP, source: client(39), flags: ACK }), `${VIRTUAL} 80`);
});

test('a destination that is drained or leaves gets nothing by the hash, and few of the others’ flows move', (t) => {
  const shared = share(16);
  const { services, send } = world(16, shared);
  const all = Array.from({ length: 10 }, (_, row) => destination(row, `10.1.2.${row + 1}`));
  const spec = service({
    protocol: UDP,
    destinations: all,
    flags: { ...service().flags, tableSize: 65_537 },
  });
  services.set(spec, 0);
  for (let i = 0; i < 16; i++) send({ protocol: UDP, source: '198.51.99.1', sourcePort: 1 + i });
  const where = () =>
    Array.from({ length: 500 }, (_, i) => send({ protocol: UDP, source: client(i) })[0]!.to);
  const before = where();
  const one = '10.1.2.4 8080';
  services.set(
    { ...spec, destinations: all.map((each) => (each.row === 3 ? { ...each, weight: 0 } : each)) },
    0,
  );
  const drained = where();
  t.false(drained.includes(one));
  const moved = drained.filter((to, i) => to !== before[i] && before[i] !== one).length;
  t.true(moved <= 25, `${moved} of 500 moved`);
  services.set({ ...spec, destinations: all.filter(({ row }) => row !== 3) }, 0);
  t.deepEqual(where(), drained);
  services.set(spec, 0);
  t.deepEqual(where(), before);
});

test('what can’t go without a connection is dropped when there is no room: fragments, and SIP by Call-ID', (t) => {
  const { services, send, way } = world(16);
  services.set(service({ protocol: UDP }), 0);
  for (let i = 0; i < 16; i++) send({ protocol: UDP, source: client(i) });
  t.is(way({ protocol: UDP, source: client(50), fragment: 0x2000 }), 'connections-full');
  const persistence = { timeoutSeconds: 60, mask: 32, engine: 'sip', expireQuiescent: false } as const;
  services.set(service({ index: 1, port: 5060, protocol: UDP, persistence }), 0);
  const payload = Buffer.from('OPTIONS sip:a@b SIP/2.0\r\nCall-ID: abc\r\n\r\n');
  t.is(way({ protocol: UDP, destinationPort: 5060, payload }), 'connections-full');
  // SCTP goes.
  services.set(service({ index: 2, protocol: SCTP }), 0);
  t.regex(way({ protocol: SCTP, payload: Uint8Array.of(1, 0, 0, 4) }), /^10\.1\.2\./);
});
