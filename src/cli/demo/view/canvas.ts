/** A page of character cells to draw on; every character is one cell wide. Colours are named for what they mean. */

const CODES = {
  plain: '',
  dim: '90',
  bold: '1',
  viaduct: '36',
  kernel: '33',
  good: '32',
  bad: '31',
} as const;

export type Ink = keyof typeof CODES;

interface Cell {
  character: string;
  ink: Ink;
}

export class Canvas {
  readonly columns: number;
  readonly rows: number;
  readonly #cells: Cell[][];

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
    this.#cells = Array.from({ length: rows }, () =>
      Array.from({ length: columns }, () => ({ character: ' ', ink: 'plain' as const })),
    );
  }

  /** Text from (x, y) to the right; what lies outside of the page is cut off. */
  put(x: number, y: number, text: string, ink: Ink = 'plain'): void {
    const row = this.#cells[y];
    if (row === undefined) return;
    for (const [i, character] of [...text].entries()) {
      const cell = row[x + i];
      if (cell !== undefined) Object.assign(cell, { character, ink });
    }
  }

  /** Text that ends before column x. */
  putRight(x: number, y: number, text: string, ink: Ink = 'plain'): void {
    this.put(x - [...text].length, y, text, ink);
  }

  box(x: number, y: number, width: number, height: number, ink: Ink = 'dim'): void {
    const line = '─'.repeat(width - 2);
    this.put(x, y, `╭${line}╮`, ink);
    for (let i = 1; i < height - 1; i++) {
      this.put(x, y + i, '│', ink);
      this.put(x + width - 1, y + i, '│', ink);
    }
    this.put(x, y + height - 1, `╰${line}╯`, ink);
  }

  /** The page as lines without trailing space, coloured by ANSI sequences or not. */
  lines(colour: boolean): string[] {
    return this.#cells.map((row) => {
      const end = row.findLastIndex((cell) => cell.character !== ' ') + 1;
      let text = '';
      let ink: Ink = 'plain';
      for (const cell of row.slice(0, end)) {
        if (colour && cell.ink !== ink && cell.character !== ' ') {
          text += `\x1b[0${cell.ink === 'plain' ? '' : `;${CODES[cell.ink]}`}m`;
          ink = cell.ink;
        }
        text += cell.character;
      }
      return ink === 'plain' ? text : `${text}\x1b[0m`;
    });
  }
}

const LEVELS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** A bar of at most `width` cells, half a cell exact; never empty for a value above zero. */
export function bar(value: number, maximum: number, width: number): string {
  if (!(value > 0) || !(maximum > 0)) return '';
  const halves = Math.max(1, Math.round((Math.min(value, maximum) / maximum) * width * 2));
  return '━'.repeat(halves >> 1) + (halves & 1 ? '╸' : '');
}

/**
 * Values as columns, `height` cells high, the top row first; scaled to the greatest of them. When `expected` values
 * fill the width they are stretched over it; the newest are shown when there are more.
 */
export function graph(history: readonly number[], width: number, height: number, expected: number): string[] {
  const cells = Math.max(1, Math.floor(width / expected));
  const values = history.slice(-Math.floor(width / cells));
  const maximum = Math.max(...values, Number.MIN_VALUE);
  const eighths = values.flatMap((value) =>
    new Array<number>(cells).fill(Math.max(1, Math.round((value / maximum) * height * 8))),
  );
  return Array.from({ length: height }, (_, row) => {
    const below = (height - 1 - row) * 8;
    return eighths.map((level) => LEVELS[Math.min(8, Math.max(0, level - below))]).join('');
  });
}
