/**
 * Data connections that a control connection has announced. Each is a connection in state LISTEN whose unknown port is
 * 0: of the client when it will connect, of the destination when that one will. The first packet, a SYN, fills it in
 * (IP_VS_CONN_F_NO_CPORT, ip_vs_conn_fill_cport); nobody looks for one while there are none.
 *
 * While data flows the control connection lives, however long it is silent (ip_vs_control_add).
 */
import * as tcp from '../wire/tcp.js';
import { type Connections, NO_CONNECTION } from './connections.js';
import type { DestinationCounts } from './destination.js';
import type { Ending } from './ending.js';
import { EXPECTED, type Extras, HELPER_CONTROLLER, HELPER_FLAGS, NO_EXTRA } from './extras.js';
import { noFlow, type PacketFlow } from './flow.js';
import type { Parsed } from './packet.js';
import { ticksOf } from './progress.js';
import {
  CLIENT,
  CLIENT_PORTS,
  DESTINATION,
  EXTRA,
  FLAG_NO_REPLY_YET,
  FLAG_REPLIES,
  KIND,
  KIND_DESTINATION_IPV6,
  KIND_IPV6,
  NETWORK,
  OWNER,
  rowOf,
  STATE,
  serviceOf,
  setDestination,
  TIMEOUT,
  VIRTUAL,
  wordsAt,
} from './record.js';
import type { Services } from './service.js';
import { TCP_STATE, type Timeouts } from './states.js';

/** Ports of the virtual address that are tried for one that the client may connect to, from the destination's own on. */
const PORTS_TRIED = 16;
const LAST_PORT = 65_535;

export interface ExpectationParts {
  connections: Connections;
  extras: Extras;
  services: Services;
  counts: DestinationCounts;
  ending: Ending;
  timeouts: Timeouts;
}

export class Expectations {
  readonly #parts: ExpectationParts;
  readonly #connections: Connections;
  readonly #extras: Extras;
  /** the client's packets of the connection that is being made */
  readonly #flow = noFlow();

  constructor(parts: ExpectationParts) {
    this.#parts = parts;
    this.#connections = parts.connections;
    this.#extras = parts.extras;
  }

  /**
   * The client of the control connection will connect to the port of its destination. Returns the port of the virtual
   * address that it shall be told: the same one, unless another destination has announced that to it; 0: no room.
   */
  ofClient(control: number, port: number, now: number): number {
    const connections = this.#connections;
    const { records } = connections;
    return connections.locked(() => {
      const at = connections.at(control);
      const flow = this.#flow;
      for (let told = port; told < port + PORTS_TRIED && told <= LAST_PORT; told++) {
        this.#read(flow, at, 0, told);
        const known = connections.find(flow);
        if (known === NO_CONNECTION) return this.#make(control, port, 0, now) ? told : 0;
        const other = connections.at(known >> 1);
        if (!this.#sameDestination(at, other) || records[other + KIND]! >>> 16 !== port) continue;
        connections.touch(known >> 1, now);
        return told;
      }
      return 0;
    });
  }

  /** The destination of the control connection will connect to the port of its client, and is shown as the virtual port. */
  ofDestination(control: number, clientPort: number, virtualPort: number, now: number): void {
    const connections = this.#connections;
    connections.locked(() => {
      this.#read(this.#flow, connections.at(control), clientPort, virtualPort);
      const known = connections.find(this.#flow);
      // The client listens there anew: what was before is over.
      if (known !== NO_CONNECTION) this.#parts.ending.end(known >> 1);
      this.#make(control, 0, FLAG_REPLIES, now);
    });
  }

  /** The expected connection that begins with the packet, as `Connections.find` gives it; or NO_CONNECTION. */
  meet(parsed: Parsed, flow: PacketFlow, now: number): number {
    if (this.#extras.expectations === 0 || parsed.protocol !== tcp.PROTOCOL) return NO_CONNECTION;
    if ((parsed.flags & (tcp.SYN | tcp.ACK | tcp.RST)) !== tcp.SYN) return NO_CONNECTION;
    const expected = this.#find(flow);
    if (expected === NO_CONNECTION) return NO_CONNECTION;
    return this.#connections.locked(() => {
      // Another engine may have been faster.
      const known = this.#connections.find(flow);
      if (known !== NO_CONNECTION || this.#find(flow) !== expected) return known;
      return this.#fill(expected, flow.sourcePort, now);
    });
  }

  /** A packet of the connection whose record is at `at`, which has a row of extras. */
  keepController(at: number, now: number): void {
    const { records, expires } = this.#connections;
    const controller = this.#extras.words[this.#extras.at(records[at + EXTRA]! - 1) + HELPER_CONTROLLER]! - 1;
    if (controller < 0 || expires[controller] === 0) return;
    const other = this.#connections.at(controller);
    // One that ended left its record to another.
    for (let i = 0; i < 4; i++) if (records[other + CLIENT + i] !== records[at + CLIENT + i]) return;
    if (records[other + OWNER] === records[at + OWNER]) this.#connections.touch(controller, now);
  }

  /** Whose port is unknown has 0 in its key, whether it is the client or the destination. */
  #find(flow: PacketFlow): number {
    const { ports } = flow;
    flow.ports = flow.targetPort;
    const found = this.#connections.find(flow);
    flow.ports = ports;
    if (found === NO_CONNECTION) return NO_CONNECTION;
    const extra = this.#connections.records[this.#connections.at(found >> 1) + EXTRA]!;
    if (extra === 0) return NO_CONNECTION;
    const flags = this.#extras.words[this.#extras.at(extra - 1) + HELPER_FLAGS]!;
    return (flags & EXPECTED) !== 0 ? found : NO_CONNECTION;
  }

  /** The flow of the control connection's client and virtual address, with other ports. */
  #read(flow: PacketFlow, at: number, clientPort: number, virtualPort: number): void {
    const { records } = this.#connections;
    flow.source0 = records[at + CLIENT]!;
    flow.source1 = records[at + CLIENT + 1]!;
    flow.source2 = records[at + CLIENT + 2]!;
    flow.source3 = records[at + CLIENT + 3]!;
    flow.target0 = records[at + VIRTUAL]!;
    flow.target1 = records[at + VIRTUAL + 1]!;
    flow.target2 = records[at + VIRTUAL + 2]!;
    flow.target3 = records[at + VIRTUAL + 3]!;
    flow.sourcePort = clientPort;
    flow.targetPort = virtualPort;
    flow.ports = (clientPort << 16) | virtualPort;
    flow.protocol = tcp.PROTOCOL;
    flow.network = records[at + NETWORK]!;
    flow.family = (records[at + KIND]! & KIND_IPV6) !== 0 ? 6 : 4;
  }

  /** Under the lock: of `#flow`, to the destination of `like`. False: there is no room. */
  #make(control: number, port: number, flags: number, now: number): boolean {
    const row = this.#extras.take();
    if (row === NO_EXTRA) return false;
    const connection = this.#enter(this.#connections.at(control), port, flags);
    if (connection === NO_CONNECTION) {
      this.#extras.free(row);
      return false;
    }
    this.#extras.setExpected(row, true);
    this.#extras.words[this.#extras.at(row) + HELPER_CONTROLLER] = control + 1;
    this.#publish(connection, row, now);
    return true;
  }

  /** Under the lock: the expected connection has begun, from that port. */
  #fill(expected: number, port: number, now: number): number {
    const { records } = this.#connections;
    const reply = expected & 1;
    const at = this.#connections.at(expected >> 1);
    const ports = records[at + CLIENT_PORTS]!;
    const clientPort = reply === 0 ? port : ports >>> 16;
    const destinationPort = reply === 0 ? records[at + KIND]! >>> 16 : port;
    this.#read(this.#flow, at, clientPort, ports & 0xffff);
    const row = records[at + EXTRA]! - 1;
    this.#extras.setExpected(row, false);
    records[at + EXTRA] = 0;
    const connection = this.#enter(at, destinationPort, FLAG_REPLIES);
    if (connection === NO_CONNECTION) {
      records[at + EXTRA] = row + 1;
      this.#extras.setExpected(row, true);
      return NO_CONNECTION;
    }
    this.#parts.ending.end(expected >> 1);
    this.#publish(connection, row, now);
    return connection * 2 + reply;
  }

  /** A record of `#flow`, with the destination of the one at `like`. */
  #enter(like: number, port: number, flags: number): number {
    const { records } = this.#connections;
    const connection = this.#connections.take(this.#flow, records[like + KIND]! & KIND_DESTINATION_IPV6);
    if (connection === NO_CONNECTION) return NO_CONNECTION;
    const { services, timeouts } = this.#parts;
    const at = this.#connections.at(connection);
    setDestination(records, at, wordsAt(records, like + DESTINATION), port);
    records[at + STATE] = TCP_STATE.listen | FLAG_NO_REPLY_YET | flags;
    records[at + OWNER] = records[like + OWNER]!;
    const own = services.at(serviceOf(records, at))?.timeouts ?? timeouts;
    records[at + TIMEOUT] = ticksOf(own, tcp.PROTOCOL, TCP_STATE.listen);
    return connection;
  }

  #publish(connection: number, row: number, now: number): void {
    const { records } = this.#connections;
    const at = this.#connections.at(connection);
    const { counts, services } = this.#parts;
    records[at + EXTRA] = row + 1;
    counts.addInactive(rowOf(records, at), 1);
    services.destinationAt(rowOf(records, at))?.weigh();
    this.#connections.publish(connection, this.#flow, now + records[at + TIMEOUT]!);
  }

  #sameDestination(at: number, other: number): boolean {
    const { records } = this.#connections;
    for (let i = 0; i < 4; i++) {
      if (records[at + DESTINATION + i] !== records[other + DESTINATION + i]) return false;
    }
    return true;
  }
}
