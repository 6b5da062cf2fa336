/**
 * What an authenticated synchronisation message travels in: ChaCha20-Poly1305 (RFC 8439) under a key that the shared one
 * and the sender's session make (HKDF, RFC 5869). A session is drawn at random when a sender starts, and numbers never come
 * twice within it, so no nonce does.
 *
 *     0        4                       20              28                        end − 16
 *     +--------+-----------------------+---------------+-------------------------+-----+
 *     | "VdSy" | session               | number        | sealed: kind, contents  | tag |
 *     +--------+-----------------------+---------------+-------------------------+-----+
 *
 * Where IPVS has the size of its message, this has half of the magic: its receivers drop it for that.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const MAGIC = 0x56645379;
const HEADER = 28;
const TAG = 16;
export const SESSION = 16;
/** Bytes that an envelope adds to what is in it, the kind counted. */
export const ENVELOPE = HEADER + 1 + TAG;

/** Kinds of contents. */
export const DATA = 0; // an IPVS message of version 1
export const BEAT = 1; // nothing: the number tells what has been sent
export const CHALLENGE = 2; // 16 random bytes, for a session that isn't known to be of now
export const PROOF = 3; // the same bytes, sealed in that session
export const MISSING = 4; // session, and numbers of 8 bytes each
export const RESYNC = 5; // session: all of it shall be told anew

export interface Opened {
  session: string;
  number: number;
  kind: number;
  contents: Buffer;
}

const ALGORITHM = 'chacha20-poly1305';

export class Sealer {
  readonly session = randomBytes(SESSION);
  readonly #key: Buffer;
  #number = 0;

  constructor(shared: Buffer) {
    this.#key = keyOf(shared, this.session);
  }

  /** The number of the next envelope. */
  get number(): number {
    return this.#number;
  }

  seal(kind: number, contents: Uint8Array): Buffer {
    const header = Buffer.alloc(HEADER);
    header.writeUInt32BE(MAGIC, 0);
    this.session.copy(header, 4);
    header.writeBigUInt64BE(BigInt(this.#number++), 20);
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(header), { authTagLength: TAG });
    cipher.setAAD(header, { plaintextLength: contents.length + 1 });
    const sealed = [cipher.update(Buffer.of(kind)), cipher.update(contents), cipher.final()];
    return Buffer.concat([header, ...sealed, cipher.getAuthTag()]);
  }
}

/** Sessions whose keys are kept: making one costs 10 µs, which a stranger could ask for with each datagram. */
const KEYS_MAX = 256;

export class Opener {
  readonly #shared: Buffer;
  readonly #keys = new Map<string, Buffer>();

  constructor(shared: Buffer) {
    this.#shared = shared;
  }

  /** Undefined: it isn't of anybody who has the key. */
  open(bytes: Uint8Array): Opened | undefined {
    if (bytes.length < ENVELOPE) return undefined;
    const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (all.readUInt32BE(0) !== MAGIC) return undefined;
    const session = all.subarray(4, 4 + SESSION);
    const name = session.toString('hex');
    const key = this.#keys.get(name) ?? keyOf(this.#shared, session);
    const header = all.subarray(0, HEADER);
    try {
      const decipher = createDecipheriv(ALGORITHM, key, nonceOf(header), { authTagLength: TAG });
      decipher.setAAD(header, { plaintextLength: all.length - HEADER - TAG });
      decipher.setAuthTag(all.subarray(all.length - TAG));
      const plain = Buffer.concat([
        decipher.update(all.subarray(HEADER, all.length - TAG)),
        decipher.final(),
      ]);
      const number = Number(all.readBigUInt64BE(20));
      if (!Number.isSafeInteger(number)) return undefined;
      this.#keep(name, key);
      return { session: name, number, kind: plain[0]!, contents: plain.subarray(1) };
    } catch {
      return undefined;
    }
  }

  #keep(name: string, key: Buffer): void {
    if (this.#keys.has(name)) return;
    if (this.#keys.size >= KEYS_MAX) this.#keys.delete(this.#keys.keys().next().value!);
    this.#keys.set(name, key);
  }
}

const keyOf = (shared: Buffer, session: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', shared, session, 'viaduct connection synchronisation', 32));

function nonceOf(header: Buffer): Buffer {
  const nonce = Buffer.alloc(12);
  header.copy(nonce, 4, 20, HEADER);
  return nonce;
}
