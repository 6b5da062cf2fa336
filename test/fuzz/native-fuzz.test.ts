/**
 * Bad packets through real devices: mutated datagrams by loopback sockets, mutated frames by a TAP, mutated outer frames by
 * a tunnel TAP, in a namespace that lives as long as the test. Good ones go between them and must arrive as they were.
 * Under the sanitizer build (npm run test:sanitize) every access of the addon is watched meanwhile.
 */
import type { ExecutionContext } from 'ava';
import { Counters } from '../../src/dataplane/core/counters.js';
import { VIRTIO_BYTES } from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { Engine } from '../../src/dataplane/engine.js';
import { OuterPasses } from '../../src/dataplane/io/express/passes.js';
import type { NativePool } from '../../src/dataplane/io/native.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as virtio from '../../src/dataplane/io/offload/virtio.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Posted } from '../../src/dataplane/io/posted.js';
import { Tap, tapOffloadBits } from '../../src/dataplane/io/tap.js';
import {
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TunnelUnderlay,
} from '../../src/dataplane/io/tunnel.js';
import { UdpUnderlay } from '../../src/dataplane/io/udp.js';
import { Fdb, localTarget, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import {
  addressTable,
  asRoot,
  bytesOf,
  closing,
  namespace,
  native,
  packetOf,
  poolFor,
  run,
  tapDefaults,
  udpDefaults,
  until,
} from '../native/machine.js';
import { mutate, mutateVirtio } from './mutate.js';
import { outerOf } from './outer-of.js';
import { SEEDS, type Virtio } from './seeds.js';

const MUTATIONS = Number(process.env.VIADUCT_FUZZ ?? 20_000);
const BATCH = 16;
const HIGH = 0x0242;
const [WORKLOAD, PEER] = [0x0a000002, 0x0a000003];
const OFFLOADS = { checksum: true, tso: true, uso: true, coalesce: true };
/** 10.0.0.2 in seeds' outer headers; here that is the peer, and 10.0.0.1 this host. */
const [HERE, THERE, PORT] = ['10.0.0.1', '10.0.0.2', 4789];

/** Two TAPs as one wire: what is written to one is read from the other, and nobody else is there. */
function wire(
  t: ExecutionContext,
  netns: { name: string; path: string },
  name: string,
  headerBytes: number,
  bits: number,
) {
  const open = (end: string) => {
    const { fd } = native.openTap({
      ...tapDefaults,
      name: end,
      netns: netns.path,
      headerBytes,
      offloads: bits,
    });
    return closing(t, fd);
  };
  const fds = [open(`${name}-in`), open(`${name}-out`)] as const;
  const ip = (...words: string[]) => run('ip', '-n', netns.name, ...words);
  ip('link', 'add', name, 'type', 'bridge', 'mcast_snooping', '0');
  for (const end of [`${name}-in`, `${name}-out`]) {
    ip('link', 'set', end, 'mtu', '9000', 'master', name, 'up');
    ip('link', 'set', end, 'type', 'bridge_slave', 'learning', 'off', 'flood', 'on');
  }
  ip('link', 'set', name, 'up');
  return { ours: fds[0], theirs: fds[1] };
}

/** The far side of everything: writes what it likes, and reads what comes. */
class Attacker {
  readonly made: NativePool;
  readonly #list = new Int32Array(64);

  constructor(made: NativePool) {
    this.made = made;
  }

  writeFrames(fd: number, headerBytes: number, frames: readonly [Uint8Array, Virtio][]): void {
    const { pool, handle } = this.made;
    const list = Int32Array.from(frames, ([bytes, header]) => {
      const packet = packetOf(pool, bytes);
      const record = packet * VIRTIO_BYTES;
      for (let i = 0; i < VIRTIO_BYTES; i += 4) pool.virtio.setInt32(record + i, 0);
      pool.virtio.setUint8(record, header.flags);
      pool.virtio.setUint8(record + 1, header.gso);
      pool.virtio.setUint16(record + 2, header.headerLength, true);
      pool.virtio.setUint16(record + 4, header.size, true);
      pool.virtio.setUint16(record + 6, header.start, true);
      pool.virtio.setUint16(record + 8, header.offset, true);
      return packet;
    });
    // The kernel refuses some of them, and that is as good.
    for (let from = 0; from < list.length; from++) {
      from = native.tapTransmit(handle, fd, headerBytes, list, from, list.length);
    }
    for (const packet of list) pool.free(packet);
  }

  sendDatagrams(fd: number, to: Uint8Array, datagrams: readonly [Uint8Array, segment: number][]): void {
    const { pool, handle } = this.made;
    const list = Int32Array.from(datagrams, ([bytes, segment]) => {
      const packet = packetOf(pool, bytes);
      pool.vtep[packet] = 0;
      pool.segment[packet] = segment;
      return packet;
    });
    for (let from = 0; from < list.length; from++) {
      from = native.udpTransmit(handle, fd, to, list, from, list.length);
    }
    for (const packet of list) pool.free(packet);
  }

  /** Everything that waits; copies of what `wanted` says of. */
  read(
    receive: (list: Int32Array, count: number) => number,
    wanted: (bytes: Uint8Array) => boolean,
  ): Uint8Array[] {
    const { pool } = this.made;
    const kept: Uint8Array[] = [];
    for (;;) {
      for (let i = 0; i < this.#list.length; i++) this.#list[i] = pool.take();
      const count = receive(this.#list, this.#list.length);
      for (const [i, packet] of this.#list.entries()) {
        if (i < count) {
          const bytes = bytesOf(pool, packet);
          if (wanted(bytes)) kept.push(bytes);
        }
        pool.free(packet);
      }
      if (count < this.#list.length) return kept;
    }
  }
}

const MAGIC = Buffer.from('a good frame, number ');
const good = (to: number, from: number, number: number): Uint8Array =>
  Uint8Array.from([
    2,
    0x42,
    10,
    0,
    0,
    to,
    2,
    0x42,
    10,
    0,
    0,
    from,
    0x88,
    0xb5,
    ...MAGIC,
    ...Buffer.from(`${number}`.padEnd(30)),
  ]);
/** Others of its size and flow may have left with it, glued. */
const holds = (bytes: Uint8Array, wanted: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(Buffer.from(wanted));
const isGood = (bytes: Uint8Array) => holds(bytes, MAGIC);

function devices(t: ExecutionContext) {
  const netns = namespace(t);
  for (const address of [HERE, THERE])
    run('ip', '-n', netns.name, 'addr', 'add', `${address}/32`, 'dev', 'lo');
  const socket = (address: string, port: number, gro: boolean) =>
    closing(t, native.openUdp({ ...udpDefaults, netns: netns.path, address, port, gro }).fd);
  const workloads = wire(t, netns, 'work', virtio.HEADER_BYTES, tapOffloadBits(OFFLOADS));
  const bits = tapOffloadBits(OFFLOADS) | TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;
  let tunnel: ReturnType<typeof wire> | undefined;
  try {
    tunnel = wire(t, netns, 'tunnel', virtio.TUNNEL_HEADER_BYTES, bits);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EINVAL') throw error;
    t.log('the kernel has no UDP tunnel offload on TAPs: no tunnel device is fuzzed');
  }
  return {
    workloads,
    tunnel,
    receive: socket(HERE, PORT, true),
    send: [socket(HERE, 50_001, false), socket(HERE, 50_002, false)],
    peer: socket(THERE, PORT, true),
    attack: socket(THERE, 50_003, false),
  };
}

/** An engine with a workload at port 0, its peer behind 10.0.0.2 (sockets) or 10.0.0.3 (tunnel). */
function engineOn(t: ExecutionContext, fds: ReturnType<typeof devices>) {
  const made = poolFor(t, 256);
  const vteps = new Vteps(Vteps.allocate(8));
  vteps.setDefaults(PORT, 1500);
  const bySocket = vteps.add(4, 0x0a000002, 0, 0, 0);
  const byTunnel = vteps.add(4, 0x0a000003, 0, 0, 0);
  const fdb = new Fdb(Fdb.allocate(64));
  const counters = new Counters(2, 8);
  const neighbours = new Neighbours(Neighbours.allocate(16));
  neighbours.set(5, [0, 0, 0xffff, PEER], HIGH, PEER);
  let now = 0;
  const engine = new Engine({ pool: made.pool, counters, fdb, neighbours, vteps, clock: () => now++ });
  fdb.setStatic(5, HIGH, WORKLOAD, localTarget(0));
  fdb.setStatic(5, HIGH, PEER, remoteTarget(bySocket));
  fdb.setStatic(5, HIGH, PEER + 1, remoteTarget(byTunnel));
  engine.networks.set({
    index: 5,
    vni: 5,
    mtu: 1450,
    learning: true,
    floodUnknown: true,
    mssClamp: true,
    groupPolicy: -1,
    ports: [0],
    vteps: [bySocket, byTunnel],
  });
  const { path } = engine;
  const posted = new Posted(made.pool, 64);
  const segmenter = new Segmenter(path, made);
  const refusals = new Set<number>();
  const onError = (errno: number) => refusals.add(errno);
  const common = { path, native: made, calls: native, posted, batch: 64, onError };
  const tap = new Tap({
    ...common,
    fd: fds.workloads.ours,
    port: 0,
    segmenter,
    coalescer: new Coalescer(path, made),
    offloads: OFFLOADS,
  });
  engine.attach(0, tap);
  const joiner = new Joiner(path, made);
  joiner.joins = tap.merges!;
  const shared = { ...common, vteps, joiner, bundler: new Bundler(path), bundle: true };
  const udp = new UdpUnderlay({
    ...shared,
    sockets: { receive: [fds.receive], send4: fds.send, send6: [] },
    segmenter,
    segment: true,
    onNoSegment: () => {},
  });
  engine.setUnderlay(udp);
  if (fds.tunnel !== undefined) {
    const here = { address4: 0x0a000001, address6: undefined, port: PORT };
    const passes = new OuterPasses(made.pool, vteps);
    engine.setUnderlay(
      new TunnelUnderlay({ ...shared, passes, udp, fd: fds.tunnel.ours, here, sourcePorts: 2 }),
    );
    const none = [0, 0, 0] as const;
    const headers = outer.template({
      family: 4,
      sourceMac: { high: 2, low: 1 },
      nextHopMac: { high: 2, low: 2 },
      source: [0x0a000001, ...none],
      destination: [0x0a000003, ...none],
      port: PORT,
    });
    vteps.openTunnel(byTunnel, headers);
  }
  return { engine, counters, posted, pool: made.pool, fdb, vteps, refusals };
}

asRoot(
  'mutated datagrams and frames by real devices do no harm, and good ones between them arrive',
  async (t) => {
    t.timeout(3_600_000);
    const random = new Random(Number(process.env.VIADUCT_FUZZ_SEED ?? 1));
    const fds = devices(t);
    const { engine, counters, posted, pool, fdb, refusals } = engineOn(t, fds);
    const attacker = new Attacker(poolFor(t, 256));
    const home = addressTable({ address: HERE, port: PORT });
    const room = new Uint8Array(8192);
    const spoiled = (bytes: Uint8Array, keep: number): Uint8Array => {
      room.set(bytes);
      return room.slice(0, keep + mutate(random, room, keep, bytes.length - keep));
    };
    const vxlan = (bytes: Uint8Array) => Uint8Array.from([8, 0, 0, 0, 0, 0, 5, 0, ...bytes]);
    const seed = () => SEEDS[random.below(SEEDS.length)]!;
    const handle = attacker.made.handle;
    const arrived = { workload: 0, sockets: 0, tunnel: 0 };

    const attack = () => {
      attacker.sendDatagrams(
        fds.attack,
        home,
        Array.from({ length: BATCH }, () => [
          spoiled(vxlan(seed().bytes), random.chance(0.6) ? 8 : 0),
          random.chance(0.1) ? 1 + random.below(400) : 0,
        ]),
      );
      attacker.writeFrames(
        fds.workloads.theirs,
        virtio.HEADER_BYTES,
        Array.from({ length: BATCH }, () => {
          const { bytes, virtio: header } = seed();
          return [spoiled(bytes, random.chance(0.5) ? 12 : 0), mutateVirtio(random, header)];
        }),
      );
      if (fds.tunnel === undefined) return;
      attacker.writeFrames(
        fds.tunnel.theirs,
        virtio.TUNNEL_HEADER_BYTES,
        Array.from({ length: BATCH }, () => {
          const { bytes, virtio: header } = seed();
          const inner = vxlan(spoiled(bytes, 0));
          const whole = Uint8Array.from([...outerOf(4, inner.length), ...inner]);
          const moved = { ...header, start: header.start + 50, headerLength: header.headerLength + 50 };
          if (header.gso !== 0) moved.gso |= 0x20;
          return [random.chance(0.5) ? whole : spoiled(whole, 0), mutateVirtio(random, moved)];
        }),
      );
    };

    /** Good ones, each of its own way, until they have come out; whatever else comes out is left. */
    const exchange = async (number: number) => {
      const into = good(2, 3, number);
      const out = good(3, 2, number);
      attacker.sendDatagrams(fds.attack, home, [[vxlan(into), 0]]);
      const plain = { flags: 0, gso: 0, headerLength: 0, size: 0, start: 0, offset: 0 };
      attacker.writeFrames(fds.workloads.theirs, virtio.HEADER_BYTES, [
        [out, plain],
        [good(4, 2, number), plain],
      ]);
      const tunnelled = vxlan(good(2, 4, number));
      if (fds.tunnel !== undefined) {
        const whole = Uint8Array.from([...outerOf(4, tunnelled.length), ...tunnelled]);
        attacker.writeFrames(fds.tunnel.theirs, virtio.TUNNEL_HEADER_BYTES, [[whole, plain]]);
      }
      const want = {
        workload: fds.tunnel === undefined ? 1 : 2,
        sockets: fds.tunnel === undefined ? 2 : 1,
        tunnel: fds.tunnel === undefined ? 0 : 1,
      };
      const got = { workload: [] as Uint8Array[], sockets: [] as Uint8Array[], tunnel: [] as Uint8Array[] };
      await until(() => {
        engine.turn();
        const tapOf = (fd: number, header: number) => (list: Int32Array, count: number) =>
          native.tapReceive(handle, fd, header, list, count);
        got.workload.push(...attacker.read(tapOf(fds.workloads.theirs, virtio.HEADER_BYTES), isGood));
        got.sockets.push(
          ...attacker.read((list, count) => native.udpReceive(handle, fds.peer, list, count), isGood),
        );
        if (fds.tunnel !== undefined)
          got.tunnel.push(...attacker.read(tapOf(fds.tunnel.theirs, virtio.TUNNEL_HEADER_BYTES), isGood));
        const all = Object.keys(want).every(
          (key) => got[key as keyof typeof got].length >= want[key as keyof typeof want],
        );
        return all ? true : undefined;
      });
      t.true(
        got.workload.some((bytes) => Buffer.from(bytes).equals(into)),
        `${number} by the sockets`,
      );
      t.true(
        got.sockets.some((bytes) => holds(bytes, vxlan(out))),
        `${number} to the sockets`,
      );
      if (fds.tunnel !== undefined) {
        t.true(
          got.workload.some((bytes) => Buffer.from(bytes).equals(good(2, 4, number))),
          `${number} by the tunnel`,
        );
        const datagram = vxlan(good(4, 2, number));
        t.true(
          got.tunnel.some((bytes) => holds(bytes, datagram)),
          `${number} to the tunnel`,
        );
      }
      for (const key of Object.keys(got) as (keyof typeof got)[]) arrived[key] += got[key].length;
    };

    for (let done = 0, number = 0; done < MUTATIONS; number++) {
      for (let round = 0; round < 8; round++) {
        attack();
        engine.turn();
        done += BATCH * (fds.tunnel === undefined ? 2 : 3);
      }
      fdb.sweep(() => true);
      await exchange(number);
    }
    posted.release();
    t.is(pool.allocated, 0);
    t.is(attacker.made.pool.allocated, 0);
    const drops = Object.entries(counters.drops()).filter(([, count]) => count > 0);
    t.log(arrived, Object.fromEntries(drops), `errnos ${[...refusals]}`);
    t.true(drops.length > 5);
    for (const reason of ['vxlan-short', 'vxlan-flags', 'vxlan-unknown-vni'] as const)
      t.true(counters.dropped(reason) > 0);
  },
);
