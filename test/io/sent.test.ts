/** Sent is what was handed to the wire: what the kernel refuses is counted as dropped, and only as that. */
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters, TX_BYTES, TX_PACKETS } from '../../src/dataplane/core/counters.js';
import { type DropReason, drop } from '../../src/dataplane/core/drops.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, Pool } from '../../src/dataplane/core/pool.js';
import type { Tracer } from '../../src/dataplane/core/tracer.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { pair } from '../../src/dataplane/io/memory/pair.js';
import type { NativePool, PacketCalls } from '../../src/dataplane/io/native.js';
import { Bundler } from '../../src/dataplane/io/offload/bundle.js';
import { Coalescer } from '../../src/dataplane/io/offload/coalesce.js';
import { Joiner } from '../../src/dataplane/io/offload/join.js';
import { Segmenter } from '../../src/dataplane/io/offload/segment.js';
import * as outer from '../../src/dataplane/io/outer.js';
import { Posted } from '../../src/dataplane/io/posted.js';
import { Tap } from '../../src/dataplane/io/tap.js';
import { TunnelUnderlay } from '../../src/dataplane/io/tunnel.js';
import { UdpUnderlay } from '../../src/dataplane/io/udp.js';

const ENETUNREACH = 101;
const ENOBUFS = 105;
const EIO = 5;

/** A kernel that takes packets of 100 bytes and refuses all others with one errno. */
class Picky implements PacketCalls {
  readonly #pool: Pool;
  readonly #status: Int32Array;
  readonly #errno: number;

  constructor(pool: Pool, status: Int32Array, errno: number) {
    this.#pool = pool;
    this.#status = status;
    this.#errno = errno;
  }

  tapReceive = () => 0;
  udpReceive = () => 0;
  tapTransmit = (_pool: number, _fd: number, header: number, list: Int32Array, from: number, count: number) =>
    this.#take(list, from, count, header === 24 ? outer.OUTER_IPV4 : 0);
  udpTransmit = (_: number, __: number, ___: Uint8Array, list: Int32Array, from: number, count: number) =>
    this.#take(list, from, count, 0);

  #take(list: Int32Array, from: number, count: number, headers: number): number {
    let at = from;
    while (at < count && this.#pool.length[list[at]!] === 100 + headers) {
      at += Math.max(1, this.#pool.bundle[list[at]!]!);
    }
    this.#status[1] = at < count ? this.#errno : 0;
    return at;
  }
}

/** A pool, a VTEP 0 and devices on a kernel that refuses with `errno`. */
function world(errno: number) {
  const pool = new Pool(64);
  const traced: number[] = [];
  const tracer = { note: () => {}, dropped: (_packet: number, reason: number) => void traced.push(reason) };
  const counters = new Counters(2, 2);
  const path = new Path(pool, counters, tracer as Partial<Tracer> as Tracer);
  const vteps = new Vteps(Vteps.allocate(4));
  vteps.setDefaults(4789, 1500);
  const vtep = vteps.add(4, 0x0a000002, 0, 0, 0);
  const status = new Int32Array(2);
  const native: NativePool = { pool, handle: 0, status };
  const calls = new Picky(pool, status, errno);
  const refused: number[][] = [];
  const common = {
    ...{ path, native, calls, posted: new Posted(pool, 16), batch: 16, vteps, bundle: true, segment: true },
    ...{
      joiner: new Joiner(path),
      bundler: new Bundler(path),
      segmenter: new Segmenter(path),
      onNoSegment: () => {},
    },
    onError: (...about: number[]) => void refused.push(about),
  };
  const sockets = { receive: [3], send4: [4, 5], send6: [] };
  const udp = new UdpUnderlay({ ...common, sockets });
  const send = (device: { transmit(batch: Batch): void }, lengths: readonly number[], flows = lengths) => {
    const batch = new Batch(pool.packets);
    for (const [i, length] of lengths.entries()) {
      const packet = pool.take(DATAGRAM_AT);
      pool.length[packet] = length;
      pool.vtep[packet] = vtep;
      pool.flow[packet] = flows[i]!;
      pool.trace[packet] = 1;
      batch.push(packet);
    }
    device.transmit(batch);
  };
  const row = (at: number) => [counters.cells[at + TX_PACKETS], counters.cells[at + TX_BYTES]];
  const seen = (reason: DropReason) => ({
    sent: row(counters.vtepRow(vtep)),
    dropped: counters.dropped(reason),
    traced: traced.filter((each) => each === drop[reason]).length,
    left: pool.allocated,
  });
  return { pool, path, vteps, vtep, counters, common, udp, send, row, seen, refused, traced };
}

test('a datagram that the sockets refuse counts as dropped, its trace ends with that, and its VTEP is named', (t) => {
  const { udp, send, seen, refused, vtep } = world(ENETUNREACH);
  send(udp, [90, 100, 100], [0, 1, 1]);
  send(udp, [90, 90], [0, 0]);
  t.deepEqual(seen('vtep-unreachable'), { sent: [2, 200], dropped: 3, traced: 3, left: 0 });
  for (const about of refused) t.deepEqual(about, [ENETUNREACH, vtep]);
});

test('a VTEP of a family that the underlay has no address of gets nothing, and nothing counts as sent', (t) => {
  const { common, send, seen } = world(ENETUNREACH);
  const six = new UdpUnderlay({ ...common, sockets: { receive: [3], send4: [], send6: [6] } });
  send(six, [100, 100]);
  t.deepEqual(seen('vtep-unreachable'), { sent: [0, 0], dropped: 2, traced: 2, left: 0 });
});

test('a segmented send that has to be taken apart counts once', (t) => {
  const { udp, send, seen } = world(EIO);
  // The bundle of three is refused as such, for its first has 90 bytes; then its datagrams one by one.
  send(udp, [100, 90, 90, 90], [1, 0, 0, 0]);
  t.deepEqual(seen('underlay-error'), { sent: [1, 100], dropped: 3, traced: 3, left: 0 });
});

test('what the tunnel device refuses counts as dropped, and outer headers count for nobody', (t) => {
  const { common, udp, vteps, vtep, send, seen, refused } = world(ENOBUFS);
  const mac = { high: 0x0242, low: 9 };
  const ends = { source: [0x0a000001, 0, 0, 0], destination: [0x0a000002, 0, 0, 0] } as const;
  const macs = { sourceMac: mac, nextHopMac: mac };
  vteps.openTunnel(vtep, outer.template({ family: 4, ...macs, ...ends, port: 4789 }));
  const here = { address4: 0x0a000001, address6: undefined, port: 4789 };
  const tunnel = new TunnelUnderlay({ ...common, fd: 7, udp, here, sourcePorts: 4 });
  send(tunnel, [100, 100, 80, 80, 100], [0, 0, 1, 1, 2]);
  t.deepEqual(seen('underlay-busy'), { sent: [3, 300], dropped: 2, traced: 2, left: 0 });
  t.deepEqual(refused, [[ENOBUFS, vtep]]);
});

test("what a workload's interface refuses counts neither as sent packets nor as bytes", (t) => {
  const { common, counters, send, row, traced, pool } = world(EIO);
  const offloads = { checksum: true, tso: true, uso: true, coalesce: true };
  const tap = new Tap({ ...common, fd: 8, port: 1, offloads, coalescer: new Coalescer(common.path) });
  send(tap, [100, 90, 100]);
  t.deepEqual(row(counters.portRow(1)), [2, 200]);
  t.is(counters.dropped('tap-busy'), 1);
  t.deepEqual(traced, [drop['tap-busy']]);
  t.is(pool.allocated, 0);
});

test('a pair whose other end is closed has sent nothing', (t) => {
  const { path, send, seen } = world(0);
  const senders = [1, 2].map((last) => ({ address: Uint8Array.of(10, 0, 0, last), port: 4789 }));
  const far = new Path(new Pool(4), new Counters(1, 1));
  const [near, other] = pair({ paths: [path, far], at: DATAGRAM_AT, senders: [senders[0]!, senders[1]!] });
  other.close();
  send(near, [100]);
  t.deepEqual(seen('device-closed'), { sent: [0, 0], dropped: 1, traced: 1, left: 0 });
});
