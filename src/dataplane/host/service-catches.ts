/** What is to be led to the director for the services in force: by address and port, by mark, or inside a network. */
import type { DestinationSpec, Place } from '../ipvs/destination.js';
import { FTP_PORT, type ServiceSpec } from '../ipvs/service.js';
import type * as ipv6 from '../wire/ipv6.js';
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import { addressText } from './addresses.js';
import type { Catch } from './host-rules.js';
import type { MarkCatch } from './mark-places.js';
import type { WantedWay } from './way-keeper.js';

/** The address of a service inside a network. */
export interface VirtualAddress {
  /** index of the network */
  network: number;
  family: 4 | 6;
  /** IPv4 in the first word */
  address: ipv6.Words;
}

export interface Catches {
  services: Catch[];
  /** of masqueraded destinations, whose answers come here */
  destinations: Catch[];
  marks: MarkCatch[];
  virtual: VirtualAddress[];
  /** destinations that are not masqueraded */
  ways: WantedWay[];
}

/** No network has this index: the host's own side. */
export const HOST_SIDE = 0;

const BEHIND_MARKS = [tcp.PROTOCOL, udp.PROTOCOL, sctp.PROTOCOL];
const ANY_PORT = { port: 0 };

export const noCatches = (): Catches => ({
  services: [],
  destinations: [],
  marks: [],
  virtual: [],
  ways: [],
});

/** Adds what a service and some of its destinations need. */
export function addCatches(to: Catches, spec: ServiceSpec, destinations: readonly DestinationSpec[]): void {
  const { network, family, address, protocol, mark } = spec;
  if (network !== HOST_SIDE) {
    to.virtual.push({ network, family, address });
    return;
  }
  // FTP's data connections have ports of their own.
  const ports = protocol === tcp.PROTOCOL && spec.port === FTP_PORT ? ANY_PORT : {};
  if (mark !== undefined) to.marks.push({ family, mark });
  else to.services.push({ ...catchOf(spec, protocol), ...ports });
  for (const each of destinations) {
    if (each.forward === 'nat') {
      for (const carried of mark === undefined ? [protocol] : BEHIND_MARKS) {
        to.destinations.push({ ...catchOf(each, carried), ...ports });
      }
    } else to.ways.push({ ...each, virtual: mark === undefined ? addressText(family, address) : null });
  }
}

function catchOf(place: Place, protocol: number): Catch {
  return {
    family: place.family,
    protocol,
    address: addressText(place.family, place.address),
    port: place.port,
  };
}
