/** Reads a configuration for a command: a file, or stdin as '-'. */
import { readFile } from 'node:fs/promises';

/** A file that can't be read says nothing about a configuration. */
export class UnreadableError extends Error {
  readonly code = 'CONFIG_UNREADABLE';
  override name = 'UnreadableError';
  readonly file: string;
  readonly reason: string;

  constructor(file: string, reason: string) {
    super(`${file} can't be read: ${reason}`);
    this.file = file;
    this.reason = reason;
  }
}

export const STDIN = '-';

/** What messages call the file. */
export const configName = (file: string): string => (file === STDIN ? 'stdin' : file);

/** Throws UnreadableError. */
export async function readConfig(file: string): Promise<string> {
  try {
    return file === STDIN ? await readStdin() : await readFile(file, 'utf8');
  } catch (error) {
    throw new UnreadableError(configName(file), reasonOf(error as NodeJS.ErrnoException));
  }
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) console.error('reading the configuration from the terminal; Ctrl-D ends it');
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file; check the path, or begin with a copy of examples/minimal.yaml';
    case 'EISDIR':
      return 'it is a folder; name the file in it';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not read it; run as root, or change its permissions';
    default:
      return message;
  }
}
