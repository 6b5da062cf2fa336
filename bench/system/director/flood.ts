/**
 * `npm run bench -- flood`: a director under load of another kind than traffic. A SYN flood from random sources beside
 * clients that want to be served, and a table that holds a million connections.
 */
import { lines, open } from '../../../src/cli/socket/client.js';
import { openLab } from '../../labs.js';
import { residentMegabytes, sleep } from '../../machine.js';
import type { Options } from '../../options.js';
import { reference } from '../../reference/tools.js';
import { format, median, table } from '../../statistics.js';
import { http } from '../load.js';
import type { Side } from '../side.js';
import { type Attacker, addAttacker, buildPlace, type Place, sideOf } from './place.js';
import { directNftables, directViaduct } from './sides.js';

/** SYNs a second: more than the machine serves connections, and much more. */
const RATES = [20_000, 100_000];
/** Issue 3: what a flood leaves of the connections a second. */
const LEAVES_GOAL = 0.9;
const MILLION = 1_000_000;
/** Bytes that a connection may take, in MB for a million (10^6 bytes). */
const MEMORY_GOAL = 128;

interface Sent {
  sent: number;
  pps: number;
}

async function flood(attacker: Attacker, kind: 'syn' | 'udp', port: number, args: string[]): Promise<Sent> {
  const all = [kind, ...attacker.to, '-p', String(port), ...args];
  return JSON.parse(
    (await attacker.host.run(await reference('flood'), all, { timeoutMs: 90_000 })).stdout,
  ) as Sent;
}

/** name → how the director is set up. */
const SIDES: readonly [string, (place: Place) => Promise<unknown>][] = [
  ['viaduct', (place) => directViaduct(place)],
  ['viaduct, SYN proxy', (place) => directViaduct(place, { synProxy: true })],
  ['nftables', directNftables],
];

interface Flooded {
  name: string;
  side: Side;
  attacker: Attacker;
  quiet: number[];
  under: number[][];
  rates: number[][];
}

async function synFlood(options: Options, notes: string[]): Promise<Flooded[]> {
  const all: Flooded[] = [];
  for (const [name, direct] of SIDES) {
    if (options.without.includes(name)) continue;
    options.say(`building ${name}`);
    try {
      const place = await buildPlace(openLab());
      const attacker = await addAttacker(place);
      await direct(place);
      const side = sideOf(name, place);
      await http(side, 1, false);
      all.push({ name, side, attacker, quiet: [], under: RATES.map(() => []), rates: RATES.map(() => []) });
    } catch (error) {
      notes.push(`- skipped ${name}: ${(error as Error).message}`);
    }
  }
  const seconds = options.quick ? 1 : 3;
  for (let round = 1; round <= options.rounds; round++) {
    for (const each of all) {
      options.say(`SYN flood, round ${round} of ${options.rounds}, ${each.name}`);
      each.quiet.push((await http(each.side, seconds, false)).rate);
      for (const [i, rate] of RATES.entries()) {
        const attack = flood(each.attacker, 'syn', 8080, ['-r', String(rate), '-t', String(seconds + 1)]);
        await sleep(300);
        each.under[i]!.push((await http(each.side, seconds, false)).rate);
        each.rates[i]!.push((await attack).pps);
        await sleep(500);
      }
    }
  }
  return all;
}

interface Held {
  connections: number;
  /** MB (10^6 bytes) resident, before and with them */
  before: number;
  with: number;
  /** HTTP connections a second, before and with them */
  quick: number;
  slow: number;
}

/** Of the table of connections, as /metrics says. */
async function entries(socket: string): Promise<number> {
  for await (const line of lines(await open(socket, '/metrics'))) {
    const found = /^viaduct_\w*connection_table_entries (\d+)/.exec(line);
    if (found !== null) return Number(found[1]);
  }
  throw new Error('/metrics does not say how many connections there are');
}

async function hold(options: Options): Promise<Held> {
  options.say('a million connections');
  const place = await buildPlace(openLab());
  const attacker = await addAttacker(place);
  const running = await directViaduct(place, {}, { virtualServer: { connections: 1.1 * MILLION } });
  const side = sideOf('viaduct', place);
  const seconds = options.quick ? 1 : 3;
  const quick = (await http(side, seconds, false)).rate;
  const before = residentMegabytes(running.pid);
  await flood(attacker, 'udp', 7000, ['-n', String(MILLION), '-r', '100000', '-t', '60']);
  await sleep(1000);
  const connections = await entries(running.socket);
  const after = residentMegabytes(running.pid);
  return { connections, before, with: after, quick, slow: (await http(side, seconds, false)).rate };
}

export async function benchFlood(options: Options): Promise<{ text: string; json: object; failed: boolean }> {
  const notes: string[] = [];
  const flooded = await synFlood(options, notes);
  const rows = flooded.flatMap(({ name, quiet, under, rates }) =>
    RATES.map((_, i) => {
      const ratio = median(under[i]!) / median(quiet);
      return [
        ...[
          name,
          format(median(rates[i]!)),
          format(median(quiet)),
          format(median(under[i]!)),
          ratio.toFixed(2),
        ],
        ...[`≥ ${LEAVES_GOAL}`, ratio >= LEAVES_GOAL ? 'yes' : 'no'],
      ];
    }),
  );
  const head = ['HTTP new connections', 'SYNs/s', 'without', 'under the flood', 'ratio', 'goal', 'met'];
  const parts = [table([head, ...rows], 1)];
  let held: Held | undefined;
  try {
    held = await hold(options);
    const grown = held.with - held.before;
    const figures = [
      [
        'connections held',
        '',
        format(held.connections),
        `${format(MILLION)}`,
        met(held.connections >= MILLION),
      ],
      ['resident memory, grown by', 'MB', format(grown), `≤ ${MEMORY_GOAL}`, met(grown <= MEMORY_GOAL)],
      ['HTTP new connections before', '1/s', format(held.quick), '', ''],
      ['… beside a million', '1/s', format(held.slow), '', ''],
    ];
    parts.push(table([['a million connections', 'unit', 'Viaduct', 'goal', 'met'], ...figures], 2));
  } catch (error) {
    notes.push(`- a million connections: ${(error as Error).message}`);
  }
  return {
    text: [...parts, ...notes].join('\n\n'),
    json: { flooded: flooded.map(({ side: _, attacker: __, ...rest }) => rest), held },
    failed: notes.length > 0,
  };
}

const met = (yes: boolean) => (yes ? 'yes' : 'no');
