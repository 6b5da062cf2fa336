/**
 * How the virtual server defends itself when connections are more than it can hold (update_defense_level in ip_vs_ctl.c,
 * once a second): which of drop_packet, drop_entry and secure_tcp are in force.
 *
 * IPVS is under pressure while less memory is available than amemthresh says: 1,024 pages, 4 MB. Here what can run out is
 * the table of connections, whose memory is set apart. So it is under pressure while less than a 32nd of the table is free: of
 * the usual 1,048,576 connections that is 4 MB.
 */
import type { Connections } from './connections.js';
import type { Level, Settings } from './settings.js';

const PERIOD_MS = 1000;
const SCARCE = 32;

export class Pressure {
  /** the table of TCP states for an attack is in force */
  secure = false;
  /** connections are ended before their time */
  dropsEntries = false;

  readonly #connections: Connections;
  #settings: Settings;
  #evaluatedMs = -PERIOD_MS;
  /** one of so many packets is dropped; 0: none */
  #rate = 0;
  #counter = 0;

  constructor(connections: Connections, settings: Settings) {
    this.#connections = connections;
    this.#settings = settings;
  }

  set settings(settings: Settings) {
    this.#settings = settings;
    this.#evaluate();
  }

  /** Once a turn; looks once a second. */
  refresh(nowMs: number): void {
    if (nowMs - this.#evaluatedMs < PERIOD_MS) return;
    this.#evaluatedMs = nowMs;
    this.#evaluate();
  }

  /** Whether a packet that would begin a connection is to be dropped (ip_vs_todrop). */
  dropsPacket(): boolean {
    if (this.#rate === 0 || --this.#counter > 0) return false;
    this.#counter = this.#rate;
    return true;
  }

  #evaluate(): void {
    const { secureTcp, dropEntry, dropPacket, dropRate } = this.#settings;
    const { capacity, size } = this.#connections;
    const wanted = Math.max(1, Math.floor(capacity / SCARCE));
    const free = capacity - size;
    const scarce = free < wanted;
    this.secure = inForce(secureTcp, scarce);
    this.dropsEntries = inForce(dropEntry, scarce);
    const before = this.#rate;
    if (!inForce(dropPacket, scarce)) this.#rate = 0;
    else this.#rate = dropPacket === 3 ? dropRate : Math.floor(wanted / (wanted - free));
    if (this.#rate !== before) this.#counter = this.#rate;
  }
}

const inForce = (level: Level, scarce: boolean): boolean => level === 3 || (level !== 0 && scarce);
