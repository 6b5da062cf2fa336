/** Reading a value of unknown shape: what isn't of the wanted type is as good as absent. */
export type Loose = Readonly<Record<string, unknown>>;

const EMPTY: Loose = {};
const NONE: readonly unknown[] = [];

export function record(value: unknown): Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Loose) : EMPTY;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : NONE;
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function wholeNumber(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}
