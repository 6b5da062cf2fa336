import type { Batch } from '../core/batch.js';

/** A device is two verbs. Neither blocks, throws or keeps a packet: what can't be sent is dropped with a reason. */
export interface Device {
  /** Appends what has arrived to `into`, at most its room; every packet's `port` is left to the caller. */
  receive(into: Batch): void;
  /** Sends or drops every packet of `batch`, and leaves it empty. */
  transmit(batch: Batch): void;
  close(): void;
}

/**
 * A device that carries datagrams between VTEPs. Its packets begin at the datagram's payload (the VXLAN header).
 *
 * receive: the sender stands at the slot's start (core/pool.ts, SENDER_*). Glued datagrams come out as one
 * packet each. `offload`, `segment`, `checksumStart`, `headerLength` speak of the payload, counted from the packet's start;
 * `ecn` is the outer header's field.
 * transmit: `vtep` says whither, `flow` gives the source port, `ecn` the outer header's field. A super-packet may be handed
 * over whole.
 */
export interface Underlay extends Device {
  readonly kind: 'tunnel' | 'udp' | 'dgram' | 'pair';
}
