import { stripVTControlCharacters } from 'node:util';
import test from 'ava';
import { type Results, ratio, short, table } from '../../../src/cli/demo/figures.js';
import { bar, Canvas, graph } from '../../../src/cli/demo/view/canvas.js';
import { draw, type Picture } from '../../../src/cli/demo/view/page.js';
import { DROPS } from '../../../src/dataplane/core/drops.js';
import type { Stats } from '../../../src/dataplane/report.js';

const results: Results = {
  viaduct: { ping4: 0.112, ping6: 0.12, http: 812, tcp: 11.93, udp: 131_000 },
  kernel: { ping4: 0.08, ping6: 0.09, http: 1024, tcp: 15.1, udp: 98_700 },
};

function stats(packets: number): Stats {
  const traffic = {
    rxPackets: packets,
    rxBytes: packets * 1500,
    txPackets: 2 * packets,
    txBytes: packets * 3000,
  };
  const vtep = { address: '10.0.0.2', underlay: 'tunnel', nextHop: null, pathMtu: 1550, ...traffic } as const;
  return {
    startedAt: '2026-01-01T00:00:00.000Z',
    underlay: {
      kind: 'tunnel',
      addresses: ['10.0.0.1'],
      port: 4789,
      mtu: 1550,
      offloads: {},
      offloadsWanted: {},
    },
    engines: 1,
    generation: 1,
    counters: {} as Stats['counters'],
    drops: Object.fromEntries(DROPS.map(([reason], i) => [reason, i === 0 ? 7 : 0])) as Stats['drops'],
    endpoints: [],
    vteps: [vtep],
  };
}

function picture(over: Partial<Picture> = {}): Picture {
  const workloads = (host: string, at: number) => [
    { name: `${host}1`, address: `10.10.0.${at}1` },
    { name: `${host}2`, address: `10.10.0.${at}2` },
  ];
  return {
    step: 'measuring over Viaduct',
    seconds: 12.4,
    side: 'viaduct',
    left: { name: 'host a', underlay: '10.0.0.1', workloads: workloads('a', 1), stats: stats(1_200_000) },
    right: { name: 'host b', underlay: '10.0.0.2', workloads: workloads('b', 2), stats: stats(999) },
    results,
    live: { name: 'tcp', history: [9, 10, 11.93], expected: 20 },
    note: 'HTTP body arrived whole',
    noteInk: 'good',
    ...over,
  };
}

test('the page fits 80 × 24 and shows hosts, workloads, counters, the live value and every pair of figures', (t) => {
  const lines = draw(picture(), 80, 24).lines(false);
  t.true(lines.length < 24, 'the last row stays free, so that nothing scrolls');
  for (const line of lines) t.true([...line].length <= 80, line);
  const text = lines.join('\n');
  for (const word of [
    'host a',
    'host b',
    'a1  10.10.0.11',
    '10.10.0.22',
    '10.0.0.1',
    'tunnel underlay',
    '12 s',
  ]) {
    t.true(text.includes(word), word);
  }
  for (const word of [
    '1.2 M pkts',
    '14 dropped',
    '11.93 Gbit/s',
    '0.112 ms',
    '1024 MB/s',
    '131.0 k/s',
    '0.79 ×',
  ]) {
    t.true(text.includes(word), word);
  }
  t.true(lines.at(-1)!.includes('HTTP body arrived whole'));
});

test('a terminal of any size gets a page that fits it', (t) => {
  for (const [columns, rows] of [
    [1, 1],
    [20, 5],
    [79, 23],
    [80, 24],
    [200, 60],
  ] as const) {
    const lines = draw(picture(), columns, rows).lines(false);
    t.true(lines.length <= Math.max(1, rows - 1));
    for (const line of lines) t.true([...line].length <= columns);
  }
});

test('a page with nothing known yet can be drawn', (t) => {
  const host = { name: 'host a', underlay: '10.0.0.1', workloads: [] };
  const empty = { left: host, right: host, results: { viaduct: {}, kernel: {} }, note: '' };
  const { live, ...rest } = picture(empty);
  t.true(live !== undefined && draw(rest, 80, 24).lines(true).length > 0);
});

test('the page is of plain characters when colour is off, and the same characters when it is on', (t) => {
  const canvas = draw(picture(), 80, 24);
  t.notRegex(canvas.lines(false).join('\n'), /\p{Cc}(?<!\n)/u);
  const coloured = canvas.lines(true).join('\n');
  t.true(coloured.includes('\x1b[0;36m'));
  t.is(stripVTControlCharacters(coloured), canvas.lines(false).join('\n'));
});

test('frames move along the wire while something is measured', (t) => {
  const wire = (seconds: number) => draw(picture({ seconds }), 80, 24).lines(false)[4];
  t.not(wire(1), wire(1.2));
});

test('a bar is as long as its share, half a cell exact, and never empty', (t) => {
  t.is(bar(10, 10, 8), '━'.repeat(8));
  t.is(bar(5, 10, 8), '━'.repeat(4));
  t.is(bar(9, 16, 8), '━━━━╸');
  t.is(bar(0.0001, 10, 8), '╸');
  t.is(bar(0, 10, 8), '');
  t.is(bar(Number.NaN, 10, 8), '');
});

test('a graph is scaled to its greatest value, stretched when few values are expected, and keeps the newest', (t) => {
  t.deepEqual(graph([1, 2, 4], 8, 1, 8), ['▂▄█']);
  t.deepEqual(graph([1, 2], 4, 1, 2), ['▄▄██']);
  t.deepEqual(graph([4, 1, 2], 2, 1, 100), ['▄█']);
  t.deepEqual(graph([1, 2], 2, 2, 2), [' █', '██']);
});

test('a canvas cuts off what lies outside', (t) => {
  const canvas = new Canvas(4, 2);
  canvas.put(-2, 0, 'abcdefgh');
  canvas.put(0, 7, 'below');
  canvas.putRight(4, 1, 'z');
  t.deepEqual(canvas.lines(false), ['cdef', '   z']);
});

test('the table says each figure once, a dash for what is missing, and the ratio', (t) => {
  const lines = table({ viaduct: { tcp: 10, udp: 50_000 }, kernel: { tcp: 20 } });
  t.regex(lines.find((line) => line.includes('TCP'))!, /10\.00 Gbit\/s +20\.00 Gbit\/s +0\.50$/);
  t.regex(lines.find((line) => line.includes('UDP'))!, /50\.0 k\/s +– +–$/);
  t.is(ratio({ viaduct: { tcp: 1 }, kernel: {} }, 'tcp'), undefined);
});

test('counts are written short', (t) => {
  t.deepEqual([0, 999, 1000, 12_345_678, 4.2e9, 1e13].map(short), [
    '0 ',
    '999 ',
    '1.0 k',
    '12.3 M',
    '4.2 G',
    '10.0 T',
  ]);
});
