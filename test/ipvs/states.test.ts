import test from 'ava';
import * as states from '../../src/dataplane/ipvs/states.js';
import { hex } from '../wire/bytes.js';
import { build, memoryOf, parsedOf, SCTP, TCP, UDP } from './packets.js';

const { INPUT, OUTPUT, INPUT_ONLY, TCP_STATE: S, SCTP_STATE: C } = states;
const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

/** The states that a connection goes through by packets, each `direction flags`. */
function walk(packets: [states.Direction, number][], secure = false, from: number = S.none): string[] {
  let state = from;
  return packets.map(([direction, flags]) => {
    state = states.nextTcp(direction, state, flags, secure);
    return states.stateName(TCP, state);
  });
}

test('a connection that both ends are seen of opens and closes', (t) => {
  t.deepEqual(
    walk([
      [INPUT, SYN],
      [OUTPUT, SYN | ACK],
      [INPUT, ACK],
      [INPUT, ACK | 8],
      [OUTPUT, ACK],
      [INPUT, FIN | ACK],
      [OUTPUT, FIN | ACK],
      [INPUT, ACK],
    ]),
    [
      'SYN_RECV',
      'SYN_RECV',
      'ESTABLISHED',
      'ESTABLISHED',
      'ESTABLISHED',
      'CLOSE_WAIT',
      'TIME_WAIT',
      'TIME_WAIT',
    ],
  );
});

test('a connection of which only the client is seen opens and closes', (t) => {
  t.deepEqual(
    walk([
      [INPUT_ONLY, SYN],
      [INPUT_ONLY, ACK],
      [INPUT_ONLY, FIN | ACK],
      [INPUT_ONLY, ACK],
      [INPUT_ONLY, RST],
    ]),
    ['SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'FIN_WAIT', 'CLOSE'],
  );
});

test('under secure_tcp a client alone does not get past SYN_RECV; once the server answers, it does', (t) => {
  t.deepEqual(
    walk(
      [
        [INPUT, SYN],
        [INPUT, ACK],
        [OUTPUT, SYN | ACK],
        [INPUT, ACK],
        [INPUT, RST],
      ],
      true,
    ),
    ['SYN_RECV', 'SYN_RECV', 'SYNACK', 'SYNACK', 'CLOSE'],
  );
  t.deepEqual(walk([[INPUT_ONLY, SYN]], true), ['SYNACK']);
  t.deepEqual(walk([[OUTPUT, ACK]], true, S.synAck), ['ESTABLISHED']);
});

test('RST counts before SYN, FIN and ACK; a segment with none of them closes', (t) => {
  for (const secure of [false, true]) {
    for (const direction of [INPUT, OUTPUT, INPUT_ONLY] as const) {
      for (let state = 0; state < 11; state++) {
        const next = (flags: number) => states.nextTcp(direction, state, flags, secure);
        for (let flags = 0; flags < 256; flags++) {
          const first = [RST, SYN, FIN, ACK].find((bit) => (flags & bit) !== 0);
          t.is(next(flags), first === undefined ? S.close : next(first));
        }
      }
    }
  }
});

test('every cell is a state: rows are whole', (t) => {
  for (const direction of [INPUT, OUTPUT, INPUT_ONLY] as const) {
    for (let flags = 0; flags < 256; flags++) {
      for (let state = 0; state < 11; state++) {
        for (const secure of [false, true]) {
          const next = states.nextTcp(direction, state, flags, secure);
          t.true(next >= 0 && next < 11);
        }
      }
    }
    for (let chunk = 0; chunk < 256; chunk++) {
      for (let state = 0; state < 14; state++) {
        const next = states.nextSctp(direction, state, chunk);
        t.true(next >= 0 && next < 14);
      }
    }
  }
});

test('single cells are those of the kernel', (t) => {
  const cell = (direction: states.Direction, flag: number, from: number, secure = false) =>
    states.nextTcp(direction, from, flag, secure);
  t.is(cell(INPUT, ACK, S.none), S.established);
  t.is(cell(INPUT, RST, S.synAck), S.synReceived);
  t.is(cell(INPUT, RST, S.synAck, true), S.close);
  t.is(cell(INPUT_ONLY, RST, S.synAck), S.close);
  t.is(cell(OUTPUT, ACK, S.listen), S.established);
  t.is(cell(INPUT, SYN, S.timeWait), S.synReceived);
  t.is(cell(INPUT_ONLY, SYN, S.timeWait, true), S.synAck);
  t.is(cell(OUTPUT, SYN, S.synReceived), S.synReceived);
  t.is(cell(OUTPUT, SYN, S.synReceived, true), S.synAck);
  t.is(cell(OUTPUT, FIN, S.closeWait), S.timeWait);
  t.is(cell(INPUT, FIN, S.synAck, true), S.synAck);
  t.is(cell(OUTPUT, RST, S.timeWait), S.timeWait);
  t.is(cell(OUTPUT, FIN, S.none), S.timeWait);
  t.is(cell(INPUT, ACK, S.lastAck), S.close);
});

/** Chunk types */
const [INIT, INIT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ECHO, COOKIE_ACK, COMPLETE] = [
  1, 2, 6, 7, 8, 10, 11, 14,
];

test('an association opens and is shut down by the client', (t) => {
  let state: number = C.none;
  const steps: [states.Direction, number][] = [
    [INPUT, INIT],
    [OUTPUT, INIT_ACK],
    [INPUT, ECHO],
    [OUTPUT, COOKIE_ACK],
    [INPUT, 0],
    [OUTPUT, 3],
    [INPUT, SHUTDOWN],
    [OUTPUT, SHUTDOWN_ACK],
    [INPUT, COMPLETE],
  ];
  const names = steps.map(([direction, chunk]) => {
    state = states.nextSctp(direction, state, chunk);
    return states.stateName(SCTP, state);
  });
  t.deepEqual(names, [
    ...['INIT1', 'C-SENT', 'C-REPLIED', 'ESTABLISHED', 'ESTABLISHED', 'ESTABLISHED'],
    ...['S-RECEIVED', 'S-ACK-SENT', 'CLOSED'],
  ]);
});

test('an association of the server opens; rejected ones are known; other chunks are as data', (t) => {
  t.is(states.nextSctp(OUTPUT, C.none, INIT), C.cookieWait);
  t.is(states.nextSctp(INPUT, C.cookieWait, INIT_ACK), C.cookie);
  t.is(states.nextSctp(OUTPUT, C.cookie, ECHO), C.cookieEchoed);
  t.is(states.nextSctp(INPUT, C.cookieEchoed, COOKIE_ACK), C.established);
  t.is(states.nextSctp(OUTPUT, C.init1, ABORT), C.rejected);
  t.is(states.nextSctp(INPUT, C.cookieWait, ABORT), C.rejected);
  t.is(states.nextSctp(INPUT, C.rejected, INIT), C.init);
  t.is(states.nextSctp(INPUT, C.init1, INIT), C.init);
  for (const chunk of [3, 4, 5, 12, 13, 15, 16, 128, 192, 255]) {
    for (let state = 0; state < 14; state++) {
      t.is(states.nextSctp(INPUT_ONLY, state, chunk), states.nextSctp(INPUT_ONLY, state, 0));
    }
  }
});

test('the first chunk decides, but an ABORT behind a cookie, at every truncation', (t) => {
  const type = (chunks: string) => {
    const packet = build({ protocol: SCTP, payload: hex(chunks) });
    return states.chunkType(memoryOf(packet), parsedOf(packet));
  };
  t.is(type(''), -1);
  t.is(type('010000'), -1);
  t.is(type('0100 0004'), INIT);
  t.is(type('0a00 0006 0102 0000 0600 0004'), ABORT);
  t.is(type('0b00 0004 0600 0004'), ABORT);
  t.is(type('0b00 0004 0000 0004'), COOKIE_ACK);
  t.is(type('0000 0004 0600 0004'), 0);
  t.is(type('0b00 0003 0600 0004'), COOKIE_ACK, 'a length that no chunk has');
  t.is(type('0a00 ffff 0600 0004'), ECHO);
  for (const short of ['', '06', '0600', '060000']) t.is(type(`0b000004${short}`), COOKIE_ACK);
});

test('active is what IPVS counts so', (t) => {
  const active = Array.from({ length: 11 }, (_, state) => states.isActive(TCP, state));
  t.deepEqual(
    active.flatMap((is, state) => (is ? [states.stateName(TCP, state)] : [])),
    ['ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'SYNACK'],
  );
  for (let state = 0; state < 14; state++) t.is(states.isActive(SCTP, state), state === C.established);
  t.false(states.isActive(UDP, 0));
  t.false(states.isActive(50, 1));
});

test('timeouts are the documented ones, and --set changes ESTABLISHED, FIN_WAIT and UDP alone', (t) => {
  const timeouts = new states.Timeouts();
  const seconds = (protocol: number, count: number) =>
    Array.from({ length: count }, (_, state) => timeouts.milliseconds(protocol, state) / 1000);
  t.deepEqual(seconds(TCP, 11), [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
  t.deepEqual(seconds(SCTP, 14), [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]);
  t.deepEqual(seconds(UDP, 1), [300]);
  timeouts.set(3600, 0, 30);
  t.deepEqual(seconds(TCP, 11), [2, 3600, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
  t.deepEqual(seconds(UDP, 1), [30]);
  timeouts.set(0, 7, 0);
  t.deepEqual(seconds(TCP, 11), [2, 3600, 120, 60, 7, 120, 10, 60, 30, 120, 120]);
  t.deepEqual(new states.Timeouts().tcp[1], 900);
});

test('states are named as ipvsadm prints them', (t) => {
  t.is(states.stateName(UDP, 0), 'UDP');
  t.is(states.stateName(TCP, 11), 'ERR!');
  t.is(states.stateName(50, 0), 'NONE');
  t.is(states.stateName(TCP, 1, true), 'ASSURED');
  t.deepEqual([TCP, UDP, SCTP, 50].map(states.stateCount), [11, 1, 14, 1]);
});
