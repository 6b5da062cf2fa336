/**
 * A stream there and back:
 *   serve PORT                    prints "ready"; sends back what it is sent, on each connection
 *   exchange ADDRESS PORT BYTES   sends so many random bytes; prints "right" when they came back, or what went wrong
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';

const [verb, first = '', second = '', third = ''] = process.argv.slice(2);

if (verb === 'serve') {
  createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => client.destroy());
    client.pipe(client);
  }).listen(Number(first), '::', () => console.log('ready'));
} else {
  const data = randomBytes(Number(third));
  const parts: Buffer[] = [];
  const server = connect({ host: first, port: Number(second), timeout: 10_000 }, () => server.end(data));
  server.on('data', (part) => parts.push(part));
  server.on('error', (error: NodeJS.ErrnoException) => console.log(error.code));
  server.on('timeout', () => server.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })));
  server.on('end', () => console.log(Buffer.concat(parts).equals(data) ? 'right' : 'wrong'));
}
