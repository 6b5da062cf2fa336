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
  const widths = shape.map(({ title }, i) =>
    rows.reduce((width, row) => Math.max(width, (row[i] ?? '').length), title.length),
  );
  const line = (cells: readonly string[]) =>
    shape
      .map(({ right }, i) => {
        const cell = cells[i] ?? '';
        if (right) return cell.padStart(widths[i]!);
        return i === shape.length - 1 ? cell : cell.padEnd(widths[i]!);
      })
      .join('  ')
      .trimEnd();
  const header = paint('bold', line(shape.map(({ title }) => title)));
  return `${[header, ...rows.map(line)].join('\n')}\n`;
}
