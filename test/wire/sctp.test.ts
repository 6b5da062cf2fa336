import test from 'ava';
import * as sctp from '../../src/dataplane/wire/sctp.js';
import { hex } from './bytes.js';

const text = (words: string) => Uint8Array.from(Buffer.from(words));

test('CRC32c is that of RFC 3720 B.4 and of "123456789"', (t) => {
  t.is(sctp.crc32c(text('123456789'), 0, 9), 0xe3069283);
  t.is(sctp.crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa);
  t.is(sctp.crc32c(new Uint8Array(32).fill(255), 0, 32), 0x62a8ab43);
  t.is(
    sctp.crc32c(
      Uint8Array.from({ length: 32 }, (_, i) => i),
      0,
      32,
    ),
    0x46dd794e,
  );
});

test('a header is read and its checksum written little-endian, whatever stood in its place', (t) => {
  const bytes = hex('8e3c 0b59 00000001 ffffffff 0600 0004');
  t.deepEqual([sctp.sourcePort(bytes, 0), sctp.destinationPort(bytes, 0)], [0x8e3c, 0x0b59]);
  const sum = sctp.packetChecksum(bytes, 0, 16);
  const zeroed = bytes.slice();
  zeroed.fill(0, 8, 12);
  t.is(sum, sctp.crc32c(zeroed, 0, 16));
  sctp.writeChecksum(bytes, 0, sum);
  t.is(sctp.checksum(bytes, 0), sum);
  t.is(bytes[8], sum & 255);
  t.is(sctp.packetChecksum(bytes, 0, 16), sum);
});

test('a checksum after a change of ports is that of the changed packet, at every length', (t) => {
  const bytes = Uint8Array.from({ length: 9000 }, (_, i) => (i * 167) ^ (i >>> 3));
  const view = new DataView(bytes.buffer);
  for (const length of [12, 13, 16, 17, 100, 255, 256, 257, 1480, 9000]) {
    const before = view.getInt32(0);
    const sum = sctp.packetChecksum(bytes, 0, length);
    const after = Math.imul(length, 0x9e3779b1);
    view.setInt32(0, after);
    const expected = sctp.packetChecksum(bytes, 0, length);
    t.is(sctp.updatePorts(sum, length, before, after), expected, `${length} bytes`);
    t.is(sctp.updatePorts(expected, length, after, before), sum);
  }
});
