/**
 * Addresses of services that the host serves itself though it hasn't got them (ip_vs_null_xmit): routes in its table of own
 * addresses, which deliver here what the director lets through, and let its servers answer from there.
 */
import { addresses as addressesOf } from '../io/rtnetlink/address.js';
import { linkByName } from '../io/rtnetlink/link.js';
import { addRoute, type NewRoute, removeRoute } from '../io/rtnetlink/route.js';
import { RT_TABLE_LOCAL } from '../io/rtnetlink/rule.js';

export class OwnAddresses {
  readonly #routes = new Map<string, NewRoute>();

  /** From now on these, and no others of ours. */
  keep(addresses: readonly string[]): void {
    for (const [address, route] of this.#routes) {
      if (addresses.includes(address)) continue;
      try {
        removeRoute('', route);
      } catch {} // the namespace is going
      this.#routes.delete(address);
    }
    const missing = addresses.filter((address) => !this.#routes.has(address));
    if (missing.length === 0) return;
    const had = new Set(addressesOf('').map(({ address }) => address));
    for (const address of missing) {
      if (had.has(address)) continue;
      const index = linkByName('', 'lo')?.index;
      if (index === undefined) continue;
      const to = `${address}/${address.includes(':') ? 128 : 32}`;
      const route = { to, via: null, index, table: RT_TABLE_LOCAL, local: true };
      addRoute('', route);
      this.#routes.set(address, route);
    }
  }
}
