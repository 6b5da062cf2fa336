/** Routes (RTM_*ROUTE, linux/rtnetlink.h). `netns` is the path of a network namespace, '' for our own. */
import { ipBytes, ipText, parseCidr } from '../ip-text.js';
import { exchangeUnless, NLM_F_CREATE, NLM_F_EXCL } from './exchange.js';
import { AF_INET, familyOf } from './family.js';
import { Attributes, LITTLE_ENDIAN, type Message, type MessageWriter } from './message.js';

export interface NewRoute {
  /** with prefix length, or 'default' (of the family of `via`) */
  readonly to: string;
  /** null: on the link */
  readonly via: string | null;
  readonly index: number;
  /** main where it isn't said */
  readonly table?: number;
  /** `via` is on the link, whatever the other routes say */
  readonly onLink?: boolean;
}

/** Where the kernel would send a packet. */
export interface RouteResult {
  /** interface */
  readonly index: number;
  /** next hop; null when the destination itself is on the link */
  readonly gateway: string | null;
  /** the route's MTU metric, or what path MTU discovery has found; null when neither says */
  readonly mtu: number | null;
  /** whether that MTU comes from path MTU discovery, and so expires */
  readonly mtuLearned: boolean;
  /** source address that the kernel would choose */
  readonly prefSource: string | null;
  readonly type: 'unicast' | 'local' | 'broadcast' | 'multicast' | 'other';
}

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

const RTMSG_BYTES = 12;
const RTM_F_LOOKUP_TABLE = 0x1000;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const RTNH_F_ONLINK = 4;
const RTN_TYPES = ['other', 'unicast', 'local', 'broadcast', 'other', 'multicast'] as const;

const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTAX_MTU = 2;
const RTA_CACHEINFO = 12;
const RTA_TABLE = 15;
const CACHEINFO_EXPIRES = 8; // in struct rta_cacheinfo
const RTA_VIA = 18; // a next hop of the other family: u16 family, address

/** One that is there already is fine. Throws NetlinkError. */
export function addRoute(netns: string, route: NewRoute): void {
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  exchangeUnless(['EEXIST'], netns, `add ${words(route)}`, RTM_NEWROUTE, flags, (writer) =>
    describe(writer, route),
  );
}

/** One that isn't there is fine. */
export function removeRoute(netns: string, route: NewRoute): void {
  exchangeUnless(['ESRCH', 'ENODEV'], netns, `remove ${words(route)}`, RTM_DELROUTE, 0, (writer) =>
    describe(writer, route),
  );
}

/** undefined when no route leads there, or none from `source`. Throws NetlinkError. */
export function routeTo(netns: string, destination: string, source?: string): RouteResult | undefined {
  const to = ipBytes(destination);
  const from = source === undefined ? undefined : ipBytes(source);
  const none = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES'];
  const [answer] = exchangeUnless(
    none,
    netns,
    `look up route to ${destination}`,
    RTM_GETROUTE,
    0,
    (writer) => {
      writer.u8(familyOf(to)).u8(8 * to.length);
      writer.u8(from === undefined ? 0 : 8 * from.length).u8(0);
      writer.u8(0).u8(0).u8(0).u8(0).u32(RTM_F_LOOKUP_TABLE);
      writer.attribute(RTA_DST, to);
      if (from !== undefined) writer.attribute(RTA_SRC, from);
    },
  );
  return answer && parse(answer);
}

function words({ to, via, index }: NewRoute): string {
  return `route to ${to}${via === null ? '' : ` via ${via}`} on interface ${index}`;
}

/** struct rtmsg and its attributes */
function describe(writer: MessageWriter, route: NewRoute): void {
  const { to, via, index, table = RT_TABLE_MAIN, onLink = false } = route;
  const gateway = via === null ? undefined : ipBytes(via);
  const { bytes, prefixLength } =
    to === 'default' ? { bytes: new Uint8Array(gateway?.length ?? 4), prefixLength: 0 } : parseCidr(to);
  const scope = gateway === undefined && familyOf(bytes) === AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  writer.u8(familyOf(bytes)).u8(prefixLength).u8(0).u8(0);
  writer
    .u8(table > 255 ? 0 : table)
    .u8(RTPROT_STATIC)
    .u8(scope)
    .u8(RTN_UNICAST)
    .u32(onLink ? RTNH_F_ONLINK : 0);
  if (table > 255) writer.attributeU32(RTA_TABLE, table);
  if (prefixLength > 0) writer.attribute(RTA_DST, bytes);
  if (gateway !== undefined) writer.attribute(RTA_GATEWAY, gateway);
  writer.attributeU32(RTA_OIF, index);
}

function parse({ body }: Message): RouteResult {
  const attributes = new Attributes(body, RTMSG_BYTES);
  const gateway = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA)?.subarray(2);
  const source = attributes.bytes(RTA_PREFSRC);
  return {
    index: attributes.u32(RTA_OIF) ?? 0,
    gateway: gateway === undefined ? null : ipText(gateway),
    mtuLearned: expires(attributes.bytes(RTA_CACHEINFO)),
    mtu: attributes.nested(RTA_METRICS).u32(RTAX_MTU) ?? null,
    prefSource: source === undefined ? null : ipText(source),
    type: RTN_TYPES[body.getUint8(7)] ?? 'other',
  };
}

function expires(cacheInfo: Uint8Array | undefined): boolean {
  if (cacheInfo === undefined || cacheInfo.length < CACHEINFO_EXPIRES + 4) return false;
  const view = new DataView(cacheInfo.buffer, cacheInfo.byteOffset, cacheInfo.length);
  return view.getInt32(CACHEINFO_EXPIRES, LITTLE_ENDIAN) !== 0;
}
