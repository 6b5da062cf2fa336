/** The kernel's neighbours (RTM_*NEIGH, linux/neighbour.h). */

export interface Neighbour {
  readonly index: number;
  readonly address: string;
  /** null while unresolved */
  readonly mac: string | null;
  readonly state:
    | 'none'
    | 'incomplete'
    | 'reachable'
    | 'stale'
    | 'delay'
    | 'probe'
    | 'failed'
    | 'noarp'
    | 'permanent';
}

/** All, or those of one interface. */
export function neighbours(_netns: string, _index?: number): Neighbour[] {
  throw new Error('to come');
}

export function neighbour(_netns: string, _index: number, _address: string): Neighbour | undefined {
  throw new Error('to come');
}

/**
 * Has the kernel resolve an address, and keep what it knows of it fresh: call it again every few seconds while the
 * answer is needed. Leaves permanent entries alone. `managed` has the kernel itself repeat that until it is
 * called with false (Linux 5.16; elsewhere it changes nothing).
 */
export function useNeighbour(
  _netns: string,
  _index: number,
  _address: string,
  _options: { managed?: boolean } = {},
): void {
  throw new Error('to come');
}
