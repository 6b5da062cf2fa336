/** Tells other directors of the connections here (sync_thread_master). */
import type { RemoteInfo } from 'node:dgram';
import type { SyncDaemon } from '../../config/service-types.js';
import type { Connections } from '../../ipvs/connections.js';
import type { Extras } from '../../ipvs/extras.js';
import { ticksAt } from '../../ipvs/record.js';
import type { SyncCounts } from '../../ipvs/service-report.js';
import { SyncScan } from '../../ipvs/sync/scan.js';
import { type SyncConnection, SyncWriter } from '../../ipvs/sync-message.js';
import { Channel } from './channel.js';
import { ENVELOPE } from './envelope.js';
import { SyncSocket } from './socket.js';

/** A slice of the table each so often, and the table from the beginning after so many of them: a pause behind a short one. */
const SLICE_MS = 20;
const PASS_TICKS = 5;
/** Connections told in a slice: 51,000 a second, in bursts that a socket's buffer holds and another director takes in time. */
const ROOM = 1024;
const BEAT_MS = 500;

export interface DaemonParts {
  connections: Connections;
  extras: Extras;
  /** of the service with the index; 0: none */
  fwmarkOf: (service: number) => number;
  key: Buffer | undefined;
  failed: (error: Error) => void;
}

export class SyncMaster {
  readonly counts: SyncCounts = { role: 'master', messages: 0, connections: 0, refused: {} };
  readonly #scan: SyncScan;
  readonly #writer: SyncWriter;
  readonly #channel: Channel<RemoteInfo> | undefined;
  #socket: SyncSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pause = 0;
  #sentAt = 0;

  static async start(daemon: SyncDaemon, parts: DaemonParts): Promise<SyncMaster> {
    const master = new SyncMaster(daemon, parts);
    master.#socket = await SyncSocket.open(daemon, 'master', {
      received: (bytes, from) => master.#channel?.receive(bytes, from, performance.now()),
      unsent: () => master.#refuse('unsent'),
      failed: parts.failed,
    });
    master.#timer = setInterval(() => master.#turn(), SLICE_MS);
    master.#timer.unref();
    return master;
  }

  private constructor(daemon: SyncDaemon, { connections, extras, fwmarkOf, key }: DaemonParts) {
    this.#scan = new SyncScan(connections, extras, fwmarkOf);
    const room = key === undefined ? daemon.maxLength : daemon.maxLength - ENVELOPE;
    this.#writer = new SyncWriter(daemon.syncId, Math.max(room, 0));
    if (key === undefined) return;
    this.#channel = new Channel(key, false, {
      send: (bytes, to: RemoteInfo) => this.#socket?.answer(bytes, to),
      resync: () => {
        this.#scan.restart();
        this.#pause = 0;
      },
      refused: (reason) => this.#refuse(reason),
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#socket?.close();
  }

  #turn(): void {
    const nowMs = performance.now();
    if (this.#pause-- <= 0) {
      const now = ticksAt(nowMs);
      if (this.#scan.slice(now, ROOM, this.#tell)) this.#pause = PASS_TICKS;
      this.#send();
    }
    if (this.#channel !== undefined && nowMs - this.#sentAt >= BEAT_MS) {
      this.#sentAt = nowMs;
      this.#socket?.tell(this.#channel.beat());
    }
  }

  readonly #tell = (connection: SyncConnection): void => {
    try {
      if (!this.#writer.add(connection)) {
        this.#send();
        this.#writer.add(connection);
      }
      this.counts.connections++;
    } catch {
      // What a persistence engine found may be longer than the shortest message.
      this.#refuse('too-long');
    }
  };

  #send(): void {
    const message = this.#writer.take();
    if (message === undefined) return;
    this.counts.messages++;
    this.#sentAt = performance.now();
    this.#socket?.tell(this.#channel?.data(message) ?? message);
  }

  #refuse(reason: string): void {
    this.counts.refused[reason] = (this.counts.refused[reason] ?? 0) + 1;
  }
}
