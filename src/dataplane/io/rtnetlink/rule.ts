/** Rules of policy routing (RTM_*RULE, linux/fib_rules.h). `netns` is the path of a network namespace, '' for our own. */
import { ipBytes } from '../ip-text.js';
import { exchangeUnless, NLM_F_CREATE, NLM_F_EXCL } from './exchange.js';
import { AF_INET, AF_INET6 } from './family.js';
import { LITTLE_ENDIAN, type MessageWriter } from './message.js';

export interface Rule {
  readonly family: 4 | 6;
  /** lower ones are asked first */
  readonly priority: number;
  /** the table to look into, or the priority of the rule to go on with; unreachable: no further */
  readonly action: { readonly table: number } | { readonly goto: number } | { readonly unreachable: true };
  readonly from?: string;
  readonly to?: string;
  readonly incoming?: string;
  /** IP protocol, and ports of it, one or from the first to the last; a port needs the protocol */
  readonly protocol?: number;
  readonly sourcePort?: number | Ports;
  readonly destinationPort?: number | Ports;
  readonly mark?: number;
}

export type Ports = readonly [first: number, last: number];

export const RT_TABLE_LOCAL = 255;

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;

const FR_ACT_TO_TBL = 1;
const FR_ACT_GOTO = 2;
const FR_ACT_UNREACHABLE = 7;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_GOTO = 4;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_PROTOCOL = 21;
const FRA_IP_PROTO = 22;
const FRA_SPORT_RANGE = 23;
const FRA_DPORT_RANGE = 24;
const RTPROT_STATIC = 4;

/** One that is there already is fine. Throws NetlinkError. */
export function addRule(netns: string, rule: Rule): void {
  exchangeUnless(['EEXIST'], netns, `add ${words(rule)}`, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, (writer) =>
    describe(writer, rule),
  );
}

/** One that isn't there is fine. */
export function removeRule(netns: string, rule: Rule): void {
  exchangeUnless(['ENOENT', 'ESRCH'], netns, `remove ${words(rule)}`, RTM_DELRULE, 0, (writer) =>
    describe(writer, rule),
  );
}

function words({ priority, from, to, incoming }: Rule): string {
  const parts = [from && `from ${from}`, to && `to ${to}`, incoming && `iif ${incoming}`];
  return ['rule', `${priority}`, ...parts.filter((part) => part !== undefined)].join(' ');
}

/** struct fib_rule_hdr and its attributes */
function describe(writer: MessageWriter, rule: Rule): void {
  const { action, from, to, protocol, sourcePort, destinationPort, mark } = rule;
  const source = from === undefined ? undefined : ipBytes(from);
  const target = to === undefined ? undefined : ipBytes(to);
  const table = 'table' in action ? action.table : undefined;
  const next = 'goto' in action ? action.goto : undefined;
  writer.u8(rule.family === 4 ? AF_INET : AF_INET6);
  writer
    .u8(8 * (target?.length ?? 0))
    .u8(8 * (source?.length ?? 0))
    .u8(0);
  writer
    .u8(table === undefined || table > 255 ? 0 : table)
    .u8(0)
    .u8(0);
  writer
    .u8(table !== undefined ? FR_ACT_TO_TBL : next !== undefined ? FR_ACT_GOTO : FR_ACT_UNREACHABLE)
    .u32(0);
  writer.attributeU32(FRA_PRIORITY, rule.priority);
  if (next !== undefined) writer.attributeU32(FRA_GOTO, next);
  if (table !== undefined) writer.attributeU32(FRA_TABLE, table);
  // The kernel's own rule has none.
  if (rule.priority > 0) writer.attribute(FRA_PROTOCOL, Uint8Array.of(RTPROT_STATIC));
  if (target !== undefined) writer.attribute(FRA_DST, target);
  if (source !== undefined) writer.attribute(FRA_SRC, source);
  if (rule.incoming !== undefined) writer.attributeText(FRA_IIFNAME, rule.incoming);
  if (mark !== undefined) {
    writer.attributeU32(FRA_FWMARK, mark);
    writer.attributeU32(FRA_FWMASK, 0xffffffff);
  }
  if (protocol !== undefined) writer.attribute(FRA_IP_PROTO, Uint8Array.of(protocol));
  if (sourcePort !== undefined) writer.attribute(FRA_SPORT_RANGE, portRange(sourcePort));
  if (destinationPort !== undefined) writer.attribute(FRA_DPORT_RANGE, portRange(destinationPort));
}

/** struct fib_rule_port_range */
function portRange(port: number | Ports): Uint8Array {
  const [first, last] = typeof port === 'number' ? [port, port] : port;
  const bytes = new Uint8Array(4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, first, LITTLE_ENDIAN);
  view.setUint16(2, last, LITTLE_ENDIAN);
  return bytes;
}
