/** DNS_CHECK: a query over UDP (RFC 1035 §4) is answered with NOERROR; how many records it brings is left open. */
import { randomInt } from 'node:crypto';
import * as dns from 'dns-packet';
import type { HealthKind } from '../../../config/service-types.js';
import type { Check } from '../check.js';
import { exchange } from './datagram.js';

type DnsHealth = Extract<HealthKind, { kind: 'dns' }>;

export function dnsCheck({ name, type }: DnsHealth): Check {
  const question = { type: type as dns.RecordType, name: bare(name) };
  return async (target, signal) => {
    const id = randomInt(65_536);
    const query = dns.encode({ type: 'query', id, flags: dns.RECURSION_DESIRED, questions: [question] });
    await exchange(target, query, signal, (bytes) => isAnswer(bytes, id, question));
    return {};
  };
}

/** False: it answers something else. Throws when it is the answer, and a bad one. */
function isAnswer(bytes: Buffer, id: number, question: { type: string; name: string }): boolean {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id) return false;
  let answer: dns.DecodedPacket & { rcode?: string };
  try {
    answer = dns.decode(bytes);
  } catch {
    throw new Error('the answer is malformed');
  }
  if (answer.type !== 'response') return false;
  const [asked] = answer.questions ?? [];
  const same =
    asked !== undefined &&
    asked.type === question.type &&
    bare(asked.name).toLowerCase() === question.name.toLowerCase();
  // A server that can't read the question may answer without it (FORMERR).
  if (asked !== undefined && !same) return false;
  if (answer.rcode !== 'NOERROR') throw new Error(`the answer is ${answer.rcode}`);
  if (!same) throw new Error('the answer has no question');
  return true;
}

/** Without the dot at the end: the root is empty. */
const bare = (name: string): string => name.replace(/\.$/, '');
