/**
 * The portable underlay: UDP sockets of node:dgram, for where the addon can't be had. One datagram a call and no
 * offload, so super-packets are split and checksums finished here before they leave. It needs an event loop: the
 * engine that uses it turns when `onReadable` says so.
 *
 * node keeps a datagram's memory until it has been sent, so a transmitted packet is freed (or dropped, with what
 * the kernel said) in the callback, not in `transmit`.
 */
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { once } from 'node:events';
import { Batch } from '../core/batch.js';
import { TX_PACKETS } from '../core/counters.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { CHECKSUM_UNFINISHED, DATAGRAM_AT, NO_PACKET, SEGMENT_ANY, SLOT_BYTES } from '../core/pool.js';
import { hop } from '../core/tracer.js';
import * as vxlan from '../wire/vxlan.js';
import type { Underlay } from './device.js';
import { ipBytes } from './ip-text.js';
import { finishChecksum } from './offload/finish-checksum.js';
import type { Segmenter } from './offload/segment.js';
import { markUnfinished } from './offload/unfinished.js';
import { readSockaddr, SOCKADDR_BYTES, type SocketAddress, writeSender } from './sockaddr.js';

export interface DgramOptions {
  path: Path;
  /** literal addresses to bind to, at most one of each family */
  addresses: readonly string[];
  /** 0 lets the kernel choose; `port` says what it chose, and with two addresses both have it */
  port: number;
  /** sockets to send from for each address, each with a port of its own; 4 unless given */
  sourcePorts?: number;
  /** raw socket address rows, SOCKADDR_BYTES each, by VTEP number; may change at any time */
  vteps: Uint8Array;
  segmenter: Pick<Segmenter, 'segment'>;
  /** io/finish-checksum.ts unless given */
  finishChecksum?: typeof finishChecksum;
  /** Called when something has arrived and nothing was waiting. */
  onReadable: () => void;
  /** The first error of each kind that no drop reason names, and those of the sockets themselves. */
  onError?: (error: Error) => void;
  /** Datagrams that wait for `receive` at most; 1024 or half the pool's slots unless given. */
  queue?: number;
  /** SO_RCVBUF and SO_SNDBUF, bytes */
  receiveBuffer?: number;
  sendBuffer?: number;
}

const NOT_REFUSED = -1;

const SEND_ERRORS: Record<string, number> = {
  ENETUNREACH: drop['vtep-unreachable'],
  EHOSTUNREACH: drop['vtep-unreachable'],
  EACCES: drop['vtep-unreachable'],
  EPERM: drop['vtep-unreachable'],
  EMSGSIZE: drop['underlay-oversize'],
  EAGAIN: drop['underlay-busy'],
  ENOBUFS: drop['underlay-busy'],
  ECANCELED: drop['device-closed'],
};

export class DgramUnderlay implements Underlay {
  readonly kind = 'dgram';
  readonly #options: DgramOptions;
  readonly #path: Path;
  /** The pool's slab as node:dgram wants it. */
  readonly #slab: Buffer;
  readonly #sockets: Socket[] = [];
  /** By family: the sockets to send from. */
  readonly #senders: { 4: Socket[]; 6: Socket[] } = { 4: [], 6: [] };
  readonly #out: Batch;
  readonly #finishChecksum: typeof finishChecksum;
  /** What to do when the packet of this number has been sent; made once a number. */
  readonly #sent: ((error: Error | null) => void)[] = [];
  readonly #reported = new Set<string>();

  /** Received packets that wait: a circle. */
  readonly #queue: Int32Array;
  #queueAt = 0;
  #queued = 0;

  /** The last VTEP's row in text, and the last sender's text in bytes: runs of datagrams have one peer. */
  readonly #row = new Uint8Array(SOCKADDR_BYTES);
  #rowAddress: SocketAddress | undefined;
  #sender = '';
  #senderBytes: Uint8Array = new Uint8Array(4);

  #port = 0;
  #closed = false;

  /** Binds the sockets. Rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, …). */
  static async open(options: DgramOptions): Promise<DgramUnderlay> {
    const device = new DgramUnderlay(options);
    try {
      await device.#bind();
    } catch (error) {
      device.close();
      throw error;
    }
    return device;
  }

  private constructor(options: DgramOptions) {
    const { pool } = options.path;
    this.#options = options;
    this.#path = options.path;
    this.#slab = Buffer.from(pool.bytes.buffer, pool.bytes.byteOffset, pool.bytes.byteLength);
    this.#out = new Batch(pool.packets);
    this.#finishChecksum = options.finishChecksum ?? finishChecksum;
    this.#queue = new Int32Array(options.queue ?? Math.min(1024, Math.max(1, pool.slots >> 1)));
  }

  /** The port that datagrams are received at. */
  get port(): number {
    return this.#port;
  }

  receive(into: Batch): void {
    while (this.#queued > 0 && into.room > 0) {
      into.push(this.#queue[this.#queueAt]!);
      this.#queueAt = this.#queueAt + 1 === this.#queue.length ? 0 : this.#queueAt + 1;
      this.#queued--;
    }
  }

  /** 1. split super-packets, finish checksums; 2. find address and socket; 3. hand over to node. */
  transmit(batch: Batch): void {
    const path = this.#path;
    const { pool } = path;
    const out = this.#out;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      if (pool.trace[packet] !== 0) path.tracer.note(packet, hop['underlay.transmit'], pool.vtep[packet]!);
      const offload = pool.offload[packet]!;
      if ((offload & SEGMENT_ANY) !== 0) this.#options.segmenter.segment(packet, out, vxlan.HEADER);
      else if ((offload & CHECKSUM_UNFINISHED) === 0 || this.#finishChecksum(path, packet)) out.push(packet);
    }
    batch.count = 0;
    for (let i = 0; i < out.count; i++) this.#send(out.packets[i]!);
    out.count = 0;
  }

  /** Received packets are dropped at once; those being sent end in their callbacks, soon after. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#sockets) socket.close();
    for (; this.#queued > 0; this.#queued--) {
      this.#path.drop(this.#queue[this.#queueAt]!, drop['device-closed']);
      this.#queueAt = (this.#queueAt + 1) % this.#queue.length;
    }
  }

  async #bind(): Promise<void> {
    this.#port = this.#options.port;
    for (const address of this.#options.addresses) {
      const family = address.includes(':') ? 6 : 4;
      const socket = await this.#open(family, address, this.#port);
      this.#port = socket.address().port;
      socket.on('message', (datagram, from) => this.#arrived(datagram, from.address, from.port));
      const count = this.#options.sourcePorts ?? 4;
      for (let i = 0; i < count; i++) this.#senders[family].push(await this.#open(family, address, 0));
      if (count === 0) this.#senders[family].push(socket);
    }
  }

  async #open(family: 4 | 6, address: string, port: number): Promise<Socket> {
    const options: SocketOptions = {
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      // Every address is literal: no look-up, and none of its detours through the event loop.
      lookup: (host, _options, callback) => callback(null, host, family),
    };
    if (this.#options.receiveBuffer !== undefined) options.recvBufferSize = this.#options.receiveBuffer;
    if (this.#options.sendBuffer !== undefined) options.sendBufferSize = this.#options.sendBuffer;
    const socket = createSocket(options);
    this.#sockets.push(socket);
    const listening = once(socket, 'listening'); // it may come before bind returns
    socket.bind(port, address);
    await listening;
    socket.on('error', (error) => this.#report(error));
    return socket;
  }

  #arrived(datagram: Uint8Array, address: string, port: number): void {
    const { pool, counters } = this.#path;
    const queue = this.#queue;
    const refused = this.#closed
      ? drop['device-closed']
      : this.#queued === queue.length
        ? drop['underlay-busy']
        : datagram.length > SLOT_BYTES - DATAGRAM_AT
          ? drop['underlay-oversize']
          : NOT_REFUSED;
    const packet = refused === NOT_REFUSED ? pool.take(DATAGRAM_AT) : NO_PACKET;
    if (packet === NO_PACKET) {
      counters.drop(refused === NOT_REFUSED ? drop['no-packet'] : refused);
      return;
    }
    pool.bytes.set(datagram, pool.offset[packet]!);
    pool.length[packet] = datagram.length;
    markUnfinished(pool, packet);
    if (address !== this.#sender) {
      this.#sender = address;
      this.#senderBytes = ipBytes(address.replace(/%.*/, ''));
    }
    writeSender(pool.view, pool.slotStart(packet), this.#senderBytes, port);
    queue[(this.#queueAt + this.#queued) % queue.length] = packet;
    if (this.#queued++ === 0) this.#options.onReadable();
  }

  #send(packet: number): void {
    const { pool } = this.#path;
    const to = this.#addressOf(pool.vtep[packet]!);
    const senders = to === undefined ? [] : this.#senders[to.family];
    if (this.#closed || to === undefined || senders.length === 0 || to.port === 0) {
      this.#path.drop(packet, this.#closed ? drop['device-closed'] : drop['vtep-unreachable']);
      return;
    }
    const socket = senders[(pool.flow[packet]! >>> 0) % senders.length]!;
    const sent = (this.#sent[packet] ??= (error) => this.#finish(packet, error));
    socket.send(this.#slab, pool.offset[packet]!, pool.length[packet]!, to.port, to.address, sent);
  }

  #finish(packet: number, error: Error | null): void {
    if (error === null || error === undefined) {
      const { pool, counters } = this.#path;
      counters.count(counters.vtepRow(pool.vtep[packet]!), TX_PACKETS, 1, pool.length[packet]!);
      pool.free(packet);
      return;
    }
    const reason = SEND_ERRORS[(error as NodeJS.ErrnoException).code ?? ''];
    if (reason === undefined) this.#report(error);
    this.#path.drop(packet, reason ?? drop['underlay-error']);
  }

  #addressOf(vtep: number): SocketAddress | undefined {
    const table = this.#options.vteps;
    const at = vtep * SOCKADDR_BYTES;
    const row = this.#row;
    let same = true;
    for (let i = 0; i < 24 && same; i++) same = row[i] === table[at + i];
    if (!same) {
      row.set(table.subarray(at, at + SOCKADDR_BYTES));
      this.#rowAddress = readSockaddr(row, 0);
    }
    return this.#rowAddress;
  }

  #report(error: Error): void {
    const kind = (error as NodeJS.ErrnoException).code ?? error.message;
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    this.#options.onError?.(error);
  }
}
