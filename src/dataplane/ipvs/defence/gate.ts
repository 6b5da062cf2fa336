/** Whether a source may begin a connection with a service: its list of sources, and how many it begins a second. */
import { drop } from '../../core/drops.js';
import type { PacketFlow } from '../flow.js';
import type { Service } from '../service.js';
import { type DefenceMemory, ratesKey } from './memory.js';
import { SourceRates } from './source-rates.js';

/** No reason: the connection may begin. */
export const OPEN = -1;

export class Gate {
  readonly #rates: SourceRates;

  constructor(memory: DefenceMemory) {
    this.#rates = new SourceRates(memory.rates, ratesKey(memory));
  }

  /** OPEN, or the reason to drop what the source sent. */
  bars(service: Service, flow: PacketFlow, nowMs: number): number {
    const reason = this.barsSource(service, flow);
    return reason === OPEN ? this.barsRate(service, flow, nowMs) : reason;
  }

  barsSource({ allow }: Service, flow: PacketFlow): number {
    return allow === undefined || allow.has(flow) ? OPEN : drop['source-not-allowed'];
  }

  /** The connection is counted when it may begin. */
  barsRate({ spec }: Service, flow: PacketFlow, nowMs: number): number {
    const rate = spec.defence?.sourceRate ?? null;
    if (rate === null || this.#rates.take(flow, spec.index, rate, nowMs)) return OPEN;
    return drop['source-rate'];
  }
}
