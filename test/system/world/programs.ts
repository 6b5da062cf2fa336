/** Small programs of the tests themselves, run with node or python3 inside a host. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Host } from '../../../src/cli/lab/lab.js';

/** Resolves when the program has printed the word, on stdout or stderr. */
export function awaitWord(child: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const look = (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes(word)) resolve();
    };
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    child.once('exit', (code) =>
      reject(new Error(`${child.spawnargs.join(' ')}: exit ${code}: ${text.trim()}`)),
    );
  });
}

/** Ends a program; what it printed on stdout since this was called. */
export async function stopProgram(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<string> {
  if (child.exitCode !== null || child.signalCode !== null) return '';
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill(signal);
  await closed;
  return text;
}

/** The path of a program of this folder. */
export const program = (name: string): string => fileURLToPath(new URL(`${name}.js`, import.meta.url));

/** A program of this folder in a host, by its name. */
export const spawnProgram = (host: Host, name: string, args: string[]): ChildProcess =>
  host.spawn(process.execPath, [program(name), ...args]);

/** 263 is SOL_PACKET, 15 PACKET_VNET_HDR. */
const SEND_FRAMES = `
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
if sys.argv[2] == 'virtio': out.setsockopt(263, 15, 1)
out.bind((sys.argv[1], 0))
sent = 0
for line in sys.stdin:
    try:
        out.send(bytes.fromhex(line.strip()))
        sent += 1
    except OSError:
        pass
print(sent)
`;

/**
 * Sends Ethernet frames out of an interface as they are, each in hexadecimal digits (after a virtio-net header, when
 * `virtio`). Returns how many the kernel took.
 */
export async function sendFrames(
  host: Host,
  device: string,
  frames: readonly string[],
  virtio = false,
): Promise<number> {
  const { stdout } = await host.run('python3', ['-c', SEND_FRAMES, device, virtio ? 'virtio' : 'plain'], {
    input: `${frames.join('\n')}\n`,
    timeoutMs: 120_000,
  });
  return Number(stdout);
}
