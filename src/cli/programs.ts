/** Other people's programs that a command runs: whether they are here, and how to get them. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Debian package of each. */
export const PACKAGES = {
  ip: 'iproute2',
  iperf3: 'iperf3',
  ping: 'iputils-ping',
  sysctl: 'procps',
  tcpdump: 'tcpdump',
} as const;

export type Program = keyof typeof PACKAGES;

/** The demo can't do without. */
export const DEMO_PROGRAMS = ['ip', 'ping', 'iperf3', 'sysctl'] as const satisfies readonly Program[];

export function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => executable(join(folder, program)));
}

/** '' when all are here, else which aren't, and the command that gets them. */
export function lacking(programs: readonly Program[]): string {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return '';
  const names =
    missing.length === 1 ? missing[0] : `${missing.slice(0, -1).join(', ')} and ${missing.at(-1)}`;
  const packages = missing.map((program) => PACKAGES[program]).join(' ');
  const how = isInstalled('apt-get')
    ? `run: ${process.getuid?.() === 0 ? '' : 'sudo '}apt-get install ${packages}`
    : `install what Debian calls ${packages}`;
  return `${names} ${missing.length === 1 ? 'is' : 'are'} not installed; ${how}`;
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
