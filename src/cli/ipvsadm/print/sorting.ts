/** ipvsadm's order: marks, families, protocols, addresses, ports. */

import { addressWords } from '../../../dataplane/config/address.js';
import { type Listen, parseListen, parseSocket } from '../../../dataplane/config/service-address.js';

const PROTOCOL = { tcp: 6, udp: 17, sctp: 132, mark: 6 } as const;

interface Listed {
  readonly network: string | null;
  readonly listen: string;
  readonly destinations: readonly { readonly address: string }[];
}

/** The services sorted, and within each its destinations. Those of networks come after the host's own. */
export function sorted<S extends Listed>(services: readonly S[]): S[] {
  return services
    .map((service) => ({ service, listen: parseListen(service.listen)! }))
    .sort(
      (a, b) =>
        compareText(a.service.network ?? '', b.service.network ?? '') || compareListens(a.listen, b.listen),
    )
    .map(({ service }) => ({ ...service, destinations: sortedDestinations(service.destinations) }));
}

function sortedDestinations<D extends { readonly address: string }>(destinations: readonly D[]): D[] {
  return destinations
    .map((each) => ({ each, socket: parseSocket(each.address)! }))
    .sort(
      (a, b) =>
        compareAddresses(a.socket.address, b.socket.address) || (a.socket.port ?? 0) - (b.socket.port ?? 0),
    )
    .map(({ each }) => each);
}

function compareListens(a: Listen, b: Listen): number {
  const marks = (a.protocol === 'mark' ? a.mark : 0) - (b.protocol === 'mark' ? b.mark : 0);
  if (marks !== 0) return marks | 0;
  const order = a.family - b.family || PROTOCOL[a.protocol] - PROTOCOL[b.protocol];
  if (order !== 0 || a.protocol === 'mark' || b.protocol === 'mark') return order;
  return compareAddresses(a.address, b.address) || a.port - b.port;
}

/**
 * Word by word, as the sign of a 32-bit difference: so addresses that are more than half the space apart are the
 * other way round, in ipvsadm as here.
 */
function compareAddresses(a: string, b: string): number {
  const [first, second] = [addressWords(a), addressWords(b)];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    const difference = ((first[i] ?? 0) - (second[i] ?? 0)) | 0;
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
