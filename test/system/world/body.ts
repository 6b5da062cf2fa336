/**
 * HTTP bodies, each end a process in a workload's namespace:
 *   serve ADDRESS PORT   prints "ready"; GET /SEED/MEBIBYTES is a body that no two seeds share
 *   fetch URL            prints the SHA-256 of what came
 */
import { createCipheriv, createHash } from 'node:crypto';
import { createServer, get, type IncomingMessage } from 'node:http';

const MEBIBYTE = 1 << 20;

function serve(address: string, port: number): void {
  const zeros = Buffer.alloc(MEBIBYTE);
  const server = createServer((request, response) => {
    const [, seed, mebibytes] = (request.url ?? '').split('/').map(Number);
    const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
    response.writeHead(200, { 'content-length': mebibytes! * MEBIBYTE });
    let left = mebibytes!;
    const more = () => {
      while (left-- > 0) if (!response.write(cipher.update(zeros))) return void response.once('drain', more);
      response.end();
    };
    more();
  });
  server.listen(port, address, () => console.log('ready'));
}

async function fetch(url: string): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, resolve).on('error', reject),
  );
  const hash = createHash('sha256');
  for await (const chunk of response) hash.update(chunk);
  console.log(hash.digest('hex'));
}

const [verb, ...args] = process.argv.slice(2);
if (verb === 'serve') serve(args[0]!, Number(args[1]));
else await fetch(args[0]!);
