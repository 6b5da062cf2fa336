/**
 * Every reason for which a packet can be dropped, with the sentence an operator reads. A new drop path needs a
 * row here first. The order is the index of the counter in shared memory.
 */
export const DROPS = [
  ['no-packet', 'The packet pool was exhausted. Raise engine.slots.'],
  ['runt-frame', 'A frame shorter than an Ethernet header came from a workload.'],
  ['bad-source-mac', 'A frame had a multicast or zero source MAC address.'],
  ['port-not-attached', 'A frame came from, or was meant for, an endpoint that has just been removed.'],
  ['same-port', 'A frame was addressed to the endpoint it came from.'],
  [
    'flood-nowhere',
    'A frame to be flooded had no other endpoint and no VTEP to go to. List the peers under vteps.',
  ],
  [
    'unknown-unicast',
    'A frame went to a MAC address that nobody has, and the network does not flood unknown unicast.',
  ],
  ['too-big', 'A packet exceeded the path MTU; the sender was told by ICMP.'],
  [
    'too-big-not-ip',
    'A frame exceeded the path MTU and its sender could not be told (no IP, or sent to a group). Lower its MTU.',
  ],
  [
    'vtep-unreachable',
    'The underlay refused to send to the VTEP (no route, or administratively prohibited).',
  ],
  ['underlay-busy', 'The underlay socket or device was full, and the datagram was lost.'],
  ['underlay-error', 'The underlay refused the datagram; the log has the error of its first occurrence.'],
  [
    'underlay-oversize',
    'The underlay interface is too small for the datagram. Compare the underlay MTU with the networks.',
  ],
  ['tap-busy', 'The queue of the workload interface was full, or the interface is down.'],
  ['tap-error', 'The workload interface refused a frame; the log has the error of its first occurrence.'],
  ['outer-malformed', 'An outer IP or UDP header of an underlay packet was inconsistent or cut short.'],
  ['outer-checksum', 'The outer IP or UDP checksum of an underlay packet was wrong.'],
  ['outer-not-ours', 'An underlay packet was not addressed to this data plane.'],
  ['vxlan-short', 'A datagram was too short for a VXLAN header and an Ethernet frame.'],
  ['vxlan-flags', 'A datagram had no valid VNI (the I flag was not set).'],
  ['vxlan-unknown-vni', 'A datagram carried a VNI that no network here has.'],
  [
    'not-here',
    'A frame from the tunnel was addressed to a workload that is on another host; its sender has an old entry.',
  ],
  [
    'inner-malformed',
    'The headers of a super-packet were inconsistent or cut short, so it could not be segmented.',
  ],
  ['segments-too-many', 'A super-packet would have made more segments than one send carries.'],
  ['injected-loss', 'A fault-injecting device dropped the packet on purpose.'],
  ['device-closed', 'The device was closed while packets waited for it.'],
  [
    'ecn-marked',
    'The underlay marked a datagram as having met congestion, and its frame could not carry the mark on: a loss, as its sender expects (RFC 6040).',
  ],
  ['ip-malformed', 'An IP packet, or its transport header, was inconsistent or cut short.'],
  ['ttl-expired', 'A packet had no hop left to be forwarded; its sender was told by ICMP.'],
  [
    'fragment-lost',
    'A fragment waited for the first one of its packet, which did not come in time, or was dropped.',
  ],
  [
    'fragments-full',
    'More fragments waited for the first ones of their packets than may wait: a flood, or heavy reordering.',
  ],
  [
    'sctp-fragment',
    'A fragmented SCTP packet was to get another port, but its checksum covers all fragments. Use equal ports.',
  ],
  [
    'service-empty',
    'A packet came for a service that has no usable destination; its sender was told by ICMP. See viaduct ipvsadm -L.',
  ],
  [
    'connections-full',
    'A new connection found the connection table full. Raise virtualServer.connections, or lower the timeouts.',
  ],
  [
    'source-not-allowed',
    'A connection was begun by a source that is not in the list of its service (services[].allow).',
  ],
  [
    'source-rate',
    'A source began connections faster than its service lets one source (services[].sourceRate).',
  ],
  [
    'cookie-invalid',
    'A segment for a service with synProxy was of no connection, and acknowledged no SYN cookie of the last minutes: a scan, a flood, or a connection that had ended.',
  ],
  [
    'syn-proxy',
    'A segment came before the SYN proxy had opened the connection to the server, and was not one that may come then.',
  ],
  [
    'not-served',
    'A packet for the address of a virtual service inside a network was of none of its ports, and of no connection; its sender was told.',
  ],
  [
    'destination-unknown',
    'The destination of a virtual service inside a network is not known there, and nobody answered for it. List it under remotes or endpoints.',
  ],
  ['no-call-id', "A packet for a service with the persistence engine sip had no Call-ID: it is not SIP's."],
  [
    'connections-scarce',
    'A packet that would have begun a connection was dropped on purpose, as virtualServer.dropPacket wants.',
  ],
  [
    'destination-gone',
    'A TCP connection was reset at this packet, for its destination is no longer in the service; both ends were told.',
  ],
  [
    'destination-unreachable',
    'No route leads to the destination of a packet that was to be routed or tunnelled to it; its sender was told by ICMP.',
  ],
] as const;

export type DropReason = (typeof DROPS)[number][0];

type Codes = { readonly [R in DropReason]: number };

/** Reason → index of its counter: `drop['too-big']`. */
export const drop = Object.fromEntries(DROPS.map(([reason], code) => [reason, code])) as Codes;

export function dropSentence(reason: DropReason): string {
  return DROPS[drop[reason]]![1];
}
