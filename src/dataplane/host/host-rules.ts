/**
 * The rules of policy routing by which the host leads packets to the director. They see a packet's ports, but those of
 * a fragment are 0 to them, also of the first one, and an ICMP type only where the host itself sends the message.
 *
 *      99  from the TUN, or one of a mark: go on with 200   nothing comes to us twice, though it may be marked anew
 *     100  with a mark that has a service             → the table of the mark's TUN (mark-places.ts)
 *     101  to a service's address and port            → our table, whose only route is the TUN; ICMP to it as well, and
 *          to the host's end of a tunnel
 *     102  from a destination's address and port      → our table
 *     103  anything else with a port: go on with 200
 *     104  to a service's, from a destination's address → our table: what has no port, which is fragments
 *     105  ICMP errors by the host itself             → our table: of packets that it could not forward
 *     106  ICMP to the host                           → the host, neighbour discovery with it
 *     107  other ICMP by the host: go on with 200
 *     108  ICMP that passes through                   → our table: errors of any router about a connection's packets
 *     200  the host's own addresses (moved here from 0: a service may have one of them, and local clients are served)
 *
 * Errors about replies come to the service's address. Those of IPv6 are left to 108, so that an address that the host
 * has itself keeps its neighbour discovery: what 106 gives the host then is heard of in own-address-errors.ts.
 */
import { RT_TABLE_LOCAL, type Rule } from '../io/rtnetlink/rule.js';
import * as icmp from '../wire/icmp.js';
import * as icmpv6 from '../wire/icmpv6.js';

const FROM_TUN = 99;
const BY_MARK = 100;
const TO_SERVICE = 101;
const FROM_DESTINATION = 102;
const HAS_PORT = 103;
const FRAGMENTS = 104;
const OWN_ERRORS = 105;
const ICMP_TO_HOST = 106;
const ICMP_BY_HOST = 107;
const ICMP_THROUGH = 108;
const OWN_ADDRESSES = 200;

/** The last one that a rule takes (fib_rule_port_range_valid). */
const LAST_PORT = 65_534;
const isAny = (port: number): boolean => port === 0 || port > LAST_PORT;

/** What is to be led here. */
export interface Catch {
  family: 4 | 6;
  protocol: number;
  address: string;
  /** 0: every port */
  port: number;
}

/** Of the family's ICMP errors: type and code, as they stand where a port would (union flowi_uli). */
const ERRORS = {
  4: [
    [icmp.UNREACHABLE << 8, (icmp.UNREACHABLE << 8) | 0xff],
    [icmp.TIME_EXCEEDED << 8, (icmp.PARAMETER_PROBLEM << 8) | 0xff],
  ],
  6: [[icmpv6.UNREACHABLE << 8, (icmpv6.PARAMETER_PROBLEM << 8) | 0xff]],
} as const;
const ICMP_OF = { 4: icmp.PROTOCOL, 6: icmpv6.PROTOCOL } as const;

/** The rule of the family by which the host finds its own addresses, here and where it stands by default. */
export const ownAddresses = (family: 4 | 6): Rule => ({
  family,
  priority: OWN_ADDRESSES,
  action: { table: RT_TABLE_LOCAL },
});
export const ownAddressesByDefault = (family: 4 | 6): Rule => ({ ...ownAddresses(family), priority: 0 });

/** What the TUN sends is routed as if there were no director. */
export const fromTun = (family: 4 | 6, incoming: string): Rule => ({
  ...{ family, priority: FROM_TUN, action: { goto: OWN_ADDRESSES }, incoming },
});

/** Before all addresses: IPVS asks for marks first. @param table whose only route is the TUN of the mark */
export const byMark = (family: 4 | 6, mark: number, table: number): Rule => ({
  ...{ family, priority: BY_MARK, action: { table }, mark },
});

/** Errors about packets in tunnels come to the IPv4 address of the host that their outer headers have. */
export const errorsTo = (address: string, table: number): Rule => ({
  ...{ family: 4, priority: TO_SERVICE, action: { table }, to: address, protocol: icmp.PROTOCOL },
});

/** All other rules, in their order, each once. @param table whose only route is the TUN */
export function rulesOf(services: readonly Catch[], destinations: readonly Catch[], table: number): Rule[] {
  const rules = new Map<string, Rule>();
  const want = (rule: Rule) => rules.set(JSON.stringify(rule), rule);
  const here = { table };
  const on = { goto: OWN_ADDRESSES };
  for (const { family, protocol, address, port } of services) {
    const ports = isAny(port) ? {} : { destinationPort: port };
    want({ family, priority: TO_SERVICE, action: here, to: address, protocol, ...ports });
    if (family === 4) {
      want({ family, priority: TO_SERVICE, action: here, to: address, protocol: icmp.PROTOCOL });
    }
  }
  for (const { family, protocol, address, port } of destinations) {
    const ports = isAny(port) ? {} : { sourcePort: port };
    want({ family, priority: FROM_DESTINATION, action: here, from: address, protocol, ...ports });
  }
  for (const { family, protocol } of [...services, ...destinations]) {
    want({ family, priority: HAS_PORT, action: on, protocol, destinationPort: [1, LAST_PORT] });
  }
  for (const { family, protocol, address } of services) {
    want({ family, priority: FRAGMENTS, action: here, to: address, protocol });
  }
  for (const { family, protocol, address } of destinations) {
    want({ family, priority: FRAGMENTS, action: here, from: address, protocol });
  }
  for (const family of new Set([...services, ...destinations].map((each) => each.family))) {
    const protocol = ICMP_OF[family];
    for (const destinationPort of ERRORS[family]) {
      want({ family, priority: OWN_ERRORS, action: here, incoming: 'lo', protocol, destinationPort });
    }
    want({ family, priority: ICMP_TO_HOST, action: { table: RT_TABLE_LOCAL }, protocol });
    want({ family, priority: ICMP_BY_HOST, action: on, incoming: 'lo', protocol });
    want({ family, priority: ICMP_THROUGH, action: here, protocol });
  }
  return [...rules.values()];
}
