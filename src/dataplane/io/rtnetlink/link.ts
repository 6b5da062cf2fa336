/** Network interfaces (RTM_*LINK, linux/if_link.h). `netns` is the path of a network namespace, '' for our own. */

export interface Link {
  readonly index: number;
  readonly name: string;
  /** '' for an interface without one (TUN) */
  readonly mac: string;
  /** bytes of IP packet */
  readonly mtu: number;
  /** switched on */
  readonly up: boolean;
  /** carrier, or whatever the driver has instead */
  readonly lowerUp: boolean;
  readonly loopback: boolean;
  /** 'veth', 'tun', 'bridge', …; '' for a real device */
  readonly kind: string;
  /** index of the bridge or bond that it is a member of, 0 for none */
  readonly master: number;
  /** largest super-packet that the interface sends, receives glued together; bytes, 0 where the kernel doesn't say */
  readonly gsoMaxSize: number;
  readonly groMaxSize: number;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  readonly name?: string;
  /** path of the network namespace to move it to */
  readonly netns?: string;
  readonly gsoMaxSize?: number;
  readonly groMaxSize?: number;
}

export function links(_netns: string): Link[] {
  throw new Error('to come');
}

export function linkByName(_netns: string, _name: string): Link | undefined {
  throw new Error('to come');
}

export function linkByIndex(_netns: string, _index: number): Link | undefined {
  throw new Error('to come');
}

/** All of the change in one request. Throws NetlinkError. */
export function setLink(_netns: string, _index: number, _change: LinkChange): void {
  throw new Error('to come');
}

/** Removes an interface; one that is gone already is fine. */
export function removeLink(_netns: string, _index: number): void {
  throw new Error('to come');
}
