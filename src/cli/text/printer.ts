import type { Writable } from 'node:stream';
import { drained } from '../socket/drained.js';

/** Prints no faster than the reader reads. */
export const printer =
  (stream: Writable) =>
  async (text: string): Promise<void> => {
    if (!stream.write(text)) await drained(stream);
  };
