/** Network interfaces (RTM_*LINK, linux/if_link.h). `netns` is the path of a network namespace, '' for our own. */
import { closeSync, openSync } from 'node:fs';
import { macBytes, macText } from '../ip-text.js';
import { exchange, exchangeUnless, NLM_F_DUMP } from './exchange.js';
import { Attributes, LITTLE_ENDIAN, type Message, type MessageWriter } from './message.js';

export interface Link {
  readonly index: number;
  readonly name: string;
  /** '' for an interface without one (TUN) */
  readonly mac: string;
  /** bytes of IP packet */
  readonly mtu: number;
  /** switched on */
  readonly up: boolean;
  /** carrier, or whatever the driver has instead */
  readonly lowerUp: boolean;
  readonly loopback: boolean;
  /** 'veth', 'tun', 'bridge', …; '' for a real device */
  readonly kind: string;
  /** index of the bridge or bond that it is a member of, 0 for none */
  readonly master: number;
  /** largest super-packet that the interface sends, receives glued together; bytes, 0 where the kernel doesn't say */
  readonly gsoMaxSize: number;
  readonly groMaxSize: number;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  readonly name?: string;
  /** path of the network namespace to move it to; the rest of the change is done there */
  readonly netns?: string;
  readonly gsoMaxSize?: number;
  readonly groMaxSize?: number;
}

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFINFOMSG_BYTES = 16;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_LOWER_UP = 0x10000;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFLA_GSO_MAX_SIZE = 41;
const IFLA_GRO_MAX_SIZE = 58;

export function links(netns: string): Link[] {
  const answers = exchange(netns, 'list interfaces', RTM_GETLINK, NLM_F_DUMP, (writer) =>
    header(writer, 0).attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  );
  return answers.map(parse);
}

export function linkByName(netns: string, name: string): Link | undefined {
  const operation = `look up interface ${name}`;
  const [answer] = exchangeUnless(['ENODEV'], netns, operation, RTM_GETLINK, 0, (writer) =>
    header(writer, 0).attributeText(IFLA_IFNAME, name).attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  );
  return answer && parse(answer);
}

export function linkByIndex(netns: string, index: number): Link | undefined {
  const operation = `look up interface ${index}`;
  const [answer] = exchangeUnless(['ENODEV'], netns, operation, RTM_GETLINK, 0, (writer) =>
    header(writer, index).attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  );
  return answer && parse(answer);
}

/** All of the change in one request. Throws NetlinkError. */
export function setLink(netns: string, index: number, change: LinkChange): void {
  const wanted = Object.entries(change).map(([what, value]) => `${what} ${value}`);
  const target = change.netns === undefined ? undefined : openSync(change.netns, 'r');
  try {
    exchange(netns, `set ${wanted.join(', ')} of interface ${index}`, RTM_NEWLINK, 0, (writer) => {
      header(writer, index, change.up);
      if (target !== undefined) writer.attributeU32(IFLA_NET_NS_FD, target);
      if (change.name !== undefined) writer.attributeText(IFLA_IFNAME, change.name);
      if (change.mac !== undefined) writer.attribute(IFLA_ADDRESS, macBytes(change.mac));
      if (change.mtu !== undefined) writer.attributeU32(IFLA_MTU, change.mtu);
      if (change.gsoMaxSize !== undefined) writer.attributeU32(IFLA_GSO_MAX_SIZE, change.gsoMaxSize);
      if (change.groMaxSize !== undefined) writer.attributeU32(IFLA_GRO_MAX_SIZE, change.groMaxSize);
    });
  } finally {
    if (target !== undefined) closeSync(target);
  }
}

/** Removes an interface; one that is gone already is fine. */
export function removeLink(netns: string, index: number): void {
  exchangeUnless(['ENODEV'], netns, `remove interface ${index}`, RTM_DELLINK, 0, (writer) =>
    header(writer, index),
  );
}

/** struct ifinfomsg */
function header(writer: MessageWriter, index: number, up?: boolean): MessageWriter {
  const flags = up ? IFF_UP : 0;
  const changed = up === undefined ? 0 : IFF_UP;
  return writer.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(changed);
}

function parse({ body }: Message): Link {
  const attributes = new Attributes(body, IFINFOMSG_BYTES);
  const flags = body.getUint32(8, LITTLE_ENDIAN);
  const mac = attributes.bytes(IFLA_ADDRESS);
  return {
    index: body.getInt32(4, LITTLE_ENDIAN),
    name: attributes.text(IFLA_IFNAME) ?? '',
    mac: mac?.length === 6 ? macText(mac) : '',
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    up: (flags & IFF_UP) !== 0,
    lowerUp: (flags & IFF_LOWER_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    kind: attributes.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND) ?? '',
    master: attributes.u32(IFLA_MASTER) ?? 0,
    gsoMaxSize: attributes.u32(IFLA_GSO_MAX_SIZE) ?? 0,
    groMaxSize: attributes.u32(IFLA_GRO_MAX_SIZE) ?? 0,
  };
}
