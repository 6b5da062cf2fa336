/** Lists of any length: the same text as a whole one, a piece at a time, and no faster than it is read. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { perform } from '../../src/cli/ipvsadm/ipvsadm.js';
import { ask, askList, lines, open } from '../../src/cli/socket/client.js';
import { JsonParts } from '../../src/cli/text/json-parts.js';
import { connections, services } from '../../src/cli/text/service-views.js';
import { plain } from '../../src/cli/text/style.js';
import { TableParts } from '../../src/cli/text/table.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { serve } from './fake-dataplane.js';

const row = (i: number): ConnectionRow => ({
  ...{ network: null, protocol: 'tcp', state: 'ESTABLISHED', expiresSeconds: 1 + (i % 900), engine: null },
  ...{ source: `10.0.${i >> 8}.${i & 255}:${i}`, virtual: '10.1.0.1:80', destination: '10.2.0.1:8080' },
});
const rowsOf = (count: number) => Array.from({ length: count }, (_, i) => row(i));

for (const count of [0, 1, 511, 512, 513, 2048]) {
  test(`${count} connections are the same as an array, a line each, and as ipvsadm prints them`, async (t) => {
    const { dataplane, socket } = await serve(t);
    const rows = rowsOf(count);
    dataplane.open = rows;
    t.deepEqual(await ask(socket, '/v1/ipvs/connections'), rows);
    const one: ConnectionRow[] = [];
    for await (const each of askList<ConnectionRow>(socket, '/v1/connections')) one.push(each);
    t.deepEqual(one, rows);
    const names = {
      address: async () => undefined,
      host: async () => undefined,
      port: () => undefined,
      service: () => undefined,
    };
    const pieces: string[] = [];
    const around = {
      ...{ version: '0', input: async () => '', names },
      print: async (text: string) => void pieces.push(text),
    };
    const words = ['-L', '-n', '-c', '--socket', socket];
    t.like(await perform('ipvsadm', [...words, '--json'], around), { code: 0, out: '', error: '' });
    t.is(pieces.splice(0).join(''), `${JSON.stringify(rows, null, 2)}\n`);
    t.like(await perform('ipvsadm', words, around), { code: 0, out: '', error: '' });
    t.is(pieces.length, 1 + Math.floor(count / 512));
    const printed = pieces.join('').split('\n');
    t.is(printed.length, count + 3);
    t.is(printed.at(-2), count === 0 ? printed[1] : printed[count + 1]);
    if (count > 0)
      t.is(printed[2], 'TCP 00:01  ESTABLISHED 10.0.0.0:0         10.1.0.1:80        10.2.0.1:8080');
  });
}

test('a million that nobody reads are not made, others are answered meanwhile, and it ends with its reader', async (t) => {
  const { dataplane, socket } = await serve(t);
  let made = 0;
  let ended = false;
  dataplane.eachConnection = function* () {
    try {
      for (; made < 1_000_000; made++) yield row(made & 0xffff);
    } finally {
      ended = true;
    }
  };
  const response = await open(socket, '/v1/ipvs/connections', { query: { lines: '' } });
  await sleep(300);
  const before = made;
  await ask(socket, '/v1/drops');
  await sleep(100);
  t.true(before > 0 && made < 50_000 && made === before, `${made} were made`);
  let read = 0;
  for await (const _ of lines(response)) if (++read === 100_000) break;
  t.true(made >= 100_000 && made < 300_000, `${made} were made`);
  response.destroy();
  await once(response, 'close').catch(() => {});
  for (let i = 0; !ended && i < 100; i++) await sleep(20);
  t.true(ended);
});

test('a JSON list and a table made in parts', (t) => {
  const list = new JsonParts();
  t.is(
    list.next([{ a: 1 }]) + list.next([{ b: { c: 'x\ny' } }]) + list.end(),
    `${JSON.stringify([{ a: 1 }, { b: { c: 'x\ny' } }], null, 2)}\n`,
  );
  t.is(new JsonParts().end(), '[]\n');
  const table = new TableParts([{ title: 'A' }, { title: 'B', right: true }, { title: 'C' }]);
  t.is(table.next([['x', '1', 'y']]), 'A  B  C\nx  1  y\n');
  t.is(table.next([['long', '10', 'y']]), 'long  10  y\n');
  t.is(table.next([['x', '1', 'y']]), 'x      1  y\n');
});

test('services stand above their destinations, connections in their columns', (t) => {
  const stats = { conns: 4, inPackets: 10, outPackets: 20, inBytes: 2048, outBytes: 4096 };
  const none = { conns: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
  const rates = { cps: 0, inPps: 0, outPps: 0, inBps: 0, outBps: 0 };
  const destination = {
    ...{ weight: 3, forward: 'nat' as const, upperThreshold: 0, lowerThreshold: 0, persistent: 0, rates },
    tunnel: { type: 'ipip' as const, port: 0, checksum: 'none' as const },
  };
  const value = [
    {
      ...{
        network: null,
        listen: 'tcp://10.0.0.1:80',
        scheduler: 'wlc',
        schedulerFlags: [],
        persistence: null,
      },
      ...{ onePacket: false, stats, rates },
      destinations: [
        { ...destination, address: '10.0.0.2:80', active: 2, inactive: 1, stats },
        { ...destination, address: '[fd00::2]:80', active: 0, inactive: 4, stats: none },
      ],
    },
  ];
  t.is(
    services(value, { paint: plain, all: false }),
    `NETWORK  SERVICE            SCHEDULER  FORWARD  WEIGHT  ACTIVE  INACTIVE  CONNS  RX PACKETS       RX  TX PACKETS       TX
-        tcp://10.0.0.1:80  wlc        -             -       2         5      4          10  2.0 KiB          20  4.0 KiB
           10.0.0.2:80                 nat           3       2         1      4          10  2.0 KiB          20  4.0 KiB
           [fd00::2]:80                nat           3       0         4      0           0      0 B           0      0 B
`,
  );
  const before = { value: [{ ...value[0]!, stats: none }], seconds: 2 };
  const [, first] = services(value, { paint: plain, all: false, before }).split('\n');
  t.regex(first!, /^- +tcp\S+ +wlc +- +- +2 +5 +4 +5 pps +8\.2 kbit\/s +10 pps +16\.4 kbit\/s$/);
  t.is(
    connections(rowsOf(1), { paint: plain, all: false }),
    `NETWORK  PROTOCOL  STATE        EXPIRES  SOURCE      VIRTUAL      DESTINATION
-        tcp       ESTABLISHED       1s  10.0.0.0:0  10.1.0.1:80  10.2.0.1:8080
`,
  );
});
