/** How connections of the director go on and end: half-closed ones, resets on expiry, gone destinations, ports used again. */
import test from 'ava';
import { ACK, destination, FIN, RST, SERVERS, SYN, service, world } from './life-world.js';
import { CLIENT, CLIENT6, TCP, UDP, VIRTUAL, VIRTUAL6 } from './packets.js';

const SERVERS6 = ['fd00:1::1'];
const RST_ACK = RST | ACK;

/** Both ways of a connection between the client and a server. */
function ends(client = CLIENT, virtual = VIRTUAL, server = SERVERS[0]!) {
  return {
    out: { protocol: TCP, source: client, destination: virtual },
    back: { protocol: TCP, source: server, destination: client, sourcePort: 8080, destinationPort: 40000 },
  };
}

test('sloppy_tcp lets a connection begin with any segment but a RST', (t) => {
  const { services, table, send, configure } = world();
  services.set(service(), 0);
  send({ protocol: TCP, flags: ACK });
  t.is(table.size, 0);
  configure({ sloppyTcp: true });
  send({ protocol: TCP, flags: RST });
  t.is(table.size, 0);
  t.regex(send({ protocol: TCP, flags: ACK })[0]!.to, /^10\.1\.2\./);
  t.is(table.size, 1);
});

test('a connection that was idle for 20 minutes is reset at both ends, each with what it expects, where the service wants it', (t) => {
  for (const [client, virtual, server] of [
    [CLIENT, VIRTUAL, SERVERS[0]!],
    [CLIENT6, VIRTUAL6, SERVERS6[0]!],
  ] as const) {
    const { services, table, pool, send, second } = world();
    const { out, back } = ends(client, virtual, server);
    services.set(service({ resetOnExpiry: true }, virtual, [server]), 0);
    send({ ...out, flags: SYN, sequence: 999, acknowledgment: 0 });
    send({ ...back, flags: SYN | ACK, sequence: 0xffff_fff0, acknowledgment: 1000 });
    send({ ...out, flags: ACK, sequence: 1000, acknowledgment: 0xffff_fff1 });
    // A request of 100 bytes, an answer that goes past 2³², and an acknowledgement that was overtaken.
    send({ ...out, flags: ACK, sequence: 1000, acknowledgment: 0xffff_fff1, payload: new Uint8Array(100) });
    send({ ...back, flags: ACK, sequence: 0xffff_fff1, acknowledgment: 1100, payload: new Uint8Array(80) });
    send({ ...out, flags: ACK, sequence: 1100, acknowledgment: 0x41 });
    send({ ...out, flags: ACK, sequence: 1100, acknowledgment: 1 });
    t.deepEqual(second(899).sent, []);
    const { ended, sent } = second(1200);
    t.is(ended, 1);
    t.deepEqual(sent, [
      {
        ...{ from: `${virtual} 80`, to: `${client} 40000`, good: true },
        ...{ flags: RST_ACK, sequence: 0x41, acknowledgment: 1100 },
      },
      {
        ...{ from: `${client} 40000`, to: `${server} 8080`, good: true },
        ...{ flags: RST_ACK, sequence: 1100, acknowledgment: 0x41 },
      },
    ]);
    t.deepEqual([table.size, pool.allocated], [0, 0]);
  }
});

test('nobody is told where the service doesn’t want it, nor of what both have ended', (t) => {
  const { services, table, send, second } = world();
  const { out, back } = ends();
  const open = () => {
    send({ ...out, flags: SYN });
    send({ ...back, flags: SYN | ACK });
    send({ ...out, flags: ACK });
  };
  services.set(service({}, undefined, [SERVERS[0]!]), 0);
  open();
  t.deepEqual(second(1200), { ended: 1, sent: [] });
  services.set(service({ resetOnExpiry: true }, undefined, [SERVERS[0]!]), 0);
  open();
  send({ ...out, flags: FIN });
  send({ ...back, flags: FIN });
  t.deepEqual(second(2000), { ended: 1, sent: [] });
  // Half-open: the server may have heard of it, the client has not.
  send({ ...out, flags: SYN });
  t.deepEqual(second(3000), { ended: 1, sent: [] });
  t.is(table.size, 0);
});

test('a thousand connections that expire at once are all told, however few answers may wait', (t) => {
  const { services, table, pool, send, second } = world(1000);
  services.set(service({ resetOnExpiry: true }), 0);
  for (let port = 1; port <= 1000; port++) {
    const to = send({ protocol: TCP, sourcePort: port, flags: SYN })[0]!.to.split(' ')[0]!;
    send({ ...ends(CLIENT, VIRTUAL, to).back, destinationPort: port, flags: SYN | ACK });
    send({ protocol: TCP, sourcePort: port, flags: ACK });
  }
  t.is(table.size, 1000);
  const { ended, sent } = second(901);
  t.deepEqual([ended, new Set(sent.map(({ from, to }) => `${from} ${to}`)).size], [1000, 2000]);
  t.deepEqual([table.size, pool.allocated], [0, 0]);
});

test('half-closed connections live as long as the service’s tcpFin says, from either end', (t) => {
  for (const client of [true, false]) {
    const { services, send, second } = world();
    const { out, back } = ends();
    const slow = { timeouts: { tcp: 0, tcpFin: 600, udp: 0 } };
    services.set(service(slow, undefined, [SERVERS[0]!]), 0);
    services.set(service({ index: 1, port: 81 }, undefined, [SERVERS[1]!]), 0);
    for (const port of [80, 81]) {
      const reply = { ...back, source: SERVERS[port - 80]! };
      send({ ...out, destinationPort: port, flags: SYN });
      send({ ...reply, flags: SYN | ACK });
      send({ ...out, destinationPort: port, flags: ACK });
      if (client) send({ ...out, destinationPort: port, flags: FIN });
      else send({ ...reply, flags: FIN });
    }
    // As IPVS has them: CLOSE_WAIT 60 s, FIN_WAIT 120 s.
    t.is(second(client ? 59 : 119).ended, 0);
    t.is(second(client ? 61 : 121).ended, 1);
    // What is still sent the other way keeps it alive.
    t.is(send({ ...back, flags: ACK })[0]!.from, `${VIRTUAL} 80`);
    t.is(second(600).ended, 0);
    t.is(second(800).ended, 1);
  }
});

test('flows of a removed destination go on by default', (t) => {
  const { services, send } = world();
  services.set(service(), 0);
  const { to } = send({ protocol: TCP, flags: SYN })[0]!;
  services.set(service({ destinations: [destination(9, '10.1.2.9')] }), 0);
  t.is(send({ protocol: TCP, flags: ACK })[0]!.to, to);
});

test('asked to, at the next packet UDP is scheduled again and TCP reset at both ends; draining is no removal', (t) => {
  for (const how of ['service', 'all'] as const) {
    const { services, table, counts, pool, drops, send, configure } = world();
    const own = how === 'service' ? { rescheduleRemoved: true } : {};
    if (how === 'all') configure({ expireNodestConn: true });
    const tcp = service(own, undefined, [SERVERS[0]!]);
    const udp = service({ ...own, index: 1, protocol: UDP, destinations: [destination(1, SERVERS[1]!)] });
    services.set(tcp, 0);
    services.set(udp, 0);
    send({ protocol: TCP, flags: SYN });
    send({ ...ends().back, flags: SYN | ACK });
    send({ protocol: TCP, flags: ACK });
    send({ protocol: UDP });
    const drained = (spec: typeof tcp) => spec.destinations.map((each) => ({ ...each, weight: 0 }));
    services.set({ ...tcp, destinations: drained(tcp) }, 0);
    services.set({ ...udp, destinations: drained(udp) }, 0);
    t.is(send({ protocol: TCP, flags: ACK })[0]!.to, '10.1.2.1 8080');
    t.is(send({ protocol: UDP })[0]!.to, '10.1.2.2 8080');
    services.set({ ...tcp, destinations: [destination(8, '10.1.2.8')] }, 0);
    services.set({ ...udp, destinations: [destination(9, '10.1.2.9')] }, 0);
    t.is(send({ protocol: UDP })[0]!.to, '10.1.2.9 8080');
    // What the old server still sends goes its way, until the client's next segment.
    t.is(send({ ...ends().back, flags: ACK })[0]!.from, `${VIRTUAL} 80`);
    t.deepEqual(send({ protocol: TCP, flags: ACK, sequence: 500, acknowledgment: 700 }), [
      {
        ...{ from: `${VIRTUAL} 80`, to: `${CLIENT} 40000`, good: true },
        ...{ flags: RST, sequence: 700, acknowledgment: 0 },
      },
      {
        ...{ from: `${CLIENT} 40000`, to: '10.1.2.1 8080', good: true },
        ...{ flags: RST_ACK, sequence: 500, acknowledgment: 700 },
      },
    ]);
    t.is(send({ protocol: TCP, flags: SYN })[0]!.to, '10.1.2.8 8080');
    t.deepEqual(drops(), { 'destination-gone': 1 });
    t.deepEqual(
      [counts.active(0) + counts.inactive(0), counts.inactive(1), table.size, pool.allocated],
      [0, 0, 2, 0],
    );
  }
});

test('a SYN on a connection that is over begins another; on one that is not, it goes where that went', (t) => {
  const close = (send: ReturnType<typeof world>['send']) => {
    const { out, back } = ends();
    send({ ...out, flags: SYN });
    send({ ...back, flags: SYN | ACK });
    send({ ...out, flags: ACK });
    send({ ...out, flags: FIN });
    send({ ...back, flags: FIN });
  };
  for (const [connReuseMode, to] of [
    [0, '10.1.2.1 8080'],
    [1, '10.1.2.2 8080'],
    [2, '10.1.2.2 8080'],
    [3, '10.1.2.2 8080'],
  ] as const) {
    const { services, table, counts, send, configure } = world();
    configure({ connReuseMode });
    services.set(
      service({ destinations: [destination(0, SERVERS[0]!), destination(1, SERVERS[1]!)].reverse() }),
      0,
    );
    services.set(service({ destinations: [destination(0, SERVERS[0]!)] }), 0);
    close(send);
    services.set(
      service({ destinations: [{ ...destination(0, SERVERS[0]!), weight: 0 }, destination(1, SERVERS[1]!)] }),
      0,
    );
    t.is(send({ protocol: TCP, flags: SYN })[0]!.to, to, `${connReuseMode}`);
    t.is(table.size, 1);
    t.is(counts.active(0) + counts.inactive(0) + counts.active(1) + counts.inactive(1), 1);
  }
  // Open: a SYN again is a retransmission, or an attack.
  const { services, send } = world();
  services.set(service(), 0);
  const { to } = send({ protocol: TCP, flags: SYN })[0]!;
  t.is(send({ protocol: TCP, flags: SYN })[0]!.to, to);
  send({ protocol: TCP, flags: ACK });
  t.is(send({ protocol: TCP, flags: SYN })[0]!.to, to);
});

test('with expire_nodest_conn a SYN does not go to a destination of weight 0 again', (t) => {
  const { services, send, configure } = world();
  configure({ expireNodestConn: true });
  services.set(service({ destinations: [destination(0, SERVERS[0]!)] }), 0);
  send({ protocol: TCP, flags: SYN });
  send({ protocol: TCP, flags: ACK });
  services.set(
    service({ destinations: [{ ...destination(0, SERVERS[0]!), weight: 0 }, destination(1, SERVERS[1]!)] }),
    0,
  );
  t.is(send({ protocol: TCP, flags: ACK })[0]!.to, '10.1.2.1 8080');
  t.is(send({ protocol: TCP, flags: SYN })[0]!.to, '10.1.2.2 8080');
});
