/**
 * HTTP bodies, each end a process in a workload's namespace:
 *   serve ADDRESS PORT   prints "ready"; GET /SEED/MEBIBYTES is a body that no two seeds share
 *   fetch URL            prints the SHA-256 of what came
 *   send URL             PUTs the body of that path; prints the SHA-256 that the server has of it
 */
import { createCipheriv, createHash } from 'node:crypto';
import { request as ask, createServer, get, type IncomingMessage } from 'node:http';
import type { Writable } from 'node:stream';

const MEBIBYTE = 1 << 20;

/** Writes the body of a path to its end. */
function write(path: string, to: Writable): void {
  const [seed, mebibytes] = numbers(path);
  const zeros = Buffer.alloc(MEBIBYTE);
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  let left = mebibytes!;
  const more = () => {
    while (left-- > 0) if (!to.write(cipher.update(zeros))) return void to.once('drain', more);
    to.end();
  };
  more();
}

/** Seed and mebibytes of a path. */
const numbers = (path: string): number[] => path.split('/').slice(1).map(Number);

async function digest(of: IncomingMessage): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of of) hash.update(chunk);
  return hash.digest('hex');
}

function serve(address: string, port: number): void {
  const server = createServer(async (request, response) => {
    if (request.method === 'PUT') return void response.end(await digest(request));
    const path = request.url ?? '';
    response.writeHead(200, { 'content-length': numbers(path)[1]! * MEBIBYTE });
    write(path, response);
  });
  server.listen(port, address, () => console.log('ready'));
}

async function fetch(url: string): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, resolve).on('error', reject),
  );
  console.log(await digest(response));
}

async function send(url: string): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const { pathname } = new URL(url);
    write(pathname, ask(url, { method: 'PUT' }, resolve).on('error', reject));
  });
  let text = '';
  for await (const chunk of response) text += chunk;
  console.log(text);
}

const [verb, ...args] = process.argv.slice(2);
if (verb === 'serve') serve(args[0]!, Number(args[1]));
else if (verb === 'send') await send(args[0]!);
else await fetch(args[0]!);
