/**
 * What is kept of a connection whose handshakes the director made itself: a row for each record of the table of
 * connections, of the same number, in shared memory. Until the server has answered, what to say to it and to the client;
 * after that, how far apart both believe to be.
 */

/** From the server's numbers to those that the client was told, signed words. */
export const SHIFT = 0; // of sequence numbers
export const TIME_SHIFT = 1; // of timestamps
export const SCALE_SHIFT = 2; // of the window: powers of two that the server's unit has more than the client believes
/** What was said in the client's handshake. */
export const CLIENT_SEQUENCE = 3; // of its SYN
export const COOKIE = 4; // our sequence number towards it
export const OPTIONS = 5; // mss | scale + 1 << 16 | SACK | TIMESTAMPS
export const CLIENT_TIME = 6; // its last timestamp
export const OUR_TIME = 7; // our timestamp that it echoed
export const WINDOW = 8; // its last one, in its own unit
export const ASKED = 9; // tick of the last SYN to the server
export const WORDS = 10;

/** Bits of OPTIONS. */
export const SACK = 1 << 24;
export const TIMESTAMPS = 1 << 25;

export class Proxied {
  readonly words: Int32Array;

  /** The pages are the system's until they are used. */
  static allocate(connections: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * WORDS * connections);
  }

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory);
  }

  /** Index of the connection's first word; add SHIFT … ASKED. */
  at(connection: number): number {
    return connection * WORDS;
  }
}
