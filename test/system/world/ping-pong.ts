/**
 * Datagrams one after the other, each sent once the one before has come back:
 *   serve PORT                                       prints "ready"; sends back what it gets, UDP of both families
 *   ask ADDRESS PORT COUNT BYTES [INTERVAL_MS]       from one port; prints how many came back
 */
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';

const [verb, first = '', second = '', third = '', fourth = '', fifth = '0'] = process.argv.slice(2);

if (verb === 'serve') {
  const socket = createSocket('udp6');
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind(Number(first), '::', () => console.log('ready'));
} else {
  const socket = createSocket(first.includes(':') ? 'udp6' : 'udp4');
  const payload = Buffer.alloc(Number(fourth), 'x');
  let back = 0;
  await new Promise<void>((done) => socket.connect(Number(second), first, done));
  for (let i = 0; i < Number(third); i++) {
    const answered = new Promise((resolve) => socket.once('message', () => resolve(true)));
    socket.send(payload);
    if ((await Promise.race([answered, sleep(3000, false, { ref: true })])) !== true) break;
    back++;
    await sleep(Number(fifth));
  }
  console.log(back);
  socket.close();
  process.exit(0);
}
