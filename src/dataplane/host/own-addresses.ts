/**
 * Addresses of services that the host serves itself though it hasn't got them (ip_vs_null_xmit): it gets them on its
 * loopback interface, so that what the director lets through is delivered here, and its servers can answer from there.
 */
import { addAddress, addresses as addressesOf, removeAddress } from '../io/rtnetlink/address.js';
import { linkByName } from '../io/rtnetlink/link.js';

interface Own {
  index: number;
  cidr: string;
}

export class OwnAddresses {
  readonly #own = new Map<string, Own>();

  /** From now on these, and no others of ours. Throws NetlinkError. */
  keep(addresses: readonly string[]): void {
    for (const [address, { index, cidr }] of this.#own) {
      if (addresses.includes(address)) continue;
      try {
        removeAddress('', index, cidr);
      } catch {} // the namespace is going
      this.#own.delete(address);
    }
    const missing = addresses.filter((address) => !this.#own.has(address));
    if (missing.length === 0) return;
    // One that the host has is the host's.
    const had = new Set(addressesOf('').map(({ address }) => address));
    const index = linkByName('', 'lo')?.index;
    for (const address of missing) {
      if (had.has(address) || index === undefined) continue;
      const cidr = `${address}/${address.includes(':') ? 128 : 32}`;
      addAddress('', index, cidr, { scope: 'host' });
      this.#own.set(address, { index, cidr });
    }
  }
}
