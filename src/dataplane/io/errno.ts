/** The errnos that a device tells apart (asm-generic/errno.h), and the drop that each is counted under. */
import { drop } from '../core/drops.js';

export const EIO = 5;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EBADFD = 77;
export const EMSGSIZE = 90;

const EPERM = 1;
const EACCES = 13;
const ENETDOWN = 100;
const ENETUNREACH = 101;
const ENOBUFS = 105;
const EHOSTUNREACH = 113;

/** Of a datagram that a socket refused. */
export function datagramDrop(errno: number): number {
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
      return drop['underlay-busy'];
    case EMSGSIZE:
      return drop['underlay-oversize'];
    case EPERM:
    case EACCES:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
      return drop['vtep-unreachable'];
    default:
      return drop['underlay-error'];
  }
}

/** Of a frame that a TAP refused; EIO is an interface that is down. */
export function tapDrop(errno: number): number {
  return errno === EAGAIN || errno === ENOBUFS || errno === EIO ? drop['tap-busy'] : drop['tap-error'];
}
