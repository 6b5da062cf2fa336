/** The tunnel device with the express passes beside one without: the same packets through both, and everything compared. */
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import {
  CHECKSUM_UNFINISHED,
  CHECKSUM_VERIFIED,
  DATAGRAM_AT,
  Pool,
  SEGMENT_TCP4,
  SEGMENT_TCP6,
  VIRTIO_BYTES,
} from '../../src/dataplane/core/pool.js';
import { Random } from '../../src/dataplane/core/random.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { OuterPasses } from '../../src/dataplane/io/express/passes.js';
import type { NativePool, PacketCalls } from '../../src/dataplane/io/native.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Posted } from '../../src/dataplane/io/posted.js';
import { TunnelUnderlay } from '../../src/dataplane/io/tunnel.js';
import { UdpUnderlay } from '../../src/dataplane/io/udp.js';
import * as checksums from '../../src/dataplane/wire/checksum.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as vxlan from '../../src/dataplane/wire/vxlan.js';
import { build, frame, headerBytes } from './frames.js';

const ROUNDS = 300;
const PER_BATCH = 16;
const HERE: outer.Here = { address4: 0x0a000001, address6: [0xfd000000 | 0, 0, 0, 1], port: 4789 };
const COLUMNS = [
  ...(['length', 'segment', 'offload', 'checksumStart', 'checksumOffset', 'headerLength', 'bundle'] as const),
  ...(['bundleSkip', 'vtep', 'flow', 'ecn'] as const),
] as const;

const template = (family: 4 | 6, there: number): Uint8Array =>
  outer.template({
    ...{ family, port: 4789, sourceMac: { high: 0x0200, low: 10 }, nextHopMac: { high: 0x0200, low: there } },
    source: family === 4 ? [0x0a000001, 0, 0, 0] : HERE.address6!,
    destination: family === 4 ? [0x0a000000 | there, 0, 0, 0] : [0xfd000000 | 0, 0, 0, there],
  });

/** Takes all that it is given, and gives the frames that are laid before it. */
class Kernel implements PacketCalls {
  readonly sent: unknown[] = [];
  waiting: { bytes: Uint8Array; virtio: Uint8Array }[] = [];
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  tapReceive = (_: number, __: number, ___: number, list: Int32Array, count: number): number => {
    const given = this.waiting.splice(0, count);
    for (const [i, { bytes, virtio }] of given.entries()) {
      const packet = list[i]!;
      this.#pool.bytes.set(bytes, this.#pool.offset[packet]);
      this.#pool.length[packet] = bytes.length;
      record(this.#pool, packet).set(virtio);
    }
    return given.length;
  };
  udpReceive = () => 0;
  tapTransmit = (_: number, __: number, ___: number, list: Int32Array, from: number, count: number) => {
    for (let i = from; i < count; i++) {
      const follows = this.sent.length;
      this.sent.push({ ...seen(this.#pool, list[i]!), virtio: [...record(this.#pool, list[i]!)], follows });
    }
    return count;
  };
  udpTransmit = (_: number, __: number, ___: Uint8Array, list: Int32Array, from: number, count: number) => {
    for (let i = from; i < count; i++) this.sent.push(seen(this.#pool, list[i]!));
    return count;
  };
}

const record = (pool: Pool, packet: number): Uint8Array =>
  new Uint8Array(pool.virtio.buffer, pool.virtio.byteOffset + packet * VIRTIO_BYTES, 24);

const seen = (pool: Pool, packet: number) => ({
  at: pool.offset[packet]! - pool.slotStart(packet),
  bytes: Buffer.from(
    pool.bytes.subarray(pool.offset[packet], pool.offset[packet]! + pool.length[packet]!),
  ).toString('hex'),
  columns: COLUMNS.map((name) => pool[name][packet]),
});

class Side {
  readonly pool = new Pool(64, 256);
  readonly counters = new Counters(1, 8);
  readonly path = new Path(this.pool, this.counters);
  readonly vteps = new Vteps(Vteps.allocate(8));
  readonly kernel = new Kernel(this.pool);
  readonly tunnel: TunnelUnderlay;

  constructor(express: boolean) {
    const { pool, path, vteps } = this;
    vteps.setDefaults(4789, 1500);
    for (const n of [2, 3, 5]) vteps.openTunnel(vteps.add(4, 0x0a000000 | n, 0, 0, 0), template(4, n));
    vteps.openTunnel(vteps.add(6, 0xfd000000 | 0, 0, 0, 4), template(6, 4));
    vteps.add(4, 0x0a000006, 0, 0, 0);
    const native: NativePool = { pool, handle: 0, status: new Int32Array(2) };
    const common = {
      ...{
        path,
        native,
        calls: this.kernel,
        posted: new Posted(pool, 16),
        batch: PER_BATCH,
        vteps,
        bundle: true,
      },
      ...{ joiner: new Joiner(path), bundler: new Bundler(path), segmenter: new Segmenter(path) },
      ...{ segment: true, onNoSegment: () => {} },
      onError: () => {},
    };
    const udp = new UdpUnderlay({ ...common, sockets: { receive: [3], send4: [4], send6: [6] } });
    const passes = express ? { passes: new OuterPasses(pool, vteps) } : {};
    this.tunnel = new TunnelUnderlay({ ...common, ...passes, fd: 5, udp, here: HERE, sourcePorts: 5 });
  }
}

/** A frame behind its VXLAN header, and the columns that an unfinished checksum or a super-packet brings. */
function anyDatagram(random: Random) {
  const pick = <T>(...of: readonly T[]): T => of[random.below(of.length)]!;
  const f = frame({
    ip: pick(4, 6),
    l4: 'tcp',
    payload: Array.from({ length: pick(0, 20, 20, 300) }, (_, i) => i & 255),
  });
  const at = headerBytes(f);
  const datagram = new Uint8Array(vxlan.HEADER + at.payload + f.payload.length);
  vxlan.write(datagram, 0, 5);
  datagram.set(build(f), vxlan.HEADER);
  const offload = pick(0, 0, 0, CHECKSUM_VERIFIED, CHECKSUM_UNFINISHED, CHECKSUM_UNFINISHED);
  const large = offload === CHECKSUM_UNFINISHED && f.payload.length === 300;
  const columns = {
    offload: large ? offload | (f.ip === 4 ? SEGMENT_TCP4 : SEGMENT_TCP6) : offload,
    segment: large ? 100 : 0,
    checksumStart: offload === CHECKSUM_UNFINISHED ? vxlan.HEADER + at.l4 : 0,
    checksumOffset: offload === CHECKSUM_UNFINISHED ? 16 : 0,
    headerLength: large ? vxlan.HEADER + at.payload : 0,
    flow: random.below(0x10000),
    vtep: pick(0, 0, 1, 2, 3, 4),
    ecn: random.below(4),
  };
  return { datagram, columns };
}

test('outer headers are written byte for byte as the general path writes them, on the same packets', (t) => {
  const random = new Random(21);
  const [general, express] = [new Side(false), new Side(true)];
  for (let round = 0; round < ROUNDS; round++) {
    const datagrams = Array.from({ length: PER_BATCH }, () => anyDatagram(random));
    // Some of one flow and size, which leave as bundles.
    for (let i = random.below(PER_BATCH); i < 8; i++) datagrams[i] = datagrams[i - 1] ?? datagrams[i]!;
    for (const { pool, tunnel } of [general, express]) {
      const batch = new Batch(pool.packets);
      for (const { datagram, columns } of datagrams) {
        const packet = pool.take(DATAGRAM_AT);
        pool.bytes.set(datagram, pool.offset[packet]);
        pool.length[packet] = datagram.length;
        for (const [name, value] of Object.entries(columns)) pool[name as 'flow'][packet] = value;
        batch.push(packet);
      }
      tunnel.transmit(batch);
    }
    t.deepEqual(express.kernel.sent.splice(0), general.kernel.sent.splice(0), `round ${round}`);
  }
  t.deepEqual([...express.counters.cells], [...general.counters.cells]);
  t.is(express.pool.allocated, 0);
});

test('outer headers are checked and stripped as the general path does it, whatever arrives', (t) => {
  const random = new Random(22);
  const pick = <T>(...of: readonly T[]): T => of[random.below(of.length)]!;
  const [general, express] = [new Side(false), new Side(true)];
  const sender = new Side(false);
  let arrived = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < PER_BATCH; i++) {
      const { datagram, columns } = anyDatagram(random);
      const batch = new Batch(sender.pool.packets);
      const packet = sender.pool.take(DATAGRAM_AT);
      sender.pool.bytes.set(datagram, sender.pool.offset[packet]);
      sender.pool.length[packet] = datagram.length;
      for (const [name, value] of Object.entries(columns)) sender.pool[name as 'flow'][packet] = value;
      batch.push(packet);
      // To ourselves: source and destination change places, and the header's checksum stays right.
      sender.tunnel.transmit(batch);
      const sent = sender.kernel.sent.splice(0)[0] as { bytes: string; virtio?: number[] };
      if (sent.virtio === undefined) continue;
      const bytes = Uint8Array.from(Buffer.from(sent.bytes, 'hex'));
      const [from, to, size] = bytes[12] === 8 ? [26, 30, 4] : [22, 38, 16];
      const source = bytes.slice(from, from + size);
      bytes.copyWithin(from, to, to + size);
      bytes.set(source, to);
      if (random.below(5) === 0)
        bytes[pick(12, 14, 16, 17, 20, 21, 23, 24, 30, 33, 36, 38, 39, 40, 41)] = random.below(256);
      if (random.below(10) === 0) bytes[random.below(50)] = random.below(256);
      if (random.below(2) === 0 && bytes[12] === 8) {
        ipv4.writeChecksum(bytes, 14, 0);
        ipv4.writeChecksum(bytes, 14, checksums.finish(checksums.sum(bytes, 14, 20)));
      }
      const cut = random.below(12) === 0 ? random.below(60) : bytes.length + pick(0, 0, 0, 6);
      const whole = new Uint8Array(cut);
      whole.set(bytes.subarray(0, cut));
      const virtio = Uint8Array.from(sent.virtio);
      if (random.below(8) === 0) virtio.set([pick(0, 1, 2, 10)], 0);
      // An unfinished outer checksum, and datagrams glued at the outer UDP header.
      if (random.below(8) === 0) virtio.set([1, 0, 0, 0, 0, 0, 34, 0, 6, 0], 0);
      if (random.below(8) === 0) virtio.set([1, 5, 42, 0, 70, 0, 34, 0, 6, 0], 0);
      for (const { kernel } of [general, express]) kernel.waiting.push({ bytes: whole, virtio });
    }
    const came = [general, express].map(({ tunnel, pool }) => {
      const into = new Batch(pool.packets);
      tunnel.receiveTunnel(into);
      const all = [...into.packets.subarray(0, into.count)].map((packet) => {
        const slot = pool.slotStart(packet);
        const bytes = pool.view.getUint16(slot, true) === 4 ? 8 : 20;
        return { ...seen(pool, packet), vtep: 0, sender: [...pool.bytes.subarray(slot, slot + bytes)] };
      });
      into.release(pool);
      return all;
    });
    arrived += came[0]!.length;
    t.deepEqual(came[1], came[0], `round ${round}`);
  }
  t.true(arrived > (ROUNDS * PER_BATCH) / 3);
  t.deepEqual([...express.counters.cells], [...general.counters.cells]);
});
