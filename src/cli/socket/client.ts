/** The client's end of the control socket. */
import { type IncomingMessage, request } from 'node:http';
import { Failure, NOBODY_ANSWERS } from '../failure.js';

export interface Ask {
  method?: 'GET' | 'PUT' | 'POST';
  query?: Readonly<Record<string, string>>;
  body?: string;
  signal?: AbortSignal;
}

/** Sends a request and gives the response once its headers are there. Throws Failure with the server's own words. */
export async function open(socket: string, path: string, ask: Ask = {}): Promise<IncomingMessage> {
  const query = ask.query === undefined ? '' : `?${new URLSearchParams(ask.query)}`;
  const response = await new Promise<IncomingMessage>((done, failed) => {
    const sent = request(
      {
        socketPath: socket,
        path: `${path}${query}`,
        method: ask.method ?? 'GET',
        agent: false,
        ...(ask.signal === undefined ? {} : { signal: ask.signal }),
      },
      done,
    );
    sent.on('error', (error: NodeJS.ErrnoException) => failed(connectFailure(socket, error)));
    sent.end(ask.body);
  });
  if (response.statusCode === 200) return response;
  throw new Failure(refusal(await text(response), response.statusCode ?? 0));
}

/** Reads an answer that goes on, until its end or the user's: SIGINT and SIGTERM are no failure. */
export async function follow(
  socket: string,
  path: string,
  query: Readonly<Record<string, string>>,
  read: (response: IncomingMessage) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    await read(await open(socket, path, { query, signal: stop.signal }));
  } catch (error) {
    if (stop.signal.aborted) return;
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ECONNRESET'
      ? new Failure(`The data plane at ${socket} ended without a farewell.`)
      : error;
  }
}

/** Sends a request and reads the JSON it gets. */
export async function ask<T>(socket: string, path: string, options: Ask = {}): Promise<T> {
  return JSON.parse(await text(await open(socket, path, options))) as T;
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** The lines of a response as they come. */
export async function* lines(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    const whole = (rest + chunk).split('\n');
    rest = whole.pop() ?? '';
    yield* whole;
  }
}

function refusal(body: string, status: number): string {
  try {
    return (JSON.parse(body) as { error: { message: string } }).error.message;
  } catch {
    return `The data plane answered with status ${status}.`;
  }
}

function connectFailure(socket: string, error: NodeJS.ErrnoException): Error {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new Failure(
        `No data plane answers at ${socket}; start one with 'viaduct dataplane --config FILE', or name its socket with --socket or VIADUCT_SOCKET.`,
        NOBODY_ANSWERS,
      );
    case 'EACCES':
    case 'EPERM':
      return new Failure(`${socket} may not be opened by this user; try with sudo.`, NOBODY_ANSWERS);
    default:
      return error;
  }
}
