/** Services and destinations as control says them, for tests in memory. */
import type { DestinationSpec } from '../../src/dataplane/ipvs/destination.js';
import type { ServiceSpec } from '../../src/dataplane/ipvs/service.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import { TCP } from './packets.js';

/** IPv4 in the first word. */
export const wordsOf = (text: string): ipv6.Words =>
  text.includes(':') ? ipv6.parse(text) : [ipv4.parse(text), 0, 0, 0];

export function destination(row: number, address: string, port = 8080): DestinationSpec {
  return {
    ...{ row, family: address.includes(':') ? 6 : 4, address: wordsOf(address), port, weight: 1 },
    ...{ forward: 'nat', tunnel: { type: 'ipip', port: 0, checksum: 'none' }, near: false },
    ...{ upperThreshold: 0, lowerThreshold: 0 },
  };
}

/** Of TCP at port 80, round robin. */
export function serviceAt(
  virtual: string,
  destinations: readonly DestinationSpec[],
  change: Partial<ServiceSpec> = {},
): ServiceSpec {
  return {
    ...{ index: 0, network: 0, family: virtual.includes(':') ? 6 : 4, protocol: TCP },
    ...{ address: wordsOf(virtual), port: 80 },
    ...{ scheduler: 'rr', slowStartSeconds: 0, preferNear: false, timeouts: { tcp: 0, tcpFin: 0, udp: 0 } },
    flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 60 },
    destinations,
    ...change,
  };
}
