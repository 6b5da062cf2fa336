/** `viaduct trace`: each hop of the packets that match, as it happens. */
import { once } from 'node:events';
import { follow, lines, lostText } from './socket/client.js';
import { socketPath } from './socket/place.js';
import type { TraceLine } from './socket/streams.js';
import { describeFrame } from './text/frame.js';
import { type Paint, painter } from './text/style.js';

export interface TraceOptions {
  socket?: string;
  json?: boolean;
  count?: string;
}

export async function trace(filter: readonly string[], options: TraceOptions): Promise<number> {
  const query: Record<string, string> = { filter: filter.join(' ') };
  if (options.count !== undefined) query.count = options.count;
  const paint = painter(process.stdout);
  const lost = await follow(socketPath(options.socket), '/v1/trace', query, async (response) => {
    if (!options.json) console.error('tracing; Ctrl-C ends it');
    for await (const line of lines(response)) {
      const text = options.json ? `${line}\n` : hopLine(JSON.parse(line) as TraceLine, paint);
      if (!process.stdout.write(text)) await once(process.stdout, 'drain');
    }
  });
  if (lost === 0) return 0;
  if (options.json) console.log(JSON.stringify({ lost }));
  else console.error(lostText(lost));
  return 0;
}

/** `12:00:00.000123 #7  bridge.remote   10.0.0.2   02:… > 02:… IPv4 …` */
export function hopLine(event: TraceLine, paint: Paint): string {
  const time = new Date(event.time * 1000).toISOString().slice(11, 19);
  const micros = String(Math.floor(event.time * 1e6) % 1e6).padStart(6, '0');
  const hop = event.hop.padEnd(HOP_WIDTH);
  const dropped = event.hop === 'drop';
  const words = [
    paint('dim', `${time}.${micros}`),
    `#${event.packet}`.padEnd(5),
    dropped ? paint('red', hop) : paint('bold', hop),
    event.detail.padEnd(DETAIL_WIDTH),
    describeFrame(Buffer.from(event.frame, 'hex'), event.length),
  ];
  return `${words.join(' ')}\n`;
}

const HOP_WIDTH = 'underlay.transmit'.length;
const DETAIL_WIDTH = 'neighbour advertisement'.length;
