/** Whole frames for the tests of what stands between a wire and the host's stack. */
import * as arp from '../../../src/dataplane/wire/arp.js';
import * as checksum from '../../../src/dataplane/wire/checksum.js';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../../src/dataplane/wire/ipv6.js';
import * as udp from '../../../src/dataplane/wire/udp.js';

export interface Ends {
  sourceMac: string;
  destinationMac: string;
  source: string;
  destination: string;
}

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

export function ethernetFrame(
  { sourceMac, destinationMac }: Ends,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(ethernet.HEADER + payload.length);
  const [to, from] = [ethernet.parseMac(destinationMac), ethernet.parseMac(sourceMac)];
  ethernet.writeMac(frame, ethernet.DESTINATION, to.high, to.low);
  ethernet.writeMac(frame, ethernet.SOURCE, from.high, from.low);
  ethernet.writeEtherType(frame, 0, type);
  frame.set(payload, ethernet.HEADER);
  return frame;
}

/** The frame with an 802.1Q tag. */
export function tagged(frame: Uint8Array, vlan: number): Uint8Array {
  return Uint8Array.of(...frame.subarray(0, 12), 0x81, 0x00, vlan >> 8, vlan & 0xff, ...frame.subarray(12));
}

/** `payload` behind an IP header of the ends' family; `options` are bytes of IPv4 options. */
export function ipFrame(
  ends: Ends,
  protocol: number,
  payload: Uint8Array,
  { fragment = ipv4.DONT_FRAGMENT, options = new Uint8Array(0) } = {},
): Uint8Array {
  if (ends.destination.includes(':')) {
    const packet = new Uint8Array(ipv6.HEADER + payload.length);
    ipv6.write(packet, 0, payload.length, protocol);
    ipv6.writeAddress(packet, ipv6.SOURCE, ...ipv6.parse(ends.source));
    ipv6.writeAddress(packet, ipv6.DESTINATION, ...ipv6.parse(ends.destination));
    packet.set(payload, ipv6.HEADER);
    return ethernetFrame(ends, ethernet.IPV6, packet);
  }
  const header = ipv4.HEADER + options.length;
  const packet = new Uint8Array(header + payload.length);
  const [from, to] = [ipv4.parse(ends.source), ipv4.parse(ends.destination)];
  ipv4.write(packet, 0, packet.length, protocol, from, to, 64, 0, 7, fragment);
  packet[0] = 0x40 | (header >> 2);
  packet.set(options, ipv4.HEADER);
  ipv4.writeChecksum(packet, 0, ipv4.headerChecksum(packet, 0));
  packet.set(payload, header);
  return ethernetFrame(ends, ethernet.IPV4, packet);
}

/** UDP header and payload, checksum included; with `unfinished` only the pseudo-header's sum stands in it. */
export function datagram(ends: Ends, port: number, payload: Uint8Array, unfinished = false): Uint8Array {
  const bytes = new Uint8Array(udp.HEADER + payload.length);
  udp.write(bytes, 0, 40_000, port, bytes.length);
  bytes.set(payload, udp.HEADER);
  const pseudo = pseudoHeader(ends, UDP, bytes.length);
  const sum = checksum.sum(bytes, 0, bytes.length, pseudo);
  udp.writeChecksum(bytes, 0, unfinished ? pseudo : udp.finishChecksum(sum));
  return bytes;
}

export function udpFrame(ends: Ends, port: number, payload: Uint8Array): Uint8Array {
  return ipFrame(ends, UDP, datagram(ends, port, payload));
}

/** A TCP segment that asks for a connection. */
export function synFrame(ends: Ends, port: number): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes.set([0x9c, 0x40, port >> 8, port & 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff]);
  finish(bytes, 16, pseudoHeader(ends, TCP, bytes.length));
  return ipFrame(ends, TCP, bytes);
}

/** An ICMP or ICMPv6 echo request. */
export function echoFrame(ends: Ends): Uint8Array {
  const six = ends.destination.includes(':');
  const bytes = Uint8Array.of(six ? 128 : 8, 0, 0, 0, 0, 1, 0, 1);
  finish(bytes, 2, six ? pseudoHeader(ends, ICMPV6, bytes.length) : 0);
  return ipFrame(ends, six ? ICMPV6 : ICMP, bytes);
}

/** Asks who has the destination's address: ARP or a neighbour solicitation. */
export function resolutionFrame(ends: Ends): Uint8Array {
  const mac = ethernet.parseMac(ends.sourceMac);
  if (!ends.destination.includes(':')) {
    const request = new Uint8Array(arp.HEADER);
    arp.writeRequest(request, 0, mac.high, mac.low, ipv4.parse(ends.source), ipv4.parse(ends.destination));
    return ethernetFrame(ends, ethernet.ARP, request);
  }
  const bytes = new Uint8Array(32);
  bytes[0] = 135;
  ipv6.writeAddress(bytes, 8, ...ipv6.parse(ends.destination));
  bytes.set([1, 1], 24); // option: our MAC
  ethernet.writeMac(bytes, 26, mac.high, mac.low);
  finish(bytes, 2, pseudoHeader(ends, ICMPV6, bytes.length));
  const frame = ipFrame(ends, ICMPV6, bytes);
  frame[ethernet.HEADER + 7] = 255; // hop limit, as RFC 4861 wants it
  return frame;
}

/** Puts the checksum in its place. */
function finish(bytes: Uint8Array, at: number, pseudo: number): void {
  const sum = checksum.finish(checksum.sum(bytes, 0, bytes.length, pseudo));
  bytes.set([sum >> 8, sum & 0xff], at);
}

function pseudoHeader({ source, destination }: Ends, protocol: number, length: number): number {
  if (!destination.includes(':'))
    return checksum.pseudoHeader4(ipv4.parse(source), ipv4.parse(destination), protocol, length);
  const header = new Uint8Array(ipv6.HEADER);
  ipv6.writeAddress(header, ipv6.SOURCE, ...ipv6.parse(source));
  ipv6.writeAddress(header, ipv6.DESTINATION, ...ipv6.parse(destination));
  return checksum.pseudoHeader6(header, 0, protocol, length);
}
