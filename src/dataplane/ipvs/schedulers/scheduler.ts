/**
 * What a scheduler is: given a new connection, it picks one of its service's destinations. One algorithm a file;
 * `index.ts` lists them by IPVS's names. Integer-exact where IPVS is; state is the engine's own.
 *
 * Rules for all of them (ip_vs_sched.c): a destination of weight 0 gets nothing new, nor one that is overloaded;
 * undefined when nobody is left, and the director tells the client.
 */
import type { Random } from '../../core/random.js';
import type { Destination } from '../destination.js';

/** The connection to schedule. The director reuses one object; a scheduler keeps no reference to it. */
export interface Flow {
  family: 4 | 6;
  /** client; IPv4 in the first word, the others 0. Signed 32-bit, big-endian as on the wire. */
  source0: number;
  source1: number;
  source2: number;
  source3: number;
  sourcePort: number;
  /** the address that the client sent to */
  target0: number;
  target1: number;
  target2: number;
  target3: number;
  targetPort: number;
}

/**
 * What a scheduler is made for: its service's destinations, in the order in which control gave them. It stands for
 * IPVS's list, of which the newest destination is the first (ip_vs_ctl.c adds at the head).
 */
export interface Pool {
  readonly destinations: readonly Destination[];
  readonly flags: SchedulerFlags;
}

export interface SchedulerFlags {
  /** sh, mh: look further when the chosen one can't be used */
  fallback: boolean;
  /** sh, mh: the source port counts too */
  port: boolean;
  /** mh: slots of the table, a prime */
  tableSize: number;
  /** lblc, lblcr: seconds after which an unused entry, or an unchanged set's busiest server, goes */
  expirationSeconds: number;
}

export interface Scheduler {
  /** @param nowMs the engine's clock, milliseconds */
  pick(flow: Flow, nowMs: number): Destination | undefined;
  /** Destinations were added, removed, or changed weight; `pool.destinations` is the new list. */
  update(pool: Pool): void;
}

/** @param random the engine's: twos and p2c draw from it */
export type MakeScheduler = (pool: Pool, random: Random) => Scheduler;

/** Connections in IPVS's measure: an active one weighs as much as 256 inactive ones (ip_vs_dest_conn_overhead). */
export const overhead = (destination: Destination): number => destination.active * 256 + destination.inactive;

/** Whether something new may go there. */
export const usable = (destination: Destination): boolean =>
  destination.weight > 0 && !destination.overloaded;
