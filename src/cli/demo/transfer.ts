/**
 * Both ends of the demo's HTTP transfer, each a process in a workload's namespace:
 *   serve ADDRESS PORT BYTES   prints "ready", answers every request with the same body and its SHA-256 in a header
 *   fetch URL                  prints "now MB/s" every 50 ms, at the end {"bytes","milliseconds","sha256","matches"}
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, get, type IncomingMessage } from 'node:http';

const BLOCK = 4 << 20;

function serve(address: string, port: number, bytes: number): void {
  const block = randomBytes(BLOCK);
  const blocks = Math.ceil(bytes / BLOCK);
  const hash = createHash('sha256');
  for (let i = 0; i < blocks; i++) hash.update(block);
  const headers = { 'content-length': blocks * BLOCK, 'x-sha256': hash.digest('hex') };
  const server = createServer((_, response) => {
    response.writeHead(200, headers);
    let left = blocks;
    const more = () => {
      while (left-- > 0) if (!response.write(block)) return void response.once('drain', more);
      response.end();
    };
    more();
  });
  server.listen(port, address, () => console.log('ready'));
}

/** The clock stops with the last byte; hashing comes after it, since it is no part of the way. */
async function fetch(url: string): Promise<void> {
  const started = performance.now();
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, resolve).on('error', reject),
  );
  const chunks: Buffer[] = [];
  let bytes = 0;
  let noted = { at: started, bytes };
  for await (const chunk of response) {
    chunks.push(chunk);
    bytes += chunk.length;
    const at = performance.now();
    if (at - noted.at < 50) continue;
    console.log(`now ${((bytes - noted.bytes) / 1000 / (at - noted.at)).toFixed(0)}`);
    noted = { at, bytes };
  }
  const milliseconds = performance.now() - started;
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  const sha256 = hash.digest('hex');
  console.log(
    JSON.stringify({ bytes, milliseconds, sha256, matches: sha256 === response.headers['x-sha256'] }),
  );
}

const [verb, ...args] = process.argv.slice(2);
if (verb === 'serve') serve(args[0]!, Number(args[1]), Number(args[2]));
else await fetch(args[0]!);
