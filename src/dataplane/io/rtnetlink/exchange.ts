/** One rtnetlink request and its answers. */
import { need } from '../native.js';
import { NetlinkError } from './error.js';
import { Attributes, LITTLE_ENDIAN, type Message, MessageWriter, messages } from './message.js';

const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP_INTR = 0x10; // what was dumped has changed meanwhile
const NLM_F_CAPPED = 0x100; // the error doesn't repeat the request's body
const NLM_F_ACK_TLVS = 0x200; // attributes follow
const NLMSGERR_ATTR_MSG = 1;

export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

const DUMP_ATTEMPTS = 5;

let lastSequence = 0;

/**
 * Sends a request whose struct and attributes `fill` writes, and returns the messages that answer it.
 * `operation` says in words what is asked for. Throws NetlinkError.
 */
export function exchange(
  netns: string,
  operation: string,
  type: number,
  flags: number,
  fill: (writer: MessageWriter) => void,
): Message[] {
  const writer = new MessageWriter();
  fill(writer);
  lastSequence = (lastSequence + 1) >>> 0;
  const request = writer.finish(type, flags | NLM_F_REQUEST | NLM_F_ACK, lastSequence);
  let answers: Message[] = [];
  for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
    const all = [...messages(need().netlink(netns, NETLINK_ROUTE, request))];
    for (const message of all) refuse(message, operation);
    answers = all.filter((message) => message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE);
    if (!all.some((message) => message.flags & NLM_F_DUMP_INTR)) break;
  }
  return answers;
}

/** As `exchange`, where an error with one of these codes means: nothing there, or nothing to do. */
export function exchangeUnless(codes: readonly string[], ...request: Parameters<typeof exchange>): Message[] {
  try {
    return exchange(...request);
  } catch (error) {
    if (error instanceof NetlinkError && codes.includes(error.code)) return [];
    throw error;
  }
}

/** Throws when the message says that the request failed. An errno of 0 is the acknowledgement. */
function refuse(message: Message, operation: string): void {
  if ((message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) || message.body.byteLength < 4) return;
  const errno = -message.body.getInt32(0, LITTLE_ENDIAN);
  if (errno <= 0) return;
  throw new NetlinkError(operation, errno, explanation(message));
}

/** The kernel's own words, where it was asked for them (NETLINK_EXT_ACK) and has some. */
function explanation(message: Message): string {
  if (!(message.flags & NLM_F_ACK_TLVS)) return '';
  if (message.type === NLMSG_DONE) return new Attributes(message.body, 4).text(NLMSGERR_ATTR_MSG) ?? '';
  if (message.body.byteLength < 20) return '';
  const repeated = message.flags & NLM_F_CAPPED ? 16 : message.body.getUint32(4, LITTLE_ENDIAN);
  return new Attributes(message.body, 4 + ((repeated + 3) & ~3)).text(NLMSGERR_ATTR_MSG) ?? '';
}
