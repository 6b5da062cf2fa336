/** Sends hostile datagrams as fast as it can: attacker SEED COUNT VNI ADDRESS PORT MAC…, prints how many left. */
import { createSocket } from 'node:dgram';
import { Hostile } from './hostile.js';

const BURST = 100;

const [seed, count, vni, address, port, ...macs] = process.argv.slice(2) as [
  ...[string, string, string, string, string],
  ...string[],
];
const hostile = new Hostile(Number(seed), macs);
const socket = createSocket({
  type: address.includes(':') ? 'udp6' : 'udp4',
  sendBufferSize: 8 << 20,
});
socket.connect(Number(port), address, async () => {
  let left = 0;
  for (let sent = 0; sent < Number(count); sent += BURST) {
    const burst = Array.from({ length: BURST }, () => Buffer.from(hostile.datagram(Number(vni))));
    const outcomes = burst.map(
      (datagram) =>
        new Promise<boolean>((resolve) => socket.send(datagram, (error) => resolve(error === null))),
    );
    left += (await Promise.all(outcomes)).filter(Boolean).length;
  }
  console.log(left);
  socket.close();
});
