/**
 * Servers that say who they are and whom they see:
 *   serve NAME PORT [ADDRESS…]   prints "ready"; TCP and UDP of both families answer "NAME CLIENT", by UDP from the addresses
 *   ask tcp|udp ADDRESS PORT [FROM]   prints the answer; or the error's code
 *   many ADDRESS PORT COUNT      connects so many times at once, prints how many were answered within two seconds
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

const [verb, first = '', second = '', third = '', ...more] = process.argv.slice(2);
const [own] = more;
const plain = (address: string) => address.replace('::ffff:', '');

if (verb === 'serve') {
  const port = Number(second);
  const bound = (third === '' ? ['::'] : [third, ...more]).map(
    (address) =>
      new Promise<void>((resolve) => {
        const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
        socket.on('message', (_, from) =>
          socket.send(`${first} ${plain(from.address)}`, from.port, from.address),
        );
        socket.bind(port, address, resolve);
      }),
  );
  await Promise.all(bound);
  createServer((client) => client.end(`${first} ${plain(client.remoteAddress ?? '')}`)).listen(
    port,
    '::',
    () => console.log('ready'),
  );
} else if (verb === 'many') {
  let answered = 0;
  const clients = Array.from({ length: Number(third) }, () => {
    const client = connect({ host: first, port: Number(second) });
    client.on('data', () => answered++);
    return client.on('error', () => {});
  });
  setTimeout(() => {
    console.log(answered);
    for (const client of clients) client.destroy();
  }, 2000);
} else if (first === 'tcp') {
  const client = connect({
    ...{ host: second, port: Number(third), timeout: 5000 },
    ...(own !== undefined && { localAddress: own }),
  });
  client.on('data', (data) => console.log(String(data)));
  client.on('error', (error: NodeJS.ErrnoException) => console.log(error.code));
  client.on('timeout', () => client.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })));
} else {
  const socket = createSocket(second.includes(':') ? 'udp6' : 'udp4');
  const end = (word: string) => {
    console.log(word);
    socket.close();
    clearTimeout(late);
  };
  const late = setTimeout(() => end('ETIMEDOUT'), 3000);
  socket.on('message', (data) => end(String(data)));
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.bind(0, own, () => socket.connect(Number(third), second, () => socket.send('who')));
}
