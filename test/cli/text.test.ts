/** What people read: tables, units, frames, log lines. */
import test from 'ava';
import { prettyLine } from '../../src/cli/log.js';
import { RecordCutter } from '../../src/cli/pcap/record-cutter.js';
import { describeFrame } from '../../src/cli/text/frame.js';
import { plain } from '../../src/cli/text/style.js';
import { renderTable } from '../../src/cli/text/table.js';
import { bitRate, bytes, duration, packetRate } from '../../src/cli/text/units.js';
import * as views from '../../src/cli/text/views.js';
import { hopLine } from '../../src/cli/trace.js';
import { pcapHeader, pcapRecord } from '../../src/dataplane/report.js';
import { FakeDataplane, PING } from './fake-dataplane.js';

const dataplane = new FakeDataplane();
const context = { paint: plain, all: false };

test('columns are aligned, numbers to the right, and no line ends in space', (t) => {
  const table = renderTable(
    [{ title: 'NAME' }, { title: 'VNI', right: true }, { title: 'LAST' }],
    [
      ['a', '1', 'x'],
      ['longer', '16777215', ''],
    ],
  );
  t.is(table, 'NAME         VNI  LAST\na              1  x\nlonger  16777215\n');
});

test('networks, endpoints, fdb, neighbours and VTEPs have a line each', (t) => {
  t.is(
    views.networks(dataplane.networks(), context),
    'NETWORK      VNI   MTU  ENDPOINTS  REMOTES  LEARNING  VTEPS\n' +
      'blue "sky"  4097  1450          1        1  no        10.0.0.2\n',
  );
  t.is(
    views.fdb(dataplane.fdb(), context),
    'NETWORK   VNI  MAC                KIND    VIA       ORIGIN     AGE\n' +
      'blue     4097  02:42:0a:0a:00:02  local   eth0      static       -\n' +
      'blue     4097  02:42:0a:0a:00:03  remote  10.0.0.2  learned  1m15s\n',
  );
  t.regex(views.endpoints(dataplane.endpoints(), context), /ctr-a +eth0 .* 1450 +3 +2\.0 KiB +5 +5\.0 MiB\n/);
  t.regex(views.neighbours(dataplane.neighbours(), context), /\nblue +fd00:10::3 +02:42:0a:0a:00:03\n/);
  t.regex(views.vteps(dataplane.vteps(), context), /\n10\.0\.0\.2 +udp +- +1500 +3 +2\.0 KiB/);
});

test('drops show what is not zero, each with its sentence, and all on request', (t) => {
  const some = views.drops(dataplane.drops(), context);
  t.is(some.trimEnd().split('\n').length, 2);
  t.regex(some, /\ntoo-big +7 {2}A packet exceeded the path MTU; the sender was told by ICMP\.\n$/);
  t.regex(views.drops(dataplane.drops(), { ...context, all: true }), /\nrunt-frame +0 /);
  const none = { ...dataplane.drops(), 'too-big': 0 };
  t.is(views.drops(none, context), 'No packet was dropped.\n');
});

test('while watching, traffic and counters become rates', (t) => {
  const [row] = dataplane.endpoints();
  const later = [{ ...row!, rxPackets: 2003, rxBytes: 2048 + 250_000_000 }];
  const text = views.endpoints(later, { ...context, before: { value: [row!], seconds: 2 } });
  t.regex(text, /RX\/S +RX RATE/);
  t.regex(text, / 1\.0 kpps +1\.0 Gbit\/s +0 pps +0 bit\/s\n$/);
  const before = { value: dataplane.counters(), seconds: 1 };
  const counters = views.counters({ ...dataplane.counters(), turns: 25 }, { ...context, before });
  t.regex(counters, /\nturns +25 +15\n/);
});

test('the summary says underlay, offloads and totals', (t) => {
  const text = views.stats(dataplane.stats(), context);
  t.regex(text, /^underlay +udp, 10\.0\.0\.1 port 4789$/m);
  t.regex(text, /^offloads on +tso$/m);
  t.regex(text, /^offloads off +gro$/m);
  t.regex(text, /^not to be had +uso$/m);
  t.regex(text, /^packets +8 received, 9 sent, 7 dropped$/m);
});

test('units are those that people use', (t) => {
  t.is(bytes(0), '0 B');
  t.is(bytes(1023), '1023 B');
  t.is(bytes(1536), '1.5 KiB');
  t.is(bytes(100 * 1024 ** 3), '100 GiB');
  t.is(bitRate(125), '1.0 kbit/s');
  t.is(packetRate(1_234_567), '1.2 Mpps');
  t.deepEqual([4.9, 200, 7500, 273_600].map(duration), ['4s', '3m20s', '2h05m', '3d04h']);
});

const frames: [description: string, hex: string][] = [
  ['02:42:0a:0a:00:02 > 02:42:0a:0a:00:03 ICMP 10.10.0.2 > 10.10.0.3 echo request', PING.toString('hex')],
  [
    '02:42:0a:0a:00:02 > ff:ff:ff:ff:ff:ff ARP who has 10.10.0.3? 10.10.0.2 asks',
    'ffffffffffff02420a0a00020806000108000604000102420a0a00020a0a00020000000000000a0a0003',
  ],
  [
    '02:42:0a:0a:00:02 > 02:42:0a:0a:00:03 vlan 5 TCP 10.10.0.2:40000 > 10.10.0.3:80',
    '02420a0a000302420a0a0002810000050800450000280001000040060000' + '0a0a00020a0a0003' + '9c400050',
  ],
  [
    '02:42:0a:0a:00:02 > 02:42:0a:0a:00:03 UDP [fd00:10::2]:53 > [fd00:10::3]:4096',
    '02420a0a000302420a0a000286dd6000000000081140' +
      'fd000010000000000000000000000002' +
      'fd000010000000000000000000000003' +
      '00351000',
  ],
  ['02:42:0a:0a:00:02 > 02:42:0a:0a:00:03 type 0x88cc', '02420a0a000302420a0a000288cc'],
];

for (const [description, hex] of frames) {
  test(`a frame in one line: ${description}`, (t) => {
    t.is(describeFrame(Buffer.from(hex, 'hex'), 1500), `${description}, 1500 bytes`);
  });
}

test('a frame cut short anywhere is described as far as it goes', (t) => {
  for (const [, hex] of frames) {
    const frame = Buffer.from(hex, 'hex');
    for (let length = 0; length <= frame.length; length++) {
      t.regex(describeFrame(frame.subarray(0, length), frame.length), /, \d+ bytes$/);
    }
  }
});

test('a traced hop is one line: time, packet, hop, where, frame', (t) => {
  const event = { packet: 7, time: 1_700_000_000.000123, hop: 'bridge.remote', detail: '10.0.0.2' } as const;
  t.is(
    hopLine({ ...event, frame: PING.toString('hex'), length: 42 }, plain),
    '22:13:20.000123 #7    bridge.remote     10.0.0.2                ' +
      '02:42:0a:0a:00:02 > 02:42:0a:0a:00:03 ICMP 10.10.0.2 > 10.10.0.3 echo request, 42 bytes\n',
  );
});

test('a log line for people has time, level, message and fields', (t) => {
  const json =
    '{"level":"info","time":"2026-01-02T03:04:05.678Z","socket":"/run/a b","pid":7,"message":"ready"}\n';
  t.is(prettyLine(json, plain), '03:04:05 info  ready socket="/run/a b" pid=7\n');
});

test('pcap bytes are cut at the ends of records wherever the chunks end', (t) => {
  const frame = new Uint8Array(20).fill(0xa5);
  const whole = Buffer.concat([pcapHeader(64), pcapRecord(1, frame, 20), pcapRecord(2, frame, 20)]);
  for (let size = 1; size <= whole.length; size++) {
    const cutter = new RecordCutter();
    let written = 0;
    for (let at = 0; at < whole.length - 1; at += size) {
      written += cutter.cut(whole.subarray(at, Math.min(at + size, whole.length - 1))).length;
      t.true([0, 24, 60].includes(written));
    }
    t.is(written, 60);
    t.is(cutter.records, 1);
    t.is(cutter.cut(whole.subarray(-1)).length, 36);
    t.is(cutter.records, 2);
  }
});
