/** The control socket's server: HTTP/1.1 and JSON, so that `curl --unix-socket` works as well as `viaduct show`. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { EditRefused } from '../../dataplane/config/service-edit-types.js';
import { ConfigError, parseConfig } from '../../dataplane/config.js';
import type { Logger } from '../../dataplane/face.js';
import { VIRTUAL_SERVER_ROUTES } from '../ipvsadm/routes.js';
import type { Running } from '../running.js';
import { body } from './body.js';
import { type Exchange, type Handler, Refusal } from './exchange.js';
import { metrics } from './metrics.js';
import { captureStream, traceStream } from './streams.js';

/** Method and path → what to do; a returned value is sent as JSON. */
const ROUTES: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
  '/v1/networks': { GET: ({ running }) => running.dataplane.networks() },
  '/v1/endpoints': { GET: ({ running }) => running.dataplane.endpoints() },
  '/v1/fdb': { GET: ({ running }) => running.dataplane.fdb() },
  '/v1/neighbours': { GET: ({ running }) => running.dataplane.neighbours() },
  '/v1/vteps': { GET: ({ running }) => running.dataplane.vteps() },
  '/v1/drops': { GET: ({ running }) => running.dataplane.drops() },
  '/v1/counters': { GET: ({ running }) => running.dataplane.counters() },
  '/v1/stats': { GET: ({ running }) => running.dataplane.stats() },
  '/v1/config': {
    GET: ({ running }) => running.config,
    PUT: async ({ running, request, query }) =>
      running.apply(parseConfig(await body(request), query.get('source') ?? 'the configuration sent')),
  },
  '/v1/reload': { POST: ({ running }) => running.reload() },
  '/v1/trace': { GET: traceStream },
  '/v1/capture': { GET: captureStream },
  ...VIRTUAL_SERVER_ROUTES,
  '/metrics': {
    GET: ({ running, response }) => {
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
      response.end(metrics(running.dataplane));
    },
  },
};

/**
 * `closing` ends the streams that are open, so that the server can close. What is asked before a configuration
 * runs is answered once one does.
 */
export function createControlServer(running: Running, logger: Logger, closing: AbortSignal): Server {
  // A trace's request may stay open as long as the trace (streams.ts).
  return createServer({ requestTimeout: 0 }, (request, response) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://dataplane');
    const signal = AbortSignal.any([gone.signal, closing]);
    const exchange = { running, logger, request, response, query: searchParams, signal };
    answer(pathname, exchange).catch((error: unknown) => {
      if (gone.signal.aborted) return;
      const { status, words } = explain(error);
      if (status === 500) logger.error({ err: error, path: pathname }, 'a request failed');
      if (response.headersSent) response.destroy();
      else sendJson(response, status, { error: words });
    });
  });
}

async function answer(path: string, exchange: Exchange): Promise<void> {
  const methods = ROUTES[path];
  if (methods === undefined) {
    const known = Object.keys(ROUTES).join(' ');
    throw new Refusal(404, 'NOT_FOUND', `There is no ${path} here; there is ${known}`);
  }
  const handler = methods[exchange.request.method ?? ''];
  if (handler === undefined) {
    exchange.response.setHeader('allow', Object.keys(methods).join(', '));
    throw new Refusal(405, 'METHOD_NOT_ALLOWED', `${path} takes ${Object.keys(methods).join(' or ')}.`);
  }
  await exchange.running.ready;
  const value = await handler(exchange);
  if (value !== undefined) sendJson(exchange.response, 200, value);
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify(value)}\n`);
}

/** Status of the errors that have a code; what has none is a fault of ours. */
const STATUS = new Map([
  ['CONFIG_INVALID', 400],
  ['CONFIG_UNREADABLE', 409],
  ['APPLY_FAILED', 409],
  ['EDIT_REFUSED', 409],
  ['FILTER_INVALID', 400],
  ['TCPDUMP_MISSING', 501],
  ['WATCHERS_BUSY', 503],
]);

function explain(error: unknown): { status: number; words: object } {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const status = error instanceof Refusal ? error.status : STATUS.get(code);
  if (status === undefined) return { status: 500, words: { code: 'INTERNAL', message } };
  const faults = error instanceof ConfigError ? { faults: error.faults } : {};
  const edit = error instanceof EditRefused ? { edit: error.at } : {};
  return { status, words: { code, message, ...faults, ...edit } };
}
