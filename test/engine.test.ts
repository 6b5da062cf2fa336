import test from 'ava';
import { Batch } from '../src/dataplane/core/batch.js';
import { CHECKSUM_UNFINISHED, SEGMENT_TCP4 } from '../src/dataplane/core/pool.js';
import { Random } from '../src/dataplane/core/random.js';
import { type Host, send, type Workload, World } from './engine-world.js';
import { build, frame } from './io/frames.js';
import { BROADCAST, mac, plain } from './overlay/overlay.js';

/** Hosts 1 and 2, each with one workload of network 1 (VNI 101): MAC 1 and MAC 2. */
function twoHosts(part: { learning?: boolean } = {}) {
  const world = new World();
  const hosts = [world.host(1), world.host(2)] as const;
  const workloads = hosts.map((host, i) => {
    const { port, workload } = host.workload();
    const vtep = host.vtep(2 - i);
    host.network({ index: 1, ports: [port], vteps: [vtep], ...part });
    if (part.learning === true) return workload;
    host.at(1, i + 1, { port });
    host.at(1, 2 - i, { vtep });
    return workload;
  }) as [Workload, Workload];
  return { world, hosts, workloads };
}

/** A frame that carries text, in an EtherType of experiments. */
const say = (to: number[], from: number[], words: string): Uint8Array =>
  Uint8Array.from([...to, ...from, 0x88, 0xb5, ...Buffer.from(words)]);
const heard = ({ inbox }: Workload): string[] =>
  inbox.splice(0).map((bytes) => Buffer.from(bytes.subarray(14)).toString());

/** Go-back-N, the plainest of reliable streams: a window of pieces, everything again after a timeout, acks that add up. */
class Stream {
  readonly received: number[] = [];
  #acked = 0;
  #sent = 0;
  #expected = 0;
  #timer = 0;
  readonly #data: Uint8Array;
  readonly #piece = 500;
  readonly #here: Workload;
  readonly #addresses: number[];

  /** @param data what to send; the same object receives what the other end sends */
  constructor(here: Workload, from: number[], to: number[], data: Uint8Array) {
    this.#here = here;
    this.#addresses = [...to, ...from];
    this.#data = data;
  }

  get done(): boolean {
    return this.#acked * this.#piece >= this.#data.length;
  }

  step(now: number): void {
    for (const bytes of this.#here.inbox.splice(0)) this.#take(bytes, now);
    if (this.done) return;
    if (now - this.#timer > 15) {
      this.#sent = this.#acked;
      this.#timer = now;
    }
    while (this.#sent < this.#acked + 16 && this.#sent * this.#piece < this.#data.length) {
      const part = this.#data.subarray(this.#sent * this.#piece, (this.#sent + 1) * this.#piece);
      this.#send(1, this.#sent++, part);
    }
  }

  #take(bytes: Uint8Array, now: number): void {
    const number = (bytes[15]! << 16) | (bytes[16]! << 8) | bytes[17]!;
    if (bytes[14] === 2) {
      if (number > this.#acked) this.#timer = now;
      this.#acked = Math.max(this.#acked, number);
      this.#sent = Math.max(this.#sent, this.#acked);
      return;
    }
    if (number === this.#expected) {
      this.received.push(...bytes.subarray(18));
      this.#expected++;
    }
    this.#send(2, this.#expected, new Uint8Array(0));
  }

  #send(kind: number, number: number, part: Uint8Array): void {
    const head = [...this.#addresses, 0x88, 0xb5, kind, number >> 16, (number >> 8) & 255, number & 255];
    send(this.#here, Uint8Array.from([...head, ...part]));
  }
}

test('what one workload says another hears on the other host, and its answer comes back', (t) => {
  const { world, hosts, workloads } = twoHosts();
  world.join(...hosts);
  const [one, two] = workloads;
  for (let n = 0; n < 100; n++) {
    send(one, say(mac(2), mac(1), `ping ${n}`));
    world.step(3);
    t.deepEqual(heard(two), [`ping ${n}`]);
    send(two, say(mac(1), mac(2), `pong ${n}`));
    world.step(3);
    t.deepEqual(heard(one), [`pong ${n}`]);
  }
  for (const host of hosts) {
    t.deepEqual(host.drops(), {});
    const { rxPackets, txPackets } = host.counters.engine();
    t.deepEqual([rxPackets, txPackets], [200, 200]);
  }
  t.is(world.allocated, 0);
});

test('a byte stream arrives intact both ways, over loss, reordering, duplicates and latency', (t) => {
  for (let seed = 1; seed <= 3; seed++) {
    const { world, hosts, workloads } = twoHosts();
    const faults = { loss: 0.05, duplicate: 0.05, reorder: 0.1, hold: 4, latency: 2 };
    world.join(...hosts, [faults, { ...faults, loss: 0.1 }], seed);
    const random = new Random(seed);
    const data = [new Uint8Array(100_000), new Uint8Array(77_777)] as const;
    for (const bytes of data) random.fill(bytes);
    const streams = [
      new Stream(workloads[0], mac(1), mac(2), data[0]),
      new Stream(workloads[1], mac(2), mac(1), data[1]),
    ] as const;
    while (!streams.every(({ done }) => done) && world.now < 100_000) {
      for (const stream of streams) stream.step(world.now);
      world.step();
    }
    world.step(20);
    t.true(Buffer.from(streams[1].received).equals(data[0]));
    t.true(Buffer.from(streams[0].received).equals(data[1]));
    for (const host of hosts) t.deepEqual(Object.keys(host.drops()), ['injected-loss']);
    t.is(world.allocated, 0);
  }
});

test('thousands of flows are told apart by their source ports and by nothing else', (t) => {
  const { world, hosts, workloads } = twoHosts();
  world.join(...hosts);
  const macs = [...mac(2), ...mac(1)];
  let arrived = 0;
  for (let flow = 0; flow < 4000; flow++) {
    const f = frame({
      macs,
      sourcePort: 1000 + flow,
      destinationPort: flow % 7,
      payload: [flow & 255, flow >> 8],
    });
    send(workloads[0], build(f));
    if (flow % 20 !== 19) continue;
    world.step(3);
    for (const bytes of workloads[1].inbox.splice(0)) {
      t.deepEqual([...bytes.slice(54)], [arrived & 255, arrived >> 8]);
      arrived++;
    }
  }
  t.is(arrived, 4000);
  t.is(world.allocated, 0);
});

test('a super-packet crosses whole, its columns with it', (t) => {
  const { world, hosts, workloads } = twoHosts();
  world.join(...hosts);
  const bytes = build(
    frame({ macs: [...mac(2), ...mac(1)], payload: Array<number>(40_000).fill(7) }),
    'seed',
  );
  send(workloads[0], bytes, (pool, packet) => {
    pool.offload[packet] = CHECKSUM_UNFINISHED | SEGMENT_TCP4;
    pool.segment[packet] = 1400;
    pool.checksumStart[packet] = 34;
    pool.checksumOffset[packet] = 16;
    pool.headerLength[packet] = 54;
  });
  world.now++;
  for (const host of hosts) host.engine.turn();
  const { device, path } = workloads[1];
  const { pool } = path;
  const got = new Batch(1);
  device.receive(got);
  const packet = got.packets[0]!;
  t.deepEqual(
    [pool.offload[packet], pool.segment[packet], pool.checksumStart[packet], pool.headerLength[packet]],
    [CHECKSUM_UNFINISHED | SEGMENT_TCP4, 1400, 34, 54],
  );
  const at = pool.offset[packet]!;
  t.true(Buffer.from(bytes).equals(pool.bytes.subarray(at, at + pool.length[packet]!)));
  pool.free(packet);
  t.is(world.allocated, 0);
});

test('many networks with the same MACs share the wire, and none hears another', (t) => {
  const world = new World();
  const hosts = [world.host(1), world.host(2)] as const;
  const NETWORKS = 30;
  const ends: [Workload, Workload][] = [];
  for (let index = 1; index <= NETWORKS; index++) {
    const pairOf = hosts.map((host, i) => {
      const { port, workload } = host.workload(8);
      const vtep = host.vtep(2 - i);
      host.network({ index, vni: 1000 + 7 * index, ports: [port], vteps: [vtep] });
      host.at(index, i + 1, { port });
      host.at(index, 2 - i, { vtep });
      return workload;
    });
    ends.push(pairOf as [Workload, Workload]);
  }
  world.join(...hosts);
  for (const [n, [one, two]] of ends.entries()) {
    send(one, say(mac(2), mac(1), `network ${n}`));
    send(two, say(BROADCAST, mac(2), `all of ${n}`));
  }
  world.step(5);
  for (const [n, [one, two]] of ends.entries()) {
    t.deepEqual(heard(two), [`network ${n}`]);
    t.deepEqual(heard(one), [`all of ${n}`]);
  }
  t.is(world.allocated, 0);
});

/** Hosts 1 to 3, each with two workloads of network 1 that learns; workload MACs are 10 × host + 1 and + 2. */
function threeHosts() {
  const world = new World();
  const hosts = [1, 2, 3].map((number) => world.host(number));
  const workloads = hosts.map((host, i) => {
    const ports = [host.workload(), host.workload()];
    const others = [1, 2, 3].filter((number) => number !== i + 1).map((number) => host.vtep(number));
    host.network({ index: 1, learning: true, ports: ports.map(({ port }) => port), vteps: others });
    return ports.map(({ workload }) => workload);
  });
  return { world, hosts, all: workloads.flat(), workloads };
}

test('a broadcast is heard by everybody in the network once, and never comes back', (t) => {
  const { world, all } = threeHosts();
  world.joinAll();
  for (const [i, workload] of all.entries()) {
    send(workload, say(BROADCAST, mac(10 + i), `from ${i}`));
    world.step(5);
    for (const [k, other] of all.entries()) t.deepEqual(heard(other), i === k ? [] : [`from ${i}`]);
  }
  t.is(world.allocated, 0);
});

test('a frame to a MAC that was learned is heard by that workload alone, wherever it moves', (t) => {
  const { world, all, hosts } = threeHosts();
  world.joinAll();
  const hear = () => all.map((workload) => heard(workload).length);
  send(all[0]!, say(mac(99), mac(10), 'who is 99?'));
  world.step(5);
  t.deepEqual(hear(), [0, 1, 1, 1, 1, 1], 'nobody knows yet');
  send(all[4]!, say(mac(10), mac(99), 'I am'));
  world.step(5);
  t.deepEqual(hear(), [1, 0, 0, 0, 0, 0]);
  send(all[0]!, say(mac(99), mac(10), 'hello'));
  world.step(5);
  t.deepEqual(hear(), [0, 0, 0, 0, 1, 0]);
  // It moves from host 3 to host 2 and says so to all.
  send(all[2]!, say(BROADCAST, mac(99), 'I am here now'));
  world.step(5);
  t.deepEqual(hear(), [1, 1, 0, 1, 1, 1]);
  send(all[0]!, say(mac(99), mac(10), 'hello'));
  world.step(5);
  t.deepEqual(hear(), [0, 0, 1, 0, 0, 0]);
  for (const host of hosts) t.deepEqual(host.drops(), {});
  t.is(world.allocated, 0);
});

test('floods over a bad wire are heard at most as often as they were sent and duplicated', (t) => {
  const { world, all } = threeHosts();
  world.joinAll({ loss: 0.1, duplicate: 0.1, reorder: 0.1, latency: 1 });
  const counts = all.map(() => 0);
  for (let n = 0; n < 300; n++) {
    send(all[n % 6]!, plain(BROADCAST, mac(10 + (n % 6))));
    world.step();
    for (const [i, { inbox }] of all.entries()) counts[i]! += inbox.splice(0).length;
  }
  world.step(10);
  for (const count of counts) t.true(count > 200 && count < 300, `${count}`);
  t.is(world.allocated, 0);
});

test('a burst larger than the pool is lost in part, counted, and leaves nothing behind', (t) => {
  const world = new World();
  const hosts: Host[] = [world.host(1, 8), world.host(2, 8)];
  const { port, workload } = hosts[0]!.workload(64);
  const vtep = hosts[0]!.vtep(2);
  hosts[0]!.network({ index: 1, ports: [port], vteps: [vtep] });
  const other = hosts[1]!.workload(64);
  hosts[1]!.network({ index: 1, ports: [other.port], vteps: [] });
  world.join(hosts[0]!, hosts[1]!);
  for (let n = 0; n < 50; n++) send(workload, say(BROADCAST, mac(1), `${n}`));
  world.step(10);
  const lost = hosts.reduce((sum, host) => sum + (host.drops()['no-packet'] ?? 0), 0);
  t.is(heard(other.workload).length + lost, 50);
  t.true(lost > 0);
  t.is(world.allocated, 0);
});

test('a port that was detached gets nothing, and its frames are counted', (t) => {
  const { world, hosts, workloads } = twoHosts();
  world.join(...hosts);
  hosts[1].engine.detach(0);
  send(workloads[0], say(mac(2), mac(1), 'are you there?'));
  world.step(5);
  t.deepEqual(hosts[1].drops(), { 'port-not-attached': 1 });
  t.deepEqual(heard(workloads[1]), []);
  hosts[0].engine.setUnderlay(undefined);
  send(workloads[0], say(mac(2), mac(1), 'are you there?'));
  world.step(5);
  t.deepEqual(hosts[0].drops(), { 'device-closed': 1 });
  t.is(world.allocated, 0);
});
