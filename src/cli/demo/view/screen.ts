/** The terminal: a page of its own, redrawn in place, and given back as it was. */
import type { Canvas } from './canvas.js';

const ENTER = '\x1b[?1049h\x1b[?25l\x1b[2J';
const LEAVE = '\x1b[?25h\x1b[?1049l';
/** Terminals that know it show a frame at once; others ignore it. */
const BEGIN = '\x1b[?2026h';
const END = '\x1b[?2026l';

export class Screen {
  readonly #stream: NodeJS.WriteStream;
  readonly #colour: boolean;
  readonly #paint: (columns: number, rows: number) => Canvas;
  readonly #timer: NodeJS.Timeout;
  #open = true;

  /** Shows what `paint` draws, five times a second and after a resize. */
  constructor(stream: NodeJS.WriteStream, paint: (columns: number, rows: number) => Canvas) {
    this.#stream = stream;
    this.#colour = stream.hasColors();
    this.#paint = paint;
    stream.write(ENTER);
    stream.on('resize', this.#draw);
    process.once('exit', this.leave);
    this.#timer = setInterval(this.#draw, 200);
  }

  readonly #draw = (): void => {
    const canvas = this.#paint(this.#stream.columns, this.#stream.rows);
    const text = canvas.lines(this.#colour).join('\x1b[K\r\n');
    this.#stream.write(`${BEGIN}\x1b[H${text}\x1b[K\x1b[J${END}`);
  };

  /** Back to the terminal's own page. */
  readonly leave = (): void => {
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#timer);
    this.#stream.off('resize', this.#draw);
    process.off('exit', this.leave);
    this.#stream.write(LEAVE);
  };
}
