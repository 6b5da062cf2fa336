/** The helper of FTP: what is announced on a control connection, and the data connections that come of it. */
import test from 'ava';
import { EXTRA, STATE } from '../../src/dataplane/ipvs/record.js';
import { TCP_STATE } from '../../src/dataplane/ipvs/states.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { ingressWorld, serviceOf } from './ingress-world.js';
import {
  build,
  CLIENT,
  CLIENT6,
  parsedOf,
  SERVER,
  SERVER6,
  sound,
  TCP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';

const SYN = 0x02;
const ACK = 0x10;
const OTHER = '10.1.2.4';

interface Seen {
  from: string;
  to: string;
  sequence: number;
  acknowledgment: number;
  text: string;
  /** words of the SACK block, if there is one */
  sack: number[];
}

function seen(bytes: Uint8Array): Seen {
  const p = parsedOf(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const text = (a: number, b: number, c: number, d: number) =>
    p.family === 6 ? ipv6.format(a, b, c, d) : ipv4.format(a);
  const { transport } = p;
  const header = (bytes[transport + 12]! >>> 4) * 4;
  return {
    from: `${text(p.source0, p.source1, p.source2, p.source3)} ${p.sourcePort}`,
    to: `${text(p.destination0, p.destination1, p.destination2, p.destination3)} ${p.destinationPort}`,
    sequence: view.getUint32(transport + 4),
    acknowledgment: view.getUint32(transport + 8),
    text: Buffer.from(bytes.slice(transport + header)).toString(),
    sack: header > 20 ? [view.getUint32(transport + 24), view.getUint32(transport + 28)] : [],
  };
}

function world(servers: readonly string[] = [SERVER], rows = 16) {
  const w = ingressWorld(64, rows);
  const six = servers[0]!.includes(':');
  const [client, virtual] = six ? [CLIENT6, VIRTUAL6] : [CLIENT, VIRTUAL];
  w.services.set(serviceOf(TCP, virtual, 21, servers), 0);
  const send = (wanted: Omit<Wanted, 'protocol'>): Seen | undefined => {
    const [out] = w.direct(build({ protocol: TCP, flags: ACK, ...wanted }));
    if (out !== undefined && !sound(out)) throw new Error('a checksum is wrong');
    return out && seen(out);
  };
  const speak = (text: string) => ({ payload: Uint8Array.from(Buffer.from(text)) });
  /** Of the client, on its control connection or to another port. */
  const ask = (text: string, more: Partial<Wanted> = {}) =>
    send({ source: client, destination: virtual, destinationPort: 21, ...speak(text), ...more });
  const answer = (text: string, more: Partial<Wanted> = {}) =>
    send({
      ...{ source: servers[0]!, destination: client, sourcePort: 21, destinationPort: 40000 },
      ...{ ...speak(text), ...more },
    });
  /** The control connection is there. */
  const open = (more: Partial<Wanted> = {}) => {
    ask('', { ...more, flags: SYN });
    answer('', { flags: SYN | ACK, destinationPort: more.sourcePort ?? 40000 });
  };
  const states = () => {
    const all: number[] = [];
    for (let c = 0; c < w.table.highWater; c++) {
      if (w.table.expires[c] !== 0) all.push(w.table.records[w.table.at(c) + STATE]! & 0xff);
    }
    return all;
  };
  return { ...w, client, virtual, ask, answer, open, states };
}

test('a passive answer gets the virtual address, and its connection goes to the server that gave it', (t) => {
  const w = world();
  w.open();
  w.ask('PASV\r\n');
  const told = w.answer('227 Entering Passive Mode (10,1,2,3,195,80).\r\n', { sequence: 1000 });
  t.like(told, {
    from: `${VIRTUAL} 21`,
    sequence: 1000,
    text: '227 Entering Passive Mode (203,0,113,80,195,80).\r\n',
  });
  t.is(w.states().at(-1), TCP_STATE.listen);
  t.is(w.counts.inactive(0), 1);
  const data = w.ask('', { flags: SYN, sourcePort: 40001, destinationPort: 50000 });
  t.is(data!.to, `${SERVER} 50000`);
  const back = w.answer('', { flags: SYN | ACK, sourcePort: 50000, destinationPort: 40001 });
  t.like(back, { from: `${VIRTUAL} 50000`, to: `${CLIENT} 40001` });
  t.is(w.ask('', { sourcePort: 40001, destinationPort: 50000 })!.to, `${SERVER} 50000`);
  t.deepEqual([w.states().includes(TCP_STATE.listen), w.extras.expectations, w.table.size], [false, 0, 2]);
  // Nobody else is expected there.
  t.is(w.ask('', { flags: SYN, sourcePort: 40002, destinationPort: 50000 })!.to, `${VIRTUAL} 50000`);
  t.deepEqual([w.drops(), w.pool.allocated], [{}, 0]);
});

test('what the server sends after it is shifted, and what the client acknowledges of it is shifted back', (t) => {
  const w = world();
  w.open();
  w.ask('PASV\r\n');
  const line = '227 x (10,1,2,3,195,80)\r\n';
  const grown = '203,0,113,80'.length - '10,1,2,3'.length;
  w.answer(line, { sequence: 1000 });
  t.is(w.ask('', { acknowledgment: 1000 + line.length + grown })!.acknowledgment, 1000 + line.length);
  t.is(w.answer('150 ok\r\n', { sequence: 1000 + line.length })!.sequence, 1000 + line.length + grown);
  // The line again, for it was lost: as before.
  t.like(w.answer(line, { sequence: 1000 }), { sequence: 1000, text: '227 x (203,0,113,80,195,80)\r\n' });
  const next = 1000 + line.length + 8;
  w.ask('PASV\r\n');
  t.is(w.answer(line, { sequence: next })!.sequence, next + grown);
  t.is(w.answer('150 ok\r\n', { sequence: next + line.length })!.sequence, next + line.length + 2 * grown);
  // Between both lines the first shift alone counts, in SACK blocks too.
  const options = new Uint8Array(12);
  const view = new DataView(options.buffer);
  options.set([1, 1, 5, 10]);
  view.setUint32(4, next + line.length + 2 * grown);
  view.setUint32(8, next + line.length + 2 * grown + 8);
  const ack = w.ask('', { acknowledgment: next + grown, options })!;
  t.deepEqual([ack.acknowledgment, ack.sack], [next, [next + line.length, next + line.length + 8]]);
  t.deepEqual([w.drops(), w.pool.allocated], [{}, 0]);
});

test('an extended passive answer says the port alone, in both families', (t) => {
  for (const [server, virtual, client] of [
    [SERVER, VIRTUAL, CLIENT],
    [SERVER6, VIRTUAL6, CLIENT6],
  ] as const) {
    const w = world([server]);
    w.open();
    w.ask('EPSV\r\n');
    const line = '229 Entering Extended Passive Mode (|||50000|)\r\n';
    t.is(w.answer(line)!.text, line);
    t.is(w.ask('', { flags: SYN, sourcePort: 40001, destinationPort: 50000 })!.to, `${server} 50000`);
    const back = w.answer('', { flags: SYN | ACK, sourcePort: 50000, destinationPort: 40001 });
    t.like(back, { from: `${virtual} 50000`, to: `${client} 40001` });
  }
});

test('what a client announces stays, and the server that connects is shown as the virtual data port', (t) => {
  for (const [server, virtual, line] of [
    [SERVER, VIRTUAL, 'PORT 192,0,2,7,156,65\r\n'],
    [SERVER6, VIRTUAL6, 'EPRT |2|2001:db8::7|40001|\r\n'],
  ] as const) {
    for (const port of [20, 51234]) {
      const w = world([server]);
      w.open();
      t.is(w.ask(line)!.text, line);
      const data = { sourcePort: port, destinationPort: 40001 };
      t.like(w.answer('', { ...data, flags: SYN }), { from: `${virtual} 20`, to: `${w.client} 40001` });
      const back = w.ask('', { flags: SYN | ACK, sourcePort: 40001, destinationPort: 20 });
      t.is(back!.to, `${server} ${port}`);
      w.answer('', data);
      t.true(w.states().every((state) => state !== TCP_STATE.listen));
      // Once more for the same port: it is another connection.
      t.is(w.ask(line)!.text, line);
      const again = w.answer('', { sourcePort: 51235, destinationPort: 40001, flags: SYN });
      t.is(again!.from, `${virtual} 20`);
      t.deepEqual([w.table.size, w.extras.expectations, w.pool.allocated], [2, 0, 0]);
    }
  }
});

test('what was not asked for, or is of somebody else, is announced in vain', (t) => {
  const w = world();
  w.open();
  for (const [announce, line] of [
    [w.answer, '227 x (10,1,2,3,195,80)\r\n'],
    [w.ask, 'PORT 192,0,2,9,156,65\r\n'],
    [w.ask, 'EPRT |1|192.0.2.9|40001|\r\n'],
    [w.ask, 'EPRT |2|2001:db8::7|40001|\r\n'],
  ] as const) {
    t.is(announce(line)!.text, line);
  }
  w.ask('PASV\r\n');
  const line = '227 x (10,9,9,9,195,80)\r\n';
  t.is(w.answer(line)!.text, line);
  t.deepEqual([w.table.size, w.extras.expectations], [1, 0]);
});

test('two servers that tell a client the same port are told apart', (t) => {
  const w = world([SERVER, OTHER]);
  const servers: string[] = [];
  for (const sourcePort of [40000, 40010]) {
    servers.push(w.ask('', { sourcePort, flags: SYN })!.to.split(' ')[0]!);
    w.ask('EPSV\r\n', { sourcePort });
  }
  t.not(servers[0], servers[1]);
  const line = '229 (|||50000|)\r\n';
  t.is(w.answer(line, { source: servers[0]!, destinationPort: 40000 })!.text, line);
  t.is(w.answer(line, { source: servers[1]!, destinationPort: 40010 })!.text, '229 (|||50001|)\r\n');
  for (const [i, port] of [50000, 50001].entries()) {
    const data = w.ask('', { flags: SYN, sourcePort: 40020 + i, destinationPort: port });
    t.is(data!.to, `${servers[i]} 50000`);
  }
});

test('while data flows its control connection does not end; what nobody comes for ends', (t) => {
  const w = world();
  w.open();
  w.ask('');
  w.ask('PASV\r\n');
  w.answer('227 x (10,1,2,3,195,80)\r\n');
  w.ask('', { flags: SYN, sourcePort: 40001, destinationPort: 50000 });
  w.answer('', { flags: SYN | ACK, sourcePort: 50000, destinationPort: 40001 });
  for (let minute = 10; minute <= 60; minute += 10) {
    w.director.nowMs = minute * 60_000;
    w.ask('', { sourcePort: 40001, destinationPort: 50000 });
    t.is(w.director.expire(), 0);
  }
  w.answer('227 x (10,1,2,3,195,81)\r\n', { sequence: 0x02000000 });
  t.deepEqual([w.table.size, w.extras.expectations, w.extras.size], [3, 1, 3]);
  w.director.nowMs += 121_000;
  t.is(w.director.expire(), 1);
  t.deepEqual([w.table.size, w.extras.expectations, w.extras.size], [2, 0, 2]);
  w.director.nowMs += 901_000;
  t.is(w.director.expire(), 2);
  t.deepEqual([w.table.size, w.extras.size, w.counts.active(0), w.counts.inactive(0)], [0, 0, 0, 0]);
});

test('where there is no room the answer is lost, to be sent again, and nothing is left behind', (t) => {
  const w = world([SERVER], 1);
  w.open();
  w.ask('PASV\r\n');
  t.is(w.answer('227 x (10,1,2,3,195,80)\r\n'), undefined);
  t.deepEqual([w.drops(), w.table.size, w.pool.allocated], [{ 'connections-full': 1 }, 1, 0]);
  t.not(w.table.records[w.table.at(0) + EXTRA], 0);
});
