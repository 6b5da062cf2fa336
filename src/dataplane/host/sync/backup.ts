/** Takes what other directors tell of their connections (sync_thread_backup). Anybody can send here: nothing of it is believed unread. */
import type { RemoteInfo } from 'node:dgram';
import type { SyncDaemon } from '../../config/service-types.js';
import { ticksAt } from '../../ipvs/record.js';
import type { SyncCounts } from '../../ipvs/service-report.js';
import type { SyncEntry } from '../../ipvs/sync/entry.js';
import { readMessage } from '../../ipvs/sync-message.js';
import { Channel } from './channel.js';
import { SyncSocket } from './socket.js';

const TICK_MS = 100;

export interface BackupParts {
  entry: SyncEntry;
  key: Buffer | undefined;
  failed: (error: Error) => void;
}

export class SyncBackup {
  readonly counts: SyncCounts = { role: 'backup', messages: 0, connections: 0, refused: {} };
  readonly #syncId: number;
  readonly #entry: SyncEntry;
  readonly #channel: Channel<RemoteInfo> | undefined;
  #socket: SyncSocket | undefined;
  #timer: NodeJS.Timeout | undefined;

  static async start(daemon: SyncDaemon, parts: BackupParts): Promise<SyncBackup> {
    const backup = new SyncBackup(daemon, parts);
    backup.#socket = await SyncSocket.open(daemon, 'backup', {
      received: (bytes, from) => backup.#receive(bytes, from),
      unsent: () => backup.#refuse('unsent'),
      failed: parts.failed,
    });
    const channel = backup.#channel;
    if (channel !== undefined) {
      backup.#timer = setInterval(() => channel.tick(performance.now()), TICK_MS);
      backup.#timer.unref();
    }
    return backup;
  }

  /** Also for whoever has messages from elsewhere. */
  constructor({ syncId }: Pick<SyncDaemon, 'syncId'>, { entry, key }: Omit<BackupParts, 'failed'>) {
    this.#syncId = syncId;
    this.#entry = entry;
    if (key === undefined) return;
    this.#channel = new Channel(key, true, {
      send: (bytes, to: RemoteInfo) => this.#socket?.answer(bytes, to),
      message: (bytes, order) => this.take(bytes, performance.now(), order),
      refused: (reason) => this.#refuse(reason),
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#socket?.close();
  }

  #receive(bytes: Buffer, from: RemoteInfo): void {
    const nowMs = performance.now();
    if (this.#channel === undefined) this.take(bytes, nowMs);
    else this.#channel.receive(bytes, from, nowMs);
  }

  /** A message of IPVS. @param order among the messages of one sender; 0: they have none */
  take(bytes: Uint8Array, nowMs: number, order = 0): void {
    const message = readMessage(bytes);
    if (message === undefined) return void this.#refuse('no-message');
    if (this.#syncId !== 0 && message.syncId !== this.#syncId) return void this.#refuse('other-sync-id');
    this.counts.messages++;
    if (message.fault !== undefined) this.#refuse('broken');
    const now = ticksAt(nowMs);
    for (const connection of message.connections) {
      const refusal = this.#entry.take(connection, now, order);
      if (refusal === undefined) this.counts.connections++;
      else this.#refuse(refusal);
    }
  }

  #refuse(reason: string): void {
    this.counts.refused[reason] = (this.counts.refused[reason] ?? 0) + 1;
  }
}
