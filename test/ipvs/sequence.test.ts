import test from 'ava';
import * as sequence from '../../src/dataplane/ipvs/sequence.js';
import { hex } from '../wire/bytes.js';
import { build, stage, TCP, unfinished, type Wanted } from './packets.js';

/** The segment after an adjustment, its checksum as it should be. */
function adjusted(
  adjust: typeof sequence.adjustSequence,
  wanted: Partial<Wanted>,
  shift: sequence.Shift,
  isUnfinished = false,
): Uint8Array {
  const at = stage();
  const packet = at.put(build({ protocol: TCP, ...wanted }), { unfinished: isUnfinished });
  adjust(at.pool, packet, at.parsed(packet), shift);
  return at.bytes(packet);
}

const after = (wanted: Partial<Wanted>) => build({ protocol: TCP, ...wanted });

test('segments after the changed one shift by all, those up to it by what was before', (t) => {
  const shift = sequence.newShift();
  const number = (n: number) => adjusted(sequence.adjustSequence, { sequence: n }, shift);
  t.deepEqual(number(1000), after({ sequence: 1000 }));
  sequence.noteChange(shift, 1000, 4);
  t.deepEqual(number(1000), after({ sequence: 1000 }));
  t.deepEqual(number(1020), after({ sequence: 1024 }));
  sequence.noteChange(shift, 1020, -10);
  t.deepEqual(number(1020), after({ sequence: 1024 }));
  t.deepEqual(number(1040), after({ sequence: 1034 }));
  t.deepEqual({ ...shift }, { initial: 1020, delta: -6, previous: 4, unused: false });
});

test('a retransmission of the changed segment, or of an older one, changes nothing; nor does an equal length', (t) => {
  const shift = sequence.newShift();
  sequence.noteChange(shift, 1000, 4);
  sequence.noteChange(shift, 1000, 4);
  sequence.noteChange(shift, 900, 7);
  sequence.noteChange(shift, 2000, 0);
  t.deepEqual({ ...shift }, { initial: 1000, delta: 4, previous: 0, unused: false });
});

test('acknowledgments go back: before, at and behind a segment that grew or shrank', (t) => {
  for (const change of [9, -9]) {
    const shift = sequence.newShift();
    sequence.noteChange(shift, 500, 3);
    sequence.noteChange(shift, 1000, change);
    const back = (n: number) => adjusted(sequence.adjustAcknowledgment, { acknowledgment: n }, shift);
    t.deepEqual(back(1003), after({ acknowledgment: 1000 }), 'all before the segment');
    // The segment had 20 bytes.
    t.deepEqual(back(1003 + 20 + change), after({ acknowledgment: 1020 }), 'all of the segment');
    t.deepEqual(back(1003 + 50 + change), after({ acknowledgment: 1050 }));
  }
});

test('numbers wrap', (t) => {
  const shift = sequence.newShift();
  sequence.noteChange(shift, 0xfffffff0, 8);
  const number = (n: number) => adjusted(sequence.adjustSequence, { sequence: n }, shift);
  t.deepEqual(number(0xfffffffc), after({ sequence: 4 }));
  t.deepEqual(number(5), after({ sequence: 13 }));
  t.deepEqual(number(0xffffff00), after({ sequence: 0xffffff00 }));
  t.deepEqual(
    adjusted(sequence.adjustAcknowledgment, { acknowledgment: 4 }, shift),
    after({ acknowledgment: 0xfffffffc }),
  );
});

test('SACK blocks go back as well, at even and odd places, whatever options are around', (t) => {
  const shift = sequence.newShift();
  sequence.noteChange(shift, 1000, 16);
  for (const [before, behind] of [
    ['0101', '0000'],
    ['01', '000000'],
    ['080a0000000100000002', '0101'],
    ['02040001', ''],
  ] as const) {
    const options = (edges: string) => {
      const length = edges.length / 2 + 2;
      const text = `${before}05${length.toString(16).padStart(2, '0')}${edges}${behind}`;
      return hex(text.padEnd(Math.ceil(text.length / 8) * 8, '0'));
    };
    const wanted = { acknowledgment: 990, options: options('000004c4000004d8000007d0000007e4') };
    const expected = { acknowledgment: 990, options: options('000004b4000004c8000007c0000007d4') };
    t.deepEqual(adjusted(sequence.adjustAcknowledgment, wanted, shift), after(expected));
    t.deepEqual(adjusted(sequence.adjustAcknowledgment, wanted, shift, true), unfinished(after(expected)));
  }
});

test('without ACK nothing is acknowledged; malformed options end the walk', (t) => {
  const shift = sequence.newShift();
  sequence.noteChange(shift, 1000, 16);
  const reset = { flags: 4, acknowledgment: 2000 };
  t.deepEqual(adjusted(sequence.adjustAcknowledgment, reset, shift), after(reset));
  for (const options of [
    '05010000',
    '050a0000',
    '01010105',
    '00050600',
    '05ff0000',
    '05040000',
    '05000000',
  ]) {
    const wanted = { acknowledgment: 2000, options: hex(options) };
    const expected = { acknowledgment: 1984, options: hex(options) };
    t.deepEqual(adjusted(sequence.adjustAcknowledgment, wanted, shift), after(expected), options);
  }
});

test('random streams: what the receiver acknowledges is what the sender sent', (t) => {
  let seed = 5;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (let stream = 0; stream < 200; stream++) {
    const shift = sequence.newShift();
    let sent = random(2 ** 32);
    let received = sent;
    for (let step = 0; step < 30; step++) {
      const length = 20 + random(60);
      const change = random(3) === 0 ? random(25) - 12 : 0;
      sequence.noteChange(shift, sent, change);
      t.deepEqual(
        adjusted(sequence.adjustSequence, { sequence: sent }, shift),
        after({ sequence: received }),
        'a retransmission goes where the segment went',
      );
      sent = (sent + length) >>> 0;
      received = (received + length + change) >>> 0;
      t.deepEqual(
        adjusted(sequence.adjustSequence, { sequence: sent }, shift),
        after({ sequence: received }),
      );
      t.deepEqual(
        adjusted(sequence.adjustAcknowledgment, { acknowledgment: received }, shift),
        after({ acknowledgment: sent }),
      );
    }
  }
});
