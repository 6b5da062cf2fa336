/** The SYN proxy between a client and a server in memory, both of which check whatever reaches them. */
import test, { type ExecutionContext } from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import type { DefenceSpec } from '../../../src/dataplane/ipvs/defence/spec.js';
import type { DestinationSpec } from '../../../src/dataplane/ipvs/destination.js';
import type { ServiceSpec } from '../../../src/dataplane/ipvs/service.js';
import { PASS, SEND } from '../../../src/dataplane/ipvs/verdict.js';
import {
  ACK,
  CLIENTS,
  type Family,
  FIN,
  PSH,
  RST,
  type Said,
  SERVERS,
  SYN,
  speak,
  VIRTUALS,
  world,
} from './world.js';

const PROXY: DefenceSpec = { allow: [], sourceRate: null, synProxy: true };
const FAMILIES = [4, 6] as const;

interface Offer {
  mss: number;
  scale: number;
  sack: boolean;
  timestamps: boolean;
}
const LINUX: Offer = { mss: 1460, scale: 7, sack: true, timestamps: true };

/** A client and a server that are about to talk. */
function pair(
  t: ExecutionContext,
  family: Family,
  offer = LINUX,
  answer = LINUX,
  defence = PROXY,
  more: { change?: Partial<ServiceSpec>; engines?: number; port?: number } = {},
) {
  const { port: service = 80, ...rest } = more;
  const real = more.port ?? 8080;
  const at = world(family, { defence, ...rest });
  const client = { port: 40000, next: 0xffff_fff0, time: 7000, ack: 0, heard: 0 };
  const server = { next: 0x8000_0001, time: 0x7fff_fff0, ack: 0, heard: 0 };
  const options = (o: Offer, value: number, echo: number, syn: boolean) => ({
    ...(syn && { mss: o.mss, scale: o.scale, sack: o.sack }),
    ...(o.timestamps && { value, echo }),
  });
  const timed = offer.timestamps && answer.timestamps;
  return {
    at,
    client,
    server,
    /** what the client sends, and what comes of it on either side */
    fromClient: (flags: number, more: Partial<Said> = {}) =>
      at.send({
        ...{ source: CLIENTS[family], destination: VIRTUALS[family] },
        ...{ sourcePort: client.port, destinationPort: service },
        ...{ sequence: client.next, acknowledgment: client.ack, flags, window: 500 },
        ...options(offer, client.time, client.heard, (flags & SYN) !== 0),
        ...more,
      }),
    fromServer: (flags: number, more: Partial<Said> = {}) =>
      at.send({
        ...{ source: SERVERS[family], destination: CLIENTS[family] },
        ...{ sourcePort: real, destinationPort: client.port },
        ...{ sequence: server.next, acknowledgment: server.ack, flags, window: 509 },
        ...options({ ...answer, timestamps: timed }, server.time, server.heard, (flags & SYN) !== 0),
        ...more,
      }),
    /** up to where the server is asked; what it hears */
    knock(): Said {
      const { said } = this.fromClient(SYN, { acknowledgment: 0, window: 64_000 });
      t.is(said.length, 1);
      const [answered] = said;
      t.like(answered, {
        ...{ source: VIRTUALS[family], destination: CLIENTS[family], sourcePort: service },
        ...{ flags: SYN | ACK, acknowledgment: (client.next + 1) >>> 0, window: 0, sound: true },
      });
      t.deepEqual(
        [answered!.scale >= 0, answered!.sack, answered!.timestamps],
        [offer.scale >= 0, offer.sack, offer.timestamps],
      );
      if (offer.timestamps) t.is(answered!.echo, client.time);
      t.is(at.connections.size, 0);
      client.next = (client.next + 1) >>> 0;
      client.ack = (answered!.sequence + 1) >>> 0;
      client.heard = answered!.value;
      const { said: asked } = this.fromClient(ACK);
      t.is(asked.length, 1);
      return asked[0]!;
    },
    /** up to where both talk */
    meet(): void {
      const asked = this.knock();
      t.like(asked, {
        ...{ source: CLIENTS[family], destination: SERVERS[family], destinationPort: real },
        ...{ flags: SYN, sequence: (client.next - 1) >>> 0, sound: true, sourcePort: client.port },
        ...{ sack: offer.sack, timestamps: offer.timestamps },
      });
      t.deepEqual(at.busy(), [1, 0]);
      t.is(at.state(), 'SYN_RECV');
      server.ack = client.next;
      server.heard = asked.value;
      const { said } = this.fromServer(SYN | ACK, { window: 65_160 });
      t.is(said.length, 2);
      const toServer = said.find(({ destination }) => destination === SERVERS[family]);
      const toClient = said.find(({ destination }) => destination === CLIENTS[family]);
      server.next = (server.next + 1) >>> 0;
      t.like(toServer, {
        ...{ flags: ACK, sequence: client.next, acknowledgment: server.next, window: 500, sound: true },
        ...(timed ? { value: client.time, echo: server.time } : { timestamps: false }),
      });
      t.like(toClient, {
        ...{ flags: ACK, sequence: client.ack, acknowledgment: client.next, sound: true },
        ...{ source: VIRTUALS[family], sourcePort: service },
        ...(timed ? { value: client.heard, echo: client.time } : { timestamps: false }),
        window: offer.scale >= 0 ? 65_160 >> 7 : 65_160,
      });
      t.is(at.state(), 'ESTABLISHED');
      t.deepEqual(at.busy(), [1, 0]);
    },
  };
}

for (const family of FAMILIES) {
  test(`IPv${family}: both handshakes, and numbers shifted both ways with SACK, timestamps and windows`, (t) => {
    const it = pair(t, family);
    it.meet();
    const { client, server } = it;
    const hello = new TextEncoder().encode('hello');
    for (let round = 0; round < 3; round++) {
      const { said } = it.fromClient(PSH | ACK, { payload: hello });
      t.like(said[0], { sequence: client.next, acknowledgment: server.next, window: 500, sound: true });
      t.like(said[0], { value: client.time, echo: server.time });
      t.deepEqual(said[0]!.payload, hello);
      client.next = (client.next + 5) >>> 0;
      client.time += 10;
      server.ack = client.next;
      server.time += 10;
      const back = it.fromServer(PSH | ACK, { payload: hello }).said[0]!;
      t.like(back, { sequence: client.ack, acknowledgment: client.next, window: 509, sound: true });
      t.is(back.value, (client.heard + 10) >>> 0);
      client.ack = (client.ack + 5) >>> 0;
      client.heard = back.value;
      server.next = (server.next + 5) >>> 0;
    }
    // One that the server's middle segment was lost to.
    const block = [client.ack + 100, client.ack + 200];
    const { said } = it.fromClient(ACK, { blocks: block });
    t.deepEqual(said[0]!.blocks, [server.next + 100, server.next + 200]);
    t.true(said[0]!.sound);
    // And a super-packet of the server, its checksum unfinished.
    const big = it.fromServer(PSH | ACK, { payload: new Uint8Array(40_000), unfinished: true }).said[0]!;
    t.like(big, { sequence: client.ack, value: client.heard });
    t.is(big.payload.length, 40_000);
    it.fromClient(FIN | ACK);
    it.fromServer(FIN | ACK);
    t.is(it.at.state(), 'TIME_WAIT');
    t.deepEqual(it.at.busy(), [0, 1]);
    it.at.end(t);
  });

  test(`IPv${family}: whatever both offer, each hears of the other what it can bear`, (t) => {
    const random = new Random(family);
    const offer = (): Offer => ({
      ...{ mss: 536 + random.below(1000), scale: random.below(16) - 1 },
      ...{ sack: random.chance(0.5), timestamps: random.chance(0.5) },
    });
    for (let round = 0; round < 60; round++) {
      const wanted = offer();
      if (wanted.scale > 14) wanted.scale = 14;
      const answer = { ...offer(), timestamps: true };
      const it = pair(t, family, wanted, answer);
      it.meet();
      const { client, server } = it;
      const own = it.fromServer(ACK, { window: 40_000 }).said[0]!;
      const unit = wanted.scale >= 0 ? Math.max(0, Math.min(14, answer.scale)) : 0;
      const bytes = own.window * (wanted.scale >= 0 ? 128 : 1);
      t.true(bytes <= 40_000 * 2 ** unit && (bytes > 40_000 * 2 ** unit - 128 || own.window === 0xffff));
      t.is(own.sequence, client.ack);
      t.like(it.fromClient(ACK, { window: 77 }).said[0], { window: 77, acknowledgment: server.next });
      it.at.end(t);
    }
  });
}

test('a flood of SYNs leaves nothing behind, nor do acknowledgments of what was never said', (t) => {
  const it = pair(t, 4);
  for (let i = 0; i < 500; i++) {
    const { said } = it.fromClient(SYN, { source: `198.51.100.${i & 255}`, sourcePort: 1024 + i });
    t.is(said.length, 1);
    t.is(it.fromClient(ACK, { sourcePort: i, acknowledgment: i * 0x0123_4567 }).said.length, 0);
  }
  t.is(it.at.connections.size, 0);
  t.deepEqual(it.at.drops(), { 'cookie-invalid': 500 });
  it.knock();
  it.at.end(t);
});

test('a wrong acknowledgment, an old one, and one of another connection begin nothing', (t) => {
  const it = pair(t, 4);
  const answered = it.fromClient(SYN).said[0]!;
  it.client.next = (it.client.next + 1) >>> 0;
  it.client.heard = answered.value;
  const right = (answered.sequence + 1) >>> 0;
  for (const more of [
    { acknowledgment: (right + 9) >>> 0 },
    { acknowledgment: right, sequence: (it.client.next + 1) >>> 0 },
    { acknowledgment: right, sourcePort: 40001 },
    { acknowledgment: right, source: '192.0.2.8' },
    { acknowledgment: right, sequence: (it.client.next - 1) >>> 0, payload: new Uint8Array(1) },
  ]) {
    t.is(it.fromClient(ACK, more).said.length, 0);
  }
  it.at.director.nowMs += 128_000;
  t.is(it.fromClient(ACK, { acknowledgment: right }).said.length, 0);
  t.is(it.at.connections.size, 0);
  t.is(it.fromClient(RST, { acknowledgment: right }).verdict, PASS);
  t.is(it.fromClient(SYN | ACK, { acknowledgment: right }).verdict, PASS);
  it.at.end(t);
});

test('a probe of the closed window stands for an acknowledgment that was lost', (t) => {
  const it = pair(t, 6);
  const answered = it.fromClient(SYN).said[0]!;
  const probe = { acknowledgment: (answered.sequence + 1) >>> 0, echo: answered.value };
  t.like(it.fromClient(ACK, probe).said[0], { flags: SYN, sequence: it.client.next });
  it.at.end(t);
});

test('the server is asked again, at last the client is told that there is nobody', (t) => {
  const it = pair(t, 4);
  const asked = it.knock();
  const { director, connections } = it.at;
  t.is(it.fromClient(ACK).said.length, 0);
  t.is(it.fromClient(FIN | ACK, { payload: new Uint8Array(3) }).said.length, 0);
  const seen: number[] = [];
  for (let second = 1; second < 60; second++) {
    director.nowMs = second * 1000;
    director.expire();
    for (const said of it.at.made()) {
      if (said.flags === SYN) {
        t.like(said, { sequence: asked.sequence, destination: SERVERS[4], mss: asked.mss });
        seen.push(second);
      } else {
        t.like(said, {
          flags: RST | ACK,
          sequence: it.client.ack,
          acknowledgment: it.client.next,
          sound: true,
        });
        t.is(said.source, VIRTUALS[4]);
        seen.push(-second);
      }
    }
  }
  t.deepEqual(seen, [1, 3, 7, 15, -31]);
  t.is(connections.size, 0);
  t.deepEqual(it.at.busy(), [0, 0]);
  it.at.end(t);
});

test('a client that asks again is not the way to flood the server', (t) => {
  const it = pair(t, 4);
  it.knock();
  let asked = 0;
  for (let ms = 0; ms < 3000; ms += 10) {
    it.at.director.nowMs = ms;
    asked += it.fromClient(ACK).said.length;
  }
  t.true(asked <= 3, `${asked}`);
  it.at.end(t);
});

test('a server that refuses is heard by the client; a reset of the client by the server', (t) => {
  const it = pair(t, 4);
  it.knock();
  it.server.ack = it.client.next;
  const [refused] = it.fromServer(RST | ACK, { sequence: 0, timestamps: false }).said;
  t.like(refused, { flags: RST | ACK, sequence: it.client.ack, acknowledgment: it.client.next, sound: true });
  t.is(it.at.state(), 'CLOSE');
  const other = pair(t, 4);
  other.knock();
  t.is(other.fromClient(RST, { sequence: 77 }).said.length, 0, 'a blind one');
  t.like(other.fromClient(RST).said[0], { flags: RST, sequence: other.client.next, destination: SERVERS[4] });
  other.at.director.nowMs = 1000;
  t.is(other.at.director.expire(), 1);
  t.deepEqual(other.at.made(), []);
});

test('what the server says out of turn, or to another, is dropped', (t) => {
  const it = pair(t, 4);
  it.knock();
  it.server.ack = it.client.next;
  t.is(it.fromServer(ACK).said.length, 0);
  t.is(it.fromServer(SYN | ACK, { acknowledgment: 5 }).said.length, 0);
  t.is(it.fromServer(RST | ACK, { acknowledgment: 5 }).said.length, 0);
  t.is(it.at.state(), 'SYN_RECV');
  t.deepEqual(it.at.drops(), { 'syn-proxy': 3 });
});

test('servers without timestamps: the first client has to come again, the next is promised none', (t) => {
  const it = pair(t, 4, LINUX, { ...LINUX, timestamps: false, mss: 1220 });
  it.knock();
  it.server.ack = it.client.next;
  const { said } = it.fromServer(SYN | ACK);
  t.deepEqual(
    said.map(({ destination, flags, sequence }) => [destination, flags & RST, sequence]).sort(),
    [
      [CLIENTS[4], RST, it.client.ack],
      [SERVERS[4], RST, it.client.next],
    ].sort(),
  );
  it.at.director.nowMs = 1000;
  t.is(it.at.director.expire(), 1);
  it.client.port++;
  t.like(it.fromClient(SYN).said[0], { timestamps: false, sack: true, mss: 1220 });
});

test('nobody serves: the client, which believes to be connected, gets RST', (t) => {
  const it = pair(t, 6);
  it.at.setDestinations([]);
  const answered = it.knock();
  t.like(answered, { flags: RST, sequence: it.client.ack, destination: CLIENTS[6], sound: true });
  t.deepEqual(it.at.drops(), { 'service-empty': 1 });
  it.at.end(t);
});

test('only sources with a cookie count for their rate; others have no say in it', (t) => {
  const it = pair(t, 4, LINUX, LINUX, { ...PROXY, sourceRate: { perSecond: 1, burst: 2 } });
  for (let i = 0; i < 50; i++) it.fromClient(SYN, { sourcePort: i });
  for (let n = 0; n < 3; n++) {
    it.client.port++;
    const answered = it.fromClient(SYN).said[0]!;
    const more = {
      acknowledgment: answered.sequence + 1,
      echo: answered.value,
      sequence: it.client.next + 1,
    };
    t.is(it.fromClient(ACK, more).said.length, n < 2 ? 1 : 0);
  }
  t.deepEqual(it.at.drops(), { 'source-rate': 1 });
});

test('an ICMP error about what the server sent quotes the number that the server knows', (t) => {
  for (const family of FAMILIES) {
    const it = pair(t, family);
    it.meet();
    for (const bytes of [8, 1000]) {
      const out = it.fromServer(PSH | ACK, { payload: new Uint8Array(1000) });
      const { verdict, quoted, sound } = it.at.error(out.bytes!, bytes);
      t.is(verdict, SEND);
      t.true(sound);
      t.is(quoted.sequence, it.server.next);
    }
    it.at.end(t);
  }
});

test('a retransmitted SYN+ACK of the server, whose ACK was lost, is answered by the client', (t) => {
  const it = pair(t, 4);
  it.meet();
  const again = { sequence: (it.server.next - 1) >>> 0, window: 65_160 };
  t.like(it.fromServer(SYN | ACK, again).said[0], {
    ...{ sequence: (it.client.ack - 1) >>> 0, window: 65_160, flags: SYN | ACK, sound: true },
  });
});

test('each packet of it may arrive at another engine', (t) => {
  for (const engines of [2, 3]) {
    const it = pair(t, 6, LINUX, LINUX, PROXY, { engines });
    it.meet();
    for (let i = 0; i < 4; i++) {
      t.like(it.fromClient(ACK).said[0], { acknowledgment: it.server.next, sound: true });
      t.like(it.fromServer(ACK).said[0], { sequence: it.client.ack, sound: true });
    }
    it.at.end(t);
  }
});

test('an idle one that expires is reset at both ends, each by its own numbers', (t) => {
  for (const talks of [false, true]) {
    const it = pair(t, 4, LINUX, LINUX, PROXY, { change: { resetOnExpiry: true } });
    it.meet();
    if (talks) {
      it.fromClient(PSH | ACK, { payload: new Uint8Array(9) });
      it.client.next = (it.client.next + 9) >>> 0;
      it.server.ack = it.client.next;
      it.fromServer(ACK);
    }
    it.at.director.nowMs = 901_000;
    t.is(it.at.director.expire(), 1);
    const resets = it.at.made();
    const to = (address: string) => resets.find(({ destination }) => destination === address);
    t.is(resets.length, 2);
    t.like(to(CLIENTS[4]), { flags: RST | ACK, sequence: it.client.ack, source: VIRTUALS[4], sound: true });
    t.like(to(SERVERS[4]), { flags: RST | ACK, sequence: it.client.next, source: CLIENTS[4], sound: true });
    it.at.end(t);
  }
});

test('a client with a new connection on the ports of one that is over gets a cookie again', (t) => {
  const it = pair(t, 4);
  it.meet();
  it.fromClient(FIN | ACK);
  it.fromServer(FIN | ACK);
  t.is(it.at.state(), 'TIME_WAIT');
  const { said } = it.fromClient(SYN, { sequence: 5 });
  t.like(said[0], { flags: SYN | ACK, acknowledgment: 6, destination: CLIENTS[4] });
  t.is(it.at.connections.size, 0);
});

test('whatever bytes come, nothing is thrown, and no packet is lost or kept', (t) => {
  const random = new Random(21);
  for (const family of FAMILIES) {
    const it = pair(t, family);
    it.meet();
    for (let round = 0; round < 8000; round++) {
      const fromServer = random.chance(0.4);
      const bytes = speak({
        ...(fromServer
          ? { source: SERVERS[family], destination: CLIENTS[family], sourcePort: 8080 }
          : { source: CLIENTS[family], destination: VIRTUALS[family], destinationPort: 80 }),
        ...(fromServer ? { destinationPort: 40000 } : { sourcePort: 40000 + random.below(3) }),
        ...{ flags: random.below(256), sequence: random.word(), acknowledgment: random.word() },
        ...(random.chance(0.5) && { value: random.word() | 0, echo: random.word() | 0, sack: true }),
        ...(random.chance(0.3) && { blocks: [random.word(), random.word()] }),
        payload: new Uint8Array(random.below(40)),
      });
      for (let n = random.below(4); n > 0; n--) {
        // Beyond the addresses, that it isn't for nobody.
        const at = (family === 4 ? 20 : 40) + random.below(bytes.length - (family === 4 ? 20 : 40));
        bytes[at] = random.below(256);
      }
      it.at.throw(random.chance(0.1) ? bytes.slice(0, random.below(bytes.length)) : bytes);
      it.at.director.nowMs += random.below(300);
      if (round % 50 === 0) {
        it.at.director.expire();
        it.at.made();
      }
    }
    it.at.director.fragments.clear();
    it.at.end(t);
  }
});

test('FTP’s helper and the proxy shift one after the other', (t) => {
  const port = 21;
  const address = { family: 4, address: [0x0a010203, 0, 0, 0], port } as const;
  const spec: DestinationSpec = {
    ...{ row: 0, ...address, weight: 1, forward: 'nat', near: false, upperThreshold: 0, lowerThreshold: 0 },
    tunnel: { type: 'ipip', port: 0, checksum: 'none' },
  };
  const it = pair(t, 4, LINUX, LINUX, PROXY, { port, change: { port, destinations: [spec] } });
  it.meet();
  const { client, server } = it;
  const text = (line: string) => new TextEncoder().encode(line);
  it.fromClient(PSH | ACK, { payload: text('PASV\r\n') });
  client.next = (client.next + 6) >>> 0;
  server.ack = client.next;
  const line = '227 Entering Passive Mode (10,1,2,3,195,80).\r\n';
  const announced = it.fromServer(PSH | ACK, { payload: text(line) }).said[0]!;
  const heard = new TextDecoder().decode(announced.payload);
  t.regex(heard, /^227 Entering Passive Mode \(203,0,113,80,\d+,\d+\)\.\r\n$/);
  t.like(announced, { sequence: client.ack, sound: true });
  t.not(heard.length, line.length);
  client.ack = (client.ack + heard.length) >>> 0;
  server.next = (server.next + line.length) >>> 0;
  t.like(it.fromClient(ACK).said[0], { acknowledgment: server.next, sound: true });
  t.like(it.fromServer(PSH | ACK, { payload: text('150 Here it comes.\r\n') }).said[0], {
    ...{ sequence: client.ack, sound: true },
  });
});
