/** Addresses of interfaces (RTM_*ADDR, linux/if_addr.h). `netns` is the path of a network namespace, '' for our own. */
import { ipText, parseCidr } from '../ip-text.js';
import { exchange, exchangeUnless, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from './exchange.js';
import { AF_INET, AF_INET6 } from './family.js';
import { Attributes, LITTLE_ENDIAN, type Message, type MessageWriter } from './message.js';

export interface InterfaceAddress {
  readonly index: number;
  /** canonical text, without prefix length */
  readonly address: string;
  readonly prefixLength: number;
}

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFADDRMSG_BYTES = 8;
const IFA_F_NODAD = 2;
const RT_SCOPE_HOST = 254;
const IFA_ADDRESS = 1; // the other end's on a point-to-point interface
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;

export function addresses(netns: string): InterfaceAddress[] {
  const answers = exchange(netns, 'list addresses', RTM_GETADDR, NLM_F_DUMP, (writer) =>
    writer.u8(0).u8(0).u8(0).u8(0).u32(0),
  );
  return answers.map(parse);
}

/**
 * `cidr`: '10.0.0.1/24', 'fd00::1/64'. IPv6 addresses are usable at once (no duplicate address detection). One that is
 * there already is fine, unless `refuseExisting`. One of scope host is never chosen as the source of what leaves.
 * Throws NetlinkError.
 */
export function addAddress(
  netns: string,
  index: number,
  cidr: string,
  options: { refuseExisting?: boolean; scope?: 'global' | 'host' } = {},
): void {
  const accepted = options.refuseExisting ? [] : ['EEXIST'];
  const operation = `add address ${cidr} to interface ${index}`;
  exchangeUnless(accepted, netns, operation, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, (writer) => {
    const bytes = header(writer, index, cidr, options.scope === 'host' ? RT_SCOPE_HOST : 0);
    const broadcast = broadcastOf(cidr);
    writer.attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes);
    if (broadcast !== undefined) writer.attribute(IFA_BROADCAST, broadcast);
  });
}

/** One that isn't there is fine, and so is an interface that is gone. */
export function removeAddress(netns: string, index: number, cidr: string): void {
  const operation = `remove address ${cidr} from interface ${index}`;
  exchangeUnless(['EADDRNOTAVAIL', 'ENODEV'], netns, operation, RTM_DELADDR, 0, (writer) =>
    writer.attribute(IFA_LOCAL, header(writer, index, cidr)),
  );
}

/** struct ifaddrmsg; returns the address. */
function header(writer: MessageWriter, index: number, cidr: string, scope = 0): Uint8Array {
  const { bytes, prefixLength } = parseCidr(cidr);
  const family = bytes.length === 4 ? AF_INET : AF_INET6;
  writer
    .u8(family)
    .u8(prefixLength)
    .u8(family === AF_INET6 ? IFA_F_NODAD : 0)
    .u8(scope)
    .u32(index);
  return bytes;
}

/** All ones behind the prefix; IPv6, /31 and /32 have none. */
function broadcastOf(cidr: string): Uint8Array | undefined {
  const { bytes, prefixLength } = parseCidr(cidr);
  if (bytes.length !== 4 || prefixLength > 30) return undefined;
  const view = new DataView(bytes.buffer.slice(0));
  view.setUint32(0, view.getUint32(0) | (0xffffffff >>> prefixLength));
  return new Uint8Array(view.buffer);
}

function parse({ body }: Message): InterfaceAddress {
  const attributes = new Attributes(body, IFADDRMSG_BYTES);
  const bytes = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS) ?? new Uint8Array(4);
  return {
    index: body.getUint32(4, LITTLE_ENDIAN),
    address: ipText(bytes),
    prefixLength: body.getUint8(1),
  };
}
