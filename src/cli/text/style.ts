/** Colours and weights, on terminals that want them (NO_COLOR and TERM=dumb are respected). */
import type { WriteStream } from 'node:tty';

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] } as const;

export type Style = keyof typeof CODES;
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_style, text) => text;

const coloured: Paint = (style, text) => `\x1b[${CODES[style][0]}m${text}\x1b[${CODES[style][1]}m`;

/** How to paint what is written to the stream. */
export function painter(stream: NodeJS.WriteStream | WriteStream): Paint {
  return stream.isTTY && stream.hasColors() ? coloured : plain;
}
