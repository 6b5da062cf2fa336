/** The kernel's neighbours (RTM_*NEIGH, linux/neighbour.h). `netns` is the path of a network namespace, '' for our own. */
import { ipBytes, ipText, macText } from '../ip-text.js';
import { exchange, exchangeUnless, NLM_F_CREATE, NLM_F_DUMP } from './exchange.js';
import { familyOf } from './family.js';
import { Attributes, LITTLE_ENDIAN, type Message, type MessageWriter } from './message.js';

export interface Neighbour {
  readonly index: number;
  readonly address: string;
  /** null while unresolved */
  readonly mac: string | null;
  readonly state: NeighbourState;
}

export type NeighbourState =
  | 'none'
  | 'incomplete'
  | 'reachable'
  | 'stale'
  | 'delay'
  | 'probe'
  | 'failed'
  | 'noarp'
  | 'permanent';

const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;

const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_FLAGS_EXT = 15;
const NTF_USE = 1;
const NTF_EXT_MANAGED = 1;

const STATES = new Map<number, NeighbourState>([
  [0x01, 'incomplete'],
  [0x02, 'reachable'],
  [0x04, 'stale'],
  [0x08, 'delay'],
  [0x10, 'probe'],
  [0x20, 'failed'],
  [0x40, 'noarp'],
  [0x80, 'permanent'],
]);

/** All, or those of one interface. */
export function neighbours(netns: string, index?: number): Neighbour[] {
  const answers = exchange(netns, 'list neighbours', RTM_GETNEIGH, NLM_F_DUMP, (writer) =>
    header(writer, 0, 0, 0),
  );
  const all = answers.map(parse).filter((found) => found !== undefined);
  return index === undefined ? all : all.filter((found) => found.index === index);
}

export function neighbour(netns: string, index: number, address: string): Neighbour | undefined {
  const to = ipBytes(address);
  const operation = `look up neighbour ${address} on interface ${index}`;
  const [answer] = exchangeUnless(['ENOENT'], netns, operation, RTM_GETNEIGH, 0, (writer) =>
    header(writer, familyOf(to), index, 0).attribute(NDA_DST, to),
  );
  return answer && parse(answer);
}

/**
 * Has the kernel resolve an address, and keep what it knows of it fresh: call it again every few seconds while the
 * answer is needed. Leaves permanent entries alone (NTF_USE would make them forget their MAC). `managed` has the
 * kernel itself repeat that, until it is called with false; before Linux 5.16 it changes nothing.
 */
export function useNeighbour(
  netns: string,
  index: number,
  address: string,
  options: { managed?: boolean } = {},
): void {
  const known = neighbour(netns, index, address);
  if (known?.state === 'permanent' || known?.state === 'noarp') return;
  const to = ipBytes(address);
  const operation = `resolve neighbour ${address} on interface ${index}`;
  exchange(netns, operation, RTM_NEWNEIGH, NLM_F_CREATE, (writer) =>
    header(writer, familyOf(to), index, NTF_USE)
      .attribute(NDA_DST, to)
      .attributeU32(NDA_FLAGS_EXT, options.managed ? NTF_EXT_MANAGED : 0),
  );
}

/** struct ndmsg */
function header(writer: MessageWriter, family: number, index: number, flags: number): MessageWriter {
  return writer.u8(family).u8(0).u16(0).u32(index).u16(0).u8(flags).u8(0);
}

/** undefined for what isn't of IP (a bridge's entries are neighbours as well). */
function parse({ body }: Message): Neighbour | undefined {
  const attributes = new Attributes(body, NDMSG_BYTES);
  const address = attributes.bytes(NDA_DST);
  if (address === undefined || (address.length !== 4 && address.length !== 16)) return undefined;
  const mac = attributes.bytes(NDA_LLADDR);
  const state = STATES.get(body.getUint16(8, LITTLE_ENDIAN)) ?? 'none';
  const resolved = mac !== undefined && mac.length === 6 && state !== 'incomplete' && state !== 'failed';
  return {
    index: body.getInt32(4, LITTLE_ENDIAN),
    address: ipText(address),
    mac: resolved ? macText(mac) : null,
    state,
  };
}
