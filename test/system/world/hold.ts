/**
 * Connections that are kept, and how they end:
 *   serve NAME PORT           prints "ready", and of each TCP connection "open" and at its end the error's code, or "end";
 *                             answers each datagram with its name
 *   tcp ADDRESS PORT          the same of its own; sends something at SIGUSR2
 *   udp ADDRESS PORT          one flow: asks each 100 ms, and prints who answers whenever that is another
 */
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';

const [verb, first = '', second = ''] = process.argv.slice(2);

function tell(socket: Socket): void {
  console.log('open');
  socket.on('error', (error: NodeJS.ErrnoException) => console.log(error.code));
  socket.on('end', () => console.log('end'));
  socket.resume();
}

if (verb === 'serve') {
  const socket = createSocket('udp6');
  socket.on('message', (_, from) => socket.send(first, from.port, from.address));
  socket.bind(Number(second), '::', () => {
    createServer(tell).listen(Number(second), '::', () => console.log('ready'));
  });
} else if (verb === 'tcp') {
  const socket = connect({ host: first, port: Number(second) }, () => tell(socket));
  process.on('SIGUSR2', () => socket.write('still there?'));
} else {
  const socket = createSocket(first.includes(':') ? 'udp6' : 'udp4');
  let before = '';
  socket.on('message', (data) => {
    if (String(data) !== before) console.log(data.toString());
    before = String(data);
  });
  socket.on('error', () => {});
  socket.connect(Number(second), first, () => setInterval(() => socket.send('who'), 100));
}
