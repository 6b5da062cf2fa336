/** Filters: compiled by the real libpcap, refused in its words. */
import test from 'ava';
import { compileFilter, FilterError } from '../../src/cli/pcap/filter.js';

const RETURN = 6;
const LOAD_HALF = 40;

test('no filter is no program: everything matches', async (t) => {
  t.deepEqual(await compileFilter(''), []);
  t.deepEqual(await compileFilter('  '), []);
});

test('a filter over Ethernet frames becomes the instructions of libpcap', async (t) => {
  const program = await compileFilter('arp');
  t.deepEqual(program[0], { code: LOAD_HALF, jt: 0, jf: 0, k: 12 });
  t.is(program[1]!.k, 0x0806);
  t.deepEqual(program.at(-1), { code: RETURN, jt: 0, jf: 0, k: 0 });
});

test('a filter that begins like an option is a filter still', async (t) => {
  const error = await t.throwsAsync(compileFilter('-w /tmp/owned'), { instanceOf: FilterError });
  t.is(error.code, 'FILTER_INVALID');
  t.regex(error.message, /syntax error/);
});

test.serial('where tcpdump is missing the message says what to install', async (t) => {
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    const error = await t.throwsAsync(compileFilter('arp'), { instanceOf: FilterError });
    t.is(error.code, 'TCPDUMP_MISSING');
    t.regex(error.message, /apt-get install tcpdump/);
  } finally {
    process.env.PATH = path;
  }
});
