/** The comparison as a table: Viaduct's number, the peer's of the same run, the ratio, the goal and whether it is met. */
import { format, table } from '../statistics.js';
import { type Goal, goalOf, judge, ROWS, type Row } from './rows.js';
import type { Outcome, Sample } from './run.js';
import { WIRES, type Wire } from './wire.js';

/** One line: a figure of Viaduct beside the same of one peer. */
export interface Line {
  wire: Wire;
  row: Row;
  unit: string;
  device: string;
  value: number;
  peer: string;
  peerValue: number;
  ratio: number;
  first?: number;
  far?: number;
  /** 'far', 'first' or 'no'; absent where ANCHORS has no goal */
  met?: string;
}

const ours = (sample: Sample) => sample.side.startsWith('viaduct');

export function lines(samples: readonly Sample[]): Line[] {
  const found: Line[] = [];
  for (const mine of samples.filter(ours)) {
    for (const theirs of samples) {
      if (ours(theirs) || theirs.wire !== mine.wire || theirs.row !== mine.row) continue;
      const goal = goalOf(mine.wire, mine.row, mine.device, theirs.side);
      const ratio = mine.value / theirs.value;
      found.push({
        ...{
          wire: mine.wire,
          row: mine.row,
          unit: ROWS[mine.row].unit,
          device: mine.device,
          value: mine.value,
        },
        ...{ peer: theirs.side, peerValue: theirs.value, ratio },
        ...(goal && { first: goal.first, far: goal.far, met: judge(goal, ratio) }),
      });
    }
  }
  return found.sort((a, b) => order(a) - order(b));
}

const ROW_ORDER = Object.keys(ROWS);
const order = ({ wire, row }: { wire: Wire; row: Row }) => 100 * WIRES.indexOf(wire) + ROW_ORDER.indexOf(row);

const WIRE_TITLES = {
  whole: 'Super-packets pass the underlay (veth, MTU 1550)',
  segmented: 'The underlay carries real packets (veth, MTU 1550, its offloads off)',
  gro: 'The underlay carries real packets, received with GRO (veth, MTU 1550)',
  director: 'A director between a client and three servers (veth, MTU 1500, super-packets pass)',
};

function bound(goal: Goal | undefined, which: 'first' | 'far'): string {
  return goal === undefined ? '' : `${goal.atMost ? '≤ ' : ''}${goal[which]}`;
}

/** All of a wire: first every side's own figure, then the ratios. */
function wireTable(wire: Wire, samples: readonly Sample[]): string {
  const here = samples.filter((sample) => sample.wire === wire);
  const sides = [...new Set(here.map(({ side }) => side))];
  const rows = [...new Set(here.map(({ row }) => row))].sort(
    (a, b) => order({ wire, row: a }) - order({ wire, row: b }),
  );
  const figures = rows.map((row) => [
    ROWS[row].title,
    ROWS[row].unit,
    ...sides.map((side) => {
      const sample = here.find((each) => each.row === row && each.side === side);
      return sample === undefined ? '' : format(sample.value);
    }),
  ]);
  return `${WIRE_TITLES[wire]}\n\n${table([['', 'unit', ...sides], ...figures], 2)}`;
}

/** All against the kernel, and whatever has a goal. */
function ratioTable(found: readonly Line[]): string {
  const rows = found
    .filter(({ row }) => row !== 'retransmits' && row !== 'own-cpu' && row !== 'wire-size')
    .filter(({ peer, met }) => /^(kernel|nftables)/.test(peer) || met !== undefined)
    .map((line) => {
      const goal = goalOf(line.wire, line.row, line.device, line.peer);
      const title = `${ROWS[line.row].title.replace(/^… /, '')}${line.wire === 'whole' || line.wire === 'director' ? '' : `, wire ${line.wire}`}`;
      return [
        ...[title, line.unit, line.device, format(line.value), line.peer, format(line.peerValue)],
        ...[line.ratio.toFixed(2), bound(goal, 'first'), bound(goal, 'far'), line.met ?? ''],
      ];
    });
  if (rows.length === 0) return '';
  const head = [
    '',
    'unit',
    'device',
    'Viaduct',
    'peer',
    'its number',
    'ratio',
    'first goal',
    'far goal',
    'met',
  ];
  return table([head, ...rows], 3);
}

export function report({ samples, notes }: Outcome): string {
  const wires = [...new Set(samples.map(({ wire }) => wire))];
  const parts = [...wires.map((wire) => wireTable(wire, samples)), ratioTable(lines(samples))];
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}`).join('\n'));
  return parts.filter(Boolean).join('\n\n');
}
