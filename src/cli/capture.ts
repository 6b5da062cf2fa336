/** `viaduct capture`: the frames that match, into a pcap file. */
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Failure } from './failure.js';
import { RecordCutter } from './pcap/record-cutter.js';
import { follow, lostText } from './socket/client.js';
import { socketPath } from './socket/place.js';

export interface CaptureOptions {
  socket?: string;
  /** '-' is stdout */
  write: string;
  count?: string;
  snaplen?: string;
  /** at the end the sum as a JSON object: on stdout, or on stderr when stdout has the capture */
  json?: boolean;
}

export async function capture(filter: readonly string[], options: CaptureOptions): Promise<number> {
  const query: Record<string, string> = { filter: filter.join(' ') };
  if (options.count !== undefined) query.count = options.count;
  if (options.snaplen !== undefined) query.snaplen = options.snaplen;
  const cutter = new RecordCutter();
  const lost = await follow(socketPath(options.socket), '/v1/capture', query, async (response) => {
    const output = options.write === '-' ? STDOUT : await openFile(options.write);
    if (!options.json)
      console.error(`capturing to ${options.write === '-' ? 'stdout' : options.write}; Ctrl-C ends it`);
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) await output.write(cutter.cut(chunk));
    } finally {
      await output.close();
    }
  });
  if (options.json) {
    const sum = JSON.stringify({ frames: cutter.records, lost });
    if (options.write === '-') console.error(sum);
    else console.log(sum);
  } else {
    console.error(`${cutter.records} frames captured`);
    if (lost !== 0) console.error(lostText(lost));
  }
  return 0;
}

interface Output {
  write(bytes: Buffer): Promise<unknown>;
  close(): Promise<void>;
}

const STDOUT: Output = {
  write: async (bytes) => process.stdout.write(bytes) || once(process.stdout, 'drain'),
  close: async () => {},
};

async function openFile(path: string): Promise<Output> {
  const refuse = (error: Error): never => {
    throw new Failure(`${path} can't be written: ${error.message}`);
  };
  const file = await open(path, 'w', 0o600).catch(refuse);
  return { write: (bytes) => file.writeFile(bytes).catch(refuse), close: () => file.close() };
}
