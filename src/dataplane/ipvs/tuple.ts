/** The tuple by which packets find their connection: the key of the shared table, and its hash. */
import { ENGINE_HASH, KIND_TEMPLATE, NETWORK } from './record.js';

/** The tuple that a packet carries, as the index sees it. Protocol's upper byte is KIND_TEMPLATE for a template. */
export interface Tuple {
  source0: number;
  source1: number;
  source2: number;
  source3: number;
  target0: number;
  target1: number;
  target2: number;
  target3: number;
  /** source port << 16 | target port */
  ports: number;
  protocol: number;
  /** index of the overlay network; 0: the host's own side */
  network: number;
  /** of a template: hash of what its persistence engine goes by; 0 otherwise */
  engine: number;
  family: 4 | 6;
}

/** A tuple's protocol as it stands in a record's kind: the protocol, and KIND_TEMPLATE above it. */
export const TEMPLATE_OF = 0x100;
export function protocolKind(protocol: number): number {
  return ((protocol & 0xff) << 8) | (protocol >= TEMPLATE_OF ? KIND_TEMPLATE : 0);
}

/** Never 0, which is an empty entry. */
export function hashOf(tuple: Tuple): number {
  const { source1, source2, source3, target1, target2, target3 } = tuple;
  let h = first(
    tuple.source0 ^ tuple.engine,
    tuple.target0,
    tuple.ports,
    protocolKind(tuple.protocol),
    tuple.network,
  );
  if ((source1 | source2 | source3 | target1 | target2 | target3) !== 0) {
    h = rest(h, source1, source2, source3, target1, target2, target3);
  }
  return last(h);
}

/** The same of a record's, from `source` to `target`: indexes of the first words of addresses. */
export function hashRecord(
  words: Int32Array,
  at: number,
  source: number,
  target: number,
  ports: number,
  kind: number,
): number {
  const [s1, s2, s3] = [words[source + 1]!, words[source + 2]!, words[source + 3]!];
  const [t1, t2, t3] = [words[target + 1]!, words[target + 2]!, words[target + 3]!];
  const engine = (kind & KIND_TEMPLATE) !== 0 ? words[at + ENGINE_HASH]! : 0;
  let h = first(
    words[source]! ^ engine,
    words[target]!,
    ports,
    kind & ((0xff << 8) | KIND_TEMPLATE),
    words[at + NETWORK]!,
  );
  if ((s1 | s2 | s3 | t1 | t2 | t3) !== 0) h = rest(h, s1, s2, s3, t1, t2, t3);
  return last(h);
}

function first(source: number, target: number, ports: number, kind: number, network: number): number {
  const h = step(source ^ Math.imul(kind ^ (network << 16), 0x27d4eb2f), target);
  return step(h, ports);
}

function rest(h: number, s1: number, s2: number, s3: number, t1: number, t2: number, t3: number): number {
  return step(step(step(step(step(step(h, s1), s2), s3), t1), t2), t3);
}

function step(h: number, word: number): number {
  const mixed = Math.imul(h ^ word, 0x9e3779b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
}

function last(h: number): number {
  const mixed = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) | 0 || 1;
}
