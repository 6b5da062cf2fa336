import test from 'ava';
import * as udp from '../../src/dataplane/wire/udp.js';
import { eachLength, guard, place, untouched } from './bytes.js';
import { altered, UDP4 } from './packets.js';

const DATAGRAM = UDP4.slice(34);

test('a real header is read and written', (t) => {
  t.is(udp.sourcePort(DATAGRAM, 0), 52925);
  t.is(udp.destinationPort(DATAGRAM, 0), 9999);
  t.is(udp.length(DATAGRAM, 0), 13);
  t.is(udp.checksum(DATAGRAM, 0), 0xb230);
  const { bytes, at, end } = place(new Uint8Array(8).fill(0xa5));
  const guarded = guard(bytes, [], [[at, end]]);
  udp.write(guarded, at, 52925, 9999, 13, 0xb230);
  t.deepEqual(bytes.slice(at, end), DATAGRAM.slice(0, 8));
  udp.write(guarded, at, 1, 2, 8);
  udp.writeSourcePort(guarded, at, 52925);
  udp.writeDestinationPort(guarded, at, 9999);
  t.is(udp.checksum(bytes, at), 0);
  udp.writeChecksum(guarded, at, 0xfedc);
  t.is(udp.sourcePort(bytes, at), 52925);
  t.is(udp.destinationPort(bytes, at), 9999);
  t.is(udp.checksum(bytes, at), 0xfedc);
  t.true(untouched(bytes, [at, end]));
});

test('a header is valid only with all of its datagram', (t) => {
  t.is(eachLength(DATAGRAM, udp.valid).indexOf(true), 13);
  t.false(udp.valid(altered(DATAGRAM, 4, 0, 7), 0, 13));
  t.true(udp.valid(altered(DATAGRAM, 4, 0, 8), 0, 13));
  t.false(udp.valid(altered(DATAGRAM, 4, 0, 14), 0, 13));
});

test('a checksum of 0 is sent as ffff, for 0 means none', (t) => {
  t.is(udp.finishChecksum(0xffff), 0xffff);
  t.is(udp.finishChecksum(0x1234), 0xedcb);
});
