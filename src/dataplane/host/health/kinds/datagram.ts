/** One datagram to a destination, and what comes back to it. */
import { createSocket } from 'node:dgram';
import { onAbort, type Target } from '../check.js';

/**
 * Resolves when `accept` takes an answer; what it throws is what is wrong. Rejects when the destination's host says that the
 * port is unreachable.
 */
export function exchange(
  { address, port }: Target,
  payload: Uint8Array,
  signal: AbortSignal,
  accept: (answer: Buffer) => boolean,
): Promise<void> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  let leave = () => {};
  const exchanged = new Promise<void>((resolve, reject) => {
    leave = onAbort(signal, reject);
    socket.on('error', reject);
    socket.on('message', (answer) => {
      try {
        if (accept(answer)) resolve();
      } catch (error) {
        reject(error as Error);
      }
    });
    // Connected, so that only the destination's answers come, and ICMP errors do. A callback would get connect's errors.
    socket.once('connect', () => {
      if (!signal.aborted) socket.send(payload);
    });
    socket.connect(port, address);
  });
  return exchanged.finally(() => {
    leave();
    socket.close();
  });
}
