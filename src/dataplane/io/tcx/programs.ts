/** The two tcx programs, as the bytes that the kernel takes. */

export interface DatagramFilter {
  /** interface to redirect to */
  ifindex: number;
  port: number;
  /** our VTEP address of each family; without one that family isn't redirected */
  address4?: string;
  address6?: string;
  onlySuperPackets: boolean;
}

export function redirectAll(_ifindex: number): Uint8Array {
  throw new Error('to come');
}

export function steerDatagrams(_filter: DatagramFilter): Uint8Array {
  throw new Error('to come');
}
