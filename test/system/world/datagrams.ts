/**
 * Datagrams of any size, there and back, whatever the MTU makes of them:
 *   serve PORT                          prints "ready"; answers each datagram of both families with its own bytes
 *   exchange ADDRESS PORT BYTES COUNT   one after the other, each sent again when it is late; prints how many came back as
 *                                       they were, and how many were sent
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const [verb, first = '', second = '', third = '', fourth = ''] = process.argv.slice(2);
const BUFFER = 4 << 20;

if (verb === 'serve') {
  const socket = createSocket({ type: 'udp6', recvBufferSize: BUFFER, sendBufferSize: BUFFER });
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind(Number(first), '::', () => console.log('ready'));
} else {
  const type = first.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, recvBufferSize: BUFFER, sendBufferSize: BUFFER });
  let sent = 0;
  let right = 0;
  const exchange = (left: number) => {
    if (left === 0) {
      console.log(`${right} of ${sent}`);
      socket.close();
      return;
    }
    const data = randomBytes(Number(third));
    const ask = () => {
      sent++;
      socket.send(data);
    };
    const again = setInterval(ask, 500);
    const giveUp = setTimeout(() => next(), 3000);
    const next = () => {
      clearInterval(again);
      clearTimeout(giveUp);
      socket.removeAllListeners('message');
      exchange(left - 1);
    };
    socket.on('message', (answer) => {
      if (answer.equals(data)) right++;
      next();
    });
    ask();
  };
  socket.connect(Number(second), first, () => exchange(Number(fourth)));
}
