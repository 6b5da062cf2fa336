/** The few figures that a row needs of its samples. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three significant digits (four from a thousand on, with separators): 0.0731, 23.1, 111,200; small whole numbers as they are. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Number.isInteger(value) && Math.abs(value) < 10_000) return value.toLocaleString('en-US');
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  if (digits > 0) return value.toFixed(Math.min(digits, 4));
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.abs(value))) - 3);
  return (Math.round(value / unit) * unit).toLocaleString('en-US');
}

/** A table for people: first column to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[], left = 1): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  const [head, ...body] = rows;
  if (head === undefined) return '';
  return [line(head), '-'.repeat(line(widths.map((w) => '-'.repeat(w))).length), ...body.map(line)].join(
    '\n',
  );
}
