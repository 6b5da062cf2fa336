/** What control says of a service's defence. */
import type { Prefix } from './allow-list.js';
import type { SourceRate } from './source-rates.js';

export interface DefenceSpec {
  /** sources from which connections are taken; empty: all */
  allow: readonly Prefix[];
  sourceRate: SourceRate | null;
  synProxy: boolean;
}
