/** Runs the synchronisation daemons that are wanted, master, backup or both, and keeps them running. */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import {
  SYNC_ROLES,
  type SyncDaemon,
  type SyncRole,
  type VirtualServer,
} from '../../config/service-types.js';
import { Random } from '../../core/random.js';
import { ApplyError, type Logger } from '../../face.js';
import type { Connections } from '../../ipvs/connections.js';
import type { DestinationCounts } from '../../ipvs/destination.js';
import type { Extras } from '../../ipvs/extras.js';
import { type ServiceSpec, Services } from '../../ipvs/service.js';
import type { SyncCounts } from '../../ipvs/service-report.js';
import { Timeouts } from '../../ipvs/states.js';
import { Bindings } from '../../ipvs/sync/binding.js';
import { describe } from '../../ipvs/sync/describe.js';
import { SyncEntry } from '../../ipvs/sync/entry.js';
import { SyncBackup } from './backup.js';
import { ENVELOPE } from './envelope.js';
import { SyncMaster } from './master.js';
import { ownAddress } from './socket.js';

type Wanted = VirtualServer['sync'];

export interface SyncParts {
  connections: Connections;
  extras: Extras;
  counts: DestinationCounts;
  logger: Logger;
  /** in force */
  services: () => readonly ServiceSpec[];
}

const KEY_BYTES = 32;
/** Records that are looked at before others have their turn, while connections wait for their service. */
const BIND_SLICE = 65_536;
/** Bytes of a message with one IPv6 connection that has no options. */
const SHORTEST = 80;

export class SyncKeeper {
  readonly #parts: SyncParts;
  readonly #entry: SyncEntry;
  readonly #running: { master?: SyncMaster; backup?: SyncBackup } = {};
  #wanted: Wanted = { master: null, backup: null };
  #marks = new Map<number, number>();
  #services: readonly ServiceSpec[] = [];
  #bindFrom = -1;

  constructor(parts: SyncParts) {
    this.#parts = parts;
    const { connections, extras, counts } = parts;
    const none = new Services(counts, new Random(1), new Timeouts());
    this.#entry = new SyncEntry(connections, extras, none, counts);
  }

  /** Throws ApplyError where a daemon that is wanted can't be had on this host. */
  refuse(wanted: Wanted): void {
    for (const role of SYNC_ROLES) {
      const daemon = wanted[role];
      if (daemon === null || isDeepStrictEqual(daemon, this.#wanted[role])) continue;
      ownAddress(daemon, role);
      const sealed = keyOf(daemon, role) !== undefined;
      const least = SHORTEST + (sealed ? ENVELOPE : 0);
      if (daemon.maxLength < least) {
        throw new ApplyError(
          `virtualServer.sync.${role}.maxLength: a message with one connection has ${least} bytes, got ${daemon.maxLength}`,
        );
      }
    }
  }

  /** What is wanted runs; true if it is another than before. Throws ApplyError, and what was wanted before is. */
  async want(wanted: Wanted): Promise<boolean> {
    this.follow();
    if (isDeepStrictEqual(wanted, this.#wanted)) return false;
    const before = this.#wanted;
    try {
      await this.#change(wanted);
    } catch (error) {
      await this.#change(before).catch(() => {}); // the next tick tries it again
      throw error;
    }
    return true;
  }

  async #change(wanted: Wanted): Promise<void> {
    const before = this.#wanted;
    this.#wanted = wanted;
    for (const role of SYNC_ROLES) {
      if (isDeepStrictEqual(before[role], wanted[role])) continue;
      this.#running[role]?.stop();
      delete this.#running[role];
    }
    for (const role of SYNC_ROLES) await this.#start(role);
  }

  /** The services in force may be others: marks, and what connections belong to. */
  follow(): void {
    const services = this.#parts.services();
    if (isDeepStrictEqual(services, this.#services)) return;
    this.#services = services;
    this.#marks = new Map(services.map(({ index, mark }) => [index, mark ?? 0]));
    this.#entry.bindings = new Bindings(services, this.#parts.counts);
    if (this.#entry.unbound > 0) this.#bindFrom = 0;
  }

  /** Each second. */
  async tick(): Promise<void> {
    this.follow();
    if (this.#bindFrom >= 0) this.#bind();
    for (const role of SYNC_ROLES) {
      await this.#start(role).catch((error: Error) =>
        this.#parts.logger.warn({ role, error: error.message }, 'a synchronisation daemon does not start'),
      );
    }
  }

  counts(): SyncCounts[] {
    return SYNC_ROLES.flatMap((role) => this.#running[role]?.counts ?? []);
  }

  stop(): void {
    this.#wanted = { master: null, backup: null };
    for (const role of SYNC_ROLES) this.#running[role]?.stop();
  }

  async #start(role: SyncRole): Promise<void> {
    const daemon = this.#wanted[role];
    if (daemon === null || this.#running[role] !== undefined) return;
    const { connections, extras, logger } = this.#parts;
    const key = keyOf(daemon, role);
    const failed = (error: Error) => {
      logger.warn(
        { role, error: error.message },
        'a synchronisation daemon has lost its socket; it is tried again',
      );
      this.#running[role]?.stop();
      delete this.#running[role];
    };
    if (role === 'backup') {
      this.#running.backup = await SyncBackup.start(daemon, { entry: this.#entry, key, failed });
    } else {
      const fwmarkOf = (service: number) => this.#marks.get(service) ?? 0;
      this.#running.master = await SyncMaster.start(daemon, { connections, extras, fwmarkOf, key, failed });
    }
    logger.info({ role, interface: daemon.interface, syncId: daemon.syncId }, 'synchronisation runs');
  }

  /** Connections that came before their service. */
  #bind(): void {
    const { connections, extras } = this.#parts;
    const end = this.#bindFrom + BIND_SLICE;
    // The mark that they came with isn't kept: those of a service by mark are bound when they are told next.
    this.#entry.bind(this.#bindFrom, end, (at) => describe(connections, extras, at, 0));
    this.#bindFrom = end < connections.highWater ? end : -1;
    if (this.#bindFrom >= 0) setImmediate(() => this.#bindFrom >= 0 && this.#bind());
  }
}

/** The key of all directors; undefined: messages are as IPVS has them. */
function keyOf({ keyFile }: SyncDaemon, role: SyncRole): Buffer | undefined {
  if (keyFile === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(keyFile, 'utf8').trim();
  } catch (error) {
    throw new ApplyError(`virtualServer.sync.${role}.keyFile: ${(error as Error).message}`, { cause: error });
  }
  if (text.length === 2 * KEY_BYTES && /^[0-9a-f]+$/i.test(text)) return Buffer.from(text, 'hex');
  throw new ApplyError(
    `virtualServer.sync.${role}.keyFile: ${keyFile} has no ${2 * KEY_BYTES} hexadecimal digits; make it with: openssl rand -hex ${KEY_BYTES}`,
  );
}
