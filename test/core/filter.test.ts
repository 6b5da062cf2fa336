import { spawnSync } from 'node:child_process';
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import {
  Filter,
  FilterError,
  type FilterInstruction,
  packFilter,
} from '../../src/dataplane/core/watch/filter.js';
import { pcapHeader, pcapRecord } from '../../src/dataplane/io/pcap.js';

const instruction = (code: number, k = 0, jt = 0, jf = 0): FilterInstruction => ({ code, jt, jf, k });
const RET_A = instruction(0x16);
const ldImm = (k: number) => instruction(0x00, k);
const ldxImm = (k: number) => instruction(0x01, k);

/** Runs a program over a frame that stands in the midst of other bytes. */
function verdict(program: FilterInstruction[], frame: number[] = []): number {
  const bytes = new Uint8Array(frame.length + 64).fill(0xa5);
  bytes.set(frame, 32);
  return new Filter(packFilter(program)).run(bytes, 32, frame.length);
}

const FRAME = [0x11, 0x22, 0x33, 0x44, 0xf5, 0x66];

test('an empty program matches every frame', (t) => {
  t.true(verdict([]) > 0);
});

test('loads take words, half words and bytes at a fixed place, behind X, and as four times a nibble', (t) => {
  t.is(verdict([instruction(0x20, 2), RET_A], FRAME), 0x3344f566);
  t.is(verdict([instruction(0x28, 4), RET_A], FRAME), 0xf566);
  t.is(verdict([instruction(0x30, 5), RET_A], FRAME), 0x66);
  t.is(verdict([ldxImm(1), instruction(0x40, 1), RET_A], FRAME), 0x3344f566);
  t.is(verdict([ldxImm(1), instruction(0x48, 1), RET_A], FRAME), 0x3344);
  t.is(verdict([ldxImm(1), instruction(0x50, 1), RET_A], FRAME), 0x33);
  t.is(verdict([instruction(0xb1, 4), instruction(0x87), RET_A], FRAME), 20);
  t.is(verdict([instruction(0x80), RET_A], FRAME), 6);
  t.is(verdict([instruction(0x81), instruction(0x87), RET_A], FRAME), 6);
});

test('a load that reaches outside of the frame ends the program without a match', (t) => {
  const match = instruction(0x06, 1);
  const programs = [
    [instruction(0x20, 3)],
    [instruction(0x28, 5)],
    [instruction(0x30, 6)],
    [instruction(0xb1, 6)],
    [instruction(0x20, 0xffff_fffc)],
    [instruction(0x30, -1)],
    [ldxImm(-1), instruction(0x50, 1)], // doesn't wrap to 0
    [ldxImm(3), instruction(0x48, 2)],
    [ldxImm(0x7fff_ffff), instruction(0x40, 0x7fff_ffff)],
  ];
  for (const program of programs) t.is(verdict([...program, match], FRAME), 0, JSON.stringify(program));
  t.is(verdict([instruction(0x20, 2), match], FRAME), 1);
});

test('arithmetic is that of unsigned 32-bit numbers, with k and with X', (t) => {
  const cases: [name: string, operation: number, a: number, operand: number, result: number][] = [
    ['add', 0x00, 0xffff_ffff, 2, 1],
    ['sub', 0x10, 1, 2, 0xffff_ffff],
    ['mul', 0x20, 0x10001, 0x10001, 0x20001],
    ['div', 0x30, 0xffff_fffe, 3, 0x5555_5554],
    ['div by a large one', 0x30, 0xffff_ffff, 0x8000_0000, 1],
    ['or', 0x40, 0xf0, 0x0f, 0xff],
    ['and', 0x50, 0xff, 0x3c, 0x3c],
    ['lsh', 0x60, 0x8000_0001, 1, 2],
    ['lsh by 32', 0x60, 1, 32, 0],
    ['rsh', 0x70, 0x8000_0000, 31, 1],
    ['rsh by 32', 0x70, 0xffff_ffff, 32, 0],
    ['mod', 0x90, 0xffff_ffff, 10, 5],
    ['xor', 0xa0, 0xff, 0x0f, 0xf0],
  ];
  for (const [name, operation, a, operand, result] of cases) {
    t.is(verdict([ldImm(a), instruction(0x04 | operation, operand), RET_A]), result, `${name} k`);
    t.is(verdict([ldImm(a), ldxImm(operand), instruction(0x0c | operation), RET_A]), result, `${name} X`);
  }
  t.is(verdict([ldImm(5), instruction(0x84), RET_A]), 0xffff_fffb, 'neg');
  t.is(verdict([ldImm(5), instruction(0x3c), instruction(0x06, 1)]), 0, 'division by X = 0 does not match');
  t.is(verdict([ldImm(5), instruction(0x9c), instruction(0x06, 1)]), 0, 'modulo X = 0 does not match');
});

test('jumps compare unsigned, with k and with X, and go forward only', (t) => {
  const taken = (code: number, a: number, operand: number) => {
    const ends = [instruction(0x06, 2), instruction(0x06, 1)];
    const withK = verdict([ldImm(a), instruction(0x05 | code, operand, 1, 0), ...ends]);
    const withX = verdict([ldImm(a), ldxImm(operand), instruction(0x0d | code, 0, 1, 0), ...ends]);
    t.is(withK, withX);
    return withK === 1;
  };
  t.true(taken(0x10, 7, 7));
  t.false(taken(0x10, 7, 8));
  t.true(taken(0x20, 0x8000_0000, 1));
  t.false(taken(0x20, 1, 0xffff_ffff));
  t.true(taken(0x30, 0xffff_ffff, 0xffff_ffff));
  t.false(taken(0x30, 1, 2));
  t.true(taken(0x40, 6, 2));
  t.false(taken(0x40, 5, 2));
  t.is(verdict([instruction(0x05, 1), instruction(0x06, 1), instruction(0x06, 2)]), 2);
});

test('memory cells keep what was stored, and are empty when the next frame comes', (t) => {
  const program = [
    ...[instruction(0x60, 15), instruction(0x15, 0, 1, 0), instruction(0x06, 9)], // cell 15 must be 0
    ...[ldImm(5), instruction(0x02, 15), ldxImm(6), instruction(0x03, 0)],
    ...[instruction(0x61, 15), instruction(0x60, 0), instruction(0x2c), RET_A], // 6 × 5
  ];
  const filter = new Filter(packFilter(program));
  t.is(filter.run(new Uint8Array(4), 0, 4), 30);
  t.is(filter.run(new Uint8Array(4), 0, 4), 30);
});

test('a faulty program is refused, with the instruction at fault', (t) => {
  const end = instruction(0x06, 1);
  const faulty: [FilterInstruction[], RegExp][] = [
    [[ldImm(1)], /instruction 0: the last instruction must be a return/],
    [[instruction(0x15, 0, 1, 0), end], /instruction 0: it jumps behind the end/],
    [[instruction(0x15, 0, 0, 1), end], /instruction 0: it jumps behind the end/],
    [[instruction(0x05, 1), end], /jumps behind/],
    [[instruction(0x05, -1), end], /jumps behind/],
    [[instruction(0x60, 16), end], /memory cell 16/],
    [[instruction(0x02, -1), end], /memory cell -1/],
    [[instruction(0x34, 0), end], /divides by zero/],
    [[instruction(0x94, 0), end], /divides by zero/],
    [[instruction(0xff), end], /unknown code 255/],
    [[instruction(0x1_0006), end], /unknown code/],
    [[instruction(0x15, 0, 256, 0), end], /jump 256/],
    [[instruction(0x00, 2 ** 32), end], /no 32-bit number/],
    [[instruction(0x00, 0.5), end], /no 32-bit number/],
    [Array.from({ length: 4097 }, () => end), /4097 instructions/],
  ];
  for (const [program, message] of faulty) {
    const error = t.throws(() => packFilter(program), { instanceOf: FilterError, message });
    t.is(error?.code, 'FILTER_INVALID');
  }
  t.notThrows(() => packFilter(Array.from({ length: 4096 }, () => end)));
});

test('random programs that pass the check end, and never look outside of the frame', (t) => {
  const random = new Random(11);
  const codes = Array.from({ length: 256 }, (_, code) => code).filter((code) => {
    try {
      packFilter([instruction(code, 1), instruction(0x06), instruction(0x06)]);
      return true;
    } catch {
      return false;
    }
  });
  t.is(codes.length, 49);
  let matched = 0;
  for (let round = 0; round < 20_000; round++) {
    const count = 1 + random.below(40);
    const program = Array.from({ length: count }, (_, i) => {
      const left = count - 2 - i;
      const code = left < 0 ? [0x06, 0x16][random.below(2)]! : codes[random.below(codes.length)]!;
      const near = random.chance(0.8);
      const k = near ? random.below(Math.min(16, code === 0x05 ? left + 1 : 16)) : random.word();
      return instruction(code, k, random.below(Math.max(1, left)), random.below(Math.max(1, left)));
    });
    let packed: Int32Array;
    try {
      packed = packFilter(program);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      continue;
    }
    // The same frame among different surroundings: a look outside would show as another verdict.
    const frame = new Uint8Array(random.below(64));
    random.fill(frame);
    const verdicts = [0x00, 0xa5, 0xff].map((filler) => {
      const bytes = new Uint8Array(256).fill(filler);
      bytes.set(frame, 96);
      const before = bytes.slice();
      const result = new Filter(packed).run(bytes, 96, frame.length);
      if (Buffer.compare(before, bytes) !== 0) t.fail('the frame was changed');
      return result;
    });
    if (new Set(verdicts).size !== 1) t.fail(JSON.stringify(program));
    if (verdicts[0]! > 0) matched++;
  }
  t.true(matched > 1000, `${matched} matched`);
});

const tcpdump = spawnSync('tcpdump', ['--version']).status === 0;
const withTcpdump = tcpdump ? test : test.skip;
const missing = tcpdump ? '' : ' (skipped: needs tcpdump)';

/** The program that tcpdump makes of an expression; undefined when it makes none. */
function compile(expression: string): FilterInstruction[] | undefined {
  const run = spawnSync('tcpdump', ['-y', 'EN10MB', '-ddd', '-r', '-', expression], {
    input: pcapHeader(65535),
  });
  if (run.status !== 0) return undefined;
  const [, ...lines] = run.stdout.toString().trim().split('\n');
  return lines.map((line) => {
    const [code, jt, jf, k] = line.split(' ').map(Number);
    return { code: code!, jt: jt!, jf: jf!, k: k! };
  });
}

/** Ethernet frames with few different addresses and ports, so that filters match now and then; some cut short, some noise. */
function randomFrames(count: number): Uint8Array[] {
  const random = new Random(5);
  const pick = <T>(...choices: T[]): T => choices[random.below(choices.length)]!;
  const number = (value: number, bytes: number) =>
    Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) & 255);
  const mac = () =>
    pick([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [255, 255, 255, 255, 255, 255], [51, 51, 0, 0, 0, 1]);
  const ip4 = () => pick([10, 0, 0, 1], [10, 0, 0, 2], [192, 168, 7, 9], [224, 0, 0, 1]);
  const ip6 = () => [pick(0xfd, 0xff), 0, ...new Array<number>(13).fill(0), pick(1, 2)];
  const port = () => number(pick(53, 80, 85, 443, 4789, random.below(65536)), 2);
  const l4 = (protocol: number) =>
    protocol === 6
      ? [
          ...port(),
          ...port(),
          ...number(random.word(), 4),
          ...number(random.word(), 4),
          0x50,
          random.below(64),
          1,
          0,
          0,
          0,
          0,
          0,
        ]
      : protocol === 17
        ? [...port(), ...port(), ...number(random.below(100), 2), 0, 0]
        : [pick(0, 8, 128, 135), 0, 0, 0];
  const noise = () => Array.from({ length: random.below(80) }, () => random.below(256));
  const payload = (): [type: number, body: number[]] => {
    const protocol = pick(1, 6, 17, 58);
    const options = random.below(3);
    const fragment = pick(0, 0, 0x4000, 0x2000, 0x0010);
    switch (random.below(5)) {
      case 0:
        return [0x0806, [0, 1, 8, 0, 6, 4, 0, pick(1, 2), ...mac(), ...ip4(), ...mac(), ...ip4()]];
      case 1:
        return [0x86dd, [0x60, 0, 0, 0, 0, 40, pick(6, 17, 58, 44), 64, ...ip6(), ...ip6(), ...l4(protocol)]];
      case 2:
        return [random.below(65536), noise()];
      default:
        return [
          0x0800,
          [
            ...[0x45 + options, 0, ...number(random.below(1500), 2), ...number(random.word(), 2)],
            ...[...number(fragment, 2), random.below(256), protocol, 0, 0, ...ip4(), ...ip4()],
            ...[...new Array<number>(4 * options).fill(1), ...l4(protocol)],
          ],
        ];
    }
  };
  return Array.from({ length: count }, () => {
    if (random.chance(0.05)) return Uint8Array.from([...noise(), 0]);
    const [type, body] = payload();
    const tag = random.chance(0.2) ? [0x81, 0, 0, pick(5, 6)] : [];
    const frame = [...mac(), ...mac(), ...tag, ...number(type, 2), ...body, ...noise()];
    return Uint8Array.from(random.chance(0.1) ? frame.slice(0, 1 + random.below(frame.length)) : frame);
  });
}

const EXPRESSIONS = [
  ...[
    'ip',
    'ip6',
    'arp',
    'tcp',
    'udp',
    'icmp',
    'icmp6',
    'not ip and not arp',
    'ether broadcast',
    'ether multicast',
  ],
  ...['host 10.0.0.1', 'src host 10.0.0.2', 'dst net 192.168.0.0/16', 'ip6 host fd00::1', 'ip6 net fd00::/8'],
  ...['ether src 02:00:00:00:00:01', 'ether host 02:00:00:00:00:02', 'arp host 10.0.0.1', 'ip multicast'],
  ...[
    'port 53',
    'tcp dst port 80',
    'udp src port 4789',
    'portrange 80-90',
    'tcp portrange 400-500',
    'ip proto 17',
  ],
  ...['vlan', 'vlan 5', 'vlan 6 and tcp', 'vlan and ip host 10.0.0.1', 'len > 100', 'greater 90', 'less 60'],
  ...[
    'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0',
    'tcp[13] = 2',
    'udp[4:2] > 50',
    'ip[0] & 0xf != 5',
    'ip6[6] = 58',
  ],
  ...[
    'ip[6:2] & 0x1fff != 0',
    '((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) > 700',
    'ether[0] & 1 = 1',
  ],
  ...[
    'ip[8] * 3 / 2 % 7 = 3',
    'ip[8] ^ 0x40 > 100',
    'ip[8] | 0x0f = 0x4f',
    'tcp[4:4] > 0x80000000',
    '-ip[8] < 4294967200',
  ],
  ...[
    'ip[8] / (ip[9] - 6) > 3',
    'ip[8] % (ip[9] & 1) = 0',
    '1 << (ip[8] & 31) & ip[4:4] != 0',
    'len - ip[2:2] > len',
  ],
  ...['tcp port 80 or udp port 53 or icmp or arp', '(host 10.0.0.1 or ip6 host fd00::2) and not port 443'],
  ...['icmp[icmptype] = icmp-echo', 'tcp[ip[8] & 3] = 0', 'ether[len - 1] = 0', 'mpls', 'pppoes', 'geneve'],
];

withTcpdump(`every filter gives tcpdump's own verdict on each of 3,000 frames${missing}`, (t) => {
  const frames = randomFrames(3000);
  const capture = Buffer.concat([pcapHeader(65535), ...frames.map((f, i) => pcapRecord(i + 1, f, f.length))]);
  let compared = 0;
  let matched = 0;
  for (const expression of EXPRESSIONS) {
    const program = compile(expression);
    if (program === undefined) {
      t.log(`not compiled: ${expression}`);
      continue;
    }
    const run = spawnSync('tcpdump', ['-r', '-', '-w', '-', expression], { input: capture });
    const theirs: number[] = [];
    for (let at = 24; at < run.stdout.length; at += 16 + run.stdout.readUInt32LE(at + 8))
      theirs.push(run.stdout.readUInt32LE(at) - 1);
    const filter = new Filter(packFilter(program));
    const ours = frames.flatMap((frame, i) => (filter.run(frame, 0, frame.length) === 0 ? [] : [i]));
    t.deepEqual(ours, theirs, expression);
    compared++;
    if (ours.length > 0 && ours.length < frames.length) matched++;
  }
  t.true(compared >= 50, `${compared} compared`);
  t.true(matched >= 45, `${matched} told frames apart`);
});
