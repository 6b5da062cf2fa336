/**
 * The only importer of the addon (native/). Everything in it is batch-sized I/O, bulk byte work or a thin
 * system call; it decides nothing. All descriptors are non-blocking and close-on-exec.
 *
 * Calls that set something up throw an Error with `code` ('EPERM', …), `errno` and `syscall`. Calls on the
 * packet path never throw: they return how far they came, and leave the errno in `status[1]`; EFAULT is the addon's
 * own word for columns that contradict themselves.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { columnCells, Pool, SLOT_BYTES } from '../core/pool.js';

export interface TapOptions {
  /** '' lets the kernel choose, `%d` numbers it */
  name: string;
  /** path of the network namespace to create it in, e.g. /run/netns/ctr-a; '' for the caller's */
  netns: string;
  /** TUN device (layer 3) instead of TAP */
  tun: boolean;
  multiQueue: boolean;
  /** 12, or 24 for virtio_net_hdr_v1_hash_tunnel */
  headerBytes: number;
  /** TUN_F_* bits; the open fails with EINVAL where the kernel knows one of them not */
  offloads: number;
  /** TUNSETSNDBUF, bytes */
  sendBuffer: number;
}

export interface UdpOptions {
  family: 4 | 6;
  /** literal address to bind to; '' for any */
  address: string;
  /** 0 lets the kernel choose */
  port: number;
  netns: string;
  reusePort: boolean;
  /** UDP_GRO on */
  gro: boolean;
  /** IP_MTU_DISCOVER / IPV6_MTU_DISCOVER: 0 don't, 1 want, 2 do, 3 probe */
  mtuDiscover: number;
  /** SO_RCVBUFFORCE / SO_SNDBUFFORCE with a fall-back to the unprivileged option, bytes */
  receiveBuffer: number;
  sendBuffer: number;
}

export interface Addon {
  /** Zeroed, page-aligned memory outside of V8's heap, freed with the ArrayBuffer. */
  allocate(bytes: number): ArrayBuffer;
  /**
   * Makes a pool known to this thread's addon. `columns` as core/pool.ts lays them out; `status` is two Int32:
   * [0] unused, [1] errno of the call that stopped early. Returns the handle that the packet calls take.
   */
  attach(
    slab: ArrayBuffer,
    slotBytes: number,
    columns: Int32Array,
    packets: number,
    status: Int32Array,
  ): number;
  /** Forgets the pool; its handle may be given out again. A thread has at most 64 pools at a time. */
  detach(pool: number): void;

  openTap(options: TapOptions): { fd: number; name: string; index: number };
  /** 0, or the errno of TUNSETOFFLOAD */
  setTapOffloads(fd: number, bits: number): number;
  openUdp(options: UdpOptions): { fd: number; port: number };
  close(fd: number): void;

  /**
   * Reads frames into the packets list[0..count), each at its `offset`, as far as its slot reaches; the virtio header
   * goes to the packet's virtio record. Sets `length`. Returns how many; stops at EAGAIN (status[1] = 0) or an error.
   */
  tapReceive(pool: number, fd: number, headerBytes: number, list: Int32Array, count: number): number;
  /**
   * Writes list[from..count), one write a frame or bundle: the virtio record of the first, the first packet whole, then of
   * each follower all behind its first `bundleSkip` bytes. Returns the index in `list` of the first packet not sent
   * (= count when all were); status[1] is its errno.
   */
  tapTransmit(
    pool: number,
    fd: number,
    headerBytes: number,
    list: Int32Array,
    from: number,
    count: number,
  ): number;

  /**
   * recvmmsg into list[0..count). Sets `length`, `segment` (size of the glued datagrams, 0 when there is one), `ecn`, and
   * the sender at the slot's start (SENDER_*). Returns how many.
   */
  udpReceive(pool: number, fd: number, list: Int32Array, count: number): number;
  /**
   * sendmmsg of list[from..count). Destination: the 32-byte row number `vtep` of `addresses` (a raw sockaddr_in or
   * sockaddr_in6). A packet with `segment` > 0 goes with UDP_SEGMENT of that size; a bundle with that of its first
   * packet's length, and the outer header gets the first one's `ecn`. Followers leave out `bundleSkip` bytes. Returns as
   * tapTransmit.
   */
  udpTransmit(
    pool: number,
    fd: number,
    addresses: Uint8Array,
    list: Int32Array,
    from: number,
    count: number,
  ): number;

  /**
   * One's complement sums of `count` ranges of the slab: bytes [starts[i], starts[i] + lengths[i]), as big-endian 16-bit
   * words, an odd last byte padded with zero; folded to 16 bits, not complemented.
   */
  sums(pool: number, starts: Int32Array, lengths: Int32Array, sums: Int32Array, count: number): void;
  /**
   * Lays out ceil(payload / segment) times [header][next `segment` bytes of payload] at `to`: the header is the
   * `headerLength` bytes at `from`, the payload the `payload` bytes behind them. sums[i] = sum of the i-th payload part, as
   * `sums`. Source and destination don't overlap. Returns the number of segments.
   */
  copySegments(
    pool: number,
    from: number,
    to: number,
    headerLength: number,
    segment: number,
    payload: number,
    sums: Int32Array,
  ): number;

  /**
   * The inverse: [header][`segment` - `headerLength` bytes of payload] stands as often in the `length` bytes at `at` as it fits,
   * the last one may be shorter; the payloads are moved together behind the first header.
   */
  joinSegments(pool: number, at: number, headerLength: number, segment: number, length: number): void;

  epollCreate(): number;
  /** `tag` (0..2^31-1) is what wait reports; readable events, level-triggered. */
  epollAdd(epoll: number, fd: number, tag: number): void;
  epollDelete(epoll: number, fd: number): void;
  /**
   * Waits until something is readable, at most `timeoutMs` (-1 for ever), first polling without sleep for
   * `spinMicros`. Fills `tags`, returns how many. A signal ends the wait with 0.
   */
  wait(epoll: number, tags: Int32Array, timeoutMs: number, spinMicros: number): number;
  eventCreate(): number;
  eventSignal(fd: number): void;
  eventClear(fd: number): void;

  /** One rtnetlink (or other) exchange in a namespace: the request, then every reply message up to the end of a dump, ack or error. */
  netlink(netns: string, protocol: number, request: Uint8Array): Uint8Array;
  /** A socket subscribed to the multicast groups (a bit mask, as nl_groups). */
  netlinkSubscribe(netns: string, protocol: number, groups: number): number;
  /** What the socket has now, empty when nothing. */
  netlinkRead(fd: number): Uint8Array;

  /** Loads a program of type SCHED_CLS; the verifier's log is in the message of the error. */
  bpfLoad(instructions: Uint8Array, name: string): number;
  /** BPF_LINK_CREATE; the program is attached until the returned descriptor is closed. */
  bpfAttach(program: number, netns: string, ifindex: number, attachType: number): number;
  /** One ethtool value command (ETHTOOL_GGRO, …) on an interface: sets `value` where the command sets, returns the value after it. */
  ethtool(netns: string, name: string, command: number, value: number): number;
}

/** The calls that move packets; a device takes them from whoever gives them, which is the addon but while warming up. */
export type PacketCalls = Pick<Addon, 'tapReceive' | 'tapTransmit' | 'udpReceive' | 'udpTransmit'>;

const require = createRequire(import.meta.url);

/** dist/src/dataplane/io/native.js → native/build/viaduct.node; VIADUCT_ADDON names another build (the sanitizer's). */
const path =
  process.env.VIADUCT_ADDON ??
  fileURLToPath(new URL('../../../../native/build/viaduct.node', import.meta.url));

function load(): { addon: Addon | undefined; reason: string } {
  if (!existsSync(path))
    return { addon: undefined, reason: `${path} has not been built; run: make -C ${dirname(dirname(path))}` };
  try {
    return { addon: require(path) as Addon, reason: '' };
  } catch (error) {
    return { addon: undefined, reason: `${path} could not be loaded: ${(error as Error).message}` };
  }
}

/** The addon, or undefined where it can't be had; then `unavailable` says why. */
export const { addon, reason: unavailable } = load();

/** The addon for code that can't do without it. */
export function need(): Addon {
  if (addon === undefined) throw new Error(`The native addon is missing: ${unavailable}`);
  return addon;
}

/** A pool in native memory, known to this thread's addon. */
export interface NativePool {
  pool: Pool;
  handle: number;
  /** [1]: errno of the last packet call that stopped early */
  status: Int32Array;
}

export function nativePool(slots: number, packets: number = slots * 16): NativePool {
  const native = need();
  const slab = native.allocate(slots * SLOT_BYTES);
  const columns = new Int32Array(native.allocate(4 * columnCells(packets)));
  const status = new Int32Array(2);
  return {
    pool: new Pool(slots, packets, { slab, columns }),
    handle: native.attach(slab, SLOT_BYTES, columns, packets, status),
    status,
  };
}
