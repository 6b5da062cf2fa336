/** Addresses of interfaces (RTM_*ADDR, linux/if_addr.h). */

export interface InterfaceAddress {
  readonly index: number;
  /** canonical text, without prefix length */
  readonly address: string;
  readonly prefixLength: number;
}

export function addresses(_netns: string): InterfaceAddress[] {
  throw new Error('to come');
}

/** `cidr`: '10.0.0.1/24', 'fd00::1/64'. One that is there already is fine, unless `refuseExisting`. Throws NetlinkError. */
export function addAddress(
  _netns: string,
  _index: number,
  _cidr: string,
  _options: { refuseExisting?: boolean } = {},
): void {
  throw new Error('to come');
}

/** One that isn't there is fine. */
export function removeAddress(_netns: string, _index: number, _cidr: string): void {
  throw new Error('to come');
}
