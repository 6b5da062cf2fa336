/**
 * One process at a time, among those that want the same path: whoever has the turn may look at the path, remove what
 * is stale and put its own there, and nobody does so meanwhile. Nothing of it can outlive its process.
 *
 *     1. publish  a listening socket beside the path, under a name that nobody else ever has
 *     2. look     for the others': those that nobody accepts at are of the dead, and are removed
 *     3. alone    it is our turn; of two that look, at least one has been published before the other looked
 *     4. else     the lowest name stays and waits for the rest; the others take theirs back and try again
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../failure.js';

const PATIENCE_MS = 10_000;
/** Longest pause of who has taken back its own. */
const PAUSE_MS = 20;

/** Runs `work` in our turn at `path`, whose directory exists. */
export async function inTurn<T>(path: string, work: () => Promise<T>): Promise<T> {
  const folder = openSync(dirname(path), 'r');
  // Through the descriptor, and with a hash, every name is short enough for a socket, however long the path is.
  const at = (name: string) => `/proc/self/fd/${folder}/${name}`;
  const prefix = `.turn-${createHash('sha256').update(basename(path)).digest('hex').slice(0, 16)}-`;
  const own = `${prefix}${randomBytes(6).toString('hex')}`;
  const server = createServer((socket) => socket.destroy());
  try {
    // It is listened at before it has its name, so that nobody takes it for a dead one's.
    server.listen(at(`.${own}`));
    await once(server, 'listening');
    const deadline = performance.now() + PATIENCE_MS;
    for (let published = false; ; ) {
      if (!published) renameSync(at(`.${own}`), at(own));
      published = true;
      const others = await living(at, prefix, own);
      if (others.length === 0) return await work();
      if (performance.now() > deadline) {
        throw new Failure(
          `Other data planes are starting at ${path}; wait for them, or choose another --socket.`,
        );
      }
      if (others.some((other) => other < own)) {
        renameSync(at(own), at(`.${own}`));
        published = false;
      }
      await sleep(1 + Math.random() * PAUSE_MS);
    }
  } finally {
    for (const name of [own, `.${own}`]) rmSync(at(name), { force: true });
    server.close();
    await once(server, 'close');
    closeSync(folder);
  }
}

async function living(at: (name: string) => string, prefix: string, own: string): Promise<string[]> {
  const names = readdirSync(at('.')).filter((name) => name.startsWith(prefix) && name !== own);
  const alive = await Promise.all(names.map((name) => isListening(at(name))));
  names.forEach((name, i) => {
    if (alive[i] === 'refused') rmSync(at(name), { force: true });
  });
  return names.filter((_, i) => alive[i] === 'yes');
}

/** Any other error, such as a full backlog, doesn't mean that nobody listens. */
const SAYS: Readonly<Record<string, 'refused' | 'gone' | 'denied'>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'gone',
  EACCES: 'denied',
  EPERM: 'denied',
};

/** Whether a process listens at the path: 'gone' there is no such file, 'denied' it is another user's. */
export function isListening(path: string): Promise<'yes' | 'refused' | 'gone' | 'denied'> {
  return new Promise((done) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      done('yes');
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => done(SAYS[code ?? ''] ?? 'yes'));
  });
}
