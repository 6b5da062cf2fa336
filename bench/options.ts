/** The bench's command line. */
import { Command, InvalidArgumentError } from 'commander';

export const GROUPS = ['micro', 'path', 'system', 'director', 'flood', 'idle', 'scale'] as const;
export type Group = (typeof GROUPS)[number];

export interface Options {
  groups: Group[];
  /** names of measurements; empty: the usual ones */
  only: string[];
  wire: string[];
  device: string[];
  /** sides to leave out */
  without: string[];
  rounds: number;
  ipv6: boolean;
  quick: boolean;
  peers: boolean;
  json: boolean;
  record: boolean;
  /** one line about what goes on, on stderr */
  say(line: string): void;
}

function group(value: string, groups: Group[]): Group[] {
  const found = GROUPS.find((name) => name === value);
  if (found === undefined) throw new InvalidArgumentError(`One of ${GROUPS.join(', ')}.`);
  return [...groups, found];
}

function count(value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('A whole number from 1.');
  return number;
}

const usual = (quick: boolean): Group[] => (quick ? ['micro', 'path', 'system'] : [...GROUPS]);

const names = (value: string) => value.split(',').map((name) => name.trim());

/** Overwrites one line of a terminal; elsewhere each line stands. */
function say(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else console.error(line);
}

export function parse(argv: readonly string[]): Options {
  const command = new Command('bench')
    .description('Measures Viaduct beside its peers. Needs root for system, director, flood, idle and scale.')
    .argument(
      '[groups...]',
      `what to run: ${GROUPS.join(', ')} (all; with --quick the first three)`,
      group,
      [],
    )
    .option('--only <names>', 'only these, by name: e.g. tcp,udp (system) or encap (micro)', names, [])
    .option('--wire <names>', 'system: whole, segmented, gro', names, [])
    .option('--device <names>', 'system: tunnel, udp', names, [])
    .option('--without <sides>', 'system: leave these sides out, e.g. "bridge and veth"', names, [])
    .option('--rounds <n>', 'how often the sides take turns', count, 3)
    .option('--ipv6', 'system: the workloads speak IPv6 (the underlay IPv4)', false)
    .option('--peers', 'system: also Open vSwitch, nebula and wireguard-go, where installed', false)
    .option('--quick', 'short runs of the first three groups, two minutes in all', false)
    .option('--json', 'print JSON', false)
    .option('--record', 'append the run to bench/history/system.jsonl', false)
    .parse(['node', 'bench', ...argv]);
  const [groups] = command.processedArgs as [Group[]];
  const { quick } = command.opts<{ quick: boolean }>();
  return {
    ...command.opts<Omit<Options, 'groups' | 'say'>>(),
    groups: groups.length > 0 ? groups : usual(quick),
    say,
  };
}
