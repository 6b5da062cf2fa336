/** One request on the control socket and its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../dataplane/face.js';
import type { Running } from '../running.js';

/** The trailer of a trace or capture: how many records it missed. */
export const LOST_TRAILER = 'viaduct-lost';

/** An answer other than 200; `code` is stable. */
export class Refusal extends Error {
  readonly code: string;
  override name = 'Refusal';
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A returned value is sent as JSON. */
export type Handler = (exchange: Exchange) => unknown;

export interface Exchange {
  running: Running;
  logger: Logger;
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  /** aborted when the client goes or the server ends */
  signal: AbortSignal;
}
