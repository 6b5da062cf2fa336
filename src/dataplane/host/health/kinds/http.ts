/**
 * HTTP_GET and SSL_GET: one GET over a connection of its own, HTTP/1.1 (RFC 9112). Status, MD5 of the body (what
 * genhash prints) and a regular expression over it must be right, those of them that are asked for. Redirections are
 * not followed. Certificates are not verified, as keepalived doesn't: the destination is known by its address.
 */
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import type { HealthKind } from '../../../config/service-types.js';
import type { Check, Target } from '../check.js';

type HttpHealth = Extract<HealthKind, { kind: 'http' | 'https' }>;

/** Bytes of the body that the regular expression sees. */
const LOOKED_AT = 1 << 20;

export function httpCheck(health: HttpHealth): Check {
  const { digest, regex, status } = health;
  const isGood = statusTest(status);
  const pattern = regex === null ? null : new RegExp(regex);
  return async (target, signal) => {
    try {
      const response = await get(health, target, signal);
      const code = response.statusCode ?? 0;
      if (!isGood(code)) {
        response.destroy();
        throw new Error(`status ${code}, not ${status}`);
      }
      const hash = createHash('md5');
      const kept: Buffer[] = [];
      let length = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        if (digest !== null) hash.update(chunk);
        if (pattern !== null && length < LOOKED_AT) kept.push(chunk.subarray(0, LOOKED_AT - length));
        length += chunk.length;
      }
      // A body that ends before its length is an error of the stream.
      const md5 = digest === null ? null : hash.digest('hex');
      if (md5 !== digest) throw new Error(`digest ${md5}, not ${digest}`);
      if (pattern !== null && !pattern.test(Buffer.concat(kept).toString('utf8'))) {
        throw new Error(`nothing in the body matches ${regex}`);
      }
      return {};
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  };
}

/** Resolves with the response, its head read. */
function get(
  { kind, path, host }: HttpHealth,
  { address, port }: Target,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const own = address.includes(':') ? `[${address}]` : address;
  const secure = kind === 'https';
  const name = host ?? (port === (secure ? 443 : 80) ? own : `${own}:${port}`);
  const options: https.RequestOptions = {
    ...{ host: address, port, path, method: 'GET', agent: false, signal },
    headers: { host: name, 'user-agent': 'viaduct', accept: '*/*', connection: 'close' },
  };
  if (secure) {
    const server = name.replace(/:\d+$/, '');
    // A name of TLS is never an address (RFC 6066 §3).
    const named = isIP(server.replace(/^\[|\]$/g, '')) === 0;
    Object.assign(options, { rejectUnauthorized: false, servername: named ? server : '' });
  }
  return new Promise((resolve, reject) => {
    const request = secure ? https.request(options) : http.request(options);
    request.once('response', resolve);
    request.on('error', reject);
    request.end();
  });
}

/** `200-299,401` */
function statusTest(text: string): (code: number) => boolean {
  const ranges = text.split(',').map((range) => {
    const [from = 0, to = from] = range.trim().split('-').map(Number);
    return { from, to };
  });
  return (code) => ranges.some(({ from, to }) => code >= from && code <= to);
}
