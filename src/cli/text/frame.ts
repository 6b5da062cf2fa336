/** A frame in one line, from its first bytes: addresses, protocol, ports, length. */
import { canonicalAddress } from '../../dataplane/config/address.js';

const IPV4 = 0x0800;
const ARP = 0x0806;
const VLAN = 0x8100;
const IPV6 = 0x86dd;

const ICMP_TYPES: Readonly<Record<number, string>> = {
  0: 'echo reply',
  3: 'unreachable',
  8: 'echo request',
  11: 'time exceeded',
};
const ICMPV6_TYPES: Readonly<Record<number, string>> = {
  1: 'unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  128: 'echo request',
  129: 'echo reply',
  133: 'router solicitation',
  134: 'router advertisement',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
};

/** `length`: bytes that the frame has; `bytes` may be fewer. What isn't there is not described. */
export function describeFrame(bytes: Buffer, length: number): string {
  const end = `, ${length} bytes`;
  if (bytes.length < 14) return `frame${end}`;
  const macs = `${mac(bytes, 6)} > ${mac(bytes, 0)}`;
  let type = bytes.readUInt16BE(12);
  let at = 14;
  let tag = '';
  while (type === VLAN && bytes.length >= at + 4) {
    tag += ` vlan ${bytes.readUInt16BE(at) & 0xfff}`;
    type = bytes.readUInt16BE(at + 2);
    at += 4;
  }
  return `${macs}${tag} ${describeProtocol(type, bytes, at)}${end}`;
}

function describeProtocol(type: number, bytes: Buffer, at: number): string {
  if (type === IPV4 && bytes.length >= at + 20) return describeIpv4(bytes, at);
  if (type === IPV6 && bytes.length >= at + 40) return describeIpv6(bytes, at);
  if (type === ARP && bytes.length >= at + 28) {
    const [asked, told] = [ipv4(bytes, at + 24), ipv4(bytes, at + 14)];
    return bytes.readUInt16BE(at + 6) === 1
      ? `ARP who has ${asked}? ${told} asks`
      : `ARP ${told} is at ${mac(bytes, at + 8)}`;
  }
  return `type 0x${type.toString(16).padStart(4, '0')}`;
}

function describeIpv4(bytes: Buffer, at: number): string {
  const [source, destination] = [ipv4(bytes, at + 12), ipv4(bytes, at + 16)];
  const later = (bytes.readUInt16BE(at + 6) & 0x1fff) !== 0;
  if (later) return `IPv4 ${source} > ${destination} fragment`;
  return describeTransport(
    'IPv4',
    source,
    destination,
    bytes[at + 9]!,
    bytes,
    at + 4 * (bytes[at]! & 15),
    ICMP_TYPES,
  );
}

function describeIpv6(bytes: Buffer, at: number): string {
  const [source, destination] = [ipv6(bytes, at + 8), ipv6(bytes, at + 24)];
  return describeTransport('IPv6', source, destination, bytes[at + 6]!, bytes, at + 40, ICMPV6_TYPES);
}

function describeTransport(
  version: string,
  source: string,
  destination: string,
  protocol: number,
  bytes: Buffer,
  at: number,
  icmpTypes: Readonly<Record<number, string>>,
): string {
  const name = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6' }[protocol];
  const host = (address: string) => (version === 'IPv6' ? `[${address}]` : address);
  if ((name === 'TCP' || name === 'UDP') && bytes.length >= at + 4) {
    const [from, to] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 2)];
    return `${name} ${host(source)}:${from} > ${host(destination)}:${to}`;
  }
  const between = `${source} > ${destination}`;
  if ((name === 'ICMP' || name === 'ICMPv6') && bytes.length > at) {
    const kind = bytes[at]!;
    return `${name} ${between} ${icmpTypes[kind] ?? `type ${kind}`}`;
  }
  return `${version} ${between} ${name ?? `protocol ${protocol}`}`;
}

function mac(bytes: Buffer, at: number): string {
  return bytes.toString('hex', at, at + 6).replace(/..(?!$)/g, '$&:');
}

function ipv4(bytes: Buffer, at: number): string {
  return bytes.subarray(at, at + 4).join('.');
}

function ipv6(bytes: Buffer, at: number): string {
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i).toString(16));
  return canonicalAddress(words.join(':')) ?? '';
}
