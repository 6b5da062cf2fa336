import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import { eachLength, guard, hex, place, untouched } from './bytes.js';
import { ARP_REQUEST, SYN4, SYN6, tagged } from './packets.js';

test('a real frame reads as what it is', (t) => {
  const { bytes, at } = place(ARP_REQUEST);
  t.is(ethernet.macHigh(bytes, at + ethernet.DESTINATION), 0xffff);
  t.is(ethernet.macLow(bytes, at + ethernet.DESTINATION), -1);
  t.is(ethernet.macHigh(bytes, at + ethernet.SOURCE), 0x0242);
  t.is(ethernet.macLow(bytes, at + ethernet.SOURCE), 0x0a000002);
  t.is(ethernet.etherType(bytes, at), ethernet.ARP);
  t.is(ethernet.etherType(SYN4, 0), ethernet.IPV4);
  t.is(ethernet.etherType(SYN6, 0), ethernet.IPV6);
});

test('the low word of a MAC is signed', (t) => {
  t.is(ethernet.macLow(hex('0242 f0000001'), 0), 0xf0000001 | 0);
});

test('multicast, broadcast and zero MACs are told apart', (t) => {
  const kinds = (mac: string) => {
    const bytes = hex(mac);
    return [ethernet.isMulticast(bytes, 0), ethernet.isBroadcast(bytes, 0), ethernet.isZero(bytes, 0)];
  };
  t.deepEqual(kinds('ffffffffffff'), [true, true, false]);
  t.deepEqual(kinds('3333ff000003'), [true, false, false]);
  t.deepEqual(kinds('fffffffffffe'), [true, false, false]);
  t.deepEqual(kinds('000000000000'), [false, false, true]);
  t.deepEqual(kinds('02420a000002'), [false, false, false]);
  t.deepEqual(kinds('000000000001'), [false, false, false]);
});

test('MACs and the type are written where they are read, and nowhere else', (t) => {
  const { bytes, at, end } = place(new Uint8Array(14));
  const guarded = guard(bytes, [], [[at, end]]);
  ethernet.writeMac(guarded, at + ethernet.DESTINATION, 0x3333, 0xff000003);
  ethernet.writeMac(guarded, at + ethernet.SOURCE, 0x0242, 0x0a000003);
  ethernet.writeEtherType(guarded, at, ethernet.IPV6);
  t.deepEqual(bytes.slice(at, end), hex('3333ff000003 02420a000003 86dd'));
  t.true(untouched(bytes, [at, end]));
});

test('swap exchanges the MACs; turnBack sends a frame to its source', (t) => {
  const { bytes, at, end } = place(SYN4);
  ethernet.swap(guard(bytes, [[at, at + 12]], [[at, at + 12]]), at);
  t.deepEqual(bytes.slice(at, at + 14), hex('02420a000002 02420a000003 0800'));
  ethernet.turnBack(guard(bytes, [[at, at + 12]], [[at, at + 12]]), at, 0x0256, 0x49414454);
  t.deepEqual(bytes.slice(at, at + 14), hex('02420a000003 025649414454 0800'));
  t.true(untouched(bytes, [at, end]));
});

test('the payload lies behind up to two tags, and its type right before it', (t) => {
  const cases: [frame: Uint8Array, payload: number, type: number][] = [
    [SYN4, 14, ethernet.IPV4],
    [tagged(SYN4, [ethernet.VLAN, 5]), 18, ethernet.IPV4],
    [tagged(SYN6, [ethernet.QINQ, 7], [ethernet.VLAN, 5]), 22, ethernet.IPV6],
    [tagged(SYN4, [ethernet.QINQ, 7], [ethernet.VLAN, 5], [ethernet.VLAN, 6]), 22, ethernet.VLAN],
  ];
  for (const [frame, payload, type] of cases) {
    const { bytes, at } = place(frame);
    const found = ethernet.payload(bytes, at, frame.length);
    t.is(found, at + payload);
    t.is(ethernet.payloadType(bytes, found), type);
  }
  t.is(ethernet.vlan(tagged(SYN4, [ethernet.VLAN, 0xe123]), 0), 0x123);
});

test('a frame cut short before its payload has none', (t) => {
  const twice = tagged(SYN4, [ethernet.QINQ, 7], [ethernet.VLAN, 5]);
  const found = eachLength(twice, (bytes, at, end) => {
    const payload = ethernet.payload(bytes, at, end - at);
    return payload === -1 ? -1 : payload - at;
  });
  t.deepEqual(
    found,
    found.map((_, length) => (length < 22 ? -1 : 22)),
  );
  const plain = eachLength(SYN4, (bytes, at, end) => ethernet.payload(bytes, at, end - at) !== -1);
  t.is(plain.indexOf(true), 14);
});

test('MACs go to text and back', (t) => {
  t.deepEqual(ethernet.parseMac('02:42:0a:00:00:02'), { high: 0x0242, low: 0x0a000002 });
  t.deepEqual(ethernet.parseMac('F2-42-FA-00-00-02'), { high: 0xf242, low: 0xfa000002 | 0 });
  t.is(ethernet.formatMac(0, 0), '00:00:00:00:00:00');
  t.is(ethernet.formatMac(0xffff, -1), 'ff:ff:ff:ff:ff:ff');
  const random = new Random(3);
  for (let i = 0; i < 1000; i++) {
    const mac = { high: random.below(0x10000), low: random.word() | 0 };
    t.deepEqual(ethernet.parseMac(ethernet.formatMac(mac.high, mac.low)), mac);
  }
});

test('what is no MAC is refused with what one looks like', (t) => {
  for (const text of [
    '',
    '02:42:0a:00:00',
    '02:42:0a:00:00:02:03',
    '02:42:0a:00:00:0g',
    '02:42:0a-00:00:02',
    '2:42:a:0:0:2',
    ' 02:42:0a:00:00:02',
    '02:42:0a:00:00:02\n',
    '02420a000002',
  ]) {
    const error = t.throws(() => ethernet.parseMac(text), { code: 'ERR_ADDRESS', name: 'AddressError' });
    t.is(error?.message, `${JSON.stringify(text)} is not a MAC address like 02:42:0a:00:00:02`);
  }
});
