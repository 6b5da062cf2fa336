/** The hops of a packet's walk, in the order in which it takes them. */
export const HOPS = [
  'tap.receive', // value: port
  'bridge.local', // value: port it goes to
  'bridge.remote', // value: VTEP it goes to
  'bridge.flood', // value: number of copies
  'bridge.answer', // value: 0 ARP, 1 neighbour advertisement, 2 ICMP too big
  'encap', // value: source port
  'decap', // value: VNI
  'tap.transmit', // value: port
  'underlay.transmit', // value: VTEP
] as const;

export type Hop = (typeof HOPS)[number];

type Codes = { readonly [H in Hop]: number };
export const hop = Object.fromEntries(HOPS.map((name, code) => [name, code])) as Codes;

/**
 * Follows packets that match a filter. Stages call it only for packets whose `trace` column is not 0, and the
 * two places where a frame enters (tap.receive, decap) call `match` only while `active`.
 */
export interface Tracer {
  /** Whether anybody is watching; refreshed once a turn. */
  active: boolean;
  refresh(): void;
  /** A frame (Ethernet header at the packet's offset) enters: sets its `trace` column if a filter matches, and notes the hop. */
  match(packet: number, hop: number, value: number): void;
  note(packet: number, hop: number, value: number): void;
  dropped(packet: number, reason: number): void;
}

export const NO_TRACER: Tracer = {
  active: false,
  refresh() {},
  match() {},
  note() {},
  dropped() {},
};
