/** Persistence on packets in memory, beside a plain model of it in virtual time. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { DestinationCounts, type DestinationSpec } from '../../src/dataplane/ipvs/destination.js';
import { Director } from '../../src/dataplane/ipvs/director.js';
import { Extras } from '../../src/dataplane/ipvs/extras.js';
import {
  CLIENT as CLIENT_AT,
  CLIENT_PORTS,
  DESTINATION,
  KIND,
  KIND_TEMPLATE,
  OWNER,
  STATE,
  TEMPLATE,
  TIMEOUT,
  VIRTUAL as VIRTUAL_AT,
} from '../../src/dataplane/ipvs/record.js';
import { type PersistenceSpec, type ServiceSpec, Services } from '../../src/dataplane/ipvs/service.js';
import { DEFAULTS } from '../../src/dataplane/ipvs/settings.js';
import { Timeouts } from '../../src/dataplane/ipvs/states.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';
import { DROPPED, NO_DESTINATION, PASS, SEND, TABLE_FULL } from '../../src/dataplane/ipvs/verdict.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { testDefence } from './defence-memory.js';
import { build, CLIENT, stage, TCP, UDP, VIRTUAL, VIRTUAL6, type Wanted } from './packets.js';
import { destination, serviceAt, wordsOf } from './specs.js';

const SYN = 0x02;
const SYN_ACK = 0x12;

const FOUR = [1, 2, 3, 4].map((n, row) => destination(row, `10.1.2.${n}`));

const sticky = (change: Partial<PersistenceSpec> = {}): PersistenceSpec => ({
  ...{ timeoutSeconds: 300, mask: 32, engine: null },
  ...change,
});

const service = (change: Partial<ServiceSpec> = {}): ServiceSpec =>
  serviceAt(VIRTUAL, FOUR, { persistence: sticky(), ...change });

/** Engines share table, counts and extras, as they do in one process. */
function memory(connections = 4096, extras = 64) {
  return {
    counts: new DestinationCounts(DestinationCounts.allocate(16)),
    table: new Connections(Connections.allocate(connections)),
    extras: new Extras(Extras.allocate(extras)),
  };
}

function engine({ counts, table, extras } = memory()) {
  const { path, pool, parsed, put, drops } = stage();
  const timeouts = new Timeouts();
  const services = new Services(counts, new Random(1), timeouts);
  const defence = testDefence(table.capacity);
  const traffic = new Traffic(Traffic.allocate(16));
  const director = new Director({
    path,
    services,
    connections: table,
    extras,
    counts,
    traffic,
    defence,
    timeouts,
  });
  /** Verdict, and where the packet went: address and port. */
  const send = ({ mark = 0, ...wanted }: Partial<Wanted> & { mark?: number }) => {
    const packet = put(build({ protocol: TCP, flags: SYN, ...wanted }));
    const verdict = director.balance(packet, Object.assign(parsed(packet), { mark }));
    if (verdict === DROPPED) return { verdict, from: '', to: '', port: 0, source: 0, drops: drops() };
    const after = parsed(packet);
    pool.free(packet);
    const text = (a: number, b: number, c: number, d: number) =>
      after.family === 4 ? ipv4.format(a) : ipv6.format(a, b, c, d);
    const from = text(after.source0, after.source1, after.source2, after.source3);
    const to = text(after.destination0, after.destination1, after.destination2, after.destination3);
    return { verdict, from, to, port: after.destinationPort, source: after.sourcePort, drops: drops() };
  };
  /** Time goes on, second by second as the engine looks for what has run out. */
  const wait = (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      director.nowMs += 1000;
      director.expire();
    }
  };
  /** The templates that there are. */
  const templates = () =>
    Array.from({ length: table.highWater }, (_, connection) => {
      const at = table.at(connection);
      if (table.expires[connection] === 0 || (table.records[at + KIND]! & KIND_TEMPLATE) === 0) return [];
      const word = (offset: number) => table.records[at + offset]!;
      return [
        {
          ...{ client: ipv4.format(word(CLIENT_AT)), virtual: ipv4.format(word(VIRTUAL_AT)) },
          ...{ ports: word(CLIENT_PORTS), protocol: (word(KIND) >>> 8) & 0xff, port: word(KIND) >>> 16 },
          ...{ to: ipv4.format(word(DESTINATION)), state: word(STATE), connections: word(TEMPLATE) },
          ...{ row: word(OWNER) >>> 16, seconds: word(TIMEOUT) / 16 },
          left: (table.expires[connection]! - Math.floor(director.nowMs * 0.016)) / 16,
        },
      ];
    }).flat();
  return { services, director, counts, table, extras, send, wait, templates };
}

test('a client stays at one destination, others go round, and the destination’s port is used', (t) => {
  const { services, send, counts, templates } = engine();
  services.set(service(), 0);
  const first = send({ sourcePort: 1 });
  t.like(first, { verdict: SEND, port: 8080 });
  for (let port = 2; port < 20; port++) t.is(send({ sourcePort: port }).to, first.to);
  const others = [8, 9, 10].map((n) => send({ source: `192.0.2.${n}` }).to);
  t.is(new Set([first.to, ...others]).size, 4);
  t.deepEqual(
    [0, 1, 2, 3].map((row) => counts.persistent(row)),
    [1, 1, 1, 1],
  );
  t.is(
    [0, 1, 2, 3].reduce((sum, row) => sum + counts.active(row), 0),
    22,
  );
  t.like(
    templates().find(({ client }) => client === CLIENT),
    {
      virtual: VIRTUAL,
      ports: 80,
      protocol: TCP,
      port: 8080,
      to: first.to,
      state: 0,
      connections: 19,
      seconds: 300,
    },
  );
});

test('the mask says who is one client, in both families', (t) => {
  const { services, send } = engine();
  services.set(service({ persistence: sticky({ mask: 24 }) }), 0);
  const six = {
    ...{ index: 1, family: 6 as const, address: wordsOf(VIRTUAL6), persistence: sticky({ mask: 52 }) },
    destinations: [1, 2, 3, 4].map((n, i) => destination(4 + i, `fd00:1::${n}`)),
  };
  services.set(service(six), 0);
  const from = (source: string) =>
    send({ source, destination: source.includes(':') ? VIRTUAL6 : VIRTUAL }).to;
  const home = from('192.0.2.7');
  for (const n of [1, 77, 255]) t.is(from(`192.0.2.${n}`), home);
  t.not(from('192.0.3.7'), home);
  const home6 = from('2001:db8:1:2000::7');
  for (const net of ['2001:db8:1:2fff::1', '2001:db8:1:2001:ffff::']) t.is(from(net), home6);
  t.not(from('2001:db8:1:3000::7'), home6);
});

test('a template lives from its last connection on, and while it has connections: a minute each time', (t) => {
  const quick = { tcp: 0, tcpFin: 0, udp: 400 };
  const { services, send, wait, templates, counts, table } = engine();
  services.set(service({ protocol: UDP, timeouts: quick, persistence: sticky({ timeoutSeconds: 100 }) }), 0);
  const { to } = send({ protocol: UDP, sourcePort: 1 });
  wait(90);
  t.is(send({ protocol: UDP, sourcePort: 2 }).to, to);
  t.like(templates()[0], { left: 100, connections: 2 });
  wait(99);
  t.like(templates()[0], { left: 1, seconds: 100 });
  // It would end now; the connections last until second 400 and 490.
  wait(2);
  t.like(templates()[0], { seconds: 60, connections: 2 });
  wait(230);
  t.like(templates()[0], { seconds: 60, connections: 1 });
  t.is(send({ protocol: UDP, sourcePort: 3 }).to, to);
  wait(402);
  t.true(templates().length === 1 && templates()[0]!.connections === 0);
  wait(60);
  t.deepEqual([templates().length, counts.persistent(0), table.size], [0, 0, 0]);
  t.not(send({ protocol: UDP, sourcePort: 4 }).to, to);
});

test('port 0 and FTP’s port hold the ports of an address together; other services of it don’t', (t) => {
  const { services, send, templates } = engine();
  services.set(service({ port: 0 }), 0);
  const web = { index: 1, port: 8000, destinations: FOUR.map((each) => ({ ...each, row: each.row + 4 })) };
  services.set(service(web), 0);
  const first = send({ destinationPort: 443 });
  // The destination's port is for what comes to the service's own.
  t.is(first.port, 443);
  for (const port of [1, 80, 65_535]) t.like(send({ destinationPort: port }), { to: first.to, port });
  t.is(templates().length, 1);
  t.like(templates()[0], { ports: 0, port: 0, connections: 4 });
  t.like(send({ destinationPort: 8000 }), { port: 8080 });
  t.like(templates()[1], { ports: 8000, port: 8080 });

  const ftp = engine();
  ftp.services.set(service({ port: 21, destinations: FOUR.map((each) => ({ ...each, port: 2121 })) }), 0);
  const control = ftp.send({ destinationPort: 21 });
  t.is(control.port, 2121);
  t.like(ftp.templates()[0], { ports: 0, port: 0 });
  for (const port of [1024, 50_000, 20]) {
    t.like(ftp.send({ destinationPort: port }), { to: control.to, port });
  }
  // Others' ports are not FTP's data (inet_port_requires_bind_service).
  t.is(ftp.send({ destinationPort: 80 }).verdict, PASS);
  const { persistence: _, ...loose } = service({ port: 21 });
  ftp.services.set(loose, 0);
  t.is(ftp.send({ destinationPort: 1024, source: '192.0.2.9' }).verdict, PASS);
});

test('a template whose destination is gone is used no more, one that is drained only where that is wanted', (t) => {
  for (const expireQuiescent of [false, true]) {
    const { services, director, send, templates, counts } = engine();
    director.configure({ ...DEFAULTS, expireQuiescentTemplate: expireQuiescent });
    const persistence = sticky();
    services.set(service({ persistence }), 0);
    const first = send({ sourcePort: 1 });
    const at = FOUR.findIndex(({ address }) => ipv4.format(address[0]) === first.to);
    const drained = FOUR.map((each, i) => (i === at ? { ...each, weight: 0 } : each));
    services.set(service({ persistence, destinations: drained }), 0);
    t.is(send({ sourcePort: 2 }).to === first.to, !expireQuiescent);
    services.set(service({ persistence, destinations: FOUR.filter((_, i) => i !== at) }), 0);
    const second = send({ sourcePort: 3 });
    t.not(second.to, first.to);
    t.is(send({ sourcePort: 4 }).to, second.to);
    // The old one has the ports that say so, and lives on for its connections, which stay where they are.
    const [old, now] = templates();
    t.like(old, { ports: 0xffff, port: 0xffff, to: first.to });
    t.like(now, { ports: 80, to: second.to });
    t.is(send({ sourcePort: 1, flags: 0x10 }).to, first.to);
    t.deepEqual([counts.persistent(at), counts.persistent(now!.row)], [1, 1]);
  }
});

test('where no destination can be had, or no room, there is no template either', (t) => {
  const { services, send, table } = engine(memory(4));
  services.set(service({ destinations: [] }), 0);
  t.is(send({}).verdict, NO_DESTINATION);
  t.is(table.size, 0);
  services.set(service(), 0);
  for (const n of [1, 2]) t.is(send({ source: `192.0.2.${n}` }).verdict, SEND);
  // Without room packets go by their client's address alone, and nothing is kept.
  const third = send({ source: '192.0.2.3' });
  t.is(third.verdict, SEND);
  t.is(send({ source: '192.0.2.3', sourcePort: 9 }).to, third.to);
  t.is(table.size, 4);
});

test('a template is assured by a connection that both ends agreed on', (t) => {
  const { services, send, templates } = engine();
  services.set(service(), 0);
  services.set(service({ protocol: UDP, index: 1, destinations: [destination(9, '10.1.9.9')] }), 0);
  const { to } = send({ sourcePort: 5 });
  const back = { source: to, destination: CLIENT, sourcePort: 8080, destinationPort: 5 };
  send({ ...back, flags: SYN_ACK });
  t.is(templates()[0]!.state, 0);
  send({ sourcePort: 5, flags: 0x10 });
  t.is(templates()[0]!.state, 1);
  send({ protocol: UDP, sourcePort: 5 });
  send({ protocol: UDP, sourcePort: 5 });
  t.is(templates()[1]!.state, 0);
  t.is(send({ ...back, protocol: UDP, source: '10.1.9.9' }).source, 80);
  t.is(templates()[1]!.state, 1);
});

test('two engines find one another’s templates', (t) => {
  const shared = memory();
  const [one, two] = [engine(shared), engine(shared)];
  one.services.set(service(), 0);
  two.services.set(service(), 0);
  for (let n = 1; n < 40; n++) {
    const source = `198.51.100.${n}`;
    const { to } = one.send({ source });
    for (let port = 1; port < 4; port++) t.is(two.send({ source, sourcePort: port }).to, to);
  }
  t.is(one.templates().length, 39);
});

const call = (id: string, name = 'Call-ID') =>
  Uint8Array.from(
    Buffer.from(
      `INVITE sip:bob@biloxi.example SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n${name}: ${id}\r\n\r\n`,
      'latin1',
    ),
  );
const SIP = { protocol: UDP, port: 5060, persistence: sticky({ engine: 'sip' }) } as const;

test('sip: each call of a client stays at its destination, from whatever port its messages come', (t) => {
  const { services, send, extras, wait, templates, table } = engine();
  services.set(service(SIP), 0);
  const ring = (id: string, sourcePort: number, more: Partial<Wanted> = {}) =>
    send({ protocol: UDP, destinationPort: 5060, sourcePort, payload: call(id), ...more });
  const ids = Array.from({ length: 40 }, (_, i) => `${i}f81d4fae@${CLIENT}`);
  const homes = ids.map((id, i) => ring(id, 1000 + i).to);
  t.is(new Set(homes).size, 4);
  ids.forEach((id, i) => {
    t.is(ring(id, 3000 + i).to, homes[i]);
    t.is(ring(id, 5000 + i, { payload: call(id, 'i') }).to, homes[i]);
  });
  t.deepEqual([templates().length, extras.size], [40, 40]);
  // Another client's call of the same name is another.
  const strangers = [8, 9, 10, 11].map((n) => ring(ids[0]!, 1, { source: `192.0.2.${n}` }).to);
  t.is(new Set(strangers).size, 4);
  t.like(send({ protocol: UDP, destinationPort: 5060, sourcePort: 9 }), {
    verdict: DROPPED,
    drops: { 'no-call-id': 1 },
  });
  wait(660);
  t.deepEqual([table.size, extras.size], [0, 0]);
});

test('sip: where no more Call-IDs can be kept, nothing is begun', (t) => {
  const { services, send, table } = engine(memory(64, 2));
  services.set(service(SIP), 0);
  const ring = (id: string) =>
    send({ protocol: UDP, destinationPort: 5060, sourcePort: 7, payload: call(id) });
  t.is(ring('a@b').verdict, SEND);
  for (const [i, id] of ['c@d', 'e@f'].entries()) {
    const { verdict } = send({ protocol: UDP, destinationPort: 5060, sourcePort: 8 + i, payload: call(id) });
    t.is(verdict, i === 0 ? SEND : TABLE_FULL);
  }
  t.is(table.size, 4);
});

interface Kept {
  to: string;
  until: number;
  seconds: number;
  /** when each of its connections ends */
  connections: Map<string, number>;
}

test('random clients, ports and pauses: each goes where a plain model says', (t) => {
  const random = new Random(20_261_124);
  const { services, send, wait, director, counts, templates } = engine(memory(20_000));
  const [keep, idle] = [40, 25];
  const wanted = (destinations: readonly DestinationSpec[]) =>
    service({
      ...{ protocol: UDP, timeouts: { tcp: 0, tcpFin: 0, udp: idle }, destinations },
      persistence: sticky({ timeoutSeconds: keep, mask: 28 }),
    });
  let usable = new Set(FOUR.map(({ address }) => ipv4.format(address[0])));
  services.set(wanted(FOUR), 0);
  const model = new Map<number, Kept>();
  const retired: Kept[] = [];
  let [again, anew, moved] = [0, 0, 0];
  for (let turn = 0; turn < 6000; turn++) {
    const now = director.nowMs / 1000;
    const host = random.below(64);
    const sourcePort = 1 + random.below(50);
    const flow = `${host} ${sourcePort}`;
    const net = host >> 4;
    const { to } = send({ protocol: UDP, source: `192.0.2.${host}`, sourcePort });
    const all = [...model.values(), ...retired];
    const open = all.find(({ connections }) => connections.has(flow));
    if (open !== undefined) {
      // A connection stays, whatever became of its template, and does not renew it.
      t.is(to, open.to);
      open.connections.set(flow, now + idle);
    } else {
      let kept = model.get(net);
      if (kept !== undefined && !usable.has(kept.to)) {
        retired.push(kept);
        kept = undefined;
        moved++;
      }
      if (kept === undefined) {
        t.true(usable.has(to));
        kept = { to, until: 0, seconds: keep, connections: new Map() };
        model.set(net, kept);
        anew++;
      } else {
        t.is(to, kept.to);
        again++;
      }
      kept.connections.set(flow, now + idle);
      kept.until = now + kept.seconds;
    }
    if (random.below(40) === 0) {
      const gone = random.below(6);
      const left = FOUR.filter((_, i) => i !== gone);
      usable = new Set(left.map(({ address }) => ipv4.format(address[0])));
      services.set(wanted(left), director.nowMs);
    }
    if (random.below(4) !== 0) continue;
    for (let pause = random.below(random.below(20) === 0 ? 90 : 4); pause > 0; pause--) {
      wait(1);
      const at = director.nowMs / 1000;
      for (const kept of [...model.values(), ...retired]) {
        // The record of a template comes before those of its connections, or after: both run out in one second.
        const before = kept.connections.size;
        for (const [key, end] of kept.connections) if (end <= at) kept.connections.delete(key);
        if (kept.until > at) continue;
        const lives = before > 0 && (kept.connections.size > 0 || alive(kept.to, at));
        kept.until = lives ? at + 60 : 0;
        kept.seconds = 60;
      }
      for (const [key, kept] of model) if (kept.until === 0) model.delete(key);
      for (let i = retired.length - 1; i >= 0; i--) if (retired[i]!.until === 0) retired.splice(i, 1);
    }
    const rows = [0, 1, 2, 3].reduce((sum, row) => sum + counts.persistent(row), 0);
    t.is(rows, model.size + retired.length);
  }
  /** In the table there is still one to that destination which was prolonged this very second. */
  function alive(to: string, at: number): boolean {
    return templates().some((each) => each.to === to && each.left === 60 && at > 0);
  }
  t.true(again > 500 && anew > 100 && moved > 20, `${again} again, ${anew} anew, ${moved} moved`);
});

test('sip: a call that a server begins comes from the service’s address, and stays at that server', (t) => {
  const { services, send, templates } = engine();
  services.set(service(SIP), 0);
  for (const [i, server] of ['10.1.2.3', '10.1.2.1'].entries()) {
    const out = {
      protocol: UDP,
      source: server,
      sourcePort: 8080,
      destination: CLIENT,
      destinationPort: 6000 + i,
    };
    const payload = call(`${i}@${server}`);
    t.like(send({ ...out, payload }), {
      verdict: SEND,
      from: VIRTUAL,
      source: 5060,
      to: CLIENT,
      port: 6000 + i,
    });
    const back = { protocol: UDP, destinationPort: 5060, sourcePort: 6000 + i, payload };
    t.like(send(back), { to: server, port: 8080 });
    for (let port = 1; port < 5; port++) t.is(send({ ...back, sourcePort: port + 10 * i }).to, server);
    // Without a Call-ID, of another port, or of a stranger a packet goes its way.
    t.is(send({ ...out, destinationPort: 7000, payload: new Uint8Array(20) }).verdict, PASS);
    t.is(send({ ...out, sourcePort: 8081, payload }).verdict, PASS);
    t.is(send({ ...out, source: '10.1.2.77', payload }).verdict, PASS);
  }
  t.deepEqual(
    templates().map(({ to, connections, ports }) => [to, connections, ports]),
    [
      ['10.1.2.3', 5, 5060],
      ['10.1.2.1', 5, 5060],
    ],
  );
  // A call that is at one server, and another sends of: it is at that one from now on.
  const stolen = {
    protocol: UDP,
    source: '10.1.2.2',
    sourcePort: 8080,
    destination: CLIENT,
    payload: call('0@10.1.2.3'),
  };
  t.is(send({ ...stolen, destinationPort: 6100 }).verdict, SEND);
  t.is(
    send({ protocol: UDP, destinationPort: 5060, sourcePort: 6200, payload: stolen.payload }).to,
    '10.1.2.2',
  );
  services.remove(0);
  t.is(send({ ...stolen, destinationPort: 6101 }).verdict, PASS);
});

const SEVEN = { ...{ index: 3, protocol: 0, address: [0, 0, 0, 0] as ipv6.Words, port: 0, mark: 7 } };

test('a mark goes before address and port; its clients are together whatever they send to', (t) => {
  const { services, send, templates } = engine();
  const [one, two, three, four] = FOUR;
  services.set(service({ destinations: [one!] }), 0);
  services.set(service({ ...SEVEN, destinations: [two!, three!] }), 0);
  services.set(service({ ...SEVEN, index: 4, mark: 0xffff_ffff, destinations: [four!] }), 0);
  t.is(send({}).to, '10.1.2.1');
  const { to } = send({ mark: 7, sourcePort: 1 });
  t.regex(to, /^10\.1\.2\.[23]$/);
  // The port is the one that the client sent to, also where the destination has one (ip_vs_sched_persist).
  for (const port of [80, 81, 65_535])
    t.like(send({ mark: 7, sourcePort: 2, destinationPort: port }), { to, port });
  t.is(send({ mark: 7, protocol: UDP, destination: '198.51.100.99' }).to, to);
  t.is(send({ mark: 0xffff_ffff, sourcePort: 9 }).to, '10.1.2.4');
  // One without a service, and one of the other family, are none.
  t.is(send({ mark: 8, sourcePort: 3 }).to, '10.1.2.1');
  t.is(send({ mark: 7, source: '2001:db8::7', destination: VIRTUAL6 }).verdict, PASS);
  const seven = templates().filter(({ protocol }) => protocol === 0);
  t.deepEqual(
    seven.map(({ client, virtual, ports, port, to: at, connections }) => [
      client,
      virtual,
      ports,
      port,
      at,
      connections,
    ]),
    [
      [CLIENT, '0.0.0.7', 0, 0, to, 5],
      [CLIENT, '255.255.255.255', 0, 0, '10.1.2.4', 1],
    ],
  );
  services.remove(3);
  t.is(send({ mark: 7, sourcePort: 4 }).to, '10.1.2.1');
});

test('a mark without persistence uses the destination’s port, or keeps the client’s', (t) => {
  const { services, send } = engine();
  const { persistence: _, ...loose } = service({
    ...SEVEN,
    destinations: [FOUR[0]!, destination(1, '10.1.2.2', 0)],
  });
  services.set(loose, 0);
  const got = [1, 2].map((sourcePort) => send({ mark: 7, sourcePort, destinationPort: 444 }));
  t.deepEqual(got.map(({ to, port }) => `${to} ${port}`).sort(), ['10.1.2.1 8080', '10.1.2.2 444']);
});
