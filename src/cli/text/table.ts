/** Aligned columns of text: two spaces between them, numbers to the right, no line wider than its words. */
import { type Paint, plain } from './style.js';

export interface Column {
  title: string;
  /** numbers stand to the right */
  right?: boolean;
}

export const columns = (...titles: string[]): Column[] => titles.map((title) => ({ title }));
export const numbers = (...titles: string[]): Column[] => titles.map((title) => ({ title, right: true }));

export function renderTable(
  shape: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: Paint = plain,
): string {
  return new TableParts(shape, paint).next(rows);
}

/** A table that is printed a part at a time: columns grow with what comes, and what stands stays. */
export class TableParts {
  readonly #shape: readonly Column[];
  readonly #paint: Paint;
  readonly #widths: number[];
  #begun = false;

  constructor(shape: readonly Column[], paint: Paint = plain) {
    this.#shape = shape;
    this.#paint = paint;
    this.#widths = shape.map(({ title }) => title.length);
  }

  /** The lines of the rows, those of the first part behind the titles. */
  next(rows: readonly (readonly string[])[]): string {
    for (const row of rows) {
      row.forEach((cell, i) => {
        this.#widths[i] = Math.max(this.#widths[i] ?? 0, cell.length);
      });
    }
    const lines = rows.map((row) => this.#line(row));
    if (!this.#begun) lines.unshift(this.#paint('bold', this.#line(this.#shape.map(({ title }) => title))));
    this.#begun = true;
    return lines.map((line) => `${line}\n`).join('');
  }

  #line(cells: readonly string[]): string {
    const last = this.#shape.length - 1;
    return this.#shape
      .map(({ right }, i) => {
        const cell = cells[i] ?? '';
        if (right) return cell.padStart(this.#widths[i]!);
        return i === last ? cell : cell.padEnd(this.#widths[i]!);
      })
      .join('  ')
      .trimEnd();
  }
}
