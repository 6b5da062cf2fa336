/**
 * The two programs of the tunnel TAP, as the bytes that the kernel takes (type SCHED_CLS, tcx ingress).
 *
 *     workload → engine → TAP   → redirectAll    → real interface → wire
 *     wire → real interface     → steerDatagrams → TAP → engine → workload
 *                                      └ anything else → the host's own stack, as if we weren't there
 */
import { ipBytes } from '../ip-text.js';
import { Assembler, BPF_B, BPF_H, BPF_REG_0, BPF_REG_1, BPF_REG_2, BPF_REG_6, BPF_W } from './assembler.js';

export interface DatagramFilter {
  /** interface to redirect to */
  ifindex: number;
  port: number;
  /** our VTEP address of each family; without one that family isn't redirected */
  address4?: string;
  address6?: string;
  /** leave single datagrams to the UDP socket */
  onlySuperPackets: boolean;
}

const BPF_FUNC_redirect = 23;
const TCX_NEXT = -1;

/** struct __sk_buff */
const SKB_PKT_TYPE = 4;
const SKB_VLAN_PRESENT = 20;
const SKB_GSO_SIZE = 176;

const PACKET_HOST = 0;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const IPPROTO_UDP = 17;

const ETHER_TYPE_AT = 12;
const IP_AT = 14;
const IPV4_NO_OPTIONS = 0x45; // version 4, five words of header
const IPV4_FRAGMENT = 0x3fff; // more fragments, or an offset

/** Sends whatever comes out of an interface to another one's egress. */
export function redirectAll(ifindex: number): Uint8Array {
  const code = new Assembler();
  redirect(code, ifindex);
  return code.assemble();
}

/**
 * Redirects the datagrams of a tunnel, and leaves everything else to the next program and the stack: other frames,
 * fragments, IP options and extension headers, frames for another MAC, frames of a VLAN.
 */
export function steerDatagrams(filter: DatagramFilter): Uint8Array {
  const { ifindex, port, address4, address6, onlySuperPackets } = filter;
  const code = new Assembler().copy(BPF_REG_6, BPF_REG_1);
  if (onlySuperPackets) code.loadField(BPF_REG_0, BPF_REG_6, SKB_GSO_SIZE).jumpIfEqual(BPF_REG_0, 0, 'next');
  code.loadField(BPF_REG_0, BPF_REG_6, SKB_PKT_TYPE).jumpUnlessEqual(BPF_REG_0, PACKET_HOST, 'next');
  // the tag isn't in the bytes any more, and the frame is a VLAN interface's
  code.loadField(BPF_REG_0, BPF_REG_6, SKB_VLAN_PRESENT).jumpUnlessEqual(BPF_REG_0, 0, 'next');
  code.loadPacket(BPF_H, ETHER_TYPE_AT);
  if (address4 !== undefined) {
    code.jumpUnlessEqual(BPF_REG_0, ETH_P_IP, 'not IPv4');
    code.loadPacket(BPF_B, IP_AT).jumpUnlessEqual(BPF_REG_0, IPV4_NO_OPTIONS, 'next');
    code.loadPacket(BPF_H, IP_AT + 6).jumpIfAnyBit(BPF_REG_0, IPV4_FRAGMENT, 'next');
    code.loadPacket(BPF_B, IP_AT + 9).jumpUnlessEqual(BPF_REG_0, IPPROTO_UDP, 'next');
    requireBytes(code, IP_AT + 16, ipBytes(address4));
    code.loadPacket(BPF_H, IP_AT + 20 + 2).jumpUnlessEqual(BPF_REG_0, port, 'next');
    redirect(code, ifindex);
    code.label('not IPv4');
  }
  if (address6 !== undefined) {
    code.jumpUnlessEqual(BPF_REG_0, ETH_P_IPV6, 'next');
    code.loadPacket(BPF_B, IP_AT + 6).jumpUnlessEqual(BPF_REG_0, IPPROTO_UDP, 'next');
    requireBytes(code, IP_AT + 24, ipBytes(address6));
    code.loadPacket(BPF_H, IP_AT + 40 + 2).jumpUnlessEqual(BPF_REG_0, port, 'next');
    redirect(code, ifindex);
  }
  code.label('next').move(BPF_REG_0, TCX_NEXT).exit();
  return code.assemble();
}

function requireBytes(code: Assembler, at: number, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let word = 0; word < bytes.length; word += 4)
    code.loadPacket(BPF_W, at + word).jumpUnlessEqual(BPF_REG_0, view.getUint32(word), 'next');
}

function redirect(code: Assembler, ifindex: number): void {
  code.move(BPF_REG_1, ifindex).move(BPF_REG_2, 0).call(BPF_FUNC_redirect).exit();
}
