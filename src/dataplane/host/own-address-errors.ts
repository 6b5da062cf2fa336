/**
 * ICMPv6 errors about replies of services whose address the host has itself. Rules of routing can't tell them from
 * neighbour discovery, which must stay the host's (host-rules.ts), so they come to the host as well; a raw socket hears
 * them, and the destination is told in the host's name.
 */
import type { Logger } from '../face.js';
import { ICMPV6_FILTER, icmpv6Filter, loadRawSocket, type RawSocket } from '../io/raw-socket.js';
import { Connections } from '../ipvs/connections.js';
import { QuotedReply } from '../ipvs/quoted-reply.js';
import * as icmpv6 from '../wire/icmpv6.js';
import * as ipv6 from '../wire/ipv6.js';

const ERRORS = [icmpv6.UNREACHABLE, icmpv6.PACKET_TOO_BIG, icmpv6.TIME_EXCEEDED, icmpv6.PARAMETER_PROBLEM];
const RECEIVE_BYTES = 2048; // an error has at most 1280 with its IPv6 header

export class OwnAddressErrors {
  readonly #logger: Logger;
  readonly #replies: QuotedReply;
  #socket: RawSocket | undefined;

  /** Without raw-socket, or the right to open one, the log says what is lost. */
  constructor(connections: SharedArrayBuffer, logger: Logger) {
    this.#logger = logger;
    this.#replies = new QuotedReply(new Connections(connections));
    try {
      this.#socket = this.#open();
    } catch (error) {
      const [reason] = (error as Error).message.split('\n');
      logger.warn(
        { reason },
        'where a service has an IPv6 address of this host, its destinations hear of no router’s ICMPv6 errors',
      );
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #open(): RawSocket {
    const raw = loadRawSocket();
    const socket = raw.createSocket({
      protocol: icmpv6.PROTOCOL,
      addressFamily: raw.AddressFamily.IPv6,
      bufferSize: RECEIVE_BYTES,
    });
    socket.on('message', (message) => this.#heard(message));
    socket.on('error', (error) => this.#logger.debug({ error: error.message }, 'ICMPv6 socket'));
    const filter = icmpv6Filter(ERRORS);
    socket.setOption(icmpv6.PROTOCOL, ICMPV6_FILTER, filter, filter.length);
    return socket;
  }

  #heard(message: Buffer): void {
    const error = this.#replies.translate(message);
    if (error === undefined) return;
    const address = ipv6.format(...this.#replies.destination);
    // The kernel does the checksum.
    this.#socket?.send(Buffer.from(error), 0, error.length, address, (fault) => {
      if (fault) this.#logger.debug({ address, error: fault.message }, 'ICMPv6 error not passed on');
    });
  }
}
