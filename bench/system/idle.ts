/** `npm run bench -- idle`: what a data plane with one network and no traffic holds in memory, and how much of a core it takes. */
import { openLab } from '../labs.js';
import { processSeconds, residentMegabytes, sleep } from '../machine.js';
import type { Options } from '../options.js';
import { format, table } from '../statistics.js';
import { awaitReach } from './side.js';
import { buildViaduct, DEVICES } from './viaduct.js';

/** Issue 2: at most 120 MB and 0.5 % of a core. */
const MEMORY_GOAL = 120;
const CPU_GOAL = 0.5;

interface Idle {
  device: string;
  /** MB (10^6 bytes) resident, the larger of the two hosts' */
  megabytes: number;
  /** per cent of one core, the larger of the two hosts' */
  cpuPercent: number;
  seconds: number;
}

export async function benchIdle(options: Options): Promise<{ text: string; json: Idle[]; failed: boolean }> {
  const seconds = options.quick ? 10 : 30; // the clock of /proc ticks 100 times a second
  const found: Idle[] = [];
  const notes: string[] = [];
  for (const device of DEVICES) {
    if (options.device.length > 0 && !options.device.includes(device)) continue;
    options.say(`idle: ${device}`);
    try {
      const side = await buildViaduct(openLab(), device);
      await awaitReach(side);
      await sleep(15_000); // what the start and the pings have set going comes to rest: compiling, garbage, neighbours
      const before = side.processes.map(processSeconds);
      const start = performance.now();
      await sleep(seconds * 1000);
      const lasted = (performance.now() - start) / 1000;
      const shares = side.processes.map((pid, i) => (100 * (processSeconds(pid) - before[i]!)) / lasted);
      const megabytes = Math.max(...side.processes.map(residentMegabytes));
      found.push({ device, megabytes, cpuPercent: Math.max(...shares), seconds: lasted });
    } catch (error) {
      notes.push(`- ${device}: ${(error as Error).message}`);
    }
  }
  const met = (value: number, goal: number) => (value <= goal ? 'yes' : 'no');
  const rows = found.flatMap(({ device, megabytes, cpuPercent }) => [
    ['resident memory', 'MB', device, format(megabytes), `≤ ${MEMORY_GOAL}`, met(megabytes, MEMORY_GOAL)],
    ['CPU', '% of a core', device, cpuPercent.toFixed(2), `≤ ${CPU_GOAL}`, met(cpuPercent, CPU_GOAL)],
  ]);
  const head = ['idle, one network', 'unit', 'device', 'Viaduct', 'goal', 'met'];
  return { text: [table([head, ...rows], 3), ...notes].join('\n'), json: found, failed: notes.length > 0 };
}
