/** A data plane that moves nothing, and the control socket in front of it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Running } from '../../src/cli/running.js';
import { listen } from '../../src/cli/socket/place.js';
import { createControlServer } from '../../src/cli/socket/server.js';
import type { Config } from '../../src/dataplane/config.js';
import { ApplyError, type Dataplane, type Logger } from '../../src/dataplane/face.js';
import { virtualServerRows } from '../../src/dataplane/host/virtual-server.js';
import { NOTHING_CARRIED } from '../../src/dataplane/ipvs/service-report.js';
import {
  type Applied,
  type CapturedFrame,
  type ConnectionRow,
  DROPS,
  type DropReason,
  type EndpointRow,
  type EngineCounter,
  type ServiceKey,
  type Stats,
  type TraceEvent,
  type VirtualServerStats,
  type VtepRow,
  type Watch,
  type WatchOptions,
} from '../../src/dataplane/report.js';

/** An ICMP echo request from 10.10.0.2 to 10.10.0.3. */
export const PING = Buffer.from(
  '02420a0a000302420a0a00020800' +
    '4500001c000100004001668d0a0a00020a0a0003' + // IPv4, 28 bytes
    '0800f7fd00010001', // echo request
  'hex',
);

const traffic = { rxPackets: 3, rxBytes: 2048, txPackets: 5, txBytes: 5 << 20 };

export class FakeDataplane implements Dataplane {
  readonly applied: Config[] = [];
  /** what each watcher asked for */
  readonly watched: WatchOptions[] = [];
  /** records that a watcher misses */
  lost = 0;
  events: TraceEvent[] = [];
  frames: CapturedFrame[] = [];
  /** how many watchers there are now */
  watchers = 0;
  refuse = '';
  open: ConnectionRow[] = [];
  rowsOf = virtualServerRows;
  readonly zeroed: (ServiceKey | null)[] = [];

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async apply(config: Config): Promise<Applied> {
    if (this.refuse !== '') throw new ApplyError(this.refuse);
    this.applied.push(config);
    return {
      generation: this.applied.length,
      changed: true,
      networks: { added: 1, removed: 0, changed: 0 },
      endpoints: { added: 2, removed: 0 },
      fdb: { added: 3, removed: 0 },
      milliseconds: 4.2,
    };
  }

  stats(): Stats {
    return {
      startedAt: '2026-01-02T03:04:05.000Z',
      underlay: {
        kind: 'udp',
        addresses: ['10.0.0.1'],
        port: 4789,
        mtu: 1500,
        offloads: { tso: true, uso: false, gro: false },
        offloadsWanted: { tso: true, uso: true, gro: false },
      },
      engines: 1,
      generation: this.applied.length,
      counters: this.counters(),
      drops: this.drops(),
      endpoints: this.endpoints(),
      vteps: this.vteps(),
    };
  }

  networks() {
    return [
      {
        name: 'blue "sky"',
        vni: 4097,
        mtu: 1450,
        learning: false,
        vteps: ['10.0.0.2'],
        endpoints: 1,
        remotes: 1,
      },
    ];
  }

  endpoints(): EndpointRow[] {
    const addresses = ['10.10.0.2/24', 'fd00:10::2/64'];
    const mac = '02:42:0a:0a:00:02';
    return [{ network: 'blue', netns: 'ctr-a', interface: 'eth0', mac, addresses, mtu: 1450, ...traffic }];
  }

  fdb() {
    const entry = { network: 'blue', vni: 4097 };
    return [
      { ...entry, mac: '02:42:0a:0a:00:02', via: 'eth0', kind: 'local', origin: 'static', ageSeconds: null },
      {
        ...entry,
        mac: '02:42:0a:0a:00:03',
        via: '10.0.0.2',
        kind: 'remote',
        origin: 'learned',
        ageSeconds: 75,
      },
    ] satisfies ReturnType<Dataplane['fdb']>;
  }

  neighbours() {
    return [{ network: 'blue', address: 'fd00:10::3', mac: '02:42:0a:0a:00:03' }];
  }

  vteps(): VtepRow[] {
    return [{ address: '10.0.0.2', underlay: 'udp', nextHop: null, pathMtu: 1500, ...traffic }];
  }

  services() {
    return this.rowsOf(this.applied.at(-1)?.services ?? []);
  }

  connections(): ConnectionRow[] {
    return this.open;
  }

  eachConnection(): Iterable<ConnectionRow> {
    return this.open;
  }

  virtualServer(): VirtualServerStats {
    const states = [{ protocol: 'tcp' as const, template: false, state: 'ESTABLISHED', count: 3 }];
    return { ...NOTHING_CARRIED, connections: { size: 4, capacity: 4096, states } };
  }

  zero(service?: ServiceKey): void {
    this.zeroed.push(service ?? null);
  }

  drops() {
    const zero = Object.fromEntries(DROPS.map(([reason]) => [reason, 0])) as Record<DropReason, number>;
    return { ...zero, 'too-big': 7 };
  }

  counters() {
    return { turns: 10, rxPackets: 8, txPackets: 9 } as Record<EngineCounter, number>;
  }

  trace(options: WatchOptions, signal: AbortSignal): Watch<TraceEvent> {
    return { lost: this.lost, [Symbol.asyncIterator]: () => this.#watch(this.events, options, signal) };
  }

  capture(options: WatchOptions, signal: AbortSignal): Watch<CapturedFrame> {
    return { lost: this.lost, [Symbol.asyncIterator]: () => this.#watch(this.frames, options, signal) };
  }

  async *#watch<T>(items: T[], options: WatchOptions, signal: AbortSignal): AsyncGenerator<T> {
    this.watched.push(options);
    this.watchers++;
    try {
      yield* items;
      if (!signal.aborted) await new Promise((aborted) => signal.addEventListener('abort', aborted));
    } finally {
      this.watchers--;
    }
  }
}

export interface Served {
  dataplane: FakeDataplane;
  running: Running;
  socket: string;
  /** the configuration file that a reload reads */
  file: string;
  folder: string;
  /** what the server had to say */
  logged: { message: string }[];
}

export async function scratchFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A control socket in a folder of its own, with a configuration applied; gone after the test. */
export async function serve(t: ExecutionContext): Promise<Served> {
  const folder = await scratchFolder(t);
  const file = join(folder, 'config.json');
  await writeFile(file, '{"underlay": {"address": "10.0.0.1"}}');
  const dataplane = new FakeDataplane();
  const running = new Running(dataplane, file);
  await running.reload();
  const logged: Served['logged'] = [];
  const note = (fields: object, message: string) => void logged.push({ ...fields, message });
  const logger: Logger = { debug: note, info: note, warn: note, error: note };
  const closing = new AbortController();
  const server = createControlServer(running, logger, closing.signal);
  const socket = join(folder, 'run', 'dataplane.sock');
  await listen(server, socket);
  t.teardown(async () => {
    closing.abort();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  return { dataplane, running, socket, file, folder, logged };
}
