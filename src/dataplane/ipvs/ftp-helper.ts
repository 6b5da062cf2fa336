/**
 * The helper of FTP (ip_vs_ftp.c): it reads the control connections of services on port 21, and the data connections
 * that they announce go to the same destination (expectations.ts).
 *
 *     passive   the server's 227 or 229 gets the virtual address, and a connection of the client is expected there
 *     active    the client's PORT or EPRT stays, and a connection of the server is expected, which its client sees come
 *               from the port below the control connection's
 *
 * What was rewritten may have another length: from then on the numbers of the server's segments are shifted, and what
 * the client acknowledges of them (sequence.ts). Unlike ip_vs_ftp.c, an announcement of somebody else's address
 * counts for nothing, and the server may connect from any port.
 */
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import * as tcp from '../wire/tcp.js';
import type { Connections } from './connections.js';
import { FORWARD } from './destination.js';
import type { Expectations } from './expectations.js';
import { type Extras, HELPER_FLAGS, NO_EXTRA, SHIFT_TO_CLIENT } from './extras.js';
import * as ftp from './ftp.js';
import type { Parsed } from './packet.js';
import { CLIENT, CLIENT_PORTS, DESTINATION, EXTRA, forwardOf, rowOf, VIRTUAL } from './record.js';
import { adjustAcknowledgment, adjustSequence, newShift, noteChange, type Shift } from './sequence.js';
import { FTP_PORT, type Services } from './service.js';

/** Of a control connection, in its flags: its client has asked for a passive connection. */
const ASKED = 2;

export class FtpHelper {
  readonly #path: Path;
  readonly #connections: Connections;
  readonly #extras: Extras;
  readonly #services: Services;
  readonly #expectations: Expectations;
  readonly #found = new ftp.Announcement();
  readonly #shift = newShift();
  readonly #address: [number, number, number, number] = [0, 0, 0, 0];

  constructor(
    path: Path,
    connections: Connections,
    extras: Extras,
    services: Services,
    expectations: Expectations,
  ) {
    this.#path = path;
    this.#connections = connections;
    this.#extras = extras;
    this.#services = services;
    this.#expectations = expectations;
  }

  /**
   * Whether TCP's packets of the connection whose record is at `at` are the helper's to see: of what isn't masqueraded it
   * sees one side only, and there's nothing to rewrite.
   */
  concerns(at: number): boolean {
    const { records } = this.#connections;
    if (forwardOf(records, at) !== FORWARD.nat) return false;
    return (records[at + CLIENT_PORTS]! & 0xffff) === FTP_PORT || records[at + EXTRA] !== 0;
  }

  /** A packet of the client, as it came. */
  request(packet: number, parsed: Parsed, connection: number, now: number): void {
    const { records } = this.#connections;
    const { pool } = this.#path;
    const at = this.#connections.at(connection);
    if ((records[at + CLIENT_PORTS]! & 0xffff) !== FTP_PORT) {
      this.#expectations.keepController(at, now);
      return;
    }
    const extra = records[at + EXTRA]!;
    if (extra !== 0) adjustAcknowledgment(pool, packet, parsed, this.#load(extra - 1));
    if (!this.#speaks(parsed) || !this.#isMasqueraded(at)) return;
    if (ftp.asksPassive(pool, parsed)) {
      this.#setAsked(connection, true);
      return;
    }
    const found = this.#found;
    if (!ftp.find(pool, parsed, false, found) || !this.#isAt(at + CLIENT, parsed, found)) return;
    this.#setAsked(connection, false);
    this.#expectations.ofDestination(connection, found.port, FTP_PORT - 1, now);
  }

  /** A packet of the server, before it gets the virtual address. False: it was dropped. */
  reply(packet: number, parsed: Parsed, connection: number, now: number): boolean {
    const { records } = this.#connections;
    const { pool } = this.#path;
    const at = this.#connections.at(connection);
    if ((records[at + CLIENT_PORTS]! & 0xffff) !== FTP_PORT) {
      this.#expectations.keepController(at, now);
      return true;
    }
    const extra = records[at + EXTRA]!;
    if (extra === 0) return true;
    const row = extra - 1;
    const shift = this.#load(row);
    const sequence = pool.view.getUint32(parsed.transport + 4);
    adjustSequence(pool, packet, parsed, shift);
    const asked = (this.#extras.words[this.#extras.at(row) + HELPER_FLAGS]! & ASKED) !== 0;
    const found = this.#found;
    if (!asked || !this.#speaks(parsed) || !ftp.find(pool, parsed, true, found)) return true;
    if (found.kind === ftp.PASSIVE) {
      if (!this.#isAt(at + DESTINATION, parsed, found) && !this.#isAt(at + VIRTUAL, parsed, found))
        return true;
    }
    const port = this.#expectations.ofClient(connection, found.port, now);
    if (port === 0) {
      this.#path.drop(packet, drop['connections-full']);
      return false;
    }
    for (let i = 0; i < 4; i++) this.#address[i] = records[at + VIRTUAL + i]!;
    if (!ftp.rewrite(pool, packet, parsed, found, this.#address, port)) {
      this.#path.drop(packet, drop['no-packet']);
      return false;
    }
    noteChange(shift, sequence, found.change);
    this.#store(row, shift);
    return true;
  }

  #speaks(parsed: Parsed): boolean {
    const { transport, end } = parsed;
    return transport + tcp.headerLength(this.#path.pool.bytes, transport) < end;
  }

  /** Where answers don't come through here there is nothing to be rewritten. */
  #isMasqueraded(at: number): boolean {
    const destination = this.#services.destinationAt(rowOf(this.#connections.records, at));
    return destination !== undefined && destination.spec.forward === 'nat';
  }

  /** Whether the announcement is of the address that stands at `end` of the records. */
  #isAt(end: number, { family }: Parsed, found: ftp.Announcement): boolean {
    const { records } = this.#connections;
    if (found.family !== family) return false;
    for (let i = 0; i < (family === 4 ? 1 : 4); i++) if (records[end + i] !== found.address[i]) return false;
    return true;
  }

  /** The shift of what the row's server sends. */
  #load(row: number): Shift {
    const { words } = this.#extras;
    const at = this.#extras.at(row) + SHIFT_TO_CLIENT;
    const shift = this.#shift;
    shift.initial = words[at]! >>> 0;
    shift.delta = words[at + 1]!;
    shift.previous = words[at + 2]!;
    shift.unused = words[at + 3] === 0;
    return shift;
  }

  #store(row: number, shift: Shift): void {
    const { words } = this.#extras;
    const at = this.#extras.at(row) + SHIFT_TO_CLIENT;
    words[at] = shift.initial | 0;
    words[at + 1] = shift.delta;
    words[at + 2] = shift.previous;
    words[at + 3] = shift.unused ? 0 : 1;
  }

  #setAsked(connection: number, asked: boolean): void {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    if (records[at + EXTRA] === 0) {
      if (!asked) return;
      this.#connections.locked(() => {
        if (records[at + EXTRA] !== 0) return;
        const row = this.#extras.take();
        if (row !== NO_EXTRA) records[at + EXTRA] = row + 1;
      });
      // Nothing is rewritten: the client finds no data connection.
      if (records[at + EXTRA] === 0) return;
    }
    const flags = this.#extras.at(records[at + EXTRA]! - 1) + HELPER_FLAGS;
    const { words } = this.#extras;
    words[flags] = asked ? words[flags]! | ASKED : words[flags]! & ~ASKED;
  }
}
