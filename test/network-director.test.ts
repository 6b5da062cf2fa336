/** Services inside a network: what a client sends to a virtual address, and what it hears from it. */
import test from 'ava';
import { CHECKSUM_UNFINISHED, SEGMENT_TCP4 } from '../src/dataplane/core/pool.js';
import { virtualMac } from '../src/dataplane/virtual-mac.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import { send } from './engine-world.js';
import { build, SCTP, sound, TCP, UDP, unfinished, type Wanted } from './ipvs/packets.js';
import { wordsOf } from './ipvs/specs.js';
import {
  ACK,
  address,
  destination,
  FAMILIES,
  type Family,
  frame,
  heard,
  neighbourOf,
  place,
  RST,
  SYN,
  SYN_ACK,
  serve,
  tell,
  VIRTUAL,
  virtualBytes,
} from './network-director-world.js';
import { BROADCAST, HIGH, mac } from './overlay/overlay.js';

for (const family of FAMILIES) {
  for (const protocol of [TCP, UDP, SCTP]) {
    test(`IPv${family}, protocol ${protocol}: a destination here and one elsewhere see the client, who hears the virtual address`, (t) => {
      const there = place();
      const { hosts, workloads, world } = there;
      serve(hosts, 0, family, [2, 3], { protocol });
      const seen: number[] = [];
      for (let i = 0; i < 4; i++) {
        const client = { source: address(1, family), sourcePort: 40_000 + i };
        const payload = protocol === SCTP ? Uint8Array.of(1, 0, 0, 4) : undefined;
        const syn = { ...client, protocol, flags: SYN, ...(payload && { payload }) };
        tell(there, 1, virtualBytes(VIRTUAL[family]), {
          ...syn,
          destination: VIRTUAL[family],
          destinationPort: 80,
        });
        const [n] = [2, 3].filter((each) => workloads[each - 1]!.inbox.length > 0);
        seen.push(n!);
        const [got, ...more] = heard(workloads[n! - 1]!);
        t.deepEqual(more, []);
        t.like(got, {
          from: `${client.source} ${client.sourcePort}`,
          to: `${address(n!, family)} 8080`,
          macs: [mac(n!), mac(1)],
          sound: true,
        });
        const answer = {
          source: address(n!, family),
          sourcePort: 8080,
          protocol,
          flags: SYN_ACK,
          ...(payload && { payload }),
        };
        tell(there, n!, mac(1), {
          ...answer,
          destination: client.source,
          destinationPort: client.sourcePort,
        });
        const [back, ...rest] = heard(workloads[0]!);
        t.deepEqual(rest, []);
        t.like(back, {
          from: `${VIRTUAL[family]} 80`,
          to: `${client.source} ${client.sourcePort}`,
          macs: [mac(1), virtualBytes(VIRTUAL[family])],
          sound: true,
        });
      }
      t.deepEqual(seen.sort(), [2, 2, 3, 3]);
      for (const host of hosts) t.deepEqual(host.drops(), {});
      t.is(world.allocated, 0);
    });
  }
}

test('who asks for the virtual address is answered, also by ARP and solicitations sent to the MAC itself', (t) => {
  const there = place();
  const { world, hosts, workloads } = there;
  serve(hosts, 0, 4, [2]);
  const mine = virtualBytes(VIRTUAL[4]);
  for (const to of [BROADCAST, mine]) {
    const request = new Uint8Array(42);
    request.set([...to, ...mac(1), 8, 6]);
    const ask = [0, 1, 8, 0, 6, 4, 0, 1, ...mac(1), 10, 10, 0, 1, 0, 0, 0, 0, 0, 0, 10, 10, 0, 100];
    request.set(ask, 14);
    send(workloads[0]!, request);
    world.step(4);
    const [reply, ...more] = workloads[0]!.inbox.splice(0);
    t.deepEqual([...reply!.slice(0, 12)], [...mac(1), ...mine]);
    t.deepEqual([...reply!.slice(20, 32)], [0, 2, ...mine, 10, 10, 0, 100]);
    t.deepEqual(more, []);
  }
  t.is(
    workloads.reduce((sum, { inbox }) => sum + inbox.length, 0),
    0,
  );
  for (const host of hosts) t.deepEqual(host.drops(), {});
  t.is(world.allocated, 0);
});

/** ICMP of an echo, its sum right. */
const echo = (family: Family, length: number): Uint8Array => {
  const bytes = Uint8Array.from({ length: 8 + length }, (_, i) => (i < 8 ? [0, 0, 0, 0, 1, 2, 0, 3][i]! : i));
  bytes[0] = family === 4 ? 8 : 128;
  return bytes;
};

test('pings to the virtual address are answered, whole or in fragments', (t) => {
  for (const family of FAMILIES) {
    const there = place();
    const { world, workloads } = there;
    serve(there.hosts, 0, family, [2]);
    const protocol = family === 4 ? 1 : 58;
    const ping = { protocol, source: address(1, family), destination: VIRTUAL[family] };
    // The sum over the message is filled in by build().
    tell(there, 1, virtualBytes(VIRTUAL[family]), { ...ping, payload: echo(family, 56) });
    const [reply, ...more] = heard(workloads[0]!);
    t.deepEqual(more, []);
    t.like(reply, {
      from: `${VIRTUAL[family]} 0`,
      to: `${address(1, family)} 0`,
      macs: [mac(1), virtualBytes(VIRTUAL[family])],
      flags: family === 4 ? 0 : 129,
      sound: true,
    });
    if (family === 6) continue;
    const whole = build({ ...ping, payload: echo(4, 56), fragment: 0 }).slice(20);
    for (const [field, part] of [
      [0x2000, whole.slice(0, 32)],
      [4, whole.slice(32)],
    ] as const) {
      // As protocol 1 build() would write a sum of its own into the fragment.
      const packet = build({ ...ping, protocol: 253, payload: part, fragment: field });
      packet[9] = 1;
      packet[10] = packet[11] = 0;
      const sum = ipv4.headerChecksum(packet, 0);
      packet[10] = sum >>> 8;
      packet[11] = sum & 255;
      send(workloads[0]!, frame(virtualBytes(VIRTUAL[4]), 1, packet));
    }
    world.step(4);
    const parts = workloads[0]!.inbox.splice(0).map((bytes) => bytes.slice(14));
    t.deepEqual(
      parts.map((part) => (part[6]! << 8) | part[7]!),
      [0x2000, 4],
    );
    const answer = Uint8Array.from([...parts[0]!.slice(20), ...parts[1]!.slice(20)]);
    t.is(answer[0], 0);
    const joined = Uint8Array.from([...parts[0]!.slice(0, 20), ...answer]);
    joined[2] = joined.length >> 8;
    joined[3] = joined.length & 255;
    joined[6] = 0;
    joined[10] = joined[11] = 0;
    const sum = ipv4.headerChecksum(joined, 0);
    joined[10] = sum >>> 8;
    joined[11] = sum & 255;
    t.true(sound(joined));
    t.is(world.allocated, 0);
  }
});

test('a client that is its own destination talks with the virtual address on both sides', (t) => {
  for (const family of FAMILIES) {
    const there = place();
    const { world, workloads, hosts } = there;
    serve(hosts, 0, family, [1]);
    const mine = virtualBytes(VIRTUAL[family]);
    const own = address(1, family);
    const packet = { protocol: TCP, source: own, destination: VIRTUAL[family] };
    for (let round = 0; round < 2; round++) {
      tell(there, 1, mine, {
        ...packet,
        sourcePort: 40_000,
        destinationPort: 80,
        flags: round === 0 ? SYN : ACK,
      });
      t.like(heard(workloads[0]!)[0], {
        from: `${VIRTUAL[family]} 40000`,
        to: `${own} 8080`,
        macs: [mac(1), mine],
        sound: true,
      });
      tell(there, 1, mine, { ...packet, sourcePort: 8080, destinationPort: 40_000, flags: SYN_ACK });
      t.like(heard(workloads[0]!)[0], {
        from: `${VIRTUAL[family]} 80`,
        to: `${own} 40000`,
        macs: [mac(1), mine],
        sound: true,
      });
    }
    t.deepEqual(hosts[0].drops(), {});
    t.is(hosts[0].engine.virtualServer!.connections.size, 1);
    t.is(world.allocated, 0);
  }
});

test('where nobody serves the client is told: RST, or port unreachable', (t) => {
  for (const family of FAMILIES) {
    const there = place();
    const { workloads, hosts, world } = there;
    serve(hosts, 0, family, []);
    const mine = virtualBytes(VIRTUAL[family]);
    const packet = {
      source: address(1, family),
      destination: VIRTUAL[family],
      sourcePort: 40_000,
      flags: SYN,
    };
    const icmp = family === 4 ? 1 : 58;
    const unreachable = family === 4 ? 3 : 1;
    tell(there, 1, mine, { ...packet, protocol: TCP, destinationPort: 80 });
    tell(there, 1, mine, { ...packet, protocol: TCP, destinationPort: 81 });
    tell(there, 1, mine, { ...packet, protocol: UDP, destinationPort: 80 });
    const answers = heard(workloads[0]!);
    t.deepEqual(
      answers.map(({ protocol, flags }) => [protocol, flags]),
      [
        [icmp, unreachable],
        [TCP, RST | ACK],
        [icmp, unreachable],
      ],
    );
    for (const answer of answers) {
      t.true(answer.sound);
      t.regex(answer.from, new RegExp(`^${VIRTUAL[family]} `));
      t.deepEqual(answer.macs, [mac(1), mine]);
    }
    t.deepEqual(hosts[0].drops(), { 'service-empty': 1, 'not-served': 2 });
    t.is(world.allocated, 0);
  }
});

test('ICMP errors of a destination, and of the way to it, speak of the virtual address', (t) => {
  for (const family of FAMILIES) {
    const there = place();
    const { workloads, hosts, world } = there;
    serve(hosts, 0, family, [3], { protocol: UDP });
    const mine = virtualBytes(VIRTUAL[family]);
    const out = { protocol: UDP, source: address(1, family), sourcePort: 40_000 };
    const toVirtual = { ...out, destination: VIRTUAL[family], destinationPort: 80 };
    tell(there, 1, mine, toVirtual);
    const [arrived] = heard(workloads[2]!);
    const head = family === 4 ? [3, 3, 0, 0, 0, 0, 0, 0] : [1, 4, 0, 0, 0, 0, 0, 0];
    const payload = Uint8Array.from([...head, ...arrived!.packet]);
    const icmp = family === 4 ? 1 : 58;
    tell(there, 3, mac(1), { protocol: icmp, source: address(3, family), destination: out.source, payload });
    // Too big for the tunnel: 1,500 bytes of underlay.
    tell(there, 1, mine, { ...toVirtual, payload: new Uint8Array(1450) });
    const errors = heard(workloads[0]!);
    t.is(errors.length, 2);
    for (const error of errors) {
      t.like(error, { from: `${VIRTUAL[family]} 0`, sound: true, macs: [mac(1), mine] });
      const quote = error.packet.slice((family === 4 ? 20 : 40) + 8);
      const at = family === 4 ? 16 : 24;
      t.deepEqual(
        [...quote.slice(at, at + (family === 4 ? 4 : 16))],
        [...build(toVirtual).slice(at, at + (family === 4 ? 4 : 16))],
      );
      t.is((quote[(family === 4 ? 20 : 40) + 2]! << 8) | quote[(family === 4 ? 20 : 40) + 3]!, 80);
    }
    t.deepEqual(hosts[0].drops(), { 'too-big': 1 });
    t.is(world.allocated, 0);
  }
});

test('a super-packet stays whole in both directions, its sum unfinished', (t) => {
  const there = place();
  const { workloads, hosts, world } = there;
  serve(hosts, 0, 4, [3]);
  const mine = virtualBytes(VIRTUAL[4]);
  const out = { protocol: TCP, source: address(1, 4), sourcePort: 40_000 };
  tell(there, 1, mine, { ...out, destination: VIRTUAL[4], destinationPort: 80, flags: SYN });
  heard(workloads[2]!);
  const payload = new Uint8Array(20_000).fill(7);
  const superPacket = (n: number, to: readonly number[], wanted: Wanted) => {
    const bytes = frame(to, n, unfinished(build({ ...wanted, payload, flags: ACK })));
    send(workloads[n - 1]!, bytes, (pool, packet) => {
      pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
      pool.segment[packet] = 1000;
      pool.headerLength[packet] = 54;
      pool.checksumStart[packet] = 34;
      pool.checksumOffset[packet] = 16;
    });
    world.step(4);
  };
  const finished = (packet: Uint8Array, wanted: Wanted) => {
    t.deepEqual(packet, unfinished(build({ ...wanted, payload, flags: ACK })));
  };
  superPacket(1, mine, { ...out, destination: VIRTUAL[4], destinationPort: 80 });
  const [got] = heard(workloads[2]!);
  finished(got!.packet, { ...out, destination: address(3, 4), destinationPort: 8080 });
  const back = { protocol: TCP, destination: address(1, 4), destinationPort: 40_000 };
  superPacket(3, mac(1), { ...back, source: address(3, 4), sourcePort: 8080 });
  const [answer] = heard(workloads[0]!);
  finished(answer!.packet, { ...back, source: VIRTUAL[4], sourcePort: 80 });
  t.is(world.allocated, 0);
});

test('networks without services are not looked at, and the same address serves each network for itself', (t) => {
  const there = place();
  const { world, hosts } = there;
  const [host] = hosts;
  // Network 2: workload 1's twin, and workload 4 that serves there.
  const twins = [1, 4].map((n) => ({ n, ...host.workload() }));
  host.network({ index: 2, ports: twins.map(({ port }) => port), vteps: [] });
  for (const { n, port } of twins) {
    host.at(2, n, { port });
    host.neighbours.set(2, neighbourOf(address(n, 4)), HIGH, n);
  }
  serve([host], 0, 4, [2]);
  const syn = {
    protocol: TCP,
    source: address(1, 4),
    destination: VIRTUAL[4],
    destinationPort: 80,
    flags: SYN,
  };
  const mine = virtualBytes(VIRTUAL[4]);
  send(twins[0]!.workload, frame(mine, 1, build(syn)));
  world.step(2);
  t.like(
    heard(twins[1]!.workload)[0],
    { to: `${VIRTUAL[4]} 80`, macs: [mine, mac(1)] },
    'flooded, as it was',
  );
  const { high, low } = virtualMac(4, wordsOf(VIRTUAL[4]));
  host.neighbours.set(2, neighbourOf(VIRTUAL[4]), high, low);
  host.engine.virtualServer!.services.set(
    {
      ...host.engine.virtualServer!.services.at(0)!.spec,
      ...{ index: 1, network: 2, destinations: [destination(20, 4, 4, 8080)] },
    },
    0,
  );
  host.engine.virtualServer!.inNetworks.direct([1, 2]);
  send(twins[0]!.workload, frame(mine, 1, build(syn)));
  tell(there, 1, mine, syn);
  t.like(heard(twins[1]!.workload)[0], { to: `${address(4, 4)} 8080`, macs: [mac(4), mac(1)] });
  t.like(heard(there.workloads[1]!)[0], { to: `${address(2, 4)} 8080`, macs: [mac(2), mac(1)] });
  t.is(host.engine.virtualServer!.connections.size, 2);
});
