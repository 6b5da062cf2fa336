/** The client's end of the control socket. */
import { type IncomingMessage, request } from 'node:http';
import { type Answer, Failure, NOBODY_ANSWERS, Refused } from '../failure.js';
import { LOST_TRAILER } from './exchange.js';

export interface Ask {
  method?: 'GET' | 'PUT' | 'POST';
  query?: Readonly<Record<string, string>>;
  body?: string;
  signal?: AbortSignal;
  /** instead of a body: one that stays open until then, which ends an answer that goes on (streams.ts) */
  until?: AbortSignal;
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
        ...(ask.until === undefined ? {} : { headers: { 'transfer-encoding': 'chunked' } }),
      },
      done,
    );
    sent.on('error', (error: NodeJS.ErrnoException) => failed(connectFailure(socket, error)));
    if (ask.until === undefined) sent.end(ask.body);
    else {
      sent.flushHeaders();
      ask.until.addEventListener('abort', () => sent.end());
    }
  });
  if (response.statusCode === 200) return response;
  throw new Refused(refusal(await text(response), response.statusCode ?? 0));
}

/** How long after SIGINT the data plane may take to send what it has. */
const FAREWELL_MS = 5000;

/**
 * Reads an answer that goes on, until its end or the user's: SIGINT and SIGTERM are no failure, and what had been
 * recorded until then still comes, but for a second one. Returns how many records were lost, null when it wasn't said.
 */
export async function follow(
  socket: string,
  path: string,
  query: Readonly<Record<string, string>>,
  read: (response: IncomingMessage) => Promise<void>,
): Promise<number | null> {
  const enough = new AbortController();
  const hard = new AbortController();
  let answered = false;
  let patience: NodeJS.Timeout | undefined;
  const stop = () => {
    if (!answered || enough.signal.aborted) return hard.abort();
    patience = setTimeout(() => hard.abort(), FAREWELL_MS);
    enough.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  try {
    const response = await open(socket, path, { query, signal: hard.signal, until: enough.signal });
    answered = true;
    await read(response);
    const lost = response.trailers[LOST_TRAILER];
    return lost === undefined ? null : Number(lost);
  } catch (error) {
    if (hard.signal.aborted) return null;
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ECONNRESET'
      ? new Failure(`The data plane at ${socket} ended without a farewell.`)
      : error;
  } finally {
    clearTimeout(patience);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop);
    hard.abort();
  }
}

/** What is said at the end of a trace or capture that missed some; '' when it didn't. */
export function lostText(lost: number | null): string {
  if (lost === 0) return '';
  if (lost === null) return 'how many records were lost the data plane did not say';
  const records = lost === 1 ? '1 record was' : `${lost} records were`;
  return `${records} lost; a narrower filter or fewer bytes of each (capture --snaplen) let it keep up`;
}

/** Sends a request and reads the JSON it gets. */
export async function ask<T>(socket: string, path: string, options: Ask = {}): Promise<T> {
  return JSON.parse(await text(await open(socket, path, options))) as T;
}

/** The values of a list (list.ts), as they come. */
export async function* askList<T>(socket: string, path: string): AsyncGenerator<T, void, undefined> {
  const response = await open(socket, path, { query: { lines: '' } });
  for await (const line of lines(response)) yield JSON.parse(line) as T;
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

function refusal(body: string, status: number): Answer {
  try {
    return (JSON.parse(body) as { error: Answer }).error;
  } catch {
    return { code: 'UNKNOWN', message: `The data plane answered with status ${status}.` };
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
