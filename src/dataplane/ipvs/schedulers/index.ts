/** The schedulers by IPVS's names, and how a service's is put together. */
import { dh } from './dh.js';
import { fo } from './fo.js';
import { lblc } from './lblc.js';
import { lblcr } from './lblcr.js';
import { lc } from './lc.js';
import { mh } from './mh.js';
import { nearFirst } from './near-first.js';
import { nq } from './nq.js';
import { ovf } from './ovf.js';
import { p2c } from './p2c.js';
import { rr } from './rr.js';
import type { MakeScheduler } from './scheduler.js';
import { sed } from './sed.js';
import { sh } from './sh.js';
import { slowStart, type WeightIs } from './slow-start.js';
import { twos } from './twos.js';
import { wlc } from './wlc.js';
import { wrr } from './wrr.js';

export interface Entry {
  readonly make: MakeScheduler;
  /** ipvsadm's flags that it heeds; the first is its flag-1, the second its flag-2 */
  readonly flags: readonly string[];
  /** whether slow start can ramp it; `fixed`: the time has no effect */
  readonly weightIs: WeightIs;
}

const entry = (make: MakeScheduler, weightIs: WeightIs, ...flags: readonly string[]): Entry => ({
  make,
  weightIs,
  flags,
});

export const SCHEDULERS = {
  rr: entry(rr, 'fixed'),
  wrr: entry(wrr, 'relative'),
  lc: entry(lc, 'fixed'),
  wlc: entry(wlc, 'relative'),
  // A smaller weight would be another rank, not a smaller share.
  fo: entry(fo, 'fixed'),
  ovf: entry(ovf, 'connections'),
  lblc: entry(lblc, 'connections'),
  lblcr: entry(lblcr, 'connections'),
  dh: entry(dh, 'fixed'),
  // Its buckets are laid in a row: each step of one would move the clients of all after it.
  sh: entry(sh, 'fixed', 'sh-fallback', 'sh-port'),
  mh: entry(mh, 'relative', 'mh-fallback', 'mh-port'),
  sed: entry(sed, 'relative'),
  nq: entry(nq, 'relative'),
  twos: entry(twos, 'relative'),
  p2c: entry(p2c, 'relative'),
} as const satisfies Record<string, Entry>;

export type SchedulerName = keyof typeof SCHEDULERS;

export interface Wish {
  readonly scheduler: SchedulerName;
  readonly slowStartSeconds: number;
  readonly preferNear: boolean;
}

/** What makes a service's scheduler, as the service wants it. */
export function schedulerFor({ scheduler, slowStartSeconds, preferNear }: Wish): MakeScheduler {
  const { make, weightIs } = SCHEDULERS[scheduler];
  const ramped =
    weightIs === 'fixed' || slowStartSeconds === 0 ? make : slowStart(make, slowStartSeconds, weightIs);
  return preferNear ? nearFirst(ramped) : ramped;
}
