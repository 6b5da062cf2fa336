/** A TCP connection to a destination, and the lines that come over it. */
import { connect, type Socket } from 'node:net';
import { onAbort, type Target } from '../check.js';

/** Resolves when it is open. When the signal aborts it is destroyed, with the signal's reason. */
export function dial({ address, port }: Target, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    const leave = onAbort(signal, (reason) => socket.destroy(reason));
    socket.once('connect', () => resolve(socket));
    // Whoever reads hears of a later error; that it must be listened to is Node's rule.
    socket.on('error', reject);
    socket.once('close', leave);
  });
}

/** Bytes of a line, and with it of what is kept. */
const LINE_MAX = 4096;

/** Lines without their ends, until the other side closes. */
export async function* lines(socket: Socket): AsyncGenerator<string, void> {
  let rest = '';
  for await (const chunk of socket) {
    rest += (chunk as Buffer).toString('latin1');
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      yield rest.slice(0, end).replace(/\r$/, '');
      rest = rest.slice(end + 1);
    }
    if (rest.length > LINE_MAX) throw new Error(`a line of more than ${LINE_MAX} bytes`);
  }
}
