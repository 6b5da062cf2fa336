/** How a table of `viaduct show` is made for people: a function of what the data plane answered. */
import type { Paint } from './style.js';

export interface Context<T> {
  paint: Paint;
  /** also what is zero */
  all: boolean;
  /** while watching: what was there so many seconds ago */
  before?: { value: T; seconds: number };
}

export type View<T> = (value: T, context: Context<T>) => string;
