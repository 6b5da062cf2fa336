/** A pcap filter compiled by the real libpcap, through tcpdump, for Ethernet frames. */
import { spawn } from 'node:child_process';
import { type FilterInstruction, pcapHeader } from '../../dataplane/report.js';

export class FilterError extends Error {
  readonly code: 'FILTER_INVALID' | 'TCPDUMP_MISSING';
  override name = 'FilterError';

  constructor(code: 'FILTER_INVALID' | 'TCPDUMP_MISSING', message: string) {
    super(message);
    this.code = code;
  }
}

/** A host name in a filter is looked up, which may take its time. */
const COMPILE_MS = 10_000;

/** Nothing to compile gives no instructions, and then everything matches. Throws FilterError. */
export async function compileFilter(filter: string): Promise<FilterInstruction[]> {
  if (filter.trim() === '') return [];
  const { code, stdout, stderr } = await tcpdump(['-y', 'EN10MB', '-ddd', '-r', '-', '--', filter]);
  if (code !== 0) {
    const words = stderr.split('\n').filter((line) => line.startsWith('tcpdump: '));
    throw new FilterError(
      'FILTER_INVALID',
      `The filter '${filter}' is not valid: ${words.join(' ').replaceAll('tcpdump: ', '') || 'tcpdump took too long (a host name to look up?)'}`,
    );
  }
  return parseProgram(stdout);
}

/** The text of `tcpdump -ddd`: how many instructions, then `code jt jf k` a line. */
export function parseProgram(text: string): FilterInstruction[] {
  const [, ...lines] = text.trim().split('\n');
  return lines.map((line) => {
    const [code, jt, jf, k] = line.split(' ').map(Number) as [number, number, number, number];
    return { code, jt, jf, k };
  });
}

/** Reads an empty capture from its stdin, so it needs neither an interface nor rights. */
function tcpdump(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('tcpdump', args, {
      stdio: 'pipe',
      env: { ...process.env, LC_ALL: 'C' },
      timeout: COMPILE_MS,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    child.stdin.on('error', () => {}); // it may refuse the filter before it reads
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') return reject(error);
      const message =
        'Filters are compiled by tcpdump, which is not installed (Debian: apt-get install tcpdump).';
      reject(new FilterError('TCPDUMP_MISSING', message));
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(pcapHeader(262144));
  });
}
