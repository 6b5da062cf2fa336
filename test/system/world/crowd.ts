/**
 * Many clients at once, each of which asks ten times:
 *   serve NAME PORT                   prints "ready"; answers every line, and every datagram, with its name
 *   tcp|udp ADDRESS PORT COUNT        prints how many had all their answers from each server, as JSON; others are under
 *                                     their error's code, or "mixed"
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

const [verb = '', first = '', second = '', third = ''] = process.argv.slice(2);
const ROUNDS = 10;
const LATE_MS = 20_000;

/** One client: asks again at each answer; who answered, or what went wrong. */
type Client = (heard: (name: string) => boolean, failed: (code: string) => void) => () => void;

const overTcp: Client = (heard, failed) => {
  const socket = connect({ host: first, port: Number(second) }, () => socket.write('who'));
  socket.on('data', (data) => {
    if (heard(String(data))) socket.write('who');
  });
  socket.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
  socket.on('end', () => failed('end'));
  return () => socket.destroy();
};

const overUdp: Client = (heard, failed) => {
  const socket = createSocket(first.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data) => {
    if (heard(String(data))) socket.send('who');
  });
  socket.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
  socket.connect(Number(second), first, () => socket.send('who'));
  return () => socket.close();
};

function ask(client: Client): Promise<string> {
  return new Promise((resolve) => {
    const names: string[] = [];
    const end = (word: string) => {
      clearTimeout(late);
      close();
      resolve(word);
    };
    const late = setTimeout(() => end('ETIMEDOUT'), LATE_MS);
    const close = client((name) => {
      names.push(name);
      if (names.length === ROUNDS) end(names.every((each) => each === name) ? name : 'mixed');
      return names.length < ROUNDS;
    }, end);
  });
}

if (verb === 'serve') {
  const socket = createSocket('udp6');
  socket.on('message', (_, from) => socket.send(first, from.port, from.address));
  socket.bind(Number(second), '::', () => {
    const server = createServer((client) => {
      client.on('data', () => client.write(first));
      client.on('error', () => {});
    });
    server.listen({ port: Number(second), host: '::', backlog: 4096 }, () => console.log('ready'));
  });
} else {
  const client = verb === 'tcp' ? overTcp : overUdp;
  const words = await Promise.all(Array.from({ length: Number(third) }, () => ask(client)));
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  console.log(JSON.stringify(counts));
}
