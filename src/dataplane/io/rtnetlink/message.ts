/**
 * Netlink messages (RFC 3549, linux/netlink.h): a header, a fixed struct that the message's type names, and attributes.
 *
 *     0        4      6       8     12    16
 *     | length | type | flags | seq | pid | struct, padded to 4 | attribute … |
 *     attribute: | length u16 | type u16 | value, padded to 4 |
 *
 * All in the host's byte order, but addresses and ports.
 */
import { endianness } from 'node:os';

export const LITTLE_ENDIAN = endianness() === 'LE';

const HEADER_BYTES = 16;
const NLA_TYPE_MASK = 0x3fff; // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
const NLA_F_NESTED = 0x8000;

const padded = (bytes: number) => (bytes + 3) & ~3;

/** Builds one request: fields of the struct first, then attributes. */
export class MessageWriter {
  readonly #bytes = new Uint8Array(4096);
  readonly #view = new DataView(this.#bytes.buffer);
  #end = HEADER_BYTES;

  u8(value: number): this {
    this.#bytes[this.#end++] = value;
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#end, value, LITTLE_ENDIAN);
    this.#end += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#end, value, LITTLE_ENDIAN);
    this.#end += 4;
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    const at = padded(this.#end);
    this.#end = at;
    this.u16(4 + value.length).u16(type);
    this.#bytes.set(value, this.#end);
    this.#end = at + padded(4 + value.length);
    return this;
  }

  attributeU32(type: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, LITTLE_ENDIAN);
    return this.attribute(type, bytes);
  }

  attributeText(type: number, text: string): this {
    return this.attribute(type, new TextEncoder().encode(`${text}\0`));
  }

  /** Attributes that `fill` writes, inside of one. */
  nested(type: number, fill: (writer: this) => void): this {
    const at = padded(this.#end);
    this.#end = at;
    this.u16(0).u16(type | NLA_F_NESTED);
    fill(this);
    this.#view.setUint16(at, this.#end - at, LITTLE_ENDIAN);
    return this;
  }

  finish(type: number, flags: number, sequence: number): Uint8Array {
    const length = padded(this.#end);
    this.#view.setUint32(0, length, LITTLE_ENDIAN);
    this.#view.setUint16(4, type, LITTLE_ENDIAN);
    this.#view.setUint16(6, flags, LITTLE_ENDIAN);
    this.#view.setUint32(8, sequence, LITTLE_ENDIAN);
    return this.#bytes.slice(0, length);
  }
}

/** A message as it came; reads beyond its end give zeros, so that a kernel with a shorter struct needs no case of its own. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** struct and attributes */
  readonly body: DataView;
}

/** The messages that lie one behind the other in `bytes`. A truncated last one is left out. */
export function* messages(bytes: Uint8Array): Generator<Message> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER_BYTES <= view.byteLength; ) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < HEADER_BYTES || at + length > view.byteLength) return;
    yield {
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      body: new DataView(view.buffer, view.byteOffset + at + HEADER_BYTES, length - HEADER_BYTES),
    };
    at += padded(length);
  }
}

/** The attributes of a message (or of an attribute that nests some), by type. */
export class Attributes {
  readonly #values = new Map<number, Uint8Array>();

  /** `at`: length of the struct before them. */
  constructor(view: DataView, at: number) {
    while (at + 4 <= view.byteLength) {
      const length = view.getUint16(at, LITTLE_ENDIAN);
      if (length < 4 || at + length > view.byteLength) return;
      const type = view.getUint16(at + 2, LITTLE_ENDIAN) & NLA_TYPE_MASK;
      this.#values.set(type, new Uint8Array(view.buffer, view.byteOffset + at + 4, length - 4));
      at += padded(length);
    }
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u32(type: number): number | undefined {
    const value = this.#values.get(type);
    if (value === undefined || value.length < 4) return undefined;
    return new DataView(value.buffer, value.byteOffset, 4).getUint32(0, LITTLE_ENDIAN);
  }

  text(type: number): string | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new TextDecoder().decode(value).replace(/\0.*$/s, '');
  }

  nested(type: number): Attributes {
    const value = this.#values.get(type) ?? new Uint8Array(0);
    return new Attributes(new DataView(value.buffer, value.byteOffset, value.length), 0);
  }
}
