/**
 * A poor stretch of underlay: a host in the middle that hands VXLAN datagrams on between two others, and loses,
 * duplicates and reorders some of them, the same ones for the same seed.
 *   relay PORT SEED NEAR NEAR-PEER FAR FAR-PEER   prints "ready"; at SIGTERM {"passed","lost","reordered","doubled"}
 */
import { createSocket, type Socket } from 'node:dgram';
import { Random } from '../../../src/dataplane/core/random.js';

const LOSS = 0.01;
const REORDER = 0.01;
const DOUBLE = 0.002;
/** datagrams that pass one that is held back */
const HELD_FOR = 8;
/** and the longest that it waits for them */
const HELD_MS = 5;

const [port, seed, near, nearPeer, far, farPeer] = process.argv.slice(2) as [
  string,
  ...[string, string, string, string, string],
];
const random = new Random(Number(seed));
const counts = { passed: 0, lost: 0, reordered: 0, doubled: 0 };

function open(address: string): Promise<Socket> {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, recvBufferSize: 16 << 20, sendBufferSize: 16 << 20 });
  return new Promise((resolve) => socket.bind(Number(port), address, () => resolve(socket)));
}

function relay(from: Socket, to: Socket, peer: string): void {
  let held: { datagram: Buffer; left: number; timer: NodeJS.Timeout } | undefined;
  const send = (datagram: Buffer) => to.send(datagram, Number(port), peer);
  const release = () => {
    if (held === undefined) return;
    clearTimeout(held.timer);
    send(held.datagram);
    held = undefined;
  };
  from.on('message', (datagram) => {
    if (random.chance(LOSS)) {
      counts.lost++;
      return;
    }
    if (held === undefined && random.chance(REORDER)) {
      counts.reordered++;
      held = { datagram, left: HELD_FOR, timer: setTimeout(release, HELD_MS) };
      return;
    }
    counts.passed++;
    send(datagram);
    if (random.chance(DOUBLE)) {
      counts.doubled++;
      send(datagram);
    }
    if (held !== undefined && --held.left === 0) release();
  });
}

const [a, b] = [await open(near), await open(far)];
relay(a, b, farPeer);
relay(b, a, nearPeer);
process.once('SIGTERM', () => {
  console.log(JSON.stringify(counts));
  process.exit(0);
});
console.log('ready');
