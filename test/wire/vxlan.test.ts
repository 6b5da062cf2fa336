import test from 'ava';
import * as vxlan from '../../src/dataplane/wire/vxlan.js';
import { eachLength, guard, hex, place, untouched } from './bytes.js';
import { VXLAN4 } from './packets.js';

const HEADER = VXLAN4.slice(42, 50);

test('the header that the kernel sent is read and written', (t) => {
  t.is(vxlan.flags(HEADER, 0), vxlan.FLAG_I);
  t.is(vxlan.vni(HEADER, 0), 5);
  t.false(vxlan.hasPolicy(HEADER, 0));
  const { bytes, at, end } = place(new Uint8Array(8).fill(0xa5));
  vxlan.write(guard(bytes, [], [[at, end]]), at, 5);
  t.deepEqual(bytes.slice(at, end), HEADER);
  t.true(untouched(bytes, [at, end]));
});

test('all 24 bits of a VNI go there and back', (t) => {
  const header = new Uint8Array(8);
  for (const vni of [0, 1, 0x123456, 0x800000, vxlan.VNI_MAX]) {
    vxlan.write(header, 0, vni);
    t.is(vxlan.vni(header, 0), vni);
  }
  vxlan.write(header, 0, 0x123456);
  t.deepEqual(header, hex('08000000 12345600'));
});

test('a group policy stands in the first word', (t) => {
  const { bytes, at, end } = place(new Uint8Array(8).fill(0xa5));
  const guarded = guard(bytes, [], [[at, end]]);
  vxlan.writeGroup(guarded, at, 0x123456, 0xabcd);
  t.deepEqual(bytes.slice(at, end), hex('8800abcd 12345600'));
  t.true(vxlan.hasPolicy(bytes, at));
  t.is(vxlan.policy(bytes, at), 0xabcd);
  t.is(vxlan.policyFlags(bytes, at), 0);
  t.is(vxlan.vni(bytes, at), 0x123456);
  vxlan.writeGroup(guarded, at, 5, 7, vxlan.FLAG_D | vxlan.FLAG_A);
  t.deepEqual(bytes.slice(at, end), hex('88480007 00000500'));
  t.is(vxlan.policyFlags(bytes, at), vxlan.FLAG_D | vxlan.FLAG_A);
  t.true(untouched(bytes, [at, end]));
});

test('a header is valid whole and with its I bit, whatever the reserved bits', (t) => {
  t.is(eachLength(HEADER, vxlan.valid).indexOf(true), 8);
  t.false(vxlan.valid(hex('f7ffffff 123456ff'), 0, 8));
  t.true(vxlan.valid(hex('ffffffff 123456ff'), 0, 8));
  t.is(vxlan.vni(hex('ffffffff 123456ff'), 0), 0x123456);
});
