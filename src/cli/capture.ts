/** `viaduct capture`: the frames that match, into a pcap file. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { Failure } from './failure.js';
import { RecordCutter } from './pcap/record-cutter.js';
import { open } from './socket/client.js';
import { socketPath } from './socket/place.js';

export interface CaptureOptions {
  socket?: string;
  /** '-' is stdout */
  write: string;
  count?: string;
  snaplen?: string;
}

export async function capture(filter: readonly string[], options: CaptureOptions): Promise<number> {
  const query: Record<string, string> = { filter: filter.join(' ') };
  if (options.count !== undefined) query.count = options.count;
  if (options.snaplen !== undefined) query.snaplen = options.snaplen;
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const cutter = new RecordCutter();
  let output: Writable | undefined;
  try {
    const response = await open(socketPath(options.socket), '/v1/capture', { query, signal: stop.signal });
    output = options.write === '-' ? process.stdout : await openFile(options.write);
    console.error(`capturing to ${options.write === '-' ? 'stdout' : options.write}; Ctrl-C ends it`);
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (!output.write(cutter.cut(chunk))) await once(output, 'drain');
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    if (output !== undefined && output !== process.stdout) {
      output.end();
      await once(output, 'close');
    }
  }
  console.error(`${cutter.records} frames captured`);
  return 0;
}

async function openFile(path: string): Promise<Writable> {
  const file = createWriteStream(path, { mode: 0o600 });
  try {
    await once(file, 'open');
  } catch (error) {
    throw new Failure(`${path} can't be written: ${(error as Error).message}`);
  }
  return file;
}
