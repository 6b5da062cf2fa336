import test from 'ava';
import * as ecn from '../../src/dataplane/wire/ecn.js';
import { build, frame, headerBytes, slowSum } from '../io/frames.js';
import { eachLength, place, untouched } from './bytes.js';
import { ARP_REQUEST, MLD, SYN4, SYN6 } from './packets.js';

/** RFC 6040 §4.2, Figure 4, by the codepoints' numbers (Not-ECT, ECT(1), ECT(0), CE): what the frame is afterwards, -1 dropped. */
const FIGURE_4: Record<number, readonly number[]> = {
  [ecn.NOT_ECT]: [ecn.NOT_ECT, ecn.NOT_ECT, ecn.NOT_ECT, -1],
  [ecn.ECT_0]: [ecn.ECT_0, ecn.ECT_1, ecn.ECT_0, ecn.CE],
  [ecn.ECT_1]: [ecn.ECT_1, ecn.ECT_1, ecn.ECT_1, ecn.CE],
  [ecn.CE]: [ecn.CE, ecn.CE, ecn.CE, ecn.CE],
};

const read = (bytes: Uint8Array) => {
  const { bytes: memory, at } = place(bytes);
  return ecn.ofFrame(new DataView(memory.buffer), memory, at, bytes.length);
};

const KINDS = [
  { ip: 4, tags: [] },
  { ip: 6, tags: [] },
  { ip: 4, tags: [7] },
  { ip: 6, tags: [5, 7] },
  { ip: 4, tags: [], ipOptions: [1, 1, 1, 1] },
] as const;

for (const kind of KINDS) {
  const title = `IPv${kind.ip} with ${kind.tags.length} tags${'ipOptions' in kind ? ' and options' : ''}`;
  const make = () =>
    frame({ ...kind, tags: [...kind.tags], ipOptions: [...('ipOptions' in kind ? kind.ipOptions : [])] });
  test(`${title}: the field is read, whatever the DSCP`, (t) => {
    for (let tos = 0; tos < 256; tos++) t.is(read(build({ ...make(), tos, label: 0xfffff })), tos & 3);
  });

  test(`${title}: outer and inner field make what RFC 6040 says, the rest stays, checksums are right`, (t) => {
    for (const dscp of [0, 46 << 2, 63 << 2]) {
      for (let inner = 0; inner < 4; inner++) {
        for (let outer = 0; outer < 4; outer++) {
          const expected = FIGURE_4[inner]![outer]!;
          const before = { ...make(), tos: dscp | inner, label: 0xabcde };
          const content = build(before);
          const { bytes, at, end } = place(content);
          t.is(ecn.combine(bytes, at, content.length, outer), expected >= 0, `${inner} in ${outer}`);
          const after = expected < 0 ? content : build({ ...before, tos: dscp | expected });
          t.deepEqual(bytes.slice(at, end), after, `${inner} in ${outer}`);
          t.true(untouched(bytes, [at, end]));
          const { ip } = headerBytes(before);
          const header = bytes.slice(at + ip, at + ip + ((after[ip]! & 15) << 2));
          if (kind.ip === 4) t.is(slowSum([...header]), 0xffff);
        }
      }
    }
  });
}

test('a header checksum that was wrong stays wrong', (t) => {
  const content = build(frame({ tos: ecn.ECT_0 }));
  content[24]! ^= 0x40;
  t.true(ecn.combine(content, 0, content.length, ecn.CE));
  t.not(slowSum([...content.slice(14, 34)]), 0xffff);
});

test('what is not IP is not ECN-capable, and passes whatever the underlay met', (t) => {
  const bytes = ARP_REQUEST.slice();
  t.is(read(bytes), ecn.NOT_ECT);
  for (let outer = 0; outer < 4; outer++) t.true(ecn.combine(bytes, 0, bytes.length, outer));
  t.deepEqual(bytes, ARP_REQUEST);
});

test('no truncation is read or written beyond its end, and what has no whole IP header passes untouched', (t) => {
  for (const whole of [SYN4, SYN6, MLD, build(frame({ tags: [1], tos: 2 }))]) {
    const isIpv6 = whole[12] === 0x86;
    const headers = whole[12] === 0x81 ? 38 : isIpv6 ? 54 : 34;
    const content = whole.slice();
    if (whole === SYN4) content[15] = 2;
    else if (isIpv6) content[15] = 2 << 4;
    const results = eachLength(content, (bytes, at, end) => {
      const passed = ecn.combine(bytes, at, end - at, ecn.CE);
      return [passed, end - at > 15 && headers !== 38 ? bytes[at + 15]! : 0];
    });
    for (const [length, [passed, after]] of results.entries()) {
      t.true(passed);
      if (headers === 38 || length <= 15) continue;
      const marked = isIpv6 ? 3 << 4 : 3;
      t.is(after, length >= headers ? marked : content[15]!, `${length} bytes`);
    }
    for (let length = 0; length < whole.length; length++) {
      const field = read(content.slice(0, length));
      if (length < 34) t.is(field, ecn.NOT_ECT);
      else if (length >= headers) t.is(field, 2);
    }
  }
});
