/** Services inside networks that learn, on several engines, and what else may be sent to a virtual MAC. */
import test from 'ava';
import { Counters } from '../src/dataplane/core/counters.js';
import { Path } from '../src/dataplane/core/path.js';
import { DATAGRAM_AT, Pool } from '../src/dataplane/core/pool.js';
import { Engine } from '../src/dataplane/engine.js';
import { pair } from '../src/dataplane/io/memory/pair.js';
import { forgetHeard } from '../src/dataplane/neighbour-search.js';
import * as arp from '../src/dataplane/wire/arp.js';
import * as ethernet from '../src/dataplane/wire/ethernet.js';
import * as icmpv6 from '../src/dataplane/wire/icmpv6.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../src/dataplane/wire/ipv6.js';
import { collect, send } from './engine-world.js';
import { build, parsedOf, sound, TCP, UDP, type Wanted } from './ipvs/packets.js';
import {
  address,
  FAMILIES,
  frame,
  heard,
  NETWORK,
  type Place,
  place,
  SYN,
  SYN_ACK,
  serve,
  tell,
  VIRTUAL,
  virtualBytes,
} from './network-director-world.js';
import { HIGH, mac } from './overlay/overlay.js';

const SOLICITATION = 135;

/** What workload `n` does about ARP requests and solicitations for its addresses. Returns how many there were. */
function answerAsked({ world, workloads }: Place, n: number): number {
  const { inbox } = workloads[n - 1]!;
  const asked = inbox.filter((bytes) => (bytes[12] === 8 ? bytes[13] === 6 : bytes[54] === SOLICITATION));
  for (const bytes of asked) {
    inbox.splice(inbox.indexOf(bytes), 1);
    const answer = new Uint8Array(86);
    answer.set(bytes);
    if (bytes[12] === 8) arp.writeReply(answer, 14, HIGH, n);
    else icmpv6.writeAdvertisement(answer, 14, HIGH, n);
    ethernet.turnBack(answer, 0, HIGH, n);
    send(workloads[n - 1]!, bytes[12] === 8 ? answer.slice(0, 42) : answer);
  }
  world.step(4);
  return asked.length;
}

test('in a network that learns the MAC of a destination is asked for in the client’s name, and the packet waits', (t) => {
  for (const family of FAMILIES) {
    const there = place({ learning: true }, []);
    const { world, workloads, hosts } = there;
    serve(hosts, 0, family, [3]);
    const mine = virtualBytes(VIRTUAL[family]);
    const syn = {
      protocol: TCP,
      source: address(1, family),
      destination: VIRTUAL[family],
      destinationPort: 80,
      flags: SYN,
    };
    tell(there, 1, mine, { ...syn, sourcePort: 40_000 });
    tell(there, 1, mine, { ...syn, sourcePort: 40_001 });
    t.is(hosts[0].engine.virtualServer!.inNetworks.held, 2);
    const asked = workloads[2]!.inbox[0]!;
    t.deepEqual([...asked.slice(6, 12)], mac(1));
    t.is(workloads[2]!.inbox.length, 1, 'once for both');
    // Workload 2 hears of it as well, and is silent.
    t.is(workloads[1]!.inbox.splice(0).length, 1);
    if (family === 6) t.true(sound(asked.slice(14)));
    t.is(answerAsked(there, 3), 1);
    const arrived = heard(workloads[2]!);
    t.deepEqual(
      arrived.map(({ from, to, macs }) => [from, to, ...macs]),
      [40_000, 40_001].map((port) => [`${syn.source} ${port}`, `${address(3, family)} 8080`, mac(3), mac(1)]),
    );
    t.is(workloads[0]!.inbox.splice(0).length, 1, 'the client hears the answer');

    // In use it is asked for again after a while, without a pause.
    world.step(16_000);
    tell(there, 1, mine, { ...syn, sourcePort: 40_002 });
    t.is(answerAsked(there, 3), 1);
    t.is(heard(workloads[2]!).length, 1);
    world.step(14_000);
    tell(there, 1, mine, { ...syn, sourcePort: 40_003 });
    t.is(answerAsked(there, 3), 0);
    t.is(heard(workloads[2]!).length, 1);

    // Nobody answers any more: what is for it waits, and is dropped.
    world.step(70_000);
    tell(there, 1, mine, { ...syn, sourcePort: 40_004 });
    world.step(1100);
    t.deepEqual(hosts[0].drops(), { 'destination-unknown': 1 });
    for (const { inbox } of workloads) inbox.splice(0);
    t.is(world.allocated, 0);
    forgetHeard(hosts[0].neighbours, world.now + 70_000);
    t.is(hosts[0].neighbours.table.size, 1, 'the virtual address alone');
  }
});

test('solicitations for the virtual address are answered, to its group and to its MAC', (t) => {
  const there = place();
  serve(there.hosts, 0, 6, [2]);
  const mine = virtualBytes(VIRTUAL[6]);
  for (const to of [[0x33, 0x33, 0xff, 0, 1, 0], mine]) {
    const request = new Uint8Array(86);
    request.set([...to, ...mac(1), 0x86, 0xdd]);
    ipv6.writeAddress(request, 14 + ipv6.SOURCE, ...ipv6.parse(address(1, 6)));
    icmpv6.writeSolicitation(request, 14, HIGH, 1, ...ipv6.parse(VIRTUAL[6]));
    send(there.workloads[0]!, request);
    there.world.step(4);
    const [reply, ...more] = there.workloads[0]!.inbox.splice(0);
    t.deepEqual(more, []);
    t.deepEqual([...reply!.slice(0, 12)], [...mac(1), ...mine]);
    t.true(icmpv6.isAdvertisement(reply!, 14, reply!.length) && sound(reply!.slice(14)));
    t.deepEqual([...reply!.slice(icmpv6.targetLinkLayer(reply!, 14)).slice(0, 6)], mine);
  }
  t.is(there.workloads[1]!.inbox.length + there.workloads[2]!.inbox.length, 0);
});

test('both directions meet the same connection whatever engine they pass', (t) => {
  const there = place();
  const { world, hosts, workloads } = there;
  serve(hosts, 0, 4, [3]);
  // A second engine of the first host has its underlay; the first one only sends.
  const [host, other] = hosts;
  const pool = new Pool(64);
  const { counters, fdb, neighbours, vteps, virtualServer } = host;
  const second = new Engine({
    pool,
    counters,
    fdb,
    neighbours,
    vteps,
    virtualServer,
    clock: world.clock,
    express: false,
  });
  const [port] = [0];
  second.networks.set(host.engine.networks.at(NETWORK)!);
  const path = new Path(new Pool(64), new Counters(1, 1));
  const [theirs, device] = pair({ paths: [second.path, path], clock: world.clock });
  second.attach(port, theirs);
  const [inward, outward] = pair({
    paths: [second.path, other.engine.path],
    at: DATAGRAM_AT,
    senders: [host.sender, other.sender],
    clock: world.clock,
  });
  second.setUnderlay(inward);
  second.virtualServer!.services.set(host.engine.virtualServer!.services.at(0)!.spec, 0);
  second.virtualServer!.inNetworks.direct([NETWORK]);
  const client = { protocol: TCP, source: address(1, 4), sourcePort: 40_000 };
  tell(there, 1, virtualBytes(VIRTUAL[4]), {
    ...client,
    destination: VIRTUAL[4],
    destinationPort: 80,
    flags: SYN,
  });
  t.is(heard(workloads[2]!).length, 1);
  other.engine.setUnderlay(outward);
  const back = { protocol: TCP, source: address(3, 4), sourcePort: 8080, flags: SYN_ACK };
  tell(there, 3, mac(1), { ...back, destination: client.source, destinationPort: client.sourcePort });
  for (let i = 0; i < 3; i++) {
    world.now++;
    second.turn();
  }
  const workload = { device, path, inbox: [] as Uint8Array[] };
  collect(workload);
  t.like(heard(workload)[0], {
    from: `${VIRTUAL[4]} 80`,
    macs: [mac(1), virtualBytes(VIRTUAL[4])],
    sound: true,
  });
  t.is(workloads[0]!.inbox.length, 0);
  t.is(world.allocated + pool.allocated + path.pool.allocated, 0);
});

test('a frame with a VLAN tag keeps it', (t) => {
  const there = place();
  serve(there.hosts, 0, 4, [3]);
  const mine = virtualBytes(VIRTUAL[4]);
  const packet = build({
    protocol: UDP,
    source: address(1, 4),
    destination: VIRTUAL[4],
    destinationPort: 80,
  });
  serve(there.hosts, 0, 4, [3], { protocol: UDP });
  send(there.workloads[0]!, Uint8Array.from([...mine, ...mac(1), 0x81, 0, 0, 7, 8, 0, ...packet]));
  there.world.step(4);
  const [got] = there.workloads[2]!.inbox.splice(0);
  t.deepEqual([...got!.slice(0, 18)], [...mac(3), ...mac(1), 0x81, 0, 0, 7, 8, 0]);
  t.true(sound(got!.slice(18)));
  t.is(parsedOf(got!.slice(18)).destinationPort, 8080);
});

test('what is no packet for a virtual address goes its way, and malformed ones are dropped', (t) => {
  const there = place();
  const { workloads, hosts, world } = there;
  serve(hosts, 0, 4, [2]);
  const mine = virtualBytes(VIRTUAL[4]);
  // Sent to the MAC, but for nobody's address: the bridge floods it, for it doesn't know the MAC.
  const stray = frame(mine, 1, build({ protocol: UDP, source: address(1, 4), destination: '10.99.0.1' }));
  const plainFrame = Uint8Array.from([...mine, ...mac(1), 0x88, 0xb5, ...new Array<number>(46).fill(1)]);
  for (const bytes of [stray, plainFrame]) {
    send(workloads[0]!, bytes);
    world.step(4);
    t.deepEqual(workloads[1]!.inbox.splice(0), [bytes]);
    t.deepEqual(workloads[2]!.inbox.splice(0), [bytes]);
  }
  const whole = frame(
    mine,
    1,
    build({ protocol: TCP, source: address(1, 4), destination: VIRTUAL[4], flags: SYN }),
  );
  for (let length = 14; length < whole.length; length++) send(workloads[0]!, whole.slice(0, length));
  world.step(4);
  t.deepEqual(hosts[0].drops(), { 'ip-malformed': whole.length - 14 });
  t.is(world.allocated, 0);
});

test('fragments follow the first one of their packet, there and back, also when it comes last', (t) => {
  for (const family of FAMILIES) {
    const there = place();
    const { workloads, hosts, world } = there;
    serve(hosts, 0, family, [3], { protocol: UDP });
    const payload = Uint8Array.from({ length: 2000 }, (_, i) => i);
    let id = 0;
    /** What workload `n` hears of the packet that workload `from` sends in three fragments, in this order. */
    const pass = (from: number, to: number, towards: readonly number[], order: number[], wanted: Wanted) => {
      const parts = fragments(build({ ...wanted, payload, fragment: 0 }), ++id);
      for (const i of order) send(workloads[from - 1]!, frame(towards, from, parts[i]!));
      world.step(4);
      const got = workloads[to - 1]!.inbox.splice(0);
      for (const bytes of got) t.deepEqual([...bytes.slice(0, 6)], mac(to));
      const macs = new Set(got.map((bytes) => [...bytes.slice(6, 12)].join(':')));
      t.is(macs.size, 1);
      return { packet: joined(got.map((bytes) => bytes.slice(14))), from: [...macs][0] };
    };
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
    ]) {
      const client = { protocol: UDP, source: address(1, family), sourcePort: 40_000 };
      const out = pass(1, 3, virtualBytes(VIRTUAL[family]), order, {
        ...client,
        destination: VIRTUAL[family],
        destinationPort: 80,
      });
      const expected = build({
        ...client,
        destination: address(3, family),
        destinationPort: 8080,
        payload,
        fragment: 0,
      });
      t.deepEqual(out, { packet: expected, from: mac(1).join(':') });
      const server = { protocol: UDP, source: address(3, family), sourcePort: 8080 };
      const back = pass(3, 1, mac(1), order, {
        ...server,
        destination: client.source,
        destinationPort: 40_000,
      });
      const answer = { protocol: UDP, source: VIRTUAL[family], sourcePort: 80, destination: client.source };
      t.deepEqual(back, {
        packet: build({ ...answer, destinationPort: 40_000, payload, fragment: 0 }),
        from: virtualBytes(VIRTUAL[family]).join(':'),
      });
      // What is of no service passes as it was.
      const direct = { protocol: UDP, source: address(3, family), sourcePort: 9, destination: client.source };
      const plain = pass(3, 1, mac(1), order, direct);
      t.deepEqual(plain, { packet: build({ ...direct, payload, fragment: 0 }), from: mac(3).join(':') });
    }
    for (const host of hosts) t.deepEqual(host.drops(), {});
    world.step(3000);
    t.is(world.allocated, 0);
  }
});

/** A packet in three fragments of 800 bytes and what is left. */
function fragments(packet: Uint8Array, id: number): Uint8Array[] {
  const v6 = packet[0]! >>> 4 === 6;
  const header = v6 ? 40 : 20;
  return [0, 800, 1600].map((from) => {
    const data = packet.slice(header + from, header + Math.min(from + 800, packet.length - header));
    const more = from < 1600 ? 1 : 0;
    if (v6) {
      const field = (from & 0xfff8) | more;
      const extension = [17, 0, field >> 8, field & 255, 0, 0, 0, id];
      const bytes = Uint8Array.from([...packet.slice(0, 40), ...extension, ...data]);
      bytes[6] = 44;
      ipv6.writePayloadLength(bytes, 0, bytes.length - 40);
      return bytes;
    }
    const bytes = Uint8Array.from([...packet.slice(0, 20), ...data]);
    ipv4.writeTotalLength(bytes, 0, bytes.length);
    const field = (more << 13) | (from >> 3);
    bytes[4] = 0;
    bytes[5] = id;
    bytes[6] = field >> 8;
    bytes[7] = field & 255;
    ipv4.writeChecksum(bytes, 0, 0);
    ipv4.writeChecksum(bytes, 0, ipv4.headerChecksum(bytes, 0));
    return bytes;
  });
}

/** The packet that the fragments make, in whatever order they came. */
function joined(parts: Uint8Array[]): Uint8Array {
  const v6 = parts[0]![0]! >>> 4 === 6;
  const field = v6 ? 42 : 6;
  const placeOf = (part: Uint8Array) => ((part[field]! << 8) | part[field + 1]!) & (v6 ? 0xfff8 : 0x1fff);
  const data = [...parts]
    .sort((a, b) => placeOf(a) - placeOf(b))
    .map((part) => [...part.slice(v6 ? 48 : 20)]);
  const packet = Uint8Array.from([...parts[0]!.slice(0, v6 ? 40 : 20), ...data.flat()]);
  if (v6) {
    packet[6] = 17;
    ipv6.writePayloadLength(packet, 0, packet.length - 40);
    return packet;
  }
  ipv4.writeTotalLength(packet, 0, packet.length);
  packet.set([0x12, 0x34, 0, 0], 4);
  ipv4.writeChecksum(packet, 0, 0);
  ipv4.writeChecksum(packet, 0, ipv4.headerChecksum(packet, 0));
  return packet;
}
