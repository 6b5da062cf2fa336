import test from 'ava';
import type { Parsed } from '../../src/dataplane/ipvs/packet.js';
import { writeRefusal, writeReset } from '../../src/dataplane/ipvs/reset.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import { hex } from '../wire/bytes.js';
import {
  build,
  CLIENT,
  CLIENT6,
  memoryOf,
  parsedOf,
  SERVER,
  sound,
  TCP,
  UDP,
  VIRTUAL,
  VIRTUAL6,
  type Wanted,
} from './packets.js';

const out = 200;

/** What is written about the packet, in room of its own. */
function answer(packet: Uint8Array, write: (memory: ReturnType<typeof memoryOf>, p: Parsed) => number) {
  const bytes = new Uint8Array(out + 100).fill(0xa5);
  bytes.set(packet);
  const length = write(memoryOf(bytes), parsedOf(packet));
  return length === 0 ? undefined : bytes.slice(out, out + length);
}

test('a SYN is refused with RST and ACK of what it took up, a segment with ACK from there on', (t) => {
  for (const ends of [
    { source: CLIENT, destination: VIRTUAL },
    { source: CLIENT6, destination: VIRTUAL6 },
  ]) {
    const back = {
      ...{ protocol: TCP, source: ends.destination, destination: ends.source },
      ...{ sourcePort: 80, destinationPort: 40000, id: 0 },
    };
    /** A RST of ours has no window. */
    const rst = (wanted: Wanted) => {
      const bytes = build(wanted);
      const segment = ends.source === CLIENT ? 20 : 40;
      const sum = ((bytes[segment + 16]! << 8) | bytes[segment + 17]!) + 0xfaf0;
      bytes.fill(0, segment + 14, segment + 16);
      bytes[segment + 16] = ((sum & 0xffff) + (sum >>> 16)) >>> 8;
      bytes[segment + 17] = (sum & 0xffff) + (sum >>> 16);
      return bytes;
    };
    const refuse = (wanted: Partial<Wanted>) =>
      answer(build({ ...ends, protocol: TCP, ...wanted }), (memory, p) => writeRefusal(memory, p, out));
    t.deepEqual(
      refuse({ flags: 0x02, sequence: 0xffffffff, options: hex('020405b4') }),
      rst({ ...back, flags: 0x14, sequence: 0, acknowledgment: 0 }),
    );
    t.deepEqual(
      refuse({ flags: 0x01, sequence: 100, payload: hex('010203') }),
      rst({ ...back, flags: 0x14, sequence: 0, acknowledgment: 104 }),
    );
    t.deepEqual(
      refuse({ flags: 0x18, acknowledgment: 0xfedcba98, payload: hex('01') }),
      rst({ ...back, flags: 0x04, sequence: 0xfedcba98, acknowledgment: 0 }),
    );
    t.is(refuse({ flags: 0x04 }), undefined, 'a RST is not answered');
    t.is(refuse({ flags: 0x14 }), undefined);
  }
});

test('no group is refused anything, nor a fragment, nor what is no TCP', (t) => {
  const refuse = (wanted: Wanted) => answer(build(wanted), (memory, p) => writeRefusal(memory, p, out));
  t.is(refuse({ protocol: TCP, destination: '224.0.0.1' }), undefined);
  t.is(refuse({ protocol: TCP, source: '255.255.255.255' }), undefined);
  t.is(refuse({ protocol: TCP, source: 'ff02::1', destination: VIRTUAL6 }), undefined);
  t.is(refuse({ protocol: TCP, fragment: 0x2000 }), undefined);
  t.is(refuse({ protocol: UDP }), undefined);
});

test('both ends of a connection get a RST that they believe', (t) => {
  const bytes = new Uint8Array(100);
  const memory = memoryOf(bytes);
  const ends = parsedOf(build({ protocol: TCP, source: CLIENT, destination: SERVER, destinationPort: 8080 }));
  t.is(writeReset(memory, 0, ends, 1000, 2000), 40);
  const forward = bytes.slice(0, 40);
  t.true(sound(forward));
  t.deepEqual(
    forward.slice(20),
    Uint8Array.from([...hex('9c40 1f90 000003e8 000007d0 5014 0000'), ...forward.slice(36, 38), 0, 0]),
  );
  t.is(parsedOf(forward).source0, ipv4.parse(CLIENT));
  t.is(parsedOf(forward).destination0, ipv4.parse(SERVER));
});
