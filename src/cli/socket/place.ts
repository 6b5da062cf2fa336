/** The control socket's file: where it is, whether somebody answers there, and who may open it. */
import { once } from 'node:events';
import { chmodSync, existsSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname, resolve } from 'node:path';
import { Failure } from '../failure.js';
import { inTurn, isListening } from './turn.js';

export const DEFAULT_SOCKET = '/run/viaduct/dataplane.sock';

/** sockaddr_un has room for 107 bytes and a zero. */
const PATH_MAX_BYTES = 107;

export function socketPath(option: string | undefined): string {
  return resolve(option || process.env.VIADUCT_SOCKET || DEFAULT_SOCKET);
}

/** Whether a process accepts connections at the path; what can't be asked isn't dead. */
export async function answers(path: string): Promise<boolean> {
  const said = await isListening(path);
  return said === 'yes' || said === 'denied';
}

/** Makes the directory that the socket is to be in. */
function makeFolder(path: string): void {
  if (Buffer.byteLength(path) > PATH_MAX_BYTES) {
    throw new Failure(
      `The socket path ${path} is longer than ${PATH_MAX_BYTES} bytes; choose a shorter one.`,
    );
  }
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw new Failure(
      `${dirname(path)} can't be made (${(error as Error).message}); run as root, or choose another --socket.`,
    );
  }
}

/** Makes the path free to listen at, in our turn: takes over a socket that nobody answers at, refuses all else. */
async function claim(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Failure(`${path} exists and is not a socket; remove it or choose another --socket.`);
  if (await answers(path)) {
    throw new Failure(`Another data plane answers at ${path}; stop it, or give this one its own --socket.`);
  }
  unlinkSync(path);
}

/** Listens, with mode 0600. The file goes when the server closes. */
export async function listen(server: Server, path: string): Promise<void> {
  makeFolder(path);
  try {
    await inTurn(path, async () => {
      await claim(path);
      server.listen(path);
      // It is bound by now, or an error is on its way; nobody has been let in yet.
      if (existsSync(path)) chmodSync(path, 0o600);
      await once(server, 'listening');
    });
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(
      `${path} can't be made (${(error as Error).message}); run as root, or choose another --socket.`,
    );
  }
}

/** Removes the socket, if it is still this one, when the process exits without closing its server. */
export function removeAtExit(path: string): void {
  const { ino } = lstatSync(path);
  process.once('exit', () => {
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) unlinkSync(path);
  });
}
