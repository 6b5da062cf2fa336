/**
 * Answers that go on until somebody has enough: traced packets as JSON lines, captured frames as a pcap file. Who sends
 * a body with the request has enough when that ends, and gets what was recorded until then; how many records were
 * missed stands in the trailer `viaduct-lost`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../dataplane/face.js';
import { pcapHeader, pcapRecord, type TraceEvent, type Watch } from '../../dataplane/report.js';
import { compileFilter } from '../pcap/filter.js';
import { drained } from './drained.js';
import { type Exchange, LOST_TRAILER, Refusal } from './exchange.js';

/** Enough for the headers that a trace shows. */
const TRACE_SNAP = 128;

/** A super-packet whole. */
export const CAPTURE_SNAP = 262144;

/** How long a trace of so many packets waits for further hops of the last one. */
const SETTLE_MS = 250;

/** A traced hop as it goes over the socket: the frame's bytes in hexadecimal. */
export type TraceLine = Omit<TraceEvent, 'frame'> & { frame: string };

/** GET /v1/trace?filter=…&count=N: all hops of N packets. */
export async function traceStream(exchange: Exchange): Promise<void> {
  const { running, logger, query, request, response, signal } = exchange;
  const filter = await compileFilter(query.get('filter') ?? '');
  const count = whole(query, 'count', Number.POSITIVE_INFINITY);
  const snapLength = whole(query, 'snaplen', TRACE_SNAP);
  const enough = enoughOf(request);
  const packets = new Set<number>();
  let settle: NodeJS.Timeout | undefined;
  const options = { filter, snapLength };
  const events = running.dataplane.trace(options, AbortSignal.any([signal, enough.signal]));
  try {
    await pump(events, logger, response, 'application/x-ndjson', (event) => {
      if (!packets.has(event.packet)) {
        if (packets.size >= count) return undefined;
        packets.add(event.packet);
      }
      if (packets.size >= count) {
        clearTimeout(settle);
        settle = setTimeout(() => enough.abort(), SETTLE_MS);
      }
      const line: TraceLine = { ...event, frame: Buffer.from(event.frame).toString('hex') };
      return `${JSON.stringify(line)}\n`;
    });
  } finally {
    clearTimeout(settle);
    enough.abort();
  }
}

/** GET /v1/capture?filter=…&count=N&snaplen=BYTES */
export async function captureStream(exchange: Exchange): Promise<void> {
  const { running, logger, query, request, response, signal } = exchange;
  const filter = await compileFilter(query.get('filter') ?? '');
  const count = whole(query, 'count', Number.POSITIVE_INFINITY);
  const snapLength = whole(query, 'snaplen', CAPTURE_SNAP);
  const enough = enoughOf(request);
  let frames = 0;
  const captured = running.dataplane.capture(
    { filter, snapLength },
    AbortSignal.any([signal, enough.signal]),
  );
  const header = pcapHeader(snapLength);
  const type = 'application/vnd.tcpdump.pcap';
  await pump(
    captured,
    logger,
    response,
    type,
    (frame) => {
      if (frames >= count) return undefined;
      if (++frames >= count) enough.abort();
      return pcapRecord(frame.time, frame.frame, frame.length);
    },
    header,
  );
}

/** Aborted when the request's body ends, if it has one. */
function enoughOf(request: IncomingMessage): AbortController {
  const enough = new AbortController();
  if (request.headers['transfer-encoding'] !== undefined || request.headers['content-length'] !== undefined) {
    request.once('end', () => enough.abort()).resume();
  }
  return enough;
}

/** Sends what `encode` makes of each item, no faster than the client reads. The headers go once the source is watched. */
async function pump<T>(
  source: Watch<T>,
  logger: Logger,
  response: ServerResponse,
  type: string,
  encode: (item: T) => string | Uint8Array | undefined,
  preamble?: Uint8Array,
): Promise<void> {
  const items = source[Symbol.asyncIterator]();
  let next = items.next();
  response.setHeader('content-type', type);
  response.setHeader('trailer', LOST_TRAILER);
  response.flushHeaders();
  if (preamble !== undefined) response.write(preamble);
  try {
    for (let item = await next; !item.done; item = await next) {
      const encoded = encode(item.value);
      if (encoded !== undefined && !response.write(encoded) && !response.destroyed) {
        await drained(response);
      }
      next = items.next();
    }
  } finally {
    await items.return?.();
    response.addTrailers({ [LOST_TRAILER]: String(source.lost) });
    response.end();
    if (source.lost > 0) {
      logger.warn(
        { lost: source.lost },
        'a trace or capture missed records; a filter or --snaplen lets it keep up',
      );
    }
  }
}

function whole(query: URLSearchParams, name: string, preset: number): number {
  const text = query.get(name);
  if (text === null) return preset;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 0x7fffffff) {
    throw new Refusal(400, 'QUERY_INVALID', `${name} must be a whole number from 1 on, got '${text}'.`);
  }
  return value;
}
