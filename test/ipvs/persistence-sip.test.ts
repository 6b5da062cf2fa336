import test from 'ava';
import * as sip from '../../src/dataplane/ipvs/persistence-sip.js';
import { build, memoryOf, parsedOf, TCP, UDP } from './packets.js';

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));

function find(text: string): string | undefined {
  const packet = build({ protocol: UDP, destinationPort: 5060, payload: bytesOf(text) });
  const found = { from: 0, length: 0 };
  if (!sip.findCallId(memoryOf(packet), parsedOf(packet), found)) return undefined;
  return Buffer.from(packet.slice(found.from, found.from + found.length)).toString('latin1');
}

/** RFC 3261 §24.2, shortened */
const INVITE = [
  'INVITE sip:bob@biloxi.com SIP/2.0',
  'Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8',
  'Max-Forwards: 70',
  'To: Bob <sip:bob@biloxi.com>',
  'From: Alice <sip:alice@atlanta.com>;tag=1928301774',
  'Call-ID: a84b4c76e66710@pc33.atlanta.com',
  'CSeq: 314159 INVITE',
  'Content-Length: 0',
  '',
  '',
].join('\r\n');

test('the Call-ID of a request and of its answer is found', (t) => {
  t.is(find(INVITE), 'a84b4c76e66710@pc33.atlanta.com');
  t.is(find(INVITE.replace(/^INVITE.*/, 'SIP/2.0 200 OK')), 'a84b4c76e66710@pc33.atlanta.com');
});

test('the name in any case, its short form, blanks, folds and line ends of all kinds are understood', (t) => {
  const line = (text: string) => find(`OPTIONS sip:x SIP/2.0\r\n${text}\r\n\r\n`);
  for (const text of [
    ...['CALL-ID: a@b', 'call-id:a@b', 'Call-Id \t: \ta@b', 'i: a@b', 'I:a@b', 'i : a@b', 'Call-ID: a@b  '],
    ...[
      'Call-ID:\r\n a@b',
      'Via: x\r\n i: no\r\nCall-ID: a@b',
      'Call-ID: a@b\r\nCall-ID: c@d',
      'In: x\r\ni: a@b',
    ],
  ]) {
    t.is(line(text), 'a@b', JSON.stringify(text));
  }
  t.is(find(INVITE.replaceAll('\r\n', '\n')), 'a84b4c76e66710@pc33.atlanta.com');
  t.is(find(INVITE.replaceAll('\r\n', '\r')), 'a84b4c76e66710@pc33.atlanta.com');
  t.is(line('Call-ID: only!one-word.`\'~()<>:\\"/[]?{}'), 'only!one-word.`\'~()<>:\\"/[]?{}');
});

test('what is no Call-ID, not whole, in the body or in the first line is none', (t) => {
  const line = (text: string) => find(`OPTIONS sip:x SIP/2.0\r\n${text}`);
  for (const text of [
    ...['', 'Call-ID', 'Call-ID:', 'Call-ID: \r\n\r\n', 'Call-ID: a@b', 'Call-ID a@b\r\n', 'Call-IDs: a\r\n'],
    ...['Call-ID: a b\r\n', 'Call-ID: a@b@c\r\n', 'Call-ID: @b\r\n', 'Call-ID: é\r\n', 'info: x\r\n'],
    ...[' Call-ID: a@b\r\n', 'Via: x\r\n\r\nCall-ID: a@b\r\n'],
  ]) {
    t.is(line(text), undefined, JSON.stringify(text));
  }
  t.is(find('Call-ID: a@b\r\n\r\n'), undefined);
});

test('a Call-ID has at most 255 bytes', (t) => {
  const line = (length: number) => find(`OPTIONS x\r\ni: ${'a'.repeat(length)}\r\n\r\n`);
  t.is(line(255), 'a'.repeat(255));
  t.is(line(256), undefined);
});

test('every truncation of a message is safe: the Call-ID is found once its line has ended', (t) => {
  const needed = INVITE.indexOf('pc33.atlanta.com\r\nCSeq') + 'pc33.atlanta.com\r'.length;
  for (let length = 0; length <= INVITE.length; length++) {
    t.is(find(INVITE.slice(0, length)), length < needed ? undefined : 'a84b4c76e66710@pc33.atlanta.com');
  }
});

test('what is behind the datagram that UDP says does not count, nor what is no UDP, nor a later fragment', (t) => {
  const found = { from: 0, length: 0 };
  const isFound = (packet: Uint8Array) => sip.findCallId(memoryOf(packet), parsedOf(packet), found);
  const whole = build({ protocol: UDP, payload: bytesOf(INVITE) });
  t.true(isFound(whole));
  for (const length of [0, 8, 100]) {
    const short = whole.slice();
    short[24] = 0;
    short[25] = length;
    t.false(isFound(short));
  }
  t.false(isFound(build({ protocol: TCP, payload: bytesOf(INVITE) })));
  t.false(isFound(build({ protocol: UDP, payload: bytesOf(INVITE), fragment: 1 })));
});

test('equal Call-IDs hash alike wherever they stand, and others otherwise', (t) => {
  const hash = (text: string, at: number, seed = 1) => {
    const bytes = bytesOf('x'.repeat(at) + text);
    const id = { from: at, length: text.length };
    const same = (kept: string) => sip.isCallId(bytes, id, bytesOf(`kept: ${kept}`), 6, kept.length);
    t.true(same(text));
    t.false(same(`${text}.`));
    t.false(same(text.replace(/.$/, '-')));
    return sip.hashCallId(bytes, id, seed);
  };
  t.is(hash('a84b4c76e66710', 0), hash('a84b4c76e66710', 33));
  t.not(hash('a84b4c76e66710', 0), hash('a84b4c76e66711', 0));
  t.not(hash('a84b4c76e66710', 0), hash('a84b4c76e66710', 0, 2));
  const buckets = new Int32Array(64);
  for (let i = 0; i < 6400; i++) buckets[hash(`${i}@host.example`, 0) & 63]++;
  t.true(Math.min(...buckets) > 50 && Math.max(...buckets) < 160, buckets.join());
});
