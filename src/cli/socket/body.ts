/** What a request carries. */
import type { IncomingMessage } from 'node:http';
import { Refusal } from './exchange.js';

const BODY_MAX = 256 << 20;

export async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_MAX) throw new Refusal(413, 'TOO_LARGE', `A request carries at most ${BODY_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Undefined when there is none. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const text = await body(request);
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Refusal(400, 'BODY_INVALID', `The request is no JSON: ${(error as Error).message}`);
  }
}
