/** The UDP socket of a synchronisation daemon: multicast on one interface as IPVS has it, or to and from peers alone. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { SyncDaemon, SyncRole } from '../../config/service-types.js';
import { ApplyError } from '../../face.js';

/** What the kernel queues for a burst of messages, as far as it lets us. */
const BUFFER = 4 << 20;

export interface SyncSocketEvents {
  received(bytes: Buffer, from: RemoteInfo): void;
  /** one that can't be sent counts as lost */
  unsent(): void;
  failed(error: Error): void;
}

export class SyncSocket {
  readonly #daemon: SyncDaemon;
  readonly #sockets: readonly Socket[];
  readonly #socket: Socket;
  readonly #events: SyncSocketEvents;
  #closed = false;

  /** Resolves when it is open; throws ApplyError. */
  static async open(daemon: SyncDaemon, role: SyncRole, events: SyncSocketEvents): Promise<SyncSocket> {
    const own = ownAddress(daemon, role);
    const wide = isWide(daemon);
    const sockets: Socket[] = [];
    const bind = (where: { address: string; port: number }) => {
      const socket = createSocket({ type: wide ? 'udp6' : 'udp4', reuseAddr: role === 'backup' });
      sockets.push(socket);
      return new Promise<Socket>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('listening', () => resolve(socket));
        socket.bind(where);
      });
    };
    try {
      join(await bind(bindingOf(daemon, role, own)), daemon, role, own);
      if (role === 'backup' && daemon.peers === undefined)
        await bind({ address: wide ? '::' : own, port: 0 });
    } catch (error) {
      for (const socket of sockets) socket.close();
      const { group, port, interface: name } = daemon;
      throw new ApplyError(
        `virtualServer.sync.${role}: ${group} port ${port} on ${name}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    return new SyncSocket(daemon, sockets, events);
  }

  /** @param sockets the last one answers: what is bound to a group hears nothing that is sent to the host alone */
  private constructor(daemon: SyncDaemon, sockets: readonly Socket[], events: SyncSocketEvents) {
    this.#daemon = daemon;
    this.#sockets = sockets;
    this.#socket = sockets.at(-1)!;
    this.#events = events;
    const peers = daemon.peers && new Set(daemon.peers);
    for (const socket of sockets) {
      socket.removeAllListeners('error');
      socket.on('error', (error) => this.#fail(error));
      socket.on('message', (bytes, from) => {
        if (peers === undefined || peers.has(from.address.replace(/%.*/, ''))) events.received(bytes, from);
      });
      socket.unref();
    }
  }

  /** To the group, or to each of the peers. */
  tell(bytes: Uint8Array): void {
    const { peers, group, port, interface: name } = this.#daemon;
    if (peers !== undefined) for (const peer of peers) this.#send(bytes, port, peer);
    else this.#send(bytes, port, isLinkLocal(group) ? `${group}%${name}` : group);
  }

  answer(bytes: Uint8Array, to: RemoteInfo): void {
    this.#send(bytes, to.port, to.address);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#sockets) socket.close();
  }

  #send(bytes: Uint8Array, port: number, address: string): void {
    if (this.#closed) return;
    this.#socket.send(bytes, port, address, (error) => {
      if (error !== null && !this.#closed) this.#events.unsent();
    });
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#events.failed(error);
  }
}

/** The interface's address that messages come from; throws ApplyError where it has none. */
export function ownAddress(daemon: SyncDaemon, role: SyncRole): string {
  const { interface: name, peers } = daemon;
  const wide = isWide(daemon);
  if (peers?.some((each) => each.includes(':') !== wide)) {
    throw new ApplyError(
      `virtualServer.sync.${role}.peers: ${peers.join(', ')} are of two families; use one`,
    );
  }
  const addresses = networkInterfaces()[name];
  if (addresses === undefined) {
    throw new ApplyError(
      `virtualServer.sync.${role}.interface: ${name} isn't there, is down, or has no address`,
    );
  }
  const own = addresses.find(({ family }) => family === (wide ? 'IPv6' : 'IPv4'));
  if (own === undefined) {
    throw new ApplyError(
      `virtualServer.sync.${role}.interface: ${name} has no IPv${wide ? 6 : 4} address, which messages are sent from`,
    );
  }
  return own.address;
}

const isWide = ({ peers, group }: SyncDaemon): boolean => (peers?.[0] ?? group).includes(':');
const isLinkLocal = (group: string): boolean => /^ff.2:/.test(group);

function bindingOf(daemon: SyncDaemon, role: SyncRole, own: string) {
  const { peers, group, port, interface: name } = daemon;
  const wide = isWide(daemon);
  if (role === 'master') return { address: wide ? '::' : own, port: 0 };
  if (peers !== undefined) return { address: wide ? '::' : '0.0.0.0', port };
  return { address: isLinkLocal(group) ? `${group}%${name}` : group, port };
}

function join(socket: Socket, daemon: SyncDaemon, role: SyncRole, own: string): void {
  const { peers, group, ttl, interface: name } = daemon;
  // The kernel gives what it may; a smaller one loses more of a burst.
  try {
    if (role === 'backup') socket.setRecvBufferSize(BUFFER);
    else socket.setSendBufferSize(BUFFER);
  } catch {}
  if (peers !== undefined) return;
  const device = isWide(daemon) ? `::%${name}` : own;
  if (role === 'backup') return void socket.addMembership(group, device);
  socket.setMulticastInterface(device);
  socket.setMulticastTTL(ttl);
  socket.setMulticastLoopback(false);
}
