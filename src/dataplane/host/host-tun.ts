/** A TUN device of the host's own side: what is written to it, the host routes as if it had just arrived. */
import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { need } from '../io/native.js';
import { HEADER_BYTES } from '../io/offload/virtio.js';
import { addAddress } from '../io/rtnetlink/address.js';
import { linkByName, setLink } from '../io/rtnetlink/link.js';
import { type TapOffloads, tapOffloadBits } from '../io/tap.js';

/** Number of a TUN's own routing table: this and the index of the TUN. */
const TABLE = 0x5644_0000;
const SEND_BUFFER_BYTES = 16 << 20;
/** IPv4's dummy address (RFC 7600): the kernel takes packets of others only from an interface that has one. */
const DUMMY = '192.0.0.8/32';

export interface HostTun {
  name: string;
  index: number;
  table: number;
  /** one queue an engine */
  fds: number[];
}

/** Up, and with room for the packets of every interface. Throws what the host has against it, and leaves nothing behind. */
export function openHostTun(queues: number, offloads: TapOffloads): HostTun {
  const fds: number[] = [];
  let name = 'viaduct%d';
  let index = 0;
  try {
    for (let queue = 0; queue < queues; queue++) {
      const tun = need().openTap({
        ...{ name, netns: '', tun: true, multiQueue: queues > 1, headerBytes: HEADER_BYTES },
        ...{ offloads: tapOffloadBits(offloads), sendBuffer: SEND_BUFFER_BYTES },
      });
      fds.push(tun.fd);
      ({ name, index } = tun);
    }
    // What the host forwards comes with its sender's address, also when that is one of its own.
    // Of addresses behind a mark it may have no route at all: then none must be asked for, unless it is everywhere.
    sysctl(`ipv4/conf/${name}/rp_filter`, readSysctl('ipv4/conf/all/rp_filter') === '0' ? '0' : '2');
    sysctl(`ipv4/conf/${name}/accept_local`, '1');
    addAddress('', index, DUMMY, { scope: 'host' });
    setLink('', index, { mtu: largestMtu(), up: true });
    return { name, index, table: TABLE + index, fds };
  } catch (error) {
    for (const fd of fds) need().close(fd);
    throw error;
  }
}

/** True if it was something else before. */
export function sysctl(path: string, value: string): boolean {
  if (readSysctl(path) === value) return false;
  writeFileSync(`/proc/sys/net/${path}`, value);
  return true;
}

const readSysctl = (path: string): string => readFileSync(`/proc/sys/net/${path}`, 'utf8').trim();

/** Of the interfaces of the host that are up, so that none of their packets is too big for the TUN. */
function largestMtu(): number {
  const mtus = Object.keys(networkInterfaces())
    .filter((name) => name !== 'lo')
    .map((name) => linkByName('', name)?.mtu ?? 0);
  return Math.max(1500, ...mtus);
}
