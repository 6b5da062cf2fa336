/** What this host can do for a data plane, found out by trying: throw-away devices and sockets, nothing left behind. */
import { type Addon, addon, nativePool, unavailable } from './io/native.js';
import { HEADER_BYTES, TUNNEL_HEADER_BYTES } from './io/offload/virtio.js';
import { SOCKADDR_BYTES, writeSockaddr } from './io/sockaddr.js';
import { tapOffloadBits } from './io/tap.js';
import { redirectAll } from './io/tcx/programs.js';
import { TUN_F_UDP_TUNNEL_GSO, TUN_F_UDP_TUNNEL_GSO_CSUM } from './io/tunnel.js';

/** '' where the host can, else why it can't. */
export interface HostProbe {
  /** the addon, without which there is neither TAP nor fast underlay */
  addon: string;
  /** workload interfaces */
  tap: string;
  /** TCP super-packets on them */
  tso: string;
  /** UDP super-packets on them (Linux 6.2) */
  uso: string;
  /** encapsulated super-packets through a TAP (Linux 6.17) */
  tunnel: string;
  /** programs at tcx (Linux 6.6) */
  tcx: string;
  /** UDP_SEGMENT (Linux 4.18) */
  segment: string;
  /** UDP_GRO (Linux 5.0) */
  gro: string;
}

export function probeHost(): HostProbe {
  if (addon === undefined) {
    const lacks = 'needs the native addon';
    const none = {
      tap: lacks,
      tso: lacks,
      uso: lacks,
      tunnel: lacks,
      tcx: lacks,
      segment: lacks,
      gro: lacks,
    };
    return { addon: unavailable, ...none };
  }
  const native = addon;
  const tap = attempt(() => openTap(native, HEADER_BYTES, 0));
  const offload = (headerBytes: number, bits: number) =>
    tap === '' ? attempt(() => openTap(native, headerBytes, bits)) : 'not known until a TAP can be opened';
  const bits = (tso: boolean, uso: boolean) => tapOffloadBits({ checksum: true, tso, uso, coalesce: true });
  return {
    addon: '',
    tap,
    tso: offload(HEADER_BYTES, bits(true, false)),
    uso: offload(HEADER_BYTES, bits(false, true)),
    tunnel: offload(TUNNEL_HEADER_BYTES, bits(true, true) | TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM),
    tcx: attempt(() => native.close(native.bpfLoad(redirectAll(1), 'viaduct_probe'))),
    ...probeUdp(native),
  };
}

/** The underlay that `device: auto` takes on an Ethernet interface. */
export function likelyUnderlay(probe: HostProbe): 'tunnel' | 'udp' | 'dgram' {
  if (probe.addon !== '') return 'dgram';
  return probe.tunnel === '' && probe.tcx === '' ? 'tunnel' : 'udp';
}

function attempt(work: () => void): string {
  try {
    work();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

function openTap(native: Addon, headerBytes: number, offloads: number): void {
  const { fd } = native.openTap({
    name: 'viaductprobe%d',
    netns: '',
    tun: false,
    multiQueue: false,
    headerBytes,
    offloads,
    sendBuffer: 0,
  });
  native.close(fd);
}

const DATAGRAM_BYTES = 100;
const PROBE_MS = 200;

/** Sends two datagrams in one segmented send over loopback and looks how they arrive. */
function probeUdp(native: Addon): { segment: string; gro: string } {
  const open: number[] = [];
  const options = {
    netns: '',
    reusePort: false,
    mtuDiscover: 0,
    receiveBuffer: 1 << 16,
    sendBuffer: 1 << 16,
  };
  try {
    const { fd, port } = native.openUdp({ ...options, family: 4, address: '127.0.0.1', port: 0, gro: true });
    open.push(fd);
    const epoll = native.epollCreate();
    open.push(epoll);
    native.epollAdd(epoll, fd, 0);
    const { pool, handle, status } = nativePool(4);
    const sent = pool.take();
    pool.length[sent] = 2 * DATAGRAM_BYTES;
    pool.segment[sent] = DATAGRAM_BYTES;
    pool.vtep[sent] = 0;
    const to = new Uint8Array(SOCKADDR_BYTES);
    writeSockaddr(to, 0, '127.0.0.1', port);
    if (native.udpTransmit(handle, fd, to, Int32Array.of(sent), 0, 1) !== 1) {
      const why = `the kernel refused it (errno ${status[1]})`;
      return { segment: why, gro: 'needs UDP_SEGMENT' };
    }
    native.wait(epoll, new Int32Array(1), PROBE_MS, 0);
    const received = pool.take();
    if (native.udpReceive(handle, fd, Int32Array.of(received), 1) !== 1) {
      return { segment: '', gro: 'nothing arrived over loopback; is it up?' };
    }
    const glued = pool.segment[received] === DATAGRAM_BYTES;
    return { segment: '', gro: glued ? '' : 'datagrams sent together arrive one by one' };
  } catch (error) {
    const why = (error as Error).message;
    return { segment: why, gro: why };
  } finally {
    for (const fd of open) native.close(fd);
  }
}
