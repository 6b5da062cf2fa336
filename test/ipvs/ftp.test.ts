import test from 'ava';
import { FRAME_AT, SEGMENT_TCP4 } from '../../src/dataplane/core/pool.js';
import * as ftp from '../../src/dataplane/ipvs/ftp.js';
import * as ipv4 from '../../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../../src/dataplane/wire/ipv6.js';
import {
  build,
  CLIENT6,
  memoryOf,
  parsedOf,
  SERVER6,
  sound,
  stage,
  TCP,
  unfinished,
  VIRTUAL6,
} from './packets.js';

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));
const segment = (text: string, v6 = false) =>
  build({ protocol: TCP, payload: bytesOf(text), ...(v6 ? { source: CLIENT6, destination: VIRTUAL6 } : {}) });

/** What is found: its kind, address and port, and its text. */
function find(text: string, fromServer: boolean): [kind: number, where: string, text: string] | number {
  const packet = segment(text);
  const found = new ftp.Announcement();
  if (!ftp.find(memoryOf(packet), parsedOf(packet), fromServer, found)) return found.kind;
  const address =
    found.kind === ftp.EXTENDED
      ? ''
      : found.family === 4
        ? ipv4.format(found.address[0])
        : ipv6.format(...found.address);
  return [found.kind, `${address} ${found.port}`, Buffer.from(packet.slice(found.from, found.to)).toString()];
}

test('what a client announces is found', (t) => {
  const port = [ftp.PORT, '192.0.2.7 40000', '192,0,2,7,156,64'] as const;
  t.deepEqual(find('PORT 192,0,2,7,156,64\r\n', false), [...port]);
  t.deepEqual(find('port 192,0,2,7,156,64\n', false), [...port]);
  t.deepEqual(find('TYPE I\r\nPORT 192,0,2,7,156,64\r\nLIST\r\n', false), [...port]);
  t.deepEqual(find('EPRT |1|192.0.2.7|40000|\r\n', false), [
    ftp.EPRT,
    '192.0.2.7 40000',
    '|1|192.0.2.7|40000|',
  ]);
  t.deepEqual(find('EPRT |2|2001:db8::7|40000|\r\n', false), [
    ...[ftp.EPRT, '2001:db8::7 40000', '|2|2001:db8::7|40000|'],
  ] as never);
  t.deepEqual(find('eprt !1!192.0.2.7!40000!\r\n', false), [
    ftp.EPRT,
    '192.0.2.7 40000',
    '!1!192.0.2.7!40000!',
  ]);
});

test('what a server announces is found', (t) => {
  const passive = [ftp.PASSIVE, '10.1.2.3 50000', '10,1,2,3,195,80'] as const;
  t.deepEqual(find('227 Entering Passive Mode (10,1,2,3,195,80).\r\n', true), [...passive]);
  t.deepEqual(find('227 Entering Passive Mode 10,1,2,3,195,80\r\n', true), [...passive]);
  t.deepEqual(find('227 =10,1,2,3,195,80\r\n', true), [...passive]);
  t.deepEqual(find('200 ok\r\n227 x (10,1,2,3,195,80)\r\n', true), [...passive]);
  t.deepEqual(find('229 Entering Extended Passive Mode (|||50000|)\r\n', true), [
    ftp.EXTENDED,
    ' 50000',
    '|||50000|',
  ]);
});

test('what only looks like an announcement is none', (t) => {
  for (const [text, fromServer] of [
    ['PORT 192,0,2,7,156,64\r\n', true],
    ['227 Entering Passive Mode (10,1,2,3,195,80)\r\n', false],
    ['XPORT 192,0,2,7,156,64\r\n', false],
    ['PORT 192,0,2,7,156\r\n', false],
    ['PORT 256,0,2,7,156,64\r\n', false],
    ['PORT 192,0,2,7,0,0\r\n', false],
    ['PORT 192.0.2.7,156,64\r\n', false],
    ['PORT \r\n', false],
    ['PORT 1000000,0,2,7,156,64\r\n', false],
    ['EPRT |3|192.0.2.7|40000|\r\n', false],
    ['EPRT |1|192.0.2|40000|\r\n', false],
    ['EPRT |1|2001:db8::7|40000|\r\n', false],
    ['EPRT |2|192.0.2.7|40000|\r\n', false],
    ['EPRT |1|192.0.2.7|65536|\r\n', false],
    ['EPRT |1|192.0.2.7|0|\r\n', false],
    ['EPRT |1|192.0.2.7|40000!\r\n', false],
    ['EPRT 111192.0.2.71400001\r\n', false],
    ['EPRT |1|192.0.2.7\r\n', false],
    ['227-Entering (10,1,2,3,195,80)\r\n', true],
    ['230 227 (10,1,2,3,195,80)\r\n', true],
    ['229 no brackets |||50000|\r\n', true],
    ['229 (||50000|)\r\n', true],
    ['229 (|||500000|)\r\n', true],
    ['229 (\r\n', true],
    ['', true],
  ] as const) {
    t.is(find(text, fromServer), ftp.NOTHING, text);
  }
});

test('an announcement that goes on in the next segment is known at every truncation, and never read past the end', (t) => {
  for (const [line, fromServer, known] of [
    ['PORT 192,0,2,7,156,64\r', false, 5],
    ['EPRT |2|2001:db8::7|40000|\r', false, 5],
    ['227 Entering Passive Mode (10,1,2,3,195,80).\r', true, 4],
    ['229 Entering Extended Passive Mode (|||50000|)\r', true, 4],
  ] as const) {
    for (let length = 0; length < line.length; length++) {
      t.is(find(line.slice(0, length), fromServer), length < known ? ftp.NOTHING : ftp.INCOMPLETE);
    }
    t.true(Array.isArray(find(line, fromServer)));
  }
});

test('a request for a passive connection is known where a line begins', (t) => {
  const asks = (text: string) => ftp.asksPassive(memoryOf(segment(text)), parsedOf(segment(text)));
  t.true(asks('PASV\r\n'));
  t.true(asks('epsv\r\n'));
  t.true(asks('TYPE I\r\nEPSV\r\n'));
  t.false(asks('XPASV\r\n'));
  t.false(asks('PAS'));
  t.false(asks(''));
});

/** Rewrites the announcement in the text; the packet afterwards and what it got longer by. */
function rewritten(
  text: string,
  fromServer: boolean,
  address: string,
  port: number,
  options: { v6?: boolean; unfinished?: boolean; segment?: number } = {},
): [packet: Uint8Array, change: number] {
  const at = stage(3);
  const packet = at.put(segment(text, options.v6), options);
  if (options.segment !== undefined) at.pool.offload[packet]! |= SEGMENT_TCP4;
  const parsed = at.parsed(packet);
  const found = new ftp.Announcement();
  if (!ftp.find(at.pool, parsed, fromServer, found)) throw new Error('nothing found');
  const words: ipv6.Words = address.includes(':') ? ipv6.parse(address) : [ipv4.parse(address), 0, 0, 0];
  if (!ftp.rewrite(at.pool, packet, parsed, found, words, port)) throw new Error('no room');
  if (JSON.stringify(at.parsed(packet)) !== JSON.stringify(parsed)) throw new Error('parsed did not follow');
  const said = Buffer.from(at.pool.bytes.slice(found.from, found.to)).toString();
  if (!at.bytes(packet).toString().includes(bytesOf(said).toString())) throw new Error('range is wrong');
  if (at.pool.segment[packet] !== (options.segment ?? 0)) throw new Error('segment is lost');
  if (at.pool.allocated !== 1) throw new Error('a packet too many');
  return [at.bytes(packet), found.change];
}

test('an announcement is rewritten, longer, shorter or as long, at odd and even places', (t) => {
  for (const pad of ['', 'x\r\n', 'xy\r\n', 'TYPE I\r\n']) {
    for (const rest of ['\r\n', '\r\nLIST\r\n', ').\r\nodd\r\n']) {
      for (const [address, port] of [
        ['203.0.113.80', 0x0102],
        ['1.1.1.1', 0x0101],
        ['255.255.255.255', 65535],
        ['10.1.2.4', 50001],
      ] as const) {
        const text = `${address.replaceAll('.', ',')},${port >>> 8},${port & 255}`;
        for (const [line, fromServer] of [
          ['PORT ', false],
          ['227 Entering Passive Mode (', true],
        ] as const) {
          const whole = (said: string) => `${pad}${line}${said}${rest}`;
          for (const isUnfinished of [false, true]) {
            const [packet, change] = rewritten(whole('10,1,2,3,195,80'), fromServer, address, port, {
              unfinished: isUnfinished,
            });
            const expected = segment(whole(text));
            t.deepEqual(packet, isUnfinished ? unfinished(expected) : expected);
            t.is(change, text.length - 15);
          }
        }
      }
    }
  }
});

test('extended announcements are rewritten, over IPv6 too', (t) => {
  const text = (said: string) => `EPRT ${said}\r\n`;
  t.deepEqual(rewritten(text('|2|2001:db8::7|40000|'), false, SERVER6, 7, { v6: true }), [
    segment(text(`|2|${SERVER6}|7|`), true),
    -6,
  ]);
  t.deepEqual(
    rewritten(text('!1!10.0.0.1!40000!'), false, '10.255.255.255', 7)[0],
    segment(text('!1!10.255.255.255!7!')),
  );
  t.deepEqual(rewritten('229 E (|||5|)\r\n', true, VIRTUAL6, 65535, { v6: true }), [
    segment('229 E (|||65535|)\r\n', true),
    4,
  ]);
});

test('a super-packet stays one, with all that is behind the announcement', (t) => {
  const rest = '\r\n'.padEnd(30_001, 'NOOP\r\n');
  const [packet, change] = rewritten(`PORT 1,1,1,1,1,1${rest}`, false, '203.0.113.80', 40000, {
    ...{ unfinished: true, segment: 1448 },
  });
  t.is(change, '203,0,113,80,156,64'.length - 11);
  t.deepEqual(packet, unfinished(segment(`PORT 203,0,113,80,156,64${rest}`)));
});

test('what cannot grow is left as it was: no slot, no length, and what is behind it in its slot is never written over', (t) => {
  const at = stage(1);
  const bytes = segment('PORT 1,1,1,1,1,1\r\n');
  const packet = at.put(bytes);
  const parsed = at.parsed(packet);
  const found = new ftp.Announcement();
  t.true(ftp.find(at.pool, parsed, false, found));
  t.false(ftp.rewrite(at.pool, packet, parsed, found, [-1, 0, 0, 0], 65535));
  t.deepEqual([at.bytes(packet), found.change], [bytes, 0]);

  const two = stage(2);
  const first = two.put(bytes);
  const end = two.pool.offset[first]! + two.pool.length[first]!;
  const second = two.pool.share(first, end, 20);
  two.pool.bytes.fill(7, end, end + 20);
  const p = two.parsed(first);
  t.true(ftp.find(two.pool, p, false, found));
  t.true(ftp.rewrite(two.pool, first, p, found, [-1, 0, 0, 0], 65535));
  t.true(sound(two.bytes(first)));
  t.not(two.pool.slot[first], two.pool.slot[second]);
  t.is(two.pool.offset[first]! - two.pool.slotStart(first), FRAME_AT);
  t.true(two.bytes(second, 0).every((byte) => byte === 7));

  const full = stage(2);
  const big = full.put(segment(`PORT 1,1,1,1,1,1${'\r\n'.padEnd(65535 - 40 - 16, 'x')}`));
  const q = full.parsed(big);
  t.true(ftp.find(full.pool, q, false, found));
  t.is(q.length, 65535);
  t.false(ftp.rewrite(full.pool, big, q, found, [-1, 0, 0, 0], 65535));
  t.is(full.pool.allocated, 1);
});

test('random text never leads astray, and what is found can be rewritten and found again', (t) => {
  let seed = 11;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const found = new ftp.Announcement();
  const lines = [
    'PORT 10,1,2,3,195,80\r\n',
    'EPRT |2|::1|9|\r\n',
    '227 (1,2,3,4,5,6)\r\n',
    '229 (|||9|)\r\n',
    'X\r\n',
  ];
  let hits = 0;
  for (let round = 0; round < 5000; round++) {
    const text = bytesOf([...Array(3)].map(() => lines[random(lines.length)]).join(''));
    for (let n = random(3); n > 0; n--) text[random(text.length)] = [random(256), 44, 124, 49][random(4)]!;
    const at = stage(2);
    const packet = at.put(build({ protocol: TCP, payload: text.slice(0, random(text.length + 1)) }));
    const parsed = at.parsed(packet);
    const fromServer = random(2) === 1;
    if (!ftp.find(at.pool, parsed, fromServer, found)) continue;
    hits++;
    t.true(found.from < found.to && found.to <= parsed.end);
    const { kind, family } = found;
    const address: ipv6.Words = family === 4 ? [random(2 ** 32) | 0, 0, 0, 0] : [1, 2, 3, random(2 ** 31)];
    const port = 1 + random(65535);
    t.true(ftp.rewrite(at.pool, packet, parsed, found, address, port));
    t.true(sound(at.bytes(packet)));
    t.true(ftp.find(at.pool, parsed, fromServer, found));
    t.deepEqual([found.kind, found.port], [kind, port]);
    if (kind !== ftp.EXTENDED) t.deepEqual(found.address, address);
  }
  t.true(hits > 500);
});
