/** What a data plane can be asked. The command line and control program against this, never against what is below. */
import type { Config } from './config.js';
import type { EngineCounter } from './core/counters.js';
import type { DropReason } from './core/drops.js';
import type {
  Applied,
  CapturedFrame,
  ConnectionRow,
  EndpointRow,
  FdbRow,
  NeighbourRow,
  NetworkRow,
  ServiceKey,
  ServiceRow,
  Stats,
  TraceEvent,
  VirtualServerStats,
  VtepRow,
  Watch,
  WatchOptions,
} from './report.js';

export interface Dataplane {
  /** Starts the engines; nothing is configured yet. */
  start(): Promise<void>;
  /** Makes the running data plane the one described; unchanged networks lose no frame. Throws ApplyError and leaves the old one running. */
  apply(config: Config): Promise<Applied>;
  /** Sends what is in hand, then closes every device. */
  stop(): Promise<void>;

  stats(): Stats;
  networks(): NetworkRow[];
  endpoints(): EndpointRow[];
  fdb(): FdbRow[];
  neighbours(): NeighbourRow[];
  vteps(): VtepRow[];
  drops(): Record<DropReason, number>;
  counters(): Record<EngineCounter, number>;
  /** virtual services, each with its destinations */
  services(): ServiceRow[];
  /** connections of the virtual server, persistence templates among them */
  connections(): ConnectionRow[];
  /** the same one by one, so that a million take no memory; what comes or goes meanwhile may be missed */
  eachConnection(): Iterable<ConnectionRow>;
  /** the virtual server as a whole */
  virtualServer(): VirtualServerStats;
  /** Sets the counts of a service and its destinations to 0; of all when none is named. */
  zero(service?: ServiceKey): void;

  /** The hops of each packet that matches, until the signal aborts. */
  trace(options: WatchOptions, signal: AbortSignal): Watch<TraceEvent>;
  /** The frames that match, until the signal aborts. */
  capture(options: WatchOptions, signal: AbortSignal): Watch<CapturedFrame>;
}

/** Where a data plane logs to; a pino logger is one. Never called per packet. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A configuration that is valid but can't be had on this host; the one that ran before still runs. */
export class ApplyError extends Error {
  readonly code = 'APPLY_FAILED';
  override name = 'ApplyError';
}
