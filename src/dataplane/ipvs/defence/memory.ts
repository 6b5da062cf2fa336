/** What the defences of all engines share: control makes it once. */
import { Proxied } from './proxied.js';
import { KEY_WORDS } from './siphash.js';
import { SourceRates } from './source-rates.js';

export interface DefenceMemory {
  /** two keys: of cookies, of the table of sources */
  secret: SharedArrayBuffer;
  rates: SharedArrayBuffer;
  proxied: SharedArrayBuffer;
}

export const SECRET_BYTES = 2 * 4 * KEY_WORDS;

/** @param secret SECRET_BYTES that nobody can foresee */
export function allocateDefence(connections: number, secret: Uint8Array): DefenceMemory {
  const memory = new SharedArrayBuffer(SECRET_BYTES);
  new Uint8Array(memory).set(secret);
  return { secret: memory, rates: SourceRates.allocate(), proxied: Proxied.allocate(connections) };
}

export const cookieKey = ({ secret }: DefenceMemory): Int32Array => new Int32Array(secret, 0, KEY_WORDS);
export const ratesKey = ({ secret }: DefenceMemory): Int32Array =>
  new Int32Array(secret, 4 * KEY_WORDS, KEY_WORDS);
