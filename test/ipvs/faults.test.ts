/** What the data path sees of a destination: faults for passive health checks, and how long it takes to answer. */
import test from 'ava';
import * as icmp from '../../src/dataplane/wire/icmp.js';
import * as icmpv6 from '../../src/dataplane/wire/icmpv6.js';
import { ingressWorld, serviceOf } from './ingress-world.js';
import { build, CLIENT, CLIENT6, TCP, UDP, VIRTUAL, VIRTUAL6, type Wanted } from './packets.js';

const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
const ENDS = {
  4: { client: CLIENT, virtual: VIRTUAL, server: '10.1.2.3' },
  6: { client: CLIENT6, virtual: VIRTUAL6, server: 'fd00:1::3' },
} as const;

function world(family: 4 | 6 = 4, protocol = TCP) {
  const { client, virtual, server } = ENDS[family];
  const made = ingressWorld();
  made.services.set(serviceOf(protocol, virtual, 80, [server], 8080), 0);
  const { direct, director, counts } = made;
  return {
    ...made,
    failures: () => counts.failures(0),
    out: (flags: number, more: Partial<Wanted> = {}) =>
      direct(build({ protocol, source: client, destination: virtual, destinationPort: 80, flags, ...more })),
    back: (flags: number, more: Partial<Wanted> = {}) =>
      direct(
        build({
          ...{
            protocol,
            source: server,
            destination: client,
            sourcePort: 8080,
            destinationPort: 40000,
            flags,
          },
          ...more,
        }),
      ),
    at: (milliseconds: number) => {
      director.nowMs = milliseconds;
    },
  };
}

test('a reset of the server while a connection opens is a fault, a later one is none, the client’s is none', (t) => {
  for (const family of [4, 6] as const) {
    const { out, back, failures } = world(family);
    out(SYN);
    back(RST | ACK);
    t.is(failures(), 1);
    out(SYN);
    back(SYN | ACK);
    back(RST);
    t.is(failures(), 2);
    out(SYN, { sourcePort: 40001 });
    back(SYN | ACK, { destinationPort: 40001 });
    out(ACK, { sourcePort: 40001 });
    back(RST, { destinationPort: 40001 });
    out(SYN, { sourcePort: 40002 });
    out(RST, { sourcePort: 40002 });
    t.is(failures(), 2);
  }
});

test('a SYN that nobody answers is a fault when its connection runs out; what was answered is none', (t) => {
  const { out, back, failures, at, director } = world();
  at(1000);
  out(SYN);
  out(SYN, { sourcePort: 40001 });
  back(SYN | ACK, { destinationPort: 40001 });
  at(60_000);
  t.is(director.expire(), 0);
  t.is(failures(), 0);
  at(62_000);
  t.is(director.expire(), 2);
  t.is(failures(), 1);
});

test('"unreachable" about a packet to the server is a fault; "too big", and what is about its replies, is none', (t) => {
  for (const [family, protocol] of [
    [4, TCP],
    [4, UDP],
    [6, UDP],
  ] as const) {
    const { out, direct, failures } = world(family, protocol);
    const { client, server } = ENDS[family];
    const [sent] = out(SYN) as [Uint8Array];
    /** An error by `from` that quotes the packet. */
    const error = (from: string, to: string, type: number, code: number, quoted: Uint8Array) => {
      const payload = new Uint8Array(8 + Math.min(quoted.length, 64));
      payload.set([type, code]);
      payload.set(quoted.subarray(0, 64), 8);
      const answered = direct(
        build({
          protocol: family === 4 ? icmp.PROTOCOL : icmpv6.PROTOCOL,
          source: from,
          destination: to,
          payload,
        }),
      );
      t.is(answered.length, 1);
    };
    if (family === 4) {
      error(server, client, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, sent);
      error('10.9.9.9', client, icmp.UNREACHABLE, 1, sent);
      t.is(failures(), 2);
      error('10.9.9.9', client, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, sent);
    } else {
      error(server, client, icmpv6.UNREACHABLE, icmpv6.PORT_UNREACHABLE, sent);
      error('fd00:9::9', client, icmpv6.UNREACHABLE, 3, sent);
      t.is(failures(), 2);
      error('fd00:9::9', client, icmpv6.PACKET_TOO_BIG, 0, sent);
    }
    const { virtual } = ENDS[family];
    const reply = build({
      protocol,
      source: virtual,
      destination: client,
      sourcePort: 80,
      destinationPort: 40000,
    });
    error(client, virtual, family === 4 ? icmp.UNREACHABLE : icmpv6.UNREACHABLE, 3, reply);
    t.is(failures(), 2);
  }
});

test('the time from SYN to SYN-ACK is measured, and averaged; where a SYN came twice it is not', (t) => {
  const { out, back, at, counts } = world();
  const open = (port: number, sentMs: number, answeredMs: number, twice = false) => {
    at(sentMs);
    out(SYN, { sourcePort: port });
    if (twice) out(SYN, { sourcePort: port });
    at(answeredMs);
    back(SYN | ACK, { destinationPort: port });
  };
  open(1, 1000, 1000.4);
  t.is(counts.latencyMicros(0), 400);
  open(2, 1001, 1003, true);
  t.is(counts.latencyMicros(0), 400);
  open(3, 1010, 1011.2);
  t.is(counts.latencyMicros(0), 500);
  // Around the end of 32 bits of microseconds.
  open(4, 2_147_483.2, 2_147_484);
  t.is(counts.latencyMicros(0), 500 + ((800 - 500) >> 3));
  // Later answers say nothing.
  at(5_000_000);
  back(SYN | ACK, { destinationPort: 4 });
  t.is(counts.latencyMicros(0), 537);
});

test('p2c sends less to a destination that takes longer to answer', (t) => {
  const [slow, fast] = ['10.1.2.1', '10.1.2.2'] as const;
  const { services, direct, director, counts } = ingressWorld(1024);
  services.set({ ...serviceOf(TCP, VIRTUAL, 80, [slow, fast], 8080), scheduler: 'p2c' }, 0);
  const all = { [slow]: 0, [fast]: 0 };
  const connections = 400;
  for (let i = 0; i < connections; i++) {
    const port = 10_000 + i;
    director.nowMs = 1000 * (i + 1);
    const ends = {
      protocol: TCP,
      source: CLIENT,
      sourcePort: port,
      destination: VIRTUAL,
      destinationPort: 80,
    };
    const [sent] = direct(build({ ...ends, flags: SYN })) as [Uint8Array];
    const server = sent[19] === 1 ? slow : fast;
    all[server]++;
    director.nowMs += server === slow ? 20 : 1;
    const back = {
      protocol: TCP,
      source: server,
      sourcePort: 8080,
      destination: CLIENT,
      destinationPort: port,
    };
    direct(build({ ...back, flags: SYN | ACK }));
    // It ends at once, so that nothing but the latency tells the two apart.
    direct(build({ ...ends, flags: RST }));
  }
  t.is(counts.latencyMicros(0), 20_000);
  t.is(counts.latencyMicros(1), 1000);
  // Only where both draws are the slow one: a quarter.
  t.true(all[slow] > connections * 0.15 && all[slow] < connections * 0.35, JSON.stringify(all));
});
